/* SPDX-License-Identifier: MPL-2.0 */
/* Frames before a policy: what is not judged yet is not relayed, what is blocked never, and nothing else waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "chain_play.h"

static struct play play;

static int begin(void **state)
{
    (void)state;
    play_init(&play);
    play.env.gated = true;
    return 0;
}

static int end(void **state)
{
    (void)state;
    play_fini(&play);
    return 0;
}

static void again(void)
{
    play_fini(&play);
    begin(NULL);
}

#define FRAMES() play_add(&play, "f", SOTH_TAP, SOTH_STAGE_FRAME, tap_frames)
#define IS(result, call) assert_int_equal(call, CHAIN_##result)
#define HEAD() IS(GO, play_match(&play, SOTH_TO_CLIENT, 200))
#define GIVES(text_) IS(GO, play_text(&play, SOTH_TO_CLIENT, text_))
#define ENDS() IS(GO, play_end(&play, SOTH_TO_CLIENT))
#define RESUME(result) IS(result, play_resume(&play, SOTH_TO_CLIENT))
#define RELAYED(text_) assert_string_equal(play_out(&play, SOTH_TO_CLIENT), text_)
#define EVENTS(text_) assert_string_equal(play_events(&play), text_)

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
    play.env.gated = false;
    struct actor *a = FRAMES();
    HEAD();
    GIVES("on");
    RELAYED("on");
    GIVES("e\nXX\n");
    RELAYED("one\nXX\n");
    EVENTS("");
    assert_int_equal(play.asked, 0);
    assert_string_equal(play_seen(a), "one\nXX\n");
}

static void other_stages_are_not_asked(void **state)
{
    (void)state;
    play_add(&play, "f", SOTH_TAP, SOTH_STAGE_SANITIZE, tap_frames);
    HEAD();
    GIVES("XX\nha");
    RELAYED("XX\nha");
    assert_int_equal(play.asked, 0);
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
    struct actor *b = play_add(&play, "t", SOTH_TAP, SOTH_STAGE_SANITIZE, tap_watch);
    HEAD();
    IS(BROKEN, play_text(&play, SOTH_TO_CLIENT, "one\ntwo X\nthree\n"));
    RELAYED("one\n");
    EVENTS("frame one\nframe two X\nframe_decision action=block direction=server_to_client policy_module=judge reason=rule\n");
    const struct chain_end *why = chain_end(play.chain);
    assert_true(why->blocked);
    assert_string_equal(why->verdict.policy_module, "judge");
    assert_string_equal(why->verdict.reason, "rule");
    assert_int_equal(play.failures, 0);
    assert_string_equal(play_seen(a), "one\ntwo X\n");
    (void)b;
    play_free(&play, true);
    assert_int_equal(a->closed, 1);
    assert_int_equal(a->complete, 0);
}

static void who_decides_is_told(void **state)
{
    (void)state;
    play.policy_speaks = true;
    FRAMES()->answer = SOTH_WATCH_BOTH;
    IS(GO, play_match(&play, SOTH_TO_SERVER, 0));
    IS(GO, play_text(&play, SOTH_TO_SERVER, "one\n"));
    EVENTS("frame one\nframe_decision action=allow direction=client_to_server policy_module=judge reason=rule\n");
}

static void a_policy_may_take_its_time(void **state)
{
    (void)state;
    struct actor *a = FRAMES();
    struct actor *b = play_add(&play, "t", SOTH_TAP, SOTH_STAGE_SANITIZE, tap_watch);
    HEAD();
    IS(WAIT, play_text(&play, SOTH_TO_CLIENT, "one\ntwo P\nthree\nfo"));
    RELAYED("one\n");
    EVENTS("frame one\n");
    assert_string_equal(play_seen(a), "one\ntwo P\n");
    RESUME(WAIT);
    assert_false(chain_resumed(play.chain, 99, 0));
    assert_true(chain_resumed(play.chain, 1, 0));
    assert_false(chain_resumed(play.chain, 1, 0));
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
    IS(WAIT, play_text(&play, SOTH_TO_CLIENT, "B\nP"));
    play_later(&play, 1000);
    IS(GO, chain_timer(play.chain));
    RESUME(GO);
    RELAYED("B\n");
    IS(WAIT, play_text(&play, SOTH_TO_CLIENT, "\n"));
    assert_int_equal(chain_deadline(play.chain), play.port.monotonic_ns + 1000000000);
    play_later(&play, 1000);
    IS(GO, chain_timer(play.chain));
    RESUME(GO); /* the policies' own answer to that */
    RELAYED("B\nP\n");
}

static void a_verdict_that_was_waited_for_may_block(void **state)
{
    (void)state;
    struct actor *a = FRAMES();
    HEAD();
    IS(WAIT, play_text(&play, SOTH_TO_CLIENT, "one\nPX\ntwo\n"));
    assert_true(chain_resumed(play.chain, 1, 0));
    RESUME(BROKEN);
    RELAYED("one\n");
    assert_true(chain_end(play.chain)->blocked);
    assert_int_equal(a->calls, 1);
}

static void every_frame_of_a_read_may_wait(void **state)
{
    (void)state;
    FRAMES();
    HEAD();
    IS(GO, play_settle(&play, SOTH_TO_CLIENT, play_bytes(&play, SOTH_TO_CLIENT, "P1\nB2\nP3\n4\nP5\nrest", 19, true)));
    RELAYED("P1\nB2\nP3\n4\nP5\nrest");
    EVENTS("frame P1\nframe B2\nframe P3\nframe 4\nframe P5\n");
}

static void the_flow_may_go_while_a_policy_thinks(void **state)
{
    (void)state;
    struct actor *a = FRAMES();
    HEAD();
    IS(WAIT, play_text(&play, SOTH_TO_CLIENT, "P\n"));
    play_free(&play, false);
    assert_int_equal(play.forgotten, 1);
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
    play_add(&play, "i", SOTH_TAP, SOTH_STAGE_FRAME, ignores_it);
    HEAD();
    IS(WAIT, play_text(&play, SOTH_TO_CLIENT, "P1a2"));
    RELAYED("");
    assert_true(chain_resumed(play.chain, 1, 0));
    RESUME(GO);
    RELAYED("P1a2");
    again();
    play_add(&play, "i", SOTH_TAP, SOTH_STAGE_FRAME, ignores_it);
    HEAD();
    IS(BROKEN, play_text(&play, SOTH_TO_CLIENT, "X1a2"));
    RELAYED("");
}

/* ---- overflow ---- */

static void fill(char *text, size_t n)
{
    memset(text, 'x', n);
    text[n] = 0;
}

static void a_frame_has_bounds(void **state)
{
    static char most[65537];
    (void)state;
    for (unsigned closed = 0; closed < 2; closed++)
        for (size_t piece = 1000; piece <= sizeof most; piece += sizeof most - 1000) {
            fill(most, 65536);
            struct actor *a = FRAMES();
            play.decoders[0].closed = closed;
            HEAD();
            enum chain_result r = CHAIN_GO;
            for (size_t at = 0; at < 65536 && r == CHAIN_GO; at += piece)
                r = play_bytes(&play, SOTH_TO_CLIENT, most + at, piece < 65536 - at ? piece : 65536 - at, false);
            IS(GO, r);
            RELAYED("");
            r = play_text(&play, SOTH_TO_CLIENT, "y\n");
            assert_int_equal(r, closed ? CHAIN_BROKEN : CHAIN_GO);
            assert_non_null(strstr(play_events(&play), closed ? "action=closed" : "action=detached"));
            assert_int_equal(strlen(play_out(&play, SOTH_TO_CLIENT)), closed ? 0 : 65538);
            assert_int_equal(a->failures, 1);
            if (!closed)
                GIVES("X\n"); /* nobody judges any more */
            again();
        }
}

static void the_longest_frame_is_judged(void **state)
{
    static char most[65537];
    (void)state;
    fill(most, 65535);
    struct actor *a = FRAMES();
    HEAD();
    GIVES(most);
    RELAYED("");
    GIVES("\n");
    assert_int_equal(strlen(play_out(&play, SOTH_TO_CLIENT)), 65536);
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
    play_add(&play, "b", SOTH_TAP, SOTH_STAGE_FRAME, big_payload)->number = 1024 * 1024;
    HEAD();
    IS(WAIT, play_text(&play, SOTH_TO_CLIENT, "abc"));
    again();
    play_add(&play, "b", SOTH_TAP, SOTH_STAGE_FRAME, big_payload)->number = 1024 * 1024 + 1;
    HEAD();
    GIVES("abc");
    assert_int_equal(play.forgotten, 1);
    assert_non_null(strstr(play_events(&play), "failure_code=frame_too_big"));
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
    play_add(&play, "a", SOTH_TAP, SOTH_STAGE_FRAME, with_attrs);
    play.env.ask = looks_at_attrs;
    HEAD();
    IS(WAIT, play_text(&play, SOTH_TO_CLIENT, "abc"));
    assert_true(chain_resumed(play.chain, 1, 0));
    RESUME(GO);
    RELAYED("abc");
}

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
    assert_int_equal(play.asked, 0);
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
    assert_int_equal(chain_deadline(play.chain), play.port.monotonic_ns + 100000000);
    play_later(&play, 100);
    IS(GO, chain_timer(play.chain));
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
    IS(GO, play_match(&play, SOTH_TO_SERVER, 0));
    IS(WAIT, play_text(&play, SOTH_TO_SERVER, "P\nrest"));
    IS(GO, play_text(&play, SOTH_TO_CLIENT, "abc"));
    assert_string_equal(play_out(&play, SOTH_TO_CLIENT), "abc");
    assert_int_equal(play.forgotten, 1);
    assert_int_not_equal(chain_deadline(play.chain), 0);
    assert_true(chain_deadline(play.chain) < play.port.monotonic_ns); /* at once */
    IS(GO, chain_timer(play.chain));
    IS(GO, play_resume(&play, SOTH_TO_SERVER));
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "P\nrest");
    assert_int_equal(chain_deadline(play.chain), 0);
}

/* Its half frame is held in one direction, it fails in the other. */
static void what_it_held_goes_on_soon(void **state)
{
    (void)state;
    struct actor *a = FRAMES();
    a->answer = SOTH_WATCH_BOTH;
    a->fail_at = 2;
    a->data_result = -SOTH_EINVALID;
    IS(GO, play_match(&play, SOTH_TO_SERVER, 0));
    IS(GO, play_text(&play, SOTH_TO_SERVER, "half"));
    assert_int_equal(chain_deadline(play.chain), 0);
    IS(GO, play_text(&play, SOTH_TO_CLIENT, "abc"));
    assert_int_equal(chain_deadline(play.chain), 1);
    IS(GO, chain_timer(play.chain));
    IS(GO, play_resume(&play, SOTH_TO_SERVER));
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "half");
    assert_int_equal(chain_deadline(play.chain), 0);
}

/* Bytes come for it before anybody has looked. */
static void what_it_held_goes_before_what_comes(void **state)
{
    (void)state;
    struct actor *a = FRAMES();
    a->answer = SOTH_WATCH_BOTH;
    a->fail_at = 2;
    a->data_result = -SOTH_EINVALID;
    IS(GO, play_match(&play, SOTH_TO_SERVER, 0));
    IS(GO, play_text(&play, SOTH_TO_SERVER, "half"));
    IS(GO, play_text(&play, SOTH_TO_CLIENT, "abc"));
    IS(GO, play_bytes(&play, SOTH_TO_SERVER, " whole", 6, true));
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "half whole");
}

/* It lets go, and another one, closed on error, fails over the same bytes. */
static void what_breaks_it_is_not_relayed(void **state)
{
    (void)state;
    struct actor *a = FRAMES(), *b = play_add(&play, "w", SOTH_TAP, SOTH_STAGE_SANITIZE, tap_watch);
    a->fail_at = b->fail_at = 2;
    a->data_result = b->data_result = -SOTH_EINVALID;
    play.decoders[1].closed = true;
    HEAD();
    GIVES("half");
    IS(BROKEN, play_text(&play, SOTH_TO_CLIENT, " more"));
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
    play_add(&play, "d", SOTH_TAP, SOTH_STAGE_FRAME, drops_inside);
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
            play_add(&play, "d", SOTH_TAP, SOTH_STAGE_CONTENT, tap_odd); /* drops spaces */
        FRAMES();
        play_add(&play, "g", SOTH_TAP, SOTH_STAGE_FRAME, tap_frames);
        play.env.ask = one_of_two;
        first_asked = NULL;
        IS(GO, play_match(&play, SOTH_TO_SERVER, 0));
        IS(GO, play_text(&play, SOTH_TO_SERVER, "a b\n"));
        assert_string_equal(play_out(&play, SOTH_TO_SERVER), "a b\n");
        IS(WAIT, play_text(&play, SOTH_TO_SERVER, "1\n"));
        assert_string_equal(play_out(&play, SOTH_TO_SERVER), "a b\n");
        assert_true(chain_resumed(play.chain, 1, 0));
        IS(GO, play_resume(&play, SOTH_TO_SERVER));
        assert_string_equal(play_out(&play, SOTH_TO_SERVER), "a b\n1\n");
        IS(WAIT, play_text(&play, SOTH_TO_SERVER, "c\n2\nrest"));
        assert_string_equal(play_out(&play, SOTH_TO_SERVER), decoded ? "a b\n1\n" : "a b\n1\nc\n");
        assert_true(chain_resumed(play.chain, 2, 0));
        IS(GO, play_resume(&play, SOTH_TO_SERVER));
        assert_string_equal(play_out(&play, SOTH_TO_SERVER), decoded ? "a b\n1\n" : "a b\n1\nc\n2\n");
        IS(GO, play_end(&play, SOTH_TO_SERVER));
        assert_string_equal(play_out(&play, SOTH_TO_SERVER), "a b\n1\nc\n2\nrest");
        again();
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
    play_add(&play, "d", SOTH_TAP, SOTH_STAGE_CONTENT, tap_double);
    FRAMES();
    play_add(&play, "g", SOTH_TAP, SOTH_STAGE_FRAME, tap_frames);
    play.env.ask = one_of_two;
    first_asked = NULL;
    IS(GO, play_match(&play, SOTH_TO_SERVER, 0));
    IS(WAIT, play_text(&play, SOTH_TO_SERVER, body));
    assert_true(chain_resumed(play.chain, 1, 0));
    IS(WAIT, play_resume(&play, SOTH_TO_SERVER));
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "");
    assert_true(chain_resumed(play.chain, 2, 0));
    IS(GO, play_resume(&play, SOTH_TO_SERVER));
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), body);
}

/* One that has seen the end leaves while the other still waits for a verdict. */
static void the_end_is_told_once(void **state)
{
    (void)state;
    struct actor *first = play_add(&play, "d", SOTH_TAP, SOTH_STAGE_CONTENT, tap_pass), *a = FRAMES();
    struct actor *last = play_add(&play, "w", SOTH_TAP, SOTH_STAGE_SANITIZE, tap_watch);
    first->timer_ms = 10;
    first->timer_result = SOTH_DETACH;
    IS(GO, play_match(&play, SOTH_TO_SERVER, 0));
    IS(WAIT, play_bytes(&play, SOTH_TO_SERVER, "P\nrest", 6, true));
    play_later(&play, 10);
    IS(GO, chain_timer(play.chain));
    IS(WAIT, play_resume(&play, SOTH_TO_SERVER));
    assert_true(chain_resumed(play.chain, 1, 0));
    IS(GO, play_resume(&play, SOTH_TO_SERVER));
    assert_int_equal(a->calls, 2);
    assert_int_equal(last->calls, 2);
    assert_int_equal(last->flags, SOTH_CUR_END);
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "P\nrest");
}

/* ---- behind a stage that changes the view ---- */

static void behind_a_decoder_whole_pieces_go_on(void **state)
{
    (void)state;
    play_add(&play, "d", SOTH_TAP, SOTH_STAGE_CONTENT, tap_double);
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
    IS(WAIT, play_text(&play, SOTH_TO_CLIENT, "P\nhh\n"));
    RELAYED("abc\nd\ne\nf\ng");
    IS(GO, play_settle(&play, SOTH_TO_CLIENT, CHAIN_WAIT));
    RELAYED("abc\nd\ne\nf\ng\nhP\nhh\n");
    IS(BROKEN, play_text(&play, SOTH_TO_CLIENT, "ok\nX\n"));
    RELAYED("abc\nd\ne\nf\ng\nhP\nhh\n");
    (void)a;
}

/* ---- a TRANSFORM before a policy ---- */

static void a_transform_is_judged_by_what_it_makes(void **state)
{
    (void)state;
    play_add(&play, "f", SOTH_TRANSFORM, SOTH_STAGE_FRAME, transform_frames);
    struct actor *b = play_add(&play, "t", SOTH_TAP, SOTH_STAGE_SANITIZE, tap_watch);
    HEAD();
    GIVES("on");
    RELAYED("");
    GIVES("e\ntw");
    RELAYED("one\n");
    assert_string_equal(play_seen(b), "one\n");
    IS(WAIT, play_text(&play, SOTH_TO_CLIENT, "oP\nthree\nfour"));
    RELAYED("one\n");
    IS(GO, play_settle(&play, SOTH_TO_CLIENT, CHAIN_WAIT));
    RELAYED("one\ntwoP\nthree\n");
    IS(GO, play_bytes(&play, SOTH_TO_CLIENT, "!", 1, true));
    RELAYED("one\ntwoP\nthree\nfour!");
    assert_string_equal(play_seen(b), "one\ntwoP\nthree\nfour!");
    again();
    play_add(&play, "f", SOTH_TRANSFORM, SOTH_STAGE_FRAME, transform_frames);
    HEAD();
    IS(BROKEN, play_text(&play, SOTH_TO_CLIENT, "one\nX\n"));
    RELAYED("one\n");
}

static void a_transform_has_bounds_too(void **state)
{
    static char most[65538];
    (void)state;
    fill(most, 65537);
    struct actor *a = play_add(&play, "f", SOTH_TRANSFORM, SOTH_STAGE_FRAME, transform_frames);
    HEAD();
    GIVES(most);
    assert_non_null(strstr(play_events(&play), "failure_code=window"));
    assert_int_equal(strlen(play_out(&play, SOTH_TO_CLIENT)), 65537);
    assert_int_equal(a->closed, 1);
}

/* ---- where frame may not be called ---- */

static void frame_and_timer_have_their_place(void **state)
{
    struct soth_frame frame = {.size = sizeof frame, .kind = SOTH_EV_REQUEST_BODY_CHUNK};
    (void)state;
    assert_int_equal(chain_frame(NULL, &play.flow, &frame), -SOTH_EUNSUPPORTED);
    assert_int_equal(chain_set_timer(NULL, &play.flow, 5), -SOTH_EUNSUPPORTED);
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
    play_add(&play, "o", SOTH_TAP, SOTH_STAGE_FRAME, odd_frames);
    HEAD();
    GIVES("abc");
    RELAYED("");
    ENDS();
    RELAYED("abc");
    assert_int_equal(play.failures, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

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
        TEST(the_longest_frame_is_judged),
        TEST(a_frame_that_waits_has_bounds),
        TEST(a_frame_that_waits_is_copied_whole),
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
