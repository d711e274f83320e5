/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Documents of whole connections, tests/golden/flow: what a client and an origin say, the events that come of it and what either is sent. Each is
 * played whole, byte by byte and cut in two at every place; the cutting of body chunks is all that may differ, and does not count.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "flow_rig.h"
#include "golden.h"

struct play {
    const struct golden_case *c;
    const struct golden_cut *cut;
    struct driver d;
    const char *script; /* what is left of the block `then` */
    size_t at[2];       /* bytes that the flow has read of either side's words */
};

/* ---- settings: the block `with`, a line each ---- */

static bool is(const char *line, size_t n, const char *word)
{
    return n == strlen(word) && memcmp(line, word, n) == 0;
}

static void setting(struct play *play, const char *line, size_t n)
{
    static const struct verdict tunnel = {.action = SOTH_TUNNEL, .reason = "ignored_host", .policy_module = "test"};
    static const struct verdict block = {.action = SOTH_BLOCK, .reason = "rule", .rule_id = {"r1", 2}, .policy_module = "test"};
    struct driver *d = &play->d;
    if (is(line, n, "reverse"))
        d->listen.mode = LISTEN_REVERSE;
    else if (is(line, n, "lenient"))
        d->settings.connect_parse_mode = PARSE_LENIENT;
    else if (is(line, n, "not_tls: block"))
        d->settings.not_tls = NOT_TLS_BLOCK;
    else if (is(line, n, "authority_mismatch: audit"))
        d->settings.authority_mismatch = MISMATCH_AUDIT;
    else if (is(line, n, "policy tunnels"))
        d->policy.target = tunnel;
    else if (is(line, n, "policy blocks"))
        d->policy.target = block;
    else if (is(line, n, "policy blocks b.test"))
        d->policy.blocked = "b.test";
    else if (is(line, n, "policy blocks requests"))
        d->policy.request = block;
    else
        fail_msg("%s: unknown setting %.*s", play->c->title, (int)n, line);
}

static void each_line(struct play *play, const char *text, void (*take)(struct play *play, const char *line, size_t n))
{
    while (text && *text) {
        size_t n = strcspn(text, "\n");
        take(play, text, n);
        text += n + (text[n] == '\n');
    }
}

/* ---- what happens, the block `then`: a line whenever nothing moves any more ---- */

static bool rest_of(const char *line, size_t n, const char *prefix, const char **rest, size_t *rest_size)
{
    size_t length = strlen(prefix);
    if (n < length || memcmp(line, prefix, length) != 0)
        return false;
    *rest = line + length;
    *rest_size = n - length;
    return true;
}

static void peer_does(struct play *play, enum side side, const char *what, size_t n)
{
    struct buffer bytes = {0};
    if (is(what, n, "ends")) {
        driver_hang_up(&play->d, side, 0);
    } else if (is(what, n, "resets")) {
        driver_hang_up(&play->d, side, ECONNRESET);
    } else {
        golden_unescape(play->c, what, n, &bytes);
        driver_say(&play->d, side, buffer_data(&bytes), buffer_size(&bytes));
        play->at[side] = 0;
    }
    buffer_fini(&bytes);
}

static void happens(struct play *play, const char *line, size_t n)
{
    const char *rest;
    size_t size;
    if (rest_of(line, n, "origin ", &rest, &size))
        peer_does(play, SIDE_ORIGIN, rest, size);
    else if (rest_of(line, n, "client ", &rest, &size))
        peer_does(play, SIDE_CLIENT, rest, size);
    else if (rest_of(line, n, "time ", &rest, &size))
        driver_time(&play->d, strtoull(rest, NULL, 10));
    else if (is(line, n, "dial fails"))
        assert_true(driver_dial_failed(&play->d, DIAL_FAILURE_REFUSED, "ECONNREFUSED"));
    else if (is(line, n, "drain"))
        driver_step(&play->d, (struct input){.type = INPUT_DRAIN});
    else
        fail_msg("%s: what is %.*s?", play->c->title, (int)n, line);
}

/* A read of the size that the cut gives to this place of the side's words. */
static bool read_piece(struct play *play, enum side side)
{
    size_t waits = buffer_size(&play->d.end[side].inbox), n = play->at[side] + waits;
    size_t piece = waits ? golden_piece(play->cut, play->at[side], n) : 0;
    if (!driver_read(&play->d, side, piece))
        return false;
    play->at[side] += piece;
    return true;
}

static void run(struct play *play)
{
    for (;;) {
        while (read_piece(play, SIDE_CLIENT) || read_piece(play, SIDE_ORIGIN))
            ;
        size_t n = strcspn(play->script, "\n");
        bool fails = n > 0 && is(play->script, n, "dial fails");
        if (play->d.dialing && !fails) {
            driver_dialed(&play->d);
            play->at[SIDE_ORIGIN] = 0;
            continue;
        }
        if (n == 0 || !play->d.flow)
            return;
        happens(play, play->script, n);
        play->script += n + (play->script[n] == '\n');
    }
}

/* ---- what came of it ---- */

static void say(struct buffer *out, const char *p, size_t n)
{
    assert_int_equal(buffer_append(out, p, n), 0);
}

static uint64_t number_in(const char *line, const char *name)
{
    const char *at = strstr(line, name);
    assert_non_null(at);
    return strtoull(at + strlen(name), NULL, 10);
}

/* Chunks of one body that follow each other are one. */
static const char *say_chunks(struct buffer *out, const char *line)
{
    const char *first = line;
    size_t kind = strcspn(line, " ");
    uint64_t bytes = 0;
    char merged[160];
    for (; strncmp(line, first, kind + 1) == 0; line = strchr(line, '\n') + 1)
        bytes += number_in(line, " bytes=");
    snprintf(merged, sizeof merged, "%.*s bytes=%llu exchange_no=%llu offset=%llu\n", (int)kind, first, (unsigned long long)bytes,
             (unsigned long long)number_in(first, " exchange_no="), (unsigned long long)number_in(first, " offset="));
    say(out, merged, strlen(merged));
    return line;
}

/* Without what depends on time, and on how much had been read when it ended. */
static void say_event(struct buffer *out, const char *line, size_t n)
{
    static const char *const left_out[] = {" duration_ms=", " bytes_from_client=", " bytes_from_server="};
    for (size_t at = 0, end; at < n; at = end) {
        bool stays = true;
        end = at + 1 + strcspn(line + at + 1, " \n");
        for (size_t k = 0; k < 3; k++)
            stays = stays && strncmp(line + at, left_out[k], strlen(left_out[k])) != 0;
        if (stays)
            say(out, line + at, end - at);
    }
    say(out, "\n", 1);
}

static void say_events(struct buffer *out, const char *line)
{
    while (*line) {
        size_t n = strcspn(line, "\n");
        if (strncmp(line, "request_body_chunk ", 19) == 0 || strncmp(line, "response_body_chunk ", 20) == 0) {
            line = say_chunks(out, line);
            continue;
        }
        say_event(out, line, n);
        line += n + 1;
    }
}

/* The chunks of a body, p up to end, as one chunk. Returns where they end. */
static const char *join_chunks(const char *p, const char *end, struct buffer *joined)
{
    struct buffer body = {0};
    char size[24];
    size_t n;
    do {
        char *data;
        n = strtoul(p, &data, 16);
        if (data + 2 + n + (n ? 2 : 0) > end)
            break;
        say(&body, data + 2, n);
        p = data + 2 + n + (n ? 2 : 0);
    } while (n > 0);
    snprintf(size, sizeof size, "%zx\r\n", buffer_size(&body));
    say(joined, size, strlen(size));
    say(joined, (const char *)buffer_data(&body), buffer_size(&body));
    say(joined, "\r\n0\r\n", n == 0 ? 5 : 2);
    buffer_fini(&body);
    return p;
}

static void join_all_chunks(const struct buffer *told, struct buffer *joined)
{
    static const char chunked[] = "Transfer-Encoding: chunked\r\n";
    const char *p = (const char *)buffer_data(told), *end = p + buffer_size(told);
    while (p < end) {
        const char *field = memmem(p, (size_t)(end - p), chunked, sizeof chunked - 1);
        const char *body = field ? memmem(field, (size_t)(end - field), "\r\n\r\n", 4) : NULL;
        say(joined, p, (size_t)((body ? body + 4 : end) - p));
        p = body ? join_chunks(body + 4, end, joined) : end;
    }
}

/* "client < TEXT", a line of the wire each. */
static void say_told(struct buffer *out, const char *who, const struct buffer *sent)
{
    struct buffer joined = {0};
    join_all_chunks(sent, &joined);
    const struct buffer *told = &joined;
    const uint8_t *p = buffer_data(told);
    char piece[8];
    for (size_t i = 0, n = buffer_size(told), start = 1; i < n; i++) {
        if (start)
            say(out, who, strlen(who));
        snprintf(piece, sizeof piece, p[i] == '\r' ? "\\r" : p[i] == '\n' ? "\\n" : p[i] < 32 || p[i] > 126 ? "\\x%02x" : "%c", p[i]);
        say(out, piece, strlen(piece));
        start = p[i] == '\n' || i + 1 == n;
        if (start)
            say(out, "\n", 1);
    }
    buffer_fini(&joined);
}

static void play_case(const struct golden_case *c, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out)
{
    struct play play = {.c = c, .cut = cut, .script = golden_text(c, "then")};
    play.script = play.script ? play.script : "";
    rig_init(&play.d);
    each_line(&play, golden_text(c, "with"), setting);
    driver_accept(&play.d);
    driver_say(&play.d, SIDE_CLIENT, p, n);
    run(&play);
    if (play.d.flow)
        driver_step(&play.d, (struct input){.type = INPUT_ABORT});
    say_events(out, driver_log(&play.d));
    say_told(out, "client < ", &play.d.told[SIDE_CLIENT]);
    say_told(out, "origin < ", &play.d.told[SIDE_ORIGIN]);
    rig_fini(&play.d);
}

static void connect_requests(void **state)
{
    (void)state;
    golden_check_all("tests/golden/flow/connect.md", play_case);
}

static void absolute_requests(void **state)
{
    (void)state;
    golden_check_all("tests/golden/flow/absolute.md", play_case);
}

static void reverse_listeners(void **state)
{
    (void)state;
    golden_check_all("tests/golden/flow/reverse.md", play_case);
}

static void onboarding(void **state)
{
    (void)state;
    golden_check_all("tests/golden/flow/onboarding.md", play_case);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connect_requests),
        cmocka_unit_test(absolute_requests),
        cmocka_unit_test(onboarding),
        cmocka_unit_test(reverse_listeners),
    };
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
