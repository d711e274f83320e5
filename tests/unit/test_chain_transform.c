/* SPDX-License-Identifier: MPL-2.0 */
/* Decoders that change what is relayed: windows, room, waits, stalls, failures; nothing is lost, added or reordered. */
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
    return 0;
}

static int end(void **state)
{
    (void)state;
    play_fini(&play);
    return 0;
}

#define TRANSFORM(name, data) play_add(&play, name, SOTH_TRANSFORM, SOTH_STAGE_SANITIZE, data)
#define IS(result, call) assert_int_equal(call, CHAIN_##result)
#define HEAD() IS(GO, play_match(&play, SOTH_TO_SERVER, 0))
#define GIVES(text_) IS(GO, play_text(&play, SOTH_TO_SERVER, text_))
#define ENDS() IS(GO, play_end(&play, SOTH_TO_SERVER))
#define RESUME(result) IS(result, play_resume(&play, SOTH_TO_SERVER))
#define RELAYED(text_) assert_string_equal(play_out(&play, SOTH_TO_SERVER), text_)

static void again(void)
{
    play_fini(&play);
    play_init(&play);
}

static void a_word_is_replaced_wherever_it_is_cut(void **state)
{
    static const char text[] = "a cat, a cacat and a ca", wanted[] = "a tiger, a catiger and a ca";
    size_t n = sizeof text - 1;
    (void)state;
    for (size_t i = 0; i <= n; i++)
        for (size_t k = i; k <= n; k++) {
            TRANSFORM("r", transform_replace);
            struct actor *tap = play_add(&play, "t", SOTH_TAP, SOTH_STAGE_SANITIZE, tap_watch);
            HEAD();
            assert_true(chain_transforms(play.chain, SOTH_TO_SERVER));
            assert_false(chain_transforms(play.chain, SOTH_TO_CLIENT));
            IS(GO, play_bytes(&play, SOTH_TO_SERVER, text, i, false));
            IS(GO, play_bytes(&play, SOTH_TO_SERVER, text + i, k - i, false));
            IS(GO, play_bytes(&play, SOTH_TO_SERVER, text + k, n - k, true));
            RELAYED(wanted);
            assert_string_equal(play_seen(tap), wanted);
            assert_int_equal(tap->flags, SOTH_CUR_END);
            again();
        }
}

static void transforms_stand_in_a_row(void **state)
{
    (void)state;
    play_add(&play, "double", SOTH_TRANSFORM, SOTH_STAGE_CONTENT, transform_double);
    play_add(&play, "replace", SOTH_TRANSFORM, SOTH_STAGE_FRAME, transform_replace);
    TRANSFORM("collect", transform_collect);
    HEAD();
    GIVES("ca");
    GIVES("t, ");
    GIVES("aat");
    RELAYED("");
    ENDS();
    RELAYED("ccaatt,,  aaaatt");
    again();
    play_add(&play, "replace", SOTH_TRANSFORM, SOTH_STAGE_CONTENT, transform_replace);
    TRANSFORM("double", transform_double);
    HEAD();
    GIVES("a c");
    GIVES("at");
    ENDS();
    RELAYED("aa  ttiiggeerr");
}

static void within_a_stage_responses_go_the_other_way_round(void **state)
{
    (void)state;
    TRANSFORM("replace", transform_replace)->answer = SOTH_WATCH_BOTH;
    TRANSFORM("double", transform_double)->answer = SOTH_WATCH_BOTH;
    HEAD();
    GIVES("cat");
    ENDS();
    RELAYED("ttiiggeerr");
    IS(GO, play_text(&play, SOTH_TO_CLIENT, "cat"));
    IS(GO, play_end(&play, SOTH_TO_CLIENT));
    assert_string_equal(play_out(&play, SOTH_TO_CLIENT), "ccaatt");
}

static void little_room_comes_back(void **state)
{
    (void)state;
    struct actor *a = TRANSFORM("d", transform_double);
    HEAD();
    play.relay[0].room = 5;
    IS(FULL, play_text(&play, SOTH_TO_SERVER, "abcde"));
    RELAYED("aabbc");
    assert_true(chain_waits(play.chain, SOTH_TO_SERVER));
    assert_int_equal(play.relay[0].room, 0);
    RESUME(FULL);
    play.relay[0].room = 3;
    RESUME(FULL);
    RELAYED("aabbccdd");
    play.relay[0].room = 100;
    RESUME(GO);
    RELAYED("aabbccddee");
    assert_false(chain_waits(play.chain, SOTH_TO_SERVER));
    unsigned calls = a->calls;
    RESUME(GO); /* harmless */
    assert_int_equal(a->calls, calls);
    ENDS();
    RELAYED("aabbccddee");
}

/* It needs five bytes in one piece. */
static void too_little_room_is_waited_for(void **state)
{
    (void)state;
    TRANSFORM("r", transform_replace);
    HEAD();
    play.relay[0].room = 4;
    IS(FULL, play_text(&play, SOTH_TO_SERVER, "cat cat"));
    RELAYED("");
    play.relay[0].room = 8;
    RESUME(FULL);
    RELAYED("tiger");
    play.relay[0].room = SIZE_MAX;
    RESUME(GO);
    ENDS();
    RELAYED("tiger tiger");
}

/* More than the room of a call, in one piece and in the window. */
static void much_goes_through_in_pieces(void **state)
{
    (void)state;
    size_t n = 300000;
    char *much = malloc(n + 1);
    assert_non_null(much);
    for (size_t i = 0; i < n; i++)
        much[i] = "abcat "[i % 6];
    much[n] = 0;
    TRANSFORM("r", transform_replace);
    HEAD();
    IS(GO, play_bytes(&play, SOTH_TO_SERVER, much, n - 3, false));
    IS(GO, play_bytes(&play, SOTH_TO_SERVER, much + n - 3, 3, true));
    const char *out = play_out(&play, SOTH_TO_SERVER);
    assert_int_equal(strlen(out), n / 6 * 8);
    for (size_t i = 0; i < strlen(out); i++)
        if (out[i] != "abtiger "[i % 8])
            fail_msg("byte %zu", i);
    free(much);
}

static void who_takes_nothing_from_a_full_window_fails(void **state)
{
    (void)state;
    struct actor *a = TRANSFORM("w", transform_wait);
    HEAD();
    GIVES("0123456789");
    assert_int_equal(a->calls, 1);
    GIVES("abcde");
    assert_int_equal(a->all_flags, 0);
    RELAYED("");
    GIVES("fghi"); /* the window has sixteen bytes */
    assert_int_equal(a->flags, SOTH_CUR_STALLED);
    RELAYED("0123456789abcdefghi");
    assert_non_null(strstr(play_events(&play), "action=detached bytes_in=0 bytes_out=0 failure_code=stalled module=w stage=payload_sanitize"));
    GIVES(" more");
    ENDS();
    RELAYED("0123456789abcdefghi more");
    assert_int_equal(a->closed, 1);
}

static void who_waits_for_the_end_in_time_is_fine(void **state)
{
    (void)state;
    struct actor *a = TRANSFORM("w", transform_wait);
    HEAD();
    GIVES("01234567");
    GIVES("89abcde");
    ENDS();
    RELAYED("0123456789abcde");
    assert_int_equal(play.failures, 0);
    assert_int_equal(a->flags, SOTH_CUR_END);
}

static int takes_nothing_at_all(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)flow;
    ((struct actor *)self)->all_flags |= cur->flags;
    return SOTH_CONTINUE;
}

static void at_the_end_everything_must_be_taken(void **state)
{
    (void)state;
    struct actor *a = TRANSFORM("n", takes_nothing_at_all);
    HEAD();
    GIVES("abc");
    ENDS();
    RELAYED("abc");
    assert_int_equal(a->all_flags, SOTH_CUR_END | SOTH_CUR_STALLED);
    assert_int_equal(a->failures, 1);
}

/* Takes four bytes at a time and makes nothing of them. */
static int drops_four(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct actor *a = self;
    (void)flow;
    a->calls++;
    if (cur->in.n >= 4)
        assert_int_equal(cursor_drop(cur, 4), 4);
    else if (cur->flags & SOTH_CUR_END)
        cursor_drop(cur, cur->in.n);
    return SOTH_CONTINUE;
}

static void a_window_is_filled_as_long_as_there_is_more(void **state)
{
    (void)state;
    struct actor *a = TRANSFORM("d", drops_four);
    HEAD();
    GIVES("ab");
    assert_int_equal(a->calls, 1);
    GIVES("0123456789012345678901"); /* 24 bytes with what waits in its window of sixteen */
    assert_int_equal(a->calls, 4);
    ENDS();
    assert_int_equal(atomic_load(&play.decoders[0].counts.bytes_in), 0);
    play_free(&play, true);
    assert_int_equal(atomic_load(&play.decoders[0].counts.bytes_in), 24);
    assert_int_equal(play.failures, 0);
}

static void a_pause_holds_what_was_given(void **state)
{
    (void)state;
    struct actor *a = TRANSFORM("p", transform_pause);
    a->number = 3;
    HEAD();
    IS(WAIT, play_text(&play, SOTH_TO_SERVER, "abcdefg"));
    RELAYED("abc");
    RESUME(WAIT); /* too early */
    assert_int_equal(a->calls, 1);
    assert_false(chain_resumed(play.chain, a->token.pause + 1, 0)); /* somebody else's */
    assert_true(chain_resumed(play.chain, a->token.pause, 5));
    assert_false(chain_resumed(play.chain, a->token.pause, 6)); /* doubled */
    RESUME(WAIT);
    RELAYED("abcdef");
    assert_int_equal(a->flags, SOTH_CUR_RESUMED);
    assert_false(chain_resumed(play.chain, a->token.pause - 1, 0)); /* stale */
    assert_true(chain_resumed(play.chain, a->token.pause, 0));
    RESUME(GO);
    RELAYED("abcdefg");
    ENDS();
    assert_int_equal(a->flags, SOTH_CUR_END);
    assert_int_equal(a->cancelled, 0);
    assert_int_equal(play.stale, 0);
}

static void the_end_follows_the_last_byte(void **state)
{
    (void)state;
    struct actor *a = TRANSFORM("p", transform_pause);
    struct actor *tap = play_add(&play, "t", SOTH_TAP, SOTH_STAGE_SANITIZE, tap_watch);
    a->number = 2;
    HEAD();
    IS(WAIT, play_bytes(&play, SOTH_TO_SERVER, "abcd", 4, true));
    assert_false(tap->all_flags & SOTH_CUR_END);
    assert_true(chain_resumed(play.chain, a->token.pause, 0));
    RESUME(GO);
    RELAYED("abcd");
    assert_int_equal(tap->flags, SOTH_CUR_END);
}

static void an_open_deadline_lets_pass(void **state)
{
    (void)state;
    struct actor *a = TRANSFORM("p", transform_pause);
    a->number = 1;
    HEAD();
    IS(WAIT, play_text(&play, SOTH_TO_SERVER, "abc"));
    assert_int_equal(chain_deadline(play.chain), play.port.monotonic_ns + 100000000);
    play_later(&play, 99);
    IS(GO, chain_timer(play.chain));
    RESUME(WAIT);
    play_later(&play, 1);
    IS(GO, chain_timer(play.chain));
    assert_int_equal(chain_deadline(play.chain), 0);
    RESUME(GO);
    RELAYED("abc");
    assert_int_equal(a->cancelled, 1);
    assert_int_equal(play.stale, 1);
    assert_int_equal(play.failures, 0);
    IS(WAIT, play_bytes(&play, SOTH_TO_SERVER, "de", 2, true));
    play_free(&play, false); /* the flow is gone */
    assert_int_equal(a->cancelled, 2);
    assert_int_equal(a->closed, 1);
    assert_int_equal(atomic_load(&play.decoders[0].counts.bytes_out), 4);
}

static int pauses_closed(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct actor *a = self;
    if (a->calls++ > 0)
        return SOTH_CONTINUE;
    if (a->number)
        cursor_put(cur, soth_span("x"));
    a->token = play_token(flow, 50, 0);
    return SOTH_PAUSE;
}

static void a_closed_deadline_is_a_failure(void **state)
{
    (void)state;
    for (uint64_t changed = 0; changed < 2; changed++) {
        struct actor *a = TRANSFORM("p", pauses_closed);
        a->number = changed;
        HEAD();
        IS(WAIT, play_bytes(&play, SOTH_TO_SERVER, "abc", 3, true));
        play_later(&play, 50);
        IS(GO, chain_timer(play.chain));
        assert_int_equal(play_resume(&play, SOTH_TO_SERVER), changed ? CHAIN_BROKEN : CHAIN_GO);
        RELAYED(changed ? "x" : "abc"); /* it had changed something that is gone */
        assert_non_null(strstr(play_events(&play), "failure_code=timeout"));
        assert_int_equal(a->cancelled, 1);
        again();
    }
}

static int pauses_without_token(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)self;
    (void)flow;
    (void)cur;
    return SOTH_PAUSE;
}

static void a_pause_needs_a_token(void **state)
{
    (void)state;
    TRANSFORM("p", pauses_without_token);
    HEAD();
    GIVES("abc");
    RELAYED("abc");
    assert_non_null(strstr(play_events(&play), "failure_code=no_token"));
    again();
    play.flow.mailbox = NULL; /* nobody may pause */
    TRANSFORM("p", transform_pause)->number = 1;
    HEAD();
    GIVES("abc");
    RELAYED("abc");
    assert_non_null(strstr(play_events(&play), "failure_code=no_token"));
}

static int takes_a_token_and_goes_on(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)self;
    play_token(flow, 50, 0);
    cursor_pass(cur, cur->in.n);
    return SOTH_CONTINUE;
}

static void an_unused_token_is_stale(void **state)
{
    (void)state;
    TRANSFORM("p", takes_a_token_and_goes_on);
    HEAD();
    GIVES("abc");
    assert_int_equal(play.stale, 1);
    assert_false(chain_resumed(play.chain, 1, 0));
    assert_int_equal(chain_deadline(play.chain), 0);
}

static void busy_moments_grow_and_end(void **state)
{
    uint64_t waited = 0;
    unsigned moments = 0;
    (void)state;
    struct actor *a = TRANSFORM("b", transform_busy);
    a->number = 0;
    HEAD();
    enum chain_result r = play_text(&play, SOTH_TO_SERVER, "abc");
    for (; r == CHAIN_WAIT; moments++) {
        uint64_t ms = (chain_deadline(play.chain) - play.port.monotonic_ns) / 1000000;
        assert_true(ms == 64 || ms == UINT64_C(1) << moments);
        RESUME(WAIT); /* not yet */
        play_later(&play, ms);
        waited += ms;
        IS(GO, chain_timer(play.chain));
        r = play_resume(&play, SOTH_TO_SERVER);
    }
    assert_int_equal(r, CHAIN_GO);
    assert_int_equal(moments, 200);
    assert_true(waited > 10000);
    RELAYED("abc");
    assert_non_null(strstr(play_events(&play), "failure_code=busy"));
}

static void progress_ends_the_row_of_busy_moments(void **state)
{
    (void)state;
    TRANSFORM("b", transform_busy)->number = 1;
    HEAD();
    char text[301];
    memset(text, 'x', 300);
    text[300] = 0;
    IS(GO, play_settle(&play, SOTH_TO_SERVER, play_text(&play, SOTH_TO_SERVER, text)));
    RELAYED(text);
    assert_int_equal(play.failures, 0);
}

static void two_may_wait_at_once(void **state)
{
    (void)state;
    TRANSFORM("a", transform_pause)->number = 3;
    struct actor *b = TRANSFORM("b", transform_pause);
    b->number = 2;
    HEAD();
    IS(WAIT, play_bytes(&play, SOTH_TO_SERVER, "abcdefgh", 8, true));
    RELAYED("ab");
    assert_true(chain_resumed(play.chain, 1, 0)); /* the first one's: the second still waits */
    RESUME(WAIT);
    RELAYED("ab");
    IS(GO, play_settle(&play, SOTH_TO_SERVER, CHAIN_WAIT));
    RELAYED("abcdefgh");
}

static void failing_before_it_changed_anything(void **state)
{
    (void)state;
    struct actor *a = TRANSFORM("p", transform_pass);
    a->fail_at = 2;
    a->data_result = -SOTH_ENOMEM;
    HEAD();
    GIVES("one ");
    GIVES("two ");
    GIVES("three");
    ENDS();
    RELAYED("one two three");
    assert_string_equal(play_events(&play), "decoder_stage_failed action=detached bytes_in=4 bytes_out=4 failure_code=nomem module=p stage=payload_sanitize\n");
    assert_false(chain_transforms(play.chain, SOTH_TO_SERVER));
    assert_int_equal(a->closed, 1);
}

static void failing_after_it_changed_something(void **state)
{
    (void)state;
    struct actor *a = TRANSFORM("d", transform_double);
    a->fail_at = 2;
    a->data_result = -SOTH_EINVALID;
    HEAD();
    GIVES("ab");
    IS(BROKEN, play_text(&play, SOTH_TO_SERVER, "cd"));
    RELAYED("aabb");
    assert_string_equal(play_events(&play), "decoder_stage_failed action=closed bytes_in=2 bytes_out=4 failure_code=invalid module=d stage=payload_sanitize\n");
    IS(BROKEN, play_end(&play, SOTH_TO_SERVER));
    RELAYED("aabb");
}

static int fails_half_way(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct actor *a = self;
    (void)flow;
    cursor_pass(cur, 2);
    if (a->number)
        cursor_drop(cur, 1);
    return SOTH_FAIL;
}

static void failing_half_way(void **state)
{
    (void)state;
    TRANSFORM("h", fails_half_way);
    HEAD();
    GIVES("abcdef");
    ENDS();
    RELAYED("abcdef");
    again();
    TRANSFORM("h", fails_half_way)->number = 1;
    HEAD();
    IS(BROKEN, play_text(&play, SOTH_TO_SERVER, "abcdef"));
    RELAYED("");
    assert_non_null(strstr(play_events(&play), "action=closed"));
}

static void leaving_half_way(void **state)
{
    (void)state;
    struct actor *a = TRANSFORM("d", transform_double);
    a->fail_at = 2;
    a->data_result = SOTH_DETACH;
    HEAD();
    GIVES("ab");
    GIVES("cd");
    ENDS();
    RELAYED("aabbcd"); /* its own wish */
    assert_int_equal(play.failures, 0);
    assert_int_equal(play.flow.detached, 1);
}

static void what_was_held_passes_when_it_leaves(void **state)
{
    (void)state;
    struct actor *a = TRANSFORM("r", transform_replace);
    struct actor *b = play_add(&play, "t", SOTH_TAP, SOTH_STAGE_SANITIZE, tap_watch);
    a->fail_at = 3; /* one that made something and left something is called again */
    a->data_result = SOTH_DETACH;
    HEAD();
    GIVES("a ca");
    RELAYED("a ");
    IS(GO, play_bytes(&play, SOTH_TO_SERVER, "t", 1, true));
    RELAYED("a cat");
    assert_string_equal(play_seen(b), "a cat");
    assert_int_equal(b->flags, SOTH_CUR_END);
}

static void behind_one_that_waits(void **state)
{
    (void)state;
    struct actor *a = TRANSFORM("r", transform_replace), *b = TRANSFORM("p", transform_pause);
    b->number = 4;
    HEAD();
    IS(WAIT, play_text(&play, SOTH_TO_SERVER, "cat cat ca"));
    RELAYED("tige");
    assert_int_equal(a->calls, 1);
    IS(GO, play_settle(&play, SOTH_TO_SERVER, CHAIN_WAIT));
    RELAYED("tiger tiger ");
    IS(GO, play_settle(&play, SOTH_TO_SERVER, play_bytes(&play, SOTH_TO_SERVER, "t!", 2, true)));
    RELAYED("tiger tiger tiger!");
}

static void a_message_without_a_body_gets_none(void **state)
{
    (void)state;
    TRANSFORM("c", transform_collect);
    HEAD();
    play.relay[0].put = NULL;
    ENDS();
    RELAYED("");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_word_is_replaced_wherever_it_is_cut),
        TEST(transforms_stand_in_a_row),
        TEST(within_a_stage_responses_go_the_other_way_round),
        TEST(little_room_comes_back),
        TEST(too_little_room_is_waited_for),
        TEST(much_goes_through_in_pieces),
        TEST(who_takes_nothing_from_a_full_window_fails),
        TEST(who_waits_for_the_end_in_time_is_fine),
        TEST(at_the_end_everything_must_be_taken),
        TEST(a_window_is_filled_as_long_as_there_is_more),
        TEST(a_pause_holds_what_was_given),
        TEST(the_end_follows_the_last_byte),
        TEST(an_open_deadline_lets_pass),
        TEST(a_closed_deadline_is_a_failure),
        TEST(a_pause_needs_a_token),
        TEST(an_unused_token_is_stale),
        TEST(busy_moments_grow_and_end),
        TEST(progress_ends_the_row_of_busy_moments),
        TEST(two_may_wait_at_once),
        TEST(failing_before_it_changed_anything),
        TEST(failing_after_it_changed_something),
        TEST(failing_half_way),
        TEST(leaving_half_way),
        TEST(what_was_held_passes_when_it_leaves),
        TEST(behind_one_that_waits),
        TEST(a_message_without_a_body_gets_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
