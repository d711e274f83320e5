/* SPDX-License-Identifier: MPL-2.0 */
/* Frames before a policy when a decoder fails, leaves, has neighbours, changes the view, or speaks of frames where it may not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gate_rig.h"

/* ---- who fails or leaves ---- */

static void who_fails_lets_go(void **state)
{
    (void)state;
    struct actor *a = FRAMES();
    a->fail_at = 2;
    a->data_result = -SOTH_EINVALID;
    HEAD();
    GIVES("half");
    RELAYED("");
    GIVES(" and more");
    RELAYED("half and more");
    GIVES("X\n");
    RELAYED("half and moreX\n");
    assert_int_equal(gate.asked, 0);
}

static void who_leaves_by_its_timer_lets_go(void **state)
{
    (void)state;
    struct actor *a = FRAMES();
    a->timer_ms = 100;
    a->timer_result = SOTH_DETACH;
    HEAD();
    GIVES("half");
    RELAYED("");
    assert_int_equal(chain_deadline(gate.chain), gate.port.monotonic_ns + 100000000);
    play_later(&gate, 100);
    IS(GO, chain_timer(gate.chain));
    EVENTS("timer f\n");
    RESUME(GO);
    RELAYED("half");
    GIVES("X\n");
    RELAYED("halfX\n");
}

/* It fails in one direction while a policy thinks about the other. */
static void the_other_direction_does_not_wait_for_ever(void **state)
{
    (void)state;
    struct actor *a = FRAMES();
    a->answer = SOTH_WATCH_BOTH;
    a->fail_at = 2;
    a->data_result = -SOTH_EINVALID;
    IS(GO, play_match(&gate, SOTH_TO_SERVER, 0));
    IS(WAIT, play_text(&gate, SOTH_TO_SERVER, "P\nrest"));
    IS(GO, play_text(&gate, SOTH_TO_CLIENT, "abc"));
    assert_string_equal(play_out(&gate, SOTH_TO_CLIENT), "abc");
    assert_int_equal(gate.forgotten, 1);
    assert_int_not_equal(chain_deadline(gate.chain), 0);
    assert_true(chain_deadline(gate.chain) < gate.port.monotonic_ns); /* at once */
    IS(GO, chain_timer(gate.chain));
    IS(GO, play_resume(&gate, SOTH_TO_SERVER));
    assert_string_equal(play_out(&gate, SOTH_TO_SERVER), "P\nrest");
    assert_int_equal(chain_deadline(gate.chain), 0);
}

/* Its half frame is held in one direction, it fails in the other. */
static void what_it_held_goes_on_soon(void **state)
{
    (void)state;
    struct actor *a = FRAMES();
    a->answer = SOTH_WATCH_BOTH;
    a->fail_at = 2;
    a->data_result = -SOTH_EINVALID;
    IS(GO, play_match(&gate, SOTH_TO_SERVER, 0));
    IS(GO, play_text(&gate, SOTH_TO_SERVER, "half"));
    assert_int_equal(chain_deadline(gate.chain), 0);
    IS(GO, play_text(&gate, SOTH_TO_CLIENT, "abc"));
    assert_int_equal(chain_deadline(gate.chain), 1);
    IS(GO, chain_timer(gate.chain));
    IS(GO, play_resume(&gate, SOTH_TO_SERVER));
    assert_string_equal(play_out(&gate, SOTH_TO_SERVER), "half");
    assert_int_equal(chain_deadline(gate.chain), 0);
}

/* Bytes come for it before anybody has looked. */
static void what_it_held_goes_before_what_comes(void **state)
{
    (void)state;
    struct actor *a = FRAMES();
    a->answer = SOTH_WATCH_BOTH;
    a->fail_at = 2;
    a->data_result = -SOTH_EINVALID;
    IS(GO, play_match(&gate, SOTH_TO_SERVER, 0));
    IS(GO, play_text(&gate, SOTH_TO_SERVER, "half"));
    IS(GO, play_text(&gate, SOTH_TO_CLIENT, "abc"));
    IS(GO, play_bytes(&gate, SOTH_TO_SERVER, " whole", 6, true));
    assert_string_equal(play_out(&gate, SOTH_TO_SERVER), "half whole");
}

/* It lets go, and another one, closed on error, fails over the same bytes. */
static void what_breaks_it_is_not_relayed(void **state)
{
    (void)state;
    struct actor *a = FRAMES(), *b = play_add(&gate, "w", SOTH_TAP, SOTH_STAGE_SANITIZE, tap_watch);
    a->fail_at = b->fail_at = 2;
    a->data_result = b->data_result = -SOTH_EINVALID;
    gate.decoders[1].closed = true;
    HEAD();
    GIVES("half");
    IS(BROKEN, play_text(&gate, SOTH_TO_CLIENT, " more"));
    RELAYED("");
}

/* Passes two bytes, drops two, and only then says that it was a frame. */
static int drops_inside(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct actor *a = self;
    struct soth_frame frame = {.size = sizeof frame, .kind = SOTH_EV_REQUEST_BODY_CHUNK, .payload = soth_span("it")};
    a->calls++;
    cursor_pass(cur, 2);
    cursor_drop(cur, cur->in.n);
    return a->calls == 2 ? chain_frame(self, flow, &frame) : SOTH_CONTINUE;
}

static void what_is_dropped_inside_a_frame_waits_with_it(void **state)
{
    (void)state;
    play_add(&gate, "d", SOTH_TAP, SOTH_STAGE_FRAME, drops_inside);
    HEAD();
    GIVES("abcd");
    RELAYED("");
    GIVES("efgh");
    RELAYED("abcdefgh");
}

/* ---- two of them ---- */

/* Two decoders of frames, of which the policy keeps the one named by the payload's first letter waiting. */
static const struct ask *first_asked;

static enum ask_result one_of_two(void *policy, struct soth_flow *flow, struct ask *ask, const struct question *q)
{
    (void)policy;
    first_asked = first_asked ? first_asked : ask;
    bool waits = q->frame->payload.p[0] == (ask == first_asked ? '1' : '2');
    if (ask->hook) {
        ask->hook = 0;
        return ASK_DONE;
    }
    *ask = (struct ask){.hook = q->hook, .verdict = {.action = SOTH_ALLOW, .policy_module = ""}};
    ask->pause = (struct pause){.state = PAUSE_WAITING, .token = {1, 1, flow->pauses + 1}};
    if (waits)
        flow->pauses++;
    else
        ask->hook = 0;
    return waits ? ASK_WAIT : ASK_DONE;
}

static void the_slower_of_two_counts(void **state)
{
    (void)state;
    for (unsigned decoded = 0; decoded < 2; decoded++) {
        if (decoded)
            play_add(&gate, "d", SOTH_TAP, SOTH_STAGE_CONTENT, tap_odd); /* drops spaces */
        FRAMES();
        play_add(&gate, "g", SOTH_TAP, SOTH_STAGE_FRAME, tap_frames);
        gate.env.ask = one_of_two;
        first_asked = NULL;
        IS(GO, play_match(&gate, SOTH_TO_SERVER, 0));
        IS(GO, play_text(&gate, SOTH_TO_SERVER, "a b\n"));
        assert_string_equal(play_out(&gate, SOTH_TO_SERVER), "a b\n");
        IS(WAIT, play_text(&gate, SOTH_TO_SERVER, "1\n"));
        assert_string_equal(play_out(&gate, SOTH_TO_SERVER), "a b\n");
        assert_true(chain_resumed(gate.chain, 1, 0));
        IS(GO, play_resume(&gate, SOTH_TO_SERVER));
        assert_string_equal(play_out(&gate, SOTH_TO_SERVER), "a b\n1\n");
        IS(WAIT, play_text(&gate, SOTH_TO_SERVER, "c\n2\nrest"));
        assert_string_equal(play_out(&gate, SOTH_TO_SERVER), decoded ? "a b\n1\n" : "a b\n1\nc\n");
        assert_true(chain_resumed(gate.chain, 2, 0));
        IS(GO, play_resume(&gate, SOTH_TO_SERVER));
        assert_string_equal(play_out(&gate, SOTH_TO_SERVER), decoded ? "a b\n1\n" : "a b\n1\nc\n2\n");
        IS(GO, play_end(&gate, SOTH_TO_SERVER));
        assert_string_equal(play_out(&gate, SOTH_TO_SERVER), "a b\n1\nc\n2\nrest");
        gate_again();
    }
}

/* The view comes in two pieces; the second decoder waits in the first piece, the first one in the second. */
static void a_piece_is_judged_when_all_have_seen_it(void **state)
{
    static char body[40005];
    (void)state;
    for (size_t i = 0; i < sizeof body - 1; i += 2)
        memcpy(body + i, "x\n", 2);
    body[0] = '2';
    body[sizeof body - 3] = '1';
    play_add(&gate, "d", SOTH_TAP, SOTH_STAGE_CONTENT, tap_double);
    FRAMES();
    play_add(&gate, "g", SOTH_TAP, SOTH_STAGE_FRAME, tap_frames);
    gate.env.ask = one_of_two;
    first_asked = NULL;
    IS(GO, play_match(&gate, SOTH_TO_SERVER, 0));
    IS(WAIT, play_text(&gate, SOTH_TO_SERVER, body));
    assert_true(chain_resumed(gate.chain, 1, 0));
    IS(WAIT, play_resume(&gate, SOTH_TO_SERVER));
    assert_string_equal(play_out(&gate, SOTH_TO_SERVER), "");
    assert_true(chain_resumed(gate.chain, 2, 0));
    IS(GO, play_resume(&gate, SOTH_TO_SERVER));
    assert_string_equal(play_out(&gate, SOTH_TO_SERVER), body);
}

/* One that has seen the end leaves while the other still waits for a verdict. */
static void the_end_is_told_once(void **state)
{
    (void)state;
    struct actor *first = play_add(&gate, "d", SOTH_TAP, SOTH_STAGE_CONTENT, tap_pass), *a = FRAMES();
    struct actor *last = play_add(&gate, "w", SOTH_TAP, SOTH_STAGE_SANITIZE, tap_watch);
    first->timer_ms = 10;
    first->timer_result = SOTH_DETACH;
    IS(GO, play_match(&gate, SOTH_TO_SERVER, 0));
    IS(WAIT, play_bytes(&gate, SOTH_TO_SERVER, "P\nrest", 6, true));
    play_later(&gate, 10);
    IS(GO, chain_timer(gate.chain));
    IS(WAIT, play_resume(&gate, SOTH_TO_SERVER));
    assert_true(chain_resumed(gate.chain, 1, 0));
    IS(GO, play_resume(&gate, SOTH_TO_SERVER));
    assert_int_equal(a->calls, 2);
    assert_int_equal(last->calls, 2);
    assert_int_equal(last->flags, SOTH_CUR_END);
    assert_string_equal(play_out(&gate, SOTH_TO_SERVER), "P\nrest");
}

/* ---- behind a stage that changes the view ---- */

static void behind_a_decoder_whole_pieces_go_on(void **state)
{
    (void)state;
    play_add(&gate, "d", SOTH_TAP, SOTH_STAGE_CONTENT, tap_double);
    struct actor *a = FRAMES();
    HEAD();
    GIVES("ab");
    RELAYED("");
    GIVES("c\n"); /* its view: aabbcc and two line ends */
    EVENTS("frame aabbcc\nframe \n");
    RELAYED("abc\n");
    GIVES("d\ne");
    EVENTS("frame dd\nframe \n");
    RELAYED("abc\n"); /* the e is not judged */
    GIVES("\n");
    RELAYED("abc\nd\ne\n");
    GIVES("f\ng");
    GIVES("\nh");
    RELAYED("abc\nd\ne\nf\ng"); /* what the piece before brought is judged now */
    IS(WAIT, play_text(&gate, SOTH_TO_CLIENT, "P\nhh\n"));
    RELAYED("abc\nd\ne\nf\ng");
    IS(GO, play_settle(&gate, SOTH_TO_CLIENT, CHAIN_WAIT));
    RELAYED("abc\nd\ne\nf\ng\nhP\nhh\n");
    IS(BROKEN, play_text(&gate, SOTH_TO_CLIENT, "ok\nX\n"));
    RELAYED("abc\nd\ne\nf\ng\nhP\nhh\n");
    (void)a;
}

/* ---- a TRANSFORM before a policy ---- */

static void a_transform_is_judged_by_what_it_makes(void **state)
{
    (void)state;
    play_add(&gate, "f", SOTH_TRANSFORM, SOTH_STAGE_FRAME, transform_frames);
    struct actor *b = play_add(&gate, "t", SOTH_TAP, SOTH_STAGE_SANITIZE, tap_watch);
    HEAD();
    GIVES("on");
    RELAYED("");
    GIVES("e\ntw");
    RELAYED("one\n");
    assert_string_equal(play_seen(b), "one\n");
    IS(WAIT, play_text(&gate, SOTH_TO_CLIENT, "oP\nthree\nfour"));
    RELAYED("one\n");
    IS(GO, play_settle(&gate, SOTH_TO_CLIENT, CHAIN_WAIT));
    RELAYED("one\ntwoP\nthree\n");
    IS(GO, play_bytes(&gate, SOTH_TO_CLIENT, "!", 1, true));
    RELAYED("one\ntwoP\nthree\nfour!");
    assert_string_equal(play_seen(b), "one\ntwoP\nthree\nfour!");
    gate_again();
    play_add(&gate, "f", SOTH_TRANSFORM, SOTH_STAGE_FRAME, transform_frames);
    HEAD();
    IS(BROKEN, play_text(&gate, SOTH_TO_CLIENT, "one\nX\n"));
    RELAYED("one\n");
}

static void a_transform_has_bounds_too(void **state)
{
    static char most[65538];
    (void)state;
    gate_fill(most, 65537);
    struct actor *a = play_add(&gate, "f", SOTH_TRANSFORM, SOTH_STAGE_FRAME, transform_frames);
    HEAD();
    GIVES(most);
    assert_non_null(strstr(play_events(&gate), "failure_code=window"));
    assert_int_equal(strlen(play_out(&gate, SOTH_TO_CLIENT)), 65537);
    assert_int_equal(a->closed, 1);
}

/* ---- where frame may not be called ---- */

static void frame_and_timer_have_their_place(void **state)
{
    struct soth_frame frame = {.size = sizeof frame, .kind = SOTH_EV_REQUEST_BODY_CHUNK};
    (void)state;
    assert_int_equal(chain_frame(NULL, &gate.flow, &frame), -SOTH_EUNSUPPORTED);
    assert_int_equal(chain_set_timer(NULL, &gate.flow, 5), -SOTH_EUNSUPPORTED);
}

static int odd_frames(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct soth_frame frame = {.size = sizeof frame};
    cursor_pass(cur, cur->in.n);
    assert_int_equal(chain_frame(self, flow, &frame), -SOTH_EINVALID);
    frame.kind = SOTH_EV_COUNT;
    assert_int_equal(chain_frame(self, flow, &frame), -SOTH_EINVALID);
    return SOTH_CONTINUE;
}

static void a_frame_is_of_a_kind(void **state)
{
    (void)state;
    play_add(&gate, "o", SOTH_TAP, SOTH_STAGE_FRAME, odd_frames);
    HEAD();
    GIVES("abc");
    RELAYED("");
    ENDS();
    RELAYED("abc");
    assert_int_equal(gate.failures, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, gate_begin, gate_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_fails_lets_go),
        TEST(who_leaves_by_its_timer_lets_go),
        TEST(the_other_direction_does_not_wait_for_ever),
        TEST(what_it_held_goes_on_soon),
        TEST(what_it_held_goes_before_what_comes),
        TEST(what_breaks_it_is_not_relayed),
        TEST(what_is_dropped_inside_a_frame_waits_with_it),
        TEST(the_slower_of_two_counts),
        TEST(a_piece_is_judged_when_all_have_seen_it),
        TEST(the_end_is_told_once),
        TEST(behind_a_decoder_whole_pieces_go_on),
        TEST(a_transform_is_judged_by_what_it_makes),
        TEST(a_transform_has_bounds_too),
        TEST(frame_and_timer_have_their_place),
        TEST(a_frame_is_of_a_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
