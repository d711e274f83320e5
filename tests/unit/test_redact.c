/* SPDX-License-Identifier: MPL-2.0 */
/* host/http/redact.c: which fields are secrets, and what of a URI may be shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/http/redact.h"

static const struct soth_strings nothing_more;

static void names(void **state)
{
    static const char *const secret[] = {"Authorization", "COOKIE", "set-cookie", "Proxy-Authorization", "X-Api-Key", "api-key", "apikey",
                                         "X-Auth-Token", "X-Amz-Security-Token", "Private-Token", "X-Goog-Api-Key", "x-rapidapi-key",
                                         "X-CSRF-Token", "Client-Secret", "X-Password", "DPoP", "Ocp-Apim-Subscription-Key"};
    static const char *const shown[] = {"Accept", "Idempotency-Key", "Sec-WebSocket-Key", "x-ratelimit-remaining-tokens", "Cookies", "", "Host",
                                        "User-Agent", "Etag", "WWW-Authenticate", "X-Internal-Key"};
    static const char *const names_of_others[] = {"x-other", "X-Internal-Key"};
    const struct soth_strings more = {names_of_others, 2};
    (void)state;
    for (size_t i = 0; i < sizeof secret / sizeof *secret; i++)
        if (!redact_is_secret(soth_span(secret[i]), &nothing_more))
            fail_msg("%s is a secret", secret[i]);
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        if (redact_is_secret(soth_span(shown[i]), &nothing_more))
            fail_msg("%s is no secret", shown[i]);
    assert_true(redact_is_secret(soth_span("X-INTERNAL-KEY"), &more));
    assert_true(redact_is_secret(soth_span("X-Other"), &more));
    assert_false(redact_is_secret(soth_span("X-Othe"), &more));
}

static void user_information(void **state)
{
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"", ""},
        {"/a//b@c", "/a//b@c"},
        {"http://h/", "http://h/"},
        {"http://u:p@h/x", "http://[redacted]@h/x"},
        {"see http://u@h, ftp://a:b@c:21/@x and http://h/@", "see http://[redacted]@h, ftp://[redacted]@c:21/@x and http://h/@"},
        {"https://u:p@q@h", "https://[redacted]@h"},
        {"/proxy/http://u:p@h", "/proxy/http://[redacted]@h"},
        {"://@", "://[redacted]@"},
        {"://", "://"},
        {"http://h?q=a@b", "http://h?q=a@b"},
        {"http://h#a@b", "http://h#a@b"},
        {"<http://u:p@h/>", "<http://[redacted]@h/>"},
        {"http://h/ a@b", "http://h/ a@b"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer out = {0};
        size_t n = strlen(cases[i].text);
        char *at_the_end = malloc(n + 1); /* a sanitizer sees a read behind it */
        memcpy(at_the_end, cases[i].text, n);
        char *text = realloc(at_the_end, n ? n : 1);
        struct soth_span span = {text, n};
        redact_userinfo(&out, span);
        if (buffer_size(&out) != strlen(cases[i].shown) || memcmp(buffer_size(&out) ? (const char *)buffer_data(&out) : "", cases[i].shown, buffer_size(&out)))
            fail_msg("%s became %.*s", cases[i].text, (int)buffer_size(&out), buffer_data(&out));
        assert_int_equal(redact_has_userinfo(span), strcmp(cases[i].text, cases[i].shown) != 0);
        free(text);
        buffer_fini(&out);
    }
}

#define FIELD_OF(name, value) {{name, sizeof(name) - 1}, {value, sizeof(value) - 1}}

static void heads(void **state)
{
    static const struct soth_field fields[] = {
        FIELD_OF("Host", "h"),
        FIELD_OF("aUTHORIZATION", "Bearer abc"),
        FIELD_OF("Cookie", ""),
        FIELD_OF("Referer", "https://u:p@h/x?token=1#y"),
        FIELD_OF("Sec-CH-UA", "\"Not?A_Brand\";v=\"8\""),
        FIELD_OF("Link", "</a?k=1>; rel=next, </b>; rel=\"x?y\""),
        FIELD_OF("Refresh", "5; url=/x?y=z"),
        FIELD_OF("X-Original-URL", "/p?q"),
        FIELD_OF("X-Note", "http://a:b@c/?d"),
    };
    const struct message msg = {.fields = fields, .field_count = sizeof fields / sizeof *fields};
    struct buffer out = {0};
    (void)state;
    assert_true(redact_fields(&out, &msg, &nothing_more, false));
    buffer_append(&out, "", 1);
    assert_string_equal((const char *)buffer_data(&out), "Host: h\naUTHORIZATION: [redacted]\nCookie: [redacted]\nReferer: https://[redacted]@h/x\n"
                                                         "Sec-CH-UA: \"Not?A_Brand\";v=\"8\"\nLink: </a>; rel=next, </b>; rel=\"x\"\n"
                                                         "Refresh: 5; url=/x\nX-Original-URL: /p\nX-Note: http://[redacted]@c/?d\n");
    buffer_clear(&out);
    assert_false(redact_fields(&out, &msg, &nothing_more, true));
    buffer_append(&out, "", 1);
    assert_string_equal((const char *)buffer_data(&out), "Host: h\naUTHORIZATION: [redacted]\nCookie: [redacted]\n"
                                                         "Referer: https://[redacted]@h/x?token=1#y\n"
                                                         "Sec-CH-UA: \"Not?A_Brand\";v=\"8\"\nLink: </a?k=1>; rel=next, </b>; rel=\"x?y\"\n"
                                                         "Refresh: 5; url=/x?y=z\nX-Original-URL: /p?q\nX-Note: http://[redacted]@c/?d\n");
    buffer_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(user_information), cmocka_unit_test(heads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
