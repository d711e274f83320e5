/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The module ws as a host drives it, by document (tests/golden/ws): each case whole, cut at every place, before policies that judge its frames,
 * cut off, twice at once; and with fewer who listen: what an event says does not depend on who listens to which, nor on how much content.
 * build: modules/ws/ws.c modules/ws/judge.c modules/ws/report.c modules/ws/talk.c modules/ws/turns.c modules/ws/framing.c modules/ws/mask.c modules/ws/utf8.c modules/ws/closing.c modules/ws/extension.c modules/ws/inflater.c sdk/testhost/config.c sdk/testhost/cursor.c sdk/testhost/decode.c sdk/testhost/decoder.c sdk/testhost/event.c sdk/testhost/exchange.c sdk/testhost/fields.c sdk/testhost/guard.c sdk/testhost/head.c sdk/testhost/host.c sdk/testhost/policy.c sdk/testhost/sink.c sdk/testhost/text.c sdk/testhost/tokens.c
 * needs: ZLIB
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "golden.h"
#include "sdk/testhost/testhost.h"

extern const struct soth_module soth_mitm_module;

#define STEPS_MOST 64
#define CONFIG_MOST 8

/* A conversation, read from a document. */
struct script {
    struct buffer bytes[STEPS_MOST];
    struct testhost_step steps[STEPS_MOST];
    size_t count;
};

/* "> bytes" is said by the client, "< bytes" by the server; "later 30000" milliseconds pass. */
static void read_line(const struct golden_case *c, struct script *s, const char *line, size_t n)
{
    struct testhost_step *step = &s->steps[s->count];
    struct buffer *bytes = &s->bytes[s->count++];
    assert_true(s->count < STEPS_MOST);
    if (n > 6 && strncmp(line, "later ", 6) == 0) {
        *step = (struct testhost_step){TESTHOST_LATER, {"", (size_t)atoi(line + 6)}};
        return;
    }
    if (n < 2 || (line[0] != '>' && line[0] != '<') || line[1] != ' ')
        fail_msg("%s: what is \"%.*s\"?", c->title, (int)n, line);
    golden_unescape(c, line + 2, n - 2, bytes);
    *step = (struct testhost_step){line[0] == '>' ? SOTH_TO_SERVER : SOTH_TO_CLIENT, {buffer_data(bytes), buffer_size(bytes)}};
}

static void script_read(const struct golden_case *c, struct script *s)
{
    const char *text = golden_text(c, "script");
    *s = (struct script){.count = 0};
    if (!text)
        fail_msg("%s: has no script", c->title);
    for (const char *line = text; line && *line;) {
        size_t n = strcspn(line, "\n");
        if (n > 0)
            read_line(c, s, line, n);
        line += n + (line[n] == '\n');
    }
}

/* The events of a document. A byte that is not ASCII stands there as \xHH, and as itself in what the host for tests says. */
static char *read_events(const struct golden_case *c)
{
    const char *text = golden_text(c, "events");
    assert_non_null(text);
    char *events = malloc(strlen(text) + 2), *at = events;
    assert_non_null(events);
    while (*text) {
        unsigned byte;
        bool high = text[0] == '\\' && text[1] == 'x' && sscanf(text + 2, "%2x", &byte) == 1 && byte >= 0x80;
        *at++ = high ? (char)byte : *text;
        text += high ? 4 : 1;
    }
    if (at > events)
        *at++ = '\n';
    *at = 0;
    return events;
}

/* "key=value" lines of the block `config`. */
static struct testhost *host_of(const struct golden_case *c, char *text)
{
    const char *config[CONFIG_MOST] = {NULL};
    size_t n = 0;
    for (char *line = strtok(text, "\n"); line && n < CONFIG_MOST - 1; line = strtok(NULL, "\n"))
        config[n++] = line;
    struct testhost *host = testhost_new(&soth_mitm_module, config, NULL);
    if (!host)
        fail_msg("%s: its configuration is wrong", c->title);
    return host;
}

#define KIND(name) (UINT64_C(1) << SOTH_EV_##name)

/* Who listens. */
struct audience {
    uint64_t kinds, payload;
    unsigned leave_out; /* testhost_case.leave_out */
    bool no_end;        /* nobody hears how it ended */
};

static bool is_heard(const char *line, const struct audience *audience)
{
    static const struct {
        const char *name;
        uint64_t kind;
    } known[] = {{"ws_opened ", KIND(WS_OPENED)},        {"ws_frame ", KIND(WS_FRAME)},
                 {"ws_message ", KIND(WS_MESSAGE)},      {"ws_turn_started ", KIND(WS_TURN_STARTED)},
                 {"ws_closed ", KIND(WS_CLOSED)},        {"ws_turn_completed ", KIND(WS_TURN_COMPLETED)},
                 {"ws_opened\n", KIND(WS_OPENED)}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strncmp(line, known[i].name, strlen(known[i].name)) == 0)
            return audience->kinds & known[i].kind;
    return strncmp(line, "ended ", 6) != 0 || !audience->no_end;
}

/* Without the lines that nobody hears. */
static char *heard(const char *events, const struct audience *audience)
{
    char *only = malloc(strlen(events) + 1), *to = only;
    assert_non_null(only);
    for (const char *line = events; *line; line += strcspn(line, "\n") + 1) {
        size_t n = is_heard(line, audience) ? strcspn(line, "\n") + 1 : 0;
        memcpy(to, line, n);
        to += n;
    }
    *to = 0;
    return only;
}

/* Cases with a message that cannot be inflated: to a policy that is a limit, and nothing is told behind it. */
#define UNJUDGED (TESTHOST_FRAMES | TESTHOST_BLOCK)

/* Returns how many violations were counted. */
static uint64_t play(const struct golden_case *c, const struct audience *audience)
{
    struct script s;
    char config[512], head[1024], *events = read_events(c);
    snprintf(config, sizeof config, "%s", golden_text(c, "config") ? golden_text(c, "config") : "");
    const char *response = golden_text(c, "response") ? golden_text(c, "response") : "";
    snprintf(head, sizeof head, "%s%s", *response == '!' ? "" : "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: Upgrade\n",
             response + (*response == '!'));
    script_read(c, &s);
    struct testhost *host = host_of(c, config);
    struct testhost_case how = {
        .name = c->title,
        .request = "GET /chat HTTP/1.1\nHost: a.test\nUpgrade: websocket\nConnection: Upgrade",
        .response = head,
        .steps = s.steps,
        .step_count = s.count,
        .leave_out = audience->leave_out | (golden_text(c, "unjudged") ? UNJUDGED : 0),
    };
    testhost_wanted(host, audience->kinds, audience->payload);
    unsigned faults = testhost_decoder(host, &how);
    char *want = heard(events, audience), *got = heard(testhost_events(host), audience);
    testhost_expect(host, audience->payload < UINT64_MAX || strcmp(want, got) == 0, "its events are not those of the document");
    if (faults > 0 || (audience->payload == UINT64_MAX && strcmp(want, got) != 0))
        fprintf(stderr, "%s: with kinds %llx its events are\n%s--- and not\n%s", c->title, (unsigned long long)audience->kinds, got, want);
    free(want);
    free(got);
    uint64_t violations = testhost_count(host, "violations");
    if (testhost_free(host) > 0)
        fail_msg("%s (see above)", c->title);
    for (size_t i = 0; i < s.count; i++)
        buffer_fini(&s.bytes[i]);
    free(events);
    return violations;
}

static uint64_t to(const struct audience *audience, const char *path)
{
    struct golden golden;
    uint64_t violations = 0;
    golden_open(&golden, path);
    for (size_t i = 0; i < golden.count; i++)
        violations += play(&golden.cases[i], audience);
    golden_close(&golden);
    return violations;
}

static void by_document(const char *path)
{
    to(&(struct audience){.kinds = UINT64_MAX, .payload = UINT64_MAX}, path);
}

static void frames_and_messages(void **state)
{
    (void)state;
    by_document("tests/golden/ws/frames.md");
}

static void rules_that_are_broken(void **state)
{
    (void)state;
    by_document("tests/golden/ws/violations.md");
}

static void compressed_messages(void **state)
{
    (void)state;
    by_document("tests/golden/ws/deflate.md");
}

static void turns(void **state)
{
    (void)state;
    by_document("tests/golden/ws/turns.md");
}

static void limits(void **state)
{
    (void)state;
    by_document("tests/golden/ws/limits.md");
}

/* ---- who listens to what ---- */

#define FEWER (TESTHOST_CLOSE | TESTHOST_TWO | TESTHOST_LEAKS | TESTHOST_BLOCK) /* ways that are the same whoever listens */
static const char *const documents[] = {"tests/golden/ws/frames.md", "tests/golden/ws/violations.md", "tests/golden/ws/deflate.md", "tests/golden/ws/turns.md",
                                        "tests/golden/ws/limits.md"};
#define DOCUMENTS (sizeof documents / sizeof *documents)

/* Whichever of these events somebody listens to, and be it none, they say what they say to one who listens to all. */
static void an_event_does_not_depend_on_others(void **state)
{
    static const uint64_t kinds[] = {KIND(WS_FRAME), KIND(WS_MESSAGE), KIND(WS_CLOSED), KIND(STREAM_CLOSED)};
    (void)state;
    for (unsigned subset = 0; subset < 16; subset++) {
        struct audience audience = {.payload = UINT64_MAX, .leave_out = FEWER};
        for (unsigned i = 0; i < 4; i++)
            audience.kinds |= subset >> i & 1 ? kinds[i] : 0;
        for (size_t i = 0; i < DOCUMENTS; i++)
            to(&audience, documents[i]);
    }
}

/* Nor do turns, and where they stop because of a limit. With a policy these know more of the end, which nobody hears. */
static void turns_and_limits_do_not_depend_on_others(void **state)
{
    static const uint64_t kinds[] = {KIND(WS_TURN_STARTED), KIND(WS_TURN_COMPLETED), KIND(DECODER_STAGE_FAILED)};
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        for (size_t k = 0; k < DOCUMENTS; k++)
            to(&(struct audience){.kinds = kinds[i], .payload = UINT64_MAX, .leave_out = FEWER | TESTHOST_FRAMES, .no_end = true}, documents[k]);
}

/* The events of what a server says, after a way of everything. */
static const char *events_of(const char *const *config, const struct audience *audience, const char *response, struct testhost_bytes bytes)
{
    static char events[2048];
    struct testhost *host = testhost_new(&soth_mitm_module, config, NULL);
    struct testhost_step step = {SOTH_TO_CLIENT, bytes};
    assert_non_null(host);
    testhost_wanted(host, audience->kinds, audience->payload);
    assert_int_equal(testhost_decoder(host, &(struct testhost_case){.response = response, .steps = &step, .step_count = 1,
                                                                     .leave_out = audience->leave_out}), 0);
    snprintf(events, sizeof events, "%s", testhost_events(host));
    assert_int_equal(testhost_free(host), 0);
    return events;
}

#define HEAD "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: Upgrade"
#define PACKED HEAD "\nSec-WebSocket-Extensions: permessage-deflate"

/* How it ended and what is done about a limit, whoever listens. */
static void what_is_done_does_not_depend_on_who_listens(void **state)
{
    static const struct testhost_bytes text = TESTHOST_TEXT("\x81\x02\xff\xff");
    static const struct testhost_bytes packed = TESTHOST_TEXT("\xc1\x06JL\xa4=\x00\x00"); /* a hundred bytes */
    static const char *const detach[] = {"max_message_bytes=99", NULL}, *const close[] = {"max_message_bytes=99", "on_overflow=close", NULL};
    static const char *const shut[] = {"max_message_bytes=99", "inflate=false", NULL};
    static const uint64_t kinds[] = {0, KIND(RESPONSE_HEADERS), KIND(STREAM_CLOSED), KIND(DECODER_STAGE_FAILED)};
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct audience audience = {.kinds = kinds[i], .leave_out = FEWER | TESTHOST_FRAMES};
        assert_string_equal(events_of(NULL, &audience, HEAD, text), "ended invalid_utf8\n");
        assert_string_equal(events_of(detach, &audience, PACKED, packed), "failed message_too_big\n");
        assert_string_equal(events_of(close, &audience, PACKED, packed), "failed message_too_big close\n");
        assert_string_equal(events_of(shut, &audience, PACKED, packed), "ended eof_without_close\n");
    }
}

/* Whoever listens, and be it nobody, as many violations are counted. */
static void what_is_counted_does_not_depend_on_who_listens(void **state)
{
    static const uint64_t kinds[] = {0, KIND(WS_OPENED), KIND(WS_TURN_COMPLETED), KIND(WS_CLOSED)};
    struct audience all = {.kinds = UINT64_MAX, .payload = UINT64_MAX, .leave_out = FEWER | TESTHOST_FRAMES};
    (void)state;
    for (size_t k = 0; k < DOCUMENTS; k++) {
        uint64_t counted = to(&all, documents[k]);
        assert_true(counted > 0 || !(strstr(documents[k], "violations") || strstr(documents[k], "deflate")));
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
            assert_int_equal(to(&(struct audience){.kinds = kinds[i], .leave_out = all.leave_out}, documents[k]), counted);
    }
}

/* What a sink sees of a message's content is its beginning, and the same as before a policy, which gets all of it. */
static void samples_are_beginnings(void **state)
{
    static const uint64_t sizes[] = {0, 1, 5, 7, 64};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t k = 0; k < DOCUMENTS; k++)
            to(&(struct audience){.kinds = UINT64_MAX, .payload = sizes[i], .leave_out = FEWER}, documents[k]);
}

static void a_sample_of_one_message(void **state)
{
    static const struct testhost_bytes ways[] = {TESTHOST_TEXT("\x81\x05Hello"), TESTHOST_TEXT("\x02\x02He\x00\x00\x89\x01x\x80\x03llo"),
                                                 TESTHOST_TEXT("\xc1\x07\xf2H\xcd\xc9\xc9\x07\x00")};
    static const struct {
        uint64_t most;
        const char *data;
    } cases[] = {{0, "ws_message direction="}, {1, "data=H "}, {2, "data=He "}, {4, "data=Hell "}, {5, "data=Hello "}, {6, "data=Hello "},
                 {UINT64_MAX, "data=Hello "}};
    (void)state;
    for (size_t way = 0; way < 3; way++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const char *events = events_of(NULL, &(struct audience){.kinds = UINT64_MAX, .payload = cases[i].most}, PACKED, ways[way]);
            if (!strstr(events, cases[i].data))
                fail_msg("way %zu, %llu bytes: %s", way, (unsigned long long)cases[i].most, events);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_and_messages),
        cmocka_unit_test(rules_that_are_broken),
        cmocka_unit_test(compressed_messages),
        cmocka_unit_test(turns),
        cmocka_unit_test(limits),
        cmocka_unit_test(an_event_does_not_depend_on_others),
        cmocka_unit_test(turns_and_limits_do_not_depend_on_others),
        cmocka_unit_test(what_is_done_does_not_depend_on_who_listens),
        cmocka_unit_test(what_is_counted_does_not_depend_on_who_listens),
        cmocka_unit_test(samples_are_beginnings),
        cmocka_unit_test(a_sample_of_one_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
