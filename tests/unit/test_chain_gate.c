/* SPDX-License-Identifier: MPL-2.0 */
/* Frames before a policy: what is not judged yet is not relayed, what is blocked never, and nothing else waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gate_rig.h"

static void half_a_frame_is_not_relayed(void **state)
{
    (void)state;
    struct actor *a = FRAMES();
    HEAD();
    GIVES("on");
    RELAYED("");
    EVENTS("");
    GIVES("e\ntwo\nth");
    EVENTS("frame one\nframe two\n");
    RELAYED("one\ntwo\n");
    GIVES("ree");
    RELAYED("one\ntwo\n");
    GIVES("\n");
    RELAYED("one\ntwo\nthree\n");
    GIVES("rest");
    ENDS(); /* what is no frame passes at the end */
    RELAYED("one\ntwo\nthree\nrest");
    EVENTS("frame three\n");
    assert_string_equal(play_seen(a), "one\ntwo\nthree\nrest");
    assert_false(a->all_flags & SOTH_CUR_RESUMED);
}

static void without_such_a_policy_nothing_is_held(void **state)
{
    (void)state;
    gate.env.gated = false;
    struct actor *a = FRAMES();
    HEAD();
    GIVES("on");
    RELAYED("on");
    GIVES("e\nXX\n");
    RELAYED("one\nXX\n");
    EVENTS("");
    assert_int_equal(gate.asked, 0);
    assert_string_equal(play_seen(a), "one\nXX\n");
}

static void other_stages_are_not_asked(void **state)
{
    (void)state;
    play_add(&gate, "f", SOTH_TAP, SOTH_STAGE_SANITIZE, tap_frames);
    HEAD();
    GIVES("XX\nha");
    RELAYED("XX\nha");
    assert_int_equal(gate.asked, 0);
}

static void between_frames_nothing_waits(void **state)
{
    (void)state;
    FRAMES();
    HEAD();
    GIVES("#a note");
    RELAYED("#a note");
    GIVES(", longer\n#more");
    RELAYED("#a note, longer\n#more");
    GIVES("\nfra");
    RELAYED("#a note, longer\n#more\n");
    GIVES("me\n#end\n");
    RELAYED("#a note, longer\n#more\nframe\n#end\n");
}

static void a_blocked_frame_and_all_behind_it_stay(void **state)
{
    (void)state;
    struct actor *a = FRAMES();
    struct actor *b = play_add(&gate, "t", SOTH_TAP, SOTH_STAGE_SANITIZE, tap_watch);
    HEAD();
    IS(BROKEN, play_text(&gate, SOTH_TO_CLIENT, "one\ntwo X\nthree\n"));
    RELAYED("one\n");
    EVENTS("frame one\nframe two X\nframe_decision action=block direction=server_to_client policy_module=judge reason=rule\n");
    const struct chain_end *why = chain_end(gate.chain);
    assert_true(why->blocked);
    assert_string_equal(why->verdict.policy_module, "judge");
    assert_string_equal(why->verdict.reason, "rule");
    assert_int_equal(gate.failures, 0);
    assert_string_equal(play_seen(a), "one\ntwo X\n");
    (void)b;
    play_free(&gate, true);
    assert_int_equal(a->closed, 1);
    assert_int_equal(a->complete, 0);
}

static void who_decides_is_told(void **state)
{
    (void)state;
    gate.policy_speaks = true;
    FRAMES()->answer = SOTH_WATCH_BOTH;
    IS(GO, play_match(&gate, SOTH_TO_SERVER, 0));
    IS(GO, play_text(&gate, SOTH_TO_SERVER, "one\n"));
    EVENTS("frame one\nframe_decision action=allow direction=client_to_server policy_module=judge reason=rule\n");
}

static void a_policy_may_take_its_time(void **state)
{
    (void)state;
    struct actor *a = FRAMES();
    struct actor *b = play_add(&gate, "t", SOTH_TAP, SOTH_STAGE_SANITIZE, tap_watch);
    HEAD();
    IS(WAIT, play_text(&gate, SOTH_TO_CLIENT, "one\ntwo P\nthree\nfo"));
    RELAYED("one\n");
    EVENTS("frame one\n");
    assert_string_equal(play_seen(a), "one\ntwo P\n");
    RESUME(WAIT);
    assert_false(chain_resumed(gate.chain, 99, 0));
    assert_true(chain_resumed(gate.chain, 1, 0));
    assert_false(chain_resumed(gate.chain, 1, 0));
    RESUME(GO);
    EVENTS("frame two P\nframe three\n");
    RELAYED("one\ntwo P\nthree\n");
    assert_true(a->all_flags & SOTH_CUR_RESUMED);
    GIVES("ur\n");
    assert_false(a->flags & SOTH_CUR_RESUMED);
    RELAYED("one\ntwo P\nthree\nfour\n");
    assert_string_equal(play_seen(b), "one\ntwo P\nthree\nfour\n");
}

static void it_may_be_busy_or_late(void **state)
{
    (void)state;
    FRAMES();
    HEAD();
    IS(WAIT, play_text(&gate, SOTH_TO_CLIENT, "B\nP"));
    play_later(&gate, 1000);
    IS(GO, chain_timer(gate.chain));
    RESUME(GO);
    RELAYED("B\n");
    IS(WAIT, play_text(&gate, SOTH_TO_CLIENT, "\n"));
    assert_int_equal(chain_deadline(gate.chain), gate.port.monotonic_ns + 1000000000);
    play_later(&gate, 1000);
    IS(GO, chain_timer(gate.chain));
    RESUME(GO); /* the policies' own answer to that */
    RELAYED("B\nP\n");
}

static void a_verdict_that_was_waited_for_may_block(void **state)
{
    (void)state;
    struct actor *a = FRAMES();
    HEAD();
    IS(WAIT, play_text(&gate, SOTH_TO_CLIENT, "one\nPX\ntwo\n"));
    assert_true(chain_resumed(gate.chain, 1, 0));
    RESUME(BROKEN);
    RELAYED("one\n");
    assert_true(chain_end(gate.chain)->blocked);
    assert_int_equal(a->calls, 1);
}

static void every_frame_of_a_read_may_wait(void **state)
{
    (void)state;
    FRAMES();
    HEAD();
    IS(GO, play_settle(&gate, SOTH_TO_CLIENT, play_bytes(&gate, SOTH_TO_CLIENT, "P1\nB2\nP3\n4\nP5\nrest", 19, true)));
    RELAYED("P1\nB2\nP3\n4\nP5\nrest");
    EVENTS("frame P1\nframe B2\nframe P3\nframe 4\nframe P5\n");
}

static void the_flow_may_go_while_a_policy_thinks(void **state)
{
    (void)state;
    struct actor *a = FRAMES();
    HEAD();
    IS(WAIT, play_text(&gate, SOTH_TO_CLIENT, "P\n"));
    play_free(&gate, false);
    assert_int_equal(gate.forgotten, 1);
    assert_int_equal(a->closed, 1);
}

/* Does not return what frame said, and goes on eating. */
static int ignores_it(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct soth_frame frame = {.size = sizeof frame, .kind = SOTH_EV_REQUEST_BODY_CHUNK, .payload = {cur->in.p, 2}};
    assert_int_equal(cursor_pass(cur, 2), 2);
    int r = chain_frame(self, flow, &frame);
    if (r != SOTH_CONTINUE) {
        assert_int_equal(cursor_pass(cur, 2), 0);
        assert_int_equal(cursor_drop(cur, 2), 0);
        assert_int_equal(cursor_put(cur, soth_span("x")), 0);
        assert_int_equal(chain_frame(self, flow, &frame), r);
    }
    return SOTH_CONTINUE;
}

static void who_ignores_a_verdict_waits_all_the_same(void **state)
{
    (void)state;
    play_add(&gate, "i", SOTH_TAP, SOTH_STAGE_FRAME, ignores_it);
    HEAD();
    IS(WAIT, play_text(&gate, SOTH_TO_CLIENT, "P1a2"));
    RELAYED("");
    assert_true(chain_resumed(gate.chain, 1, 0));
    RESUME(GO);
    RELAYED("P1a2");
    gate_again();
    play_add(&gate, "i", SOTH_TAP, SOTH_STAGE_FRAME, ignores_it);
    HEAD();
    IS(BROKEN, play_text(&gate, SOTH_TO_CLIENT, "X1a2"));
    RELAYED("");
}

/* ---- overflow ---- */

static void a_frame_has_bounds(void **state)
{
    static char most[65537];
    (void)state;
    for (unsigned closed = 0; closed < 2; closed++)
        for (size_t piece = 1000; piece <= sizeof most; piece += sizeof most - 1000) {
            gate_fill(most, 65536);
            struct actor *a = FRAMES();
            gate.decoders[0].closed = closed;
            HEAD();
            enum chain_result r = CHAIN_GO;
            for (size_t at = 0; at < 65536 && r == CHAIN_GO; at += piece)
                r = play_bytes(&gate, SOTH_TO_CLIENT, most + at, piece < 65536 - at ? piece : 65536 - at, false);
            IS(GO, r);
            RELAYED("");
            r = play_text(&gate, SOTH_TO_CLIENT, "y\n");
            assert_int_equal(r, closed ? CHAIN_BROKEN : CHAIN_GO);
            assert_non_null(strstr(play_events(&gate), closed ? "action=closed bytes_in=65536" : "action=detached bytes_in=65536"));
            assert_int_equal(strlen(play_out(&gate, SOTH_TO_CLIENT)), closed ? 0 : 65538);
            assert_int_equal(a->failures, 0);
            if (!closed)
                GIVES("X\n"); /* nobody judges any more */
            gate_again();
        }
}

/* Whoever sends it is at fault, not the decoder; what its option on_overflow says holds here, too. */
static void a_long_frame_switches_nobody_off(void **state)
{
    static char most[65537];
    (void)state;
    for (unsigned closes = 0; closes < 2; closes++) {
        gate_fill(most, 65536);
        struct actor *a = FRAMES();
        gate.decoders[0].closes_on_overflow = closes;
        HEAD();
        GIVES(most);
        enum chain_result r = play_text(&gate, SOTH_TO_CLIENT, "y\n");
        assert_int_equal(r, closes ? CHAIN_BROKEN : CHAIN_GO);
        const char *told = play_events(&gate);
        assert_non_null(strstr(told, closes ? "action=closed" : "action=detached"));
        assert_non_null(strstr(told, "failure_code=window"));
        assert_int_equal(a->failures, 0);
        gate_again();
    }
}

static int passes_by(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    bool nothing = soth_span_is(cur->in, "\n");
    struct soth_frame frame = {.size = sizeof frame, .kind = SOTH_EV_REQUEST_BODY_CHUNK, .flags = SOTH_FRAME_PASS};
    cursor_pass(cur, cur->in.n);
    return nothing ? chain_frame(self, flow, &frame) : SOTH_CONTINUE;
}

static void what_is_no_frame_goes_on_unasked(void **state)
{
    (void)state;
    play_add(&gate, "h", SOTH_TAP, SOTH_STAGE_FRAME, passes_by);
    HEAD();
    GIVES("\n");
    RELAYED("\n");
    GIVES("X");
    RELAYED("\n");
    GIVES("\n");
    RELAYED("\nX\n");
    assert_int_equal(gate.asked, 0);
}

static void the_longest_frame_is_judged(void **state)
{
    static char most[65537];
    (void)state;
    gate_fill(most, 65535);
    struct actor *a = FRAMES();
    HEAD();
    GIVES(most);
    RELAYED("");
    GIVES("\n");
    assert_int_equal(strlen(play_out(&gate, SOTH_TO_CLIENT)), 65536);
    assert_int_equal(a->failures, 0);
}

static int big_payload(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct actor *a = self;
    char *payload = malloc(a->number);
    assert_non_null(payload);
    memset(payload, 'P', a->number);
    struct soth_frame frame = {.size = sizeof frame, .kind = SOTH_EV_REQUEST_BODY_CHUNK, .payload = {payload, a->number}};
    cursor_pass(cur, cur->in.n);
    int r = chain_frame(self, flow, &frame);
    free(payload);
    return r;
}

static void a_frame_that_waits_has_bounds(void **state)
{
    (void)state;
    play_add(&gate, "b", SOTH_TAP, SOTH_STAGE_FRAME, big_payload)->number = 1024 * 1024;
    HEAD();
    IS(WAIT, play_text(&gate, SOTH_TO_CLIENT, "abc"));
    gate_again();
    play_add(&gate, "b", SOTH_TAP, SOTH_STAGE_FRAME, big_payload)->number = 1024 * 1024 + 1;
    HEAD();
    GIVES("abc");
    assert_int_equal(gate.forgotten, 1);
    assert_non_null(strstr(play_events(&gate), "failure_code=frame_too_big"));
    RELAYED("abc");
}

static int with_attrs(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    char *text = strdup("text P");
    assert_non_null(text);
    struct soth_attr attrs[] = {{"number", SOTH_U64(7)}, {"text", SOTH_TEXT(soth_span(text))}, {"absent", SOTH_TEXT(((struct soth_span){NULL, 0}))}};
    struct soth_frame frame = {.size = sizeof frame, .kind = SOTH_EV_REQUEST_BODY_CHUNK, .attr_count = 3, .attrs = attrs, .payload = soth_span("P")};
    bool resumed = cur->in.n == 0;
    cursor_pass(cur, cur->in.n);
    int r = resumed ? SOTH_CONTINUE : chain_frame(self, flow, &frame);
    memset(text, 0, 6);
    free(text);
    memset(attrs, 0, sizeof attrs);
    return r;
}

static enum ask_result looks_at_attrs(void *policy, struct soth_flow *flow, struct ask *ask, const struct question *q)
{
    (void)policy;
    assert_int_equal(q->frame->attr_count, 3);
    assert_int_equal(q->frame->attrs[0].number, 7);
    assert_true(soth_span_is(q->frame->attrs[1].text, "text P"));
    assert_null(q->frame->attrs[2].text.p);
    assert_int_equal(q->frame->direction, SOTH_TO_CLIENT);
    if (ask->hook == 0) {
        *ask = (struct ask){.hook = q->hook, .pause = {.state = PAUSE_WAITING, .token = {1, 1, ++flow->pauses}}};
        return ASK_WAIT;
    }
    ask->verdict = (struct verdict){.action = SOTH_ALLOW, .policy_module = ""};
    ask->hook = 0;
    return ASK_DONE;
}

static void a_frame_that_waits_is_copied_whole(void **state)
{
    (void)state;
    play_add(&gate, "a", SOTH_TAP, SOTH_STAGE_FRAME, with_attrs);
    gate.env.ask = looks_at_attrs;
    HEAD();
    IS(WAIT, play_text(&gate, SOTH_TO_CLIENT, "abc"));
    assert_true(chain_resumed(gate.chain, 1, 0));
    RESUME(GO);
    RELAYED("abc");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, gate_begin, gate_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(half_a_frame_is_not_relayed),
        TEST(without_such_a_policy_nothing_is_held),
        TEST(other_stages_are_not_asked),
        TEST(between_frames_nothing_waits),
        TEST(a_blocked_frame_and_all_behind_it_stay),
        TEST(who_decides_is_told),
        TEST(a_policy_may_take_its_time),
        TEST(it_may_be_busy_or_late),
        TEST(a_verdict_that_was_waited_for_may_block),
        TEST(every_frame_of_a_read_may_wait),
        TEST(the_flow_may_go_while_a_policy_thinks),
        TEST(who_ignores_a_verdict_waits_all_the_same),
        TEST(a_frame_has_bounds),
        TEST(a_long_frame_switches_nobody_off), TEST(what_is_no_frame_goes_on_unasked), TEST(the_longest_frame_is_judged),
        TEST(a_frame_that_waits_has_bounds),
        TEST(a_frame_that_waits_is_copied_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
