/* SPDX-License-Identifier: MPL-2.0 */
/* Values of keys that nobody is to see, by document (tests/golden/http/mask.md). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "golden.h"
#include "host/http/mask.h"
#include "http_play.h"

static void play(const struct golden_case *c, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out)
{
    static const char *const keys[] = {"password", "api_key", "Token"};
    struct mask mask = {.where = 0};
    (void)c;
    for (size_t at = 0; at < n;) {
        size_t piece = golden_piece(cut, at, n);
        char *exact = malloc(piece);
        memcpy(exact, p + at, piece);
        mask_values(&mask, &(struct soth_strings){keys, 3}, exact, piece);
        for (size_t i = 0; i < piece; i++) {
            unsigned char b = (unsigned char)exact[i];
            const char *short_form = b == '\n' ? "\\n" : b == '\r' ? "\\r" : b == '\t' ? "\\t" : b == '\\' ? "\\\\" : NULL;
            if (short_form)
                http_say(out, "%s", short_form);
            else
                http_say(out, b < ' ' || b > '~' ? "\\x%02x" : "%c", b);
        }
        free(exact);
        at += piece;
    }
    http_say(out, "\n");
}

static void by_document(void **state)
{
    (void)state;
    golden_check_all("tests/golden/http/mask.md", play);
}

static void no_keys_hide_nothing(void **state)
{
    struct mask mask = {.where = 0};
    char text[] = "{\"\":\"a\"} =b&=c {\"password\":1}";
    (void)state;
    mask_values(&mask, &(struct soth_strings){NULL, 0}, text, strlen(text));
    assert_string_equal(text, "{\"\":\"a\"} =b&=c {\"password\":1}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_document), cmocka_unit_test(no_keys_hide_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
