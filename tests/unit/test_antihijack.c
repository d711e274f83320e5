/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/antihijack/antihijack.c modules/antihijack/guard.c modules/match/media.c sdk/testhost/ */
/* antihijack: prefixes by document (tests/golden/antihijack/prefixes.md); the module as one that looks on and as one that rewrites. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "golden.h"
#include "http_play.h"
#include "modules/antihijack/guard.h"
#include "sdk/testhost/testhost.h"

extern const struct soth_module soth_mitm_module;

static const char *const preset[] = {")]}'", "while(1);", "for(;;);", "for (;;);", "{}&&"};
static const struct soth_strings prefixes = {preset, 5};

/* What is known of the body grows by pieces; the first answer that is not MORE counts. */
static void play(const struct golden_case *c, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out)
{
    const char *prefix = "";
    size_t strip = 0;
    enum guard answer = GUARD_MORE;
    (void)c;
    for (size_t at = 0; at < n && answer == GUARD_MORE;) {
        at += golden_piece(cut, at, n);
        char *exact = malloc(at);
        memcpy(exact, p, at);
        answer = guard_look(&prefixes, exact, at, 0, &strip, &prefix);
        free(exact);
    }
    if (answer == GUARD_MORE)
        answer = guard_look(&prefixes, (const char *)p, n, 1, &strip, &prefix);
    assert_true(answer != GUARD_MORE);
    if (answer == GUARD_NONE) {
        http_say(out, "none\n");
        return;
    }
    http_say(out, "found %s json ", prefix);
    for (size_t i = strip; i < n; i++)
        http_say(out, p[i] >= ' ' && p[i] <= '~' ? "%c" : "\\x%02x", p[i]);
    http_say(out, "\n");
}

static void by_document(void **state)
{
    (void)state;
    golden_check_all("tests/golden/antihijack/prefixes.md", play);
}

#define SAYS(text_) ((const struct testhost_step[]){{SOTH_TO_CLIENT, TESTHOST_TEXT(text_)}})
#define HEAD "HTTP/1.1 200 OK\nContent-Type: "

static unsigned check(const char *const *config, const char *head, const char *body, const char *events, const char *out)
{
    struct testhost *host = testhost_new(&soth_mitm_module, config, NULL);
    struct testhost_step step = {SOTH_TO_CLIENT, {body, strlen(body)}};
    assert_non_null(host);
    unsigned faults = testhost_decoder(host, &(struct testhost_case){.response = head, .steps = &step, .step_count = 1, .events = events,
                                                                     .out[SOTH_TO_CLIENT] = {out, strlen(out)}, .leave_out = TESTHOST_LEAKS});
    return testhost_free(host) + faults;
}

#define TOLD(how) "payload_sanitized direction=server_to_client sanitized=true sanitized_prefix=)]}' sanitized_provenance=" how "\ndone\n"
#define TOLD_NONE "payload_sanitized direction=server_to_client sanitized=false\ndone\n"

static void who_looks_on_sees_json(void **state)
{
    (void)state;
    assert_int_equal(check(NULL, HEAD "application/json", ")]}'\n{\"a\":1}\n", TOLD("view"), "{\"a\":1}\n"), 0);
    assert_int_equal(check(NULL, HEAD "text/javascript", ")]}'\n{\"a\":1}\n", TOLD("view"), "{\"a\":1}\n"), 0);
    assert_int_equal(check(NULL, HEAD "application/vnd.x+json", " {\"a\":1}\n", TOLD_NONE, " {\"a\":1}\n"), 0);
    assert_int_equal(check(NULL, HEAD "application/json", ")]}'\nno json", TOLD_NONE, ")]}'\nno json"), 0);
    assert_int_equal(check(NULL, HEAD "text/javascript", "while(1);doit()", "done\n", "while(1);doit()"), 0);
    assert_int_equal(check(NULL, HEAD "application/json", "", "done\n", ""), 0);
}

static void other_messages_are_left_alone(void **state)
{
    (void)state;
    assert_int_equal(check(NULL, HEAD "text/html", ")]}'\n{}", "", ")]}'\n{}"), 0);
    assert_int_equal(check(NULL, HEAD "application/json\nContent-Encoding: gzip", ")]}'\n{}", "", ")]}'\n{}"), 0);
    assert_int_equal(check(NULL, HEAD "application/json\nContent-Range: bytes 0-5/10", ")]}'\n{}", "", ")]}'\n{}"), 0);
}

static void clients_get_json(void **state)
{
    const char *const rewrite[] = {"rewrite=true", NULL};
    (void)state;
    assert_int_equal(check(rewrite, HEAD "application/json", ")]}'\n{\"a\":1}\n", TOLD("wire"), "{\"a\":1}\n"), 0);
    assert_int_equal(check(rewrite, HEAD "application/json", "{\"a\":1}\n", TOLD_NONE, "{\"a\":1}\n"), 0);
    assert_int_equal(check(rewrite, HEAD "application/json", ")]}'", TOLD_NONE, ")]}'"), 0);
    assert_int_equal(check(rewrite, HEAD "application/json\nContent-Encoding: gzip", ")]}'\n{}", "", ")]}'\n{}"), 0);
}

static void prefixes_of_ones_own(void **state)
{
    const char *const config[] = {"prefixes=[\"//\", \"//ok\"]", NULL};
    (void)state;
    assert_int_equal(check(config, HEAD "application/json", "//ok[1]",
                           "payload_sanitized direction=server_to_client sanitized=true sanitized_prefix=//ok sanitized_provenance=view\ndone\n", "[1]"), 0);
    assert_int_equal(check(config, HEAD "application/json", "//[1]",
                           "payload_sanitized direction=server_to_client sanitized=true sanitized_prefix=// sanitized_provenance=view\ndone\n", "[1]"), 0);
}

/* White space without end is not waited for. */
static void only_the_beginning_is_looked_at(void **state)
{
    char body[3000];
    (void)state;
    memset(body, ' ', sizeof body);
    strcpy(body + sizeof body - 10, ")]}'{}");
    assert_int_equal(check(NULL, HEAD "application/json", body, TOLD_NONE, body), 0);
    assert_int_equal(check((const char *[]){"rewrite=true", NULL}, HEAD "application/json", body, TOLD_NONE, body), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_document),      cmocka_unit_test(who_looks_on_sees_json), cmocka_unit_test(other_messages_are_left_alone),
        cmocka_unit_test(clients_get_json), cmocka_unit_test(prefixes_of_ones_own),   cmocka_unit_test(only_the_beginning_is_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
