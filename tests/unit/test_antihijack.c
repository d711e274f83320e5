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

static unsigned asked(const char *method, int rewrites, const char *head, const char *events)
{
    const char *const rewrite[] = {"rewrite=true", NULL};
    struct testhost *host = testhost_new(&soth_mitm_module, rewrites ? rewrite : NULL, NULL);
    assert_non_null(host);
    struct testhost_case one = {.request = method, .response = head, .events = events, .leave_out = TESTHOST_LEAKS};
    unsigned faults = testhost_decoder(host, &one);
    return testhost_free(host) + faults;
}

#define TO_GET "GET / HTTP/1.1\nHost: a.test"
#define TO_HEAD "HEAD / HTTP/1.1\nHost: a.test"

/* Who rewrites takes part where a GET's body would be changed: the host then leaves out what was said about the old one. */
static void without_a_body(void **state)
{
    (void)state;
    for (int rewrites = 0; rewrites < 2; rewrites++) {
        const char *takes_part = rewrites ? "done\n" : "";
        assert_int_equal(asked(TO_HEAD, rewrites, HEAD "application/json", takes_part), 0);
        assert_int_equal(asked(TO_HEAD, rewrites, HEAD "application/json\nContent-Encoding: gzip", ""), 0);
        assert_int_equal(asked(TO_HEAD, rewrites, HEAD "text/html", ""), 0);
        assert_int_equal(asked(TO_GET, rewrites, "HTTP/1.1 304 Not Modified\nContent-Type: application/json", takes_part), 0);
        assert_int_equal(asked(TO_GET, rewrites, "HTTP/1.1 304 Not Modified\nETag: \"a\"", takes_part), 0);
        assert_int_equal(asked(TO_GET, rewrites, "HTTP/1.1 304 Not Modified\nContent-Type: text/html", ""), 0);
        assert_int_equal(asked(TO_GET, rewrites, "HTTP/1.1 204 No Content\nContent-Type: application/json", ""), 0);
        assert_int_equal(asked(TO_GET, rewrites, "HTTP/1.1 206 Partial Content\nContent-Type: application/json", ""), 0);
    }
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

/* head, that much white space, tail, for one that looks on and one that rewrites; json: what is left of the head; NULL: nothing is found. */
static unsigned at_the_limit(const char *head, size_t white, const char *tail, const char *json)
{
    const char *const rewrite[] = {"rewrite=true", NULL};
    char filled[1100] = "", body[1200], out[1200];
    memset(filled, '\n', white);
    snprintf(body, sizeof body, "%s%s%s", head, filled, tail);
    snprintf(out, sizeof out, "%s%s%s", json ? json : head, filled, tail);
    return check(NULL, HEAD "application/json", body, json ? TOLD("view") : TOLD_NONE, out) +
           check(rewrite, HEAD "application/json", body, json ? TOLD("wire") : TOLD_NONE, out);
}

/* However it is cut: what the first 1024 bytes leave open is not found, and every byte goes on. */
static void what_the_beginning_leaves_open_is_not_found(void **state)
{
    (void)state;
    assert_int_equal(at_the_limit(")]}'true", 1016, "alert(1)", NULL), 0);
    assert_int_equal(at_the_limit(")]}'true", 1017, "", NULL), 0);     /* it ends behind them */
    assert_int_equal(at_the_limit(")]}'true", 1016, "", "true"), 0);   /* it ends with them */
    assert_int_equal(at_the_limit(")]}'true", 1015, "", "true"), 0);
    assert_int_equal(at_the_limit(")]}'true", 1015, "x", NULL), 0);
    assert_int_equal(at_the_limit(")]}'null", 1016, " ", NULL), 0);
    assert_int_equal(at_the_limit("", 1020, ")]}'[1]", NULL), 0);      /* the JSON begins behind them */
    assert_int_equal(at_the_limit("", 1020, ")]}'", NULL), 0);
    assert_int_equal(at_the_limit("", 1021, ")]}'[1]", NULL), 0);
    assert_int_equal(at_the_limit("", 1024, "[1]", NULL), 0);
}

/* The last byte that is looked at is the JSON's first. */
static void json_may_begin_with_the_last_byte(void **state)
{
    char body[1100];
    (void)state;
    memset(body, ' ', 1019);
    strcpy(body + 1019, ")]}'[1]");
    assert_int_equal(check(NULL, HEAD "application/json", body, TOLD("view"), "[1]"), 0);
    assert_int_equal(check((const char *[]){"rewrite=true", NULL}, HEAD "application/json", body, TOLD("wire"), "[1]"), 0);
}

static void prefixes_that_are_found_nowhere_are_refused(void **state)
{
    static const char *const bad[] = {"\" x\"", "\"\tx\"", "\"\nx\"", "\"\r\"", "\" \"", "\"\xef\xbb\xbf)]}'\""};
    static const char *const good[] = {"\"x \"", "\"\xef\xbb\""};
    char text[64];
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "prefixes=[\"//\", %s]", bad[i]);
        assert_null(testhost_new(&soth_mitm_module, (const char *[]){text, NULL}, NULL));
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(text, sizeof text, "prefixes=[%s]", good[i]);
        assert_int_equal(check((const char *[]){text, NULL}, HEAD "application/json", "[1]", TOLD_NONE, "[1]"), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_document),
        cmocka_unit_test(who_looks_on_sees_json),
        cmocka_unit_test(other_messages_are_left_alone),
        cmocka_unit_test(without_a_body),
        cmocka_unit_test(clients_get_json),
        cmocka_unit_test(prefixes_of_ones_own),
        cmocka_unit_test(only_the_beginning_is_looked_at),
        cmocka_unit_test(what_the_beginning_leaves_open_is_not_found),
        cmocka_unit_test(json_may_begin_with_the_last_byte),
        cmocka_unit_test(prefixes_that_are_found_nowhere_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
