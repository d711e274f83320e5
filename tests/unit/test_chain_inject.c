/* SPDX-License-Identifier: MPL-2.0 */
/* Bytes that nobody has sent: messages that a policy or a decoder adds, and the last words to both peers after a policy has blocked a frame. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "chain_play.h"

static struct play play;
static int composed; /* what compose returns instead of what it wrote; 0 = that */

static int begin(void **state)
{
    (void)state;
    composed = 0;
    play_init(&play);
    return 0;
}

static int end(void **state)
{
    (void)state;
    play_fini(&play);
    return 0;
}

/* Lines again: a message is "+text\n", good-bye is "bye\n". */
static int line_compose(void *self, struct soth_flow *flow, const struct soth_frame *frame, char *out, size_t room)
{
    (void)self;
    assert_non_null(flow->chain); /* it is a hook like the others */
    if (composed)
        return composed;
    bool bye = frame->kind == SOTH_EV_FRAME_DECISION || frame->kind == SOTH_EV_WS_CLOSED;
    const char *p = bye ? "bye" : frame->payload.p;
    size_t n = bye ? 3 : frame->payload.n;
    if (n + 2 > room)
        return -SOTH_ELIMIT;
    out[0] = '+';
    memcpy(out + 1, p, n);
    out[n + 1] = '\n';
    return (int)n + 2;
}

static struct actor *lines(void)
{
    struct actor *a = play_add(&play, "lines", SOTH_TAP, SOTH_STAGE_FRAME, tap_frames);
    a->answer = SOTH_WATCH_BOTH;
    play.modules[a - play.actors].compose = line_compose;
    play.env.gated = true;
    return a;
}

static int inject(unsigned direction, const char *text)
{
    struct soth_frame frame = {.size = sizeof frame, .direction = direction, .kind = SOTH_EV_WS_MESSAGE, .payload = soth_span(text)};
    return chain_inject(NULL, &play.flow, &frame);
}

/* A policy that answers each frame in both directions. */
static int result[2];
static enum ask_result (*asked_before)(void *policy, struct soth_flow *flow, struct ask *ask, const struct question *q);
static enum ask_result ask_and_add(void *policy, struct soth_flow *flow, struct ask *ask, const struct question *q)
{
    void *chain = flow->chain, *state = flow->state;
    for (unsigned d = 0; d < 2; d++)
        result[d] = inject(d, "more");
    assert_ptr_equal(flow->chain, chain);
    assert_ptr_equal(flow->state, state);
    return asked_before(policy, flow, ask, q);
}

static void adding(void)
{
    asked_before = play.env.ask;
    play.env.ask = ask_and_add;
}

static void put_added(void)
{
    for (unsigned d = 0; d < 2; d++)
        chain_added(play.chain, d, &play.relay[d]);
}

static void what_is_added_follows_what_was_allowed(void **state)
{
    (void)state;
    lines();
    adding();
    assert_int_equal(play_match(&play, SOTH_TO_CLIENT, 101), CHAIN_GO);
    assert_int_equal(play_text(&play, SOTH_TO_SERVER, "one\ntw"), CHAIN_GO);
    put_added();
    assert_int_equal(result[0], SOTH_OK);
    assert_int_equal(result[1], SOTH_OK);
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "one\n+more\n"); /* not inside the second one */
    assert_string_equal(play_out(&play, SOTH_TO_CLIENT), "+more\n");
    assert_int_equal(play_text(&play, SOTH_TO_SERVER, "o\n"), CHAIN_GO);
    put_added();
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "one\n+more\ntwo\n+more\n");
}

/* Looks at lines and says where they end. */
static bool tells;
static int tap_lines(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    const char *last = cur->in.n ? memrchr(cur->in.p, '\n', cur->in.n) : NULL;
    (void)self;
    (void)flow;
    if (last && tells)
        chain_between(cur, (size_t)(last + 1 - cur->in.p));
    return SOTH_CONTINUE;
}

static void looking(void)
{
    struct actor *a = play_add(&play, "lines", SOTH_TAP, SOTH_STAGE_FRAME, tap_lines);
    a->answer = SOTH_WATCH_BOTH;
    play.modules[a - play.actors].compose = line_compose;
    tells = true;
    assert_int_equal(play_match(&play, SOTH_TO_CLIENT, 101), CHAIN_GO);
    assert_int_equal(inject(0, "x"), -SOTH_EUNSUPPORTED); /* not in a hook */
    play.flow.judged = play.chain;
}

static void where_nobody_judges_it_waits_for_its_place(void **state)
{
    (void)state;
    looking();
    assert_int_equal(inject(0, "first"), SOTH_OK);
    put_added();
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "+first\n"); /* nothing was relayed yet */
    assert_int_equal(play_text(&play, SOTH_TO_SERVER, "one\ntw"), CHAIN_GO);
    assert_int_equal(inject(0, "more"), SOTH_OK);
    assert_true(chain_has_added(play.chain));
    put_added();
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "+first\none\ntw"); /* not inside the second one */
    assert_int_equal(play_text(&play, SOTH_TO_SERVER, "o and"), CHAIN_GO);
    put_added();
    assert_int_equal(play_text(&play, SOTH_TO_SERVER, " half\nthree\nfo"), CHAIN_GO);
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "+first\none\ntwo and half\nthree\n+more\nfo");
    assert_false(chain_has_added(play.chain));
    assert_int_equal(play_text(&play, SOTH_TO_SERVER, "ur\n"), CHAIN_GO);
    assert_int_equal(inject(0, "last"), SOTH_OK);
    put_added();
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "+first\none\ntwo and half\nthree\n+more\nfour\n+last\n");
    play.flow.judged = NULL;
}

static void what_finds_no_place_is_not_sent(void **state)
{
    (void)state;
    looking();
    assert_int_equal(play_text(&play, SOTH_TO_SERVER, "half"), CHAIN_GO);
    assert_int_equal(inject(0, "more"), SOTH_OK);
    tells = false;
    assert_int_equal(play_text(&play, SOTH_TO_SERVER, "\nand so on\n"), CHAIN_GO);
    put_added();
    assert_int_equal(play_end(&play, SOTH_TO_SERVER), CHAIN_GO);
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "half\nand so on\n");
    assert_int_equal(inject(0, "more"), -SOTH_EPERM);
    play.flow.judged = NULL;
}

/* The host ends: last words at the next boundary of either direction, and nothing behind them. */
static void leaving(void **state)
{
    (void)state;
    looking();
    assert_int_equal(play_text(&play, SOTH_TO_SERVER, "half"), CHAIN_GO);
    assert_true(chain_leave(play.chain));
    put_added();
    assert_string_equal(play_out(&play, SOTH_TO_CLIENT), "+bye\n");
    assert_false(chain_has_left(play.chain));
    assert_int_equal(inject(0, "more"), -SOTH_EPERM);
    assert_int_equal(play_text(&play, SOTH_TO_CLIENT, "unheard\n"), CHAIN_GO);
    assert_int_equal(play_text(&play, SOTH_TO_SERVER, " and whole\nunheard\n"), CHAIN_GO);
    assert_true(chain_has_left(play.chain));
    assert_string_equal(play_out(&play, SOTH_TO_CLIENT), "+bye\n");
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "half and whole\nunheard\n+bye\n"); /* the last place of the piece */
    assert_int_equal(play_text(&play, SOTH_TO_SERVER, "unheard\n"), CHAIN_GO);
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "half and whole\nunheard\n+bye\n");
    play.flow.judged = NULL;
}

static void leaving_where_frames_are_judged(void **state)
{
    (void)state;
    lines();
    assert_int_equal(play_match(&play, SOTH_TO_CLIENT, 101), CHAIN_GO);
    assert_int_equal(play_text(&play, SOTH_TO_SERVER, "one\nhalf"), CHAIN_GO);
    assert_true(chain_leave(play.chain));
    put_added();
    assert_true(chain_has_left(play.chain));
    assert_int_equal(play_text(&play, SOTH_TO_SERVER, " and whole\n"), CHAIN_GO);
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "one\n+bye\n");
    assert_string_equal(play_out(&play, SOTH_TO_CLIENT), "+bye\n");
}

static void nobody_has_words_for_it(void **state)
{
    (void)state;
    lines();
    assert_int_equal(play_match(&play, SOTH_TO_CLIENT, 101), CHAIN_GO);
    composed = -SOTH_EUNSUPPORTED;
    assert_false(chain_leave(play.chain));
    assert_false(chain_has_added(play.chain));
    composed = 0;
    assert_int_equal(play_end(&play, SOTH_TO_CLIENT), CHAIN_GO);
    assert_false(chain_leave(play.chain));
}

static void who_cannot_compose_is_not_asked(void **state)
{
    (void)state;
    struct actor *a = lines();
    play.modules[a - play.actors].compose = NULL;
    adding();
    assert_int_equal(play_match(&play, SOTH_TO_CLIENT, 101), CHAIN_GO);
    assert_int_equal(play_text(&play, SOTH_TO_SERVER, "one\n"), CHAIN_GO);
    assert_int_equal(result[0], -SOTH_EUNSUPPORTED);
    assert_int_equal(play_text(&play, SOTH_TO_SERVER, "X\n"), CHAIN_BROKEN);
    assert_false(chain_farewell(play.chain, SOTH_TO_SERVER, &play.relay[0]));
}

static void a_direction_that_has_ended_takes_nothing(void **state)
{
    (void)state;
    lines();
    adding();
    assert_int_equal(play_match(&play, SOTH_TO_CLIENT, 101), CHAIN_GO);
    assert_int_equal(play_end(&play, SOTH_TO_CLIENT), CHAIN_GO);
    assert_int_equal(play_text(&play, SOTH_TO_SERVER, "one\n"), CHAIN_GO);
    assert_int_equal(result[SOTH_TO_SERVER], SOTH_OK);
    assert_int_equal(result[SOTH_TO_CLIENT], -SOTH_EPERM);
}

static void there_is_a_bound(void **state)
{
    (void)state;
    lines();
    assert_int_equal(play_match(&play, SOTH_TO_CLIENT, 101), CHAIN_GO);
    play.flow.judged = play.chain;
    char much[30001];
    memset(much, 'x', 30000);
    much[30000] = 0;
    assert_int_equal(inject(0, much), SOTH_OK);
    assert_int_equal(inject(0, much), SOTH_OK);
    assert_int_equal(inject(0, much), -SOTH_ELIMIT);
    put_added();
    assert_int_equal(strlen(play_out(&play, SOTH_TO_SERVER)), 60004);
    assert_int_equal(inject(0, much), SOTH_OK); /* there is room again */
    composed = 70000;
    assert_int_equal(inject(0, "x"), -SOTH_EINVALID); /* it wrote too much, or says so */
    assert_int_equal(play.faults, 1);
    play.flow.judged = NULL;
}

static void a_block_says_good_bye_to_both(void **state)
{
    (void)state;
    lines();
    assert_int_equal(play_match(&play, SOTH_TO_CLIENT, 101), CHAIN_GO);
    assert_int_equal(play_text(&play, SOTH_TO_CLIENT, "half"), CHAIN_GO);
    assert_int_equal(play_text(&play, SOTH_TO_SERVER, "one\nX\nthree\n"), CHAIN_BROKEN);
    for (unsigned d = 0; d < 2; d++)
        assert_true(chain_farewell(play.chain, d, &play.relay[d]));
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "one\n+bye\n");
    assert_string_equal(play_out(&play, SOTH_TO_CLIENT), "+bye\n"); /* not behind the half */
}

static void whoever_has_ended_hears_nothing(void **state)
{
    (void)state;
    lines();
    assert_int_equal(play_match(&play, SOTH_TO_CLIENT, 101), CHAIN_GO);
    assert_int_equal(play_end(&play, SOTH_TO_CLIENT), CHAIN_GO);
    assert_int_equal(play_text(&play, SOTH_TO_SERVER, "X\n"), CHAIN_BROKEN);
    assert_false(chain_farewell(play.chain, SOTH_TO_CLIENT, &play.relay[1]));
    composed = -SOTH_EIO;
    assert_false(chain_farewell(play.chain, SOTH_TO_SERVER, &play.relay[0]));
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "");
}

/* Parts of something: lines that begin with '-' are judged, and go when the next one without it is allowed. */
static int tap_parts(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)self;
    while (cur->in.n > 0) {
        const char *over = memchr(cur->in.p, '\n', cur->in.n);
        if (!over) /* the tests give whole lines */
            fail();
        struct soth_frame frame = {.size = sizeof frame, .kind = SOTH_EV_STREAM_RECORD, .payload = {cur->in.p, (size_t)(over - cur->in.p)}};
        frame.flags = *cur->in.p == '-' ? SOTH_FRAME_HOLD : 0;
        cursor_pass(cur, frame.payload.n + 1);
        int r = chain_frame(self, flow, &frame);
        if (r != SOTH_CONTINUE)
            return r;
    }
    return SOTH_CONTINUE;
}

static void parts_wait_for_the_whole(void **state)
{
    (void)state;
    play_add(&play, "parts", SOTH_TAP, SOTH_STAGE_FRAME, tap_parts)->answer = SOTH_WATCH_BOTH;
    play.env.gated = true;
    assert_int_equal(play_match(&play, SOTH_TO_CLIENT, 101), CHAIN_GO);
    assert_int_equal(play_text(&play, SOTH_TO_SERVER, "a\n-b\n-c\n"), CHAIN_GO);
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "a\n");
    assert_int_equal(play.asked, 3);
    assert_int_equal(play_text(&play, SOTH_TO_SERVER, "d\n-e\n"), CHAIN_GO);
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "a\n-b\n-c\nd\n");
    assert_int_equal(play_text(&play, SOTH_TO_SERVER, "X\n"), CHAIN_BROKEN);
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "a\n-b\n-c\nd\n");
}

static void parts_may_wait_for_their_verdict(void **state)
{
    (void)state;
    play_add(&play, "parts", SOTH_TAP, SOTH_STAGE_FRAME, tap_parts)->answer = SOTH_WATCH_BOTH;
    play.env.gated = true;
    assert_int_equal(play_match(&play, SOTH_TO_CLIENT, 101), CHAIN_GO);
    assert_int_equal(play_text(&play, SOTH_TO_SERVER, "-P\n-c\nP\n-e\n"), CHAIN_WAIT);
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "");
    assert_int_equal(play_settle(&play, SOTH_TO_SERVER, CHAIN_WAIT), CHAIN_GO);
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "-P\n-c\nP\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_added_follows_what_was_allowed, begin, end),
        cmocka_unit_test_setup_teardown(where_nobody_judges_it_waits_for_its_place, begin, end),
        cmocka_unit_test_setup_teardown(what_finds_no_place_is_not_sent, begin, end),
        cmocka_unit_test_setup_teardown(leaving, begin, end),
        cmocka_unit_test_setup_teardown(leaving_where_frames_are_judged, begin, end),
        cmocka_unit_test_setup_teardown(nobody_has_words_for_it, begin, end),
        cmocka_unit_test_setup_teardown(who_cannot_compose_is_not_asked, begin, end),
        cmocka_unit_test_setup_teardown(a_direction_that_has_ended_takes_nothing, begin, end),
        cmocka_unit_test_setup_teardown(there_is_a_bound, begin, end),
        cmocka_unit_test_setup_teardown(a_block_says_good_bye_to_both, begin, end),
        cmocka_unit_test_setup_teardown(whoever_has_ended_hears_nothing, begin, end),
        cmocka_unit_test_setup_teardown(parts_wait_for_the_whole, begin, end),
        cmocka_unit_test_setup_teardown(parts_may_wait_for_their_verdict, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
