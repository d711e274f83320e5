/* SPDX-License-Identifier: MPL-2.0 */
/* Decoders that look on: what they see, what the next ones see, and that nothing of it is relayed. */
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

#define TAP(name, stage, data) play_add(&play, name, SOTH_TAP, SOTH_STAGE_##stage, data)
#define TO_CLIENT(status) assert_int_equal(play_match(&play, SOTH_TO_CLIENT, status), CHAIN_GO)
#define GIVES(text_) assert_int_equal(play_text(&play, SOTH_TO_CLIENT, text_), CHAIN_GO)
#define ENDS() assert_int_equal(play_end(&play, SOTH_TO_CLIENT), CHAIN_GO)
#define RELAYED(text_) assert_string_equal(play_out(&play, SOTH_TO_CLIENT), text_)

static void nobody_wants_it(void **state)
{
    (void)state;
    assert_int_equal(play_match(&play, SOTH_TO_SERVER, 0), CHAIN_GO);
    assert_null(play.chain);
    TAP("a", FRAME, tap_watch)->answer = SOTH_WATCH_NO;
    assert_int_equal(play_match(&play, SOTH_TO_SERVER, 0), CHAIN_GO);
    assert_null(play.chain);
    assert_false(chain_transforms(play.chain, SOTH_TO_CLIENT));
    assert_int_equal(chain_deadline(play.chain), 0);
    assert_false(chain_resumed(play.chain, 1, 0));
}

static void it_sees_what_is_relayed(void **state)
{
    (void)state;
    struct actor *a = TAP("a", FRAME, tap_watch), *b = TAP("b", SANITIZE, tap_pass);
    TO_CLIENT(200);
    assert_false(chain_transforms(play.chain, SOTH_TO_CLIENT));
    GIVES("one ");
    GIVES("two");
    assert_false(chain_waits(play.chain, SOTH_TO_CLIENT));
    ENDS();
    RELAYED("one two");
    assert_string_equal(play_seen(a), "one two");
    assert_string_equal(play_seen(b), "one two");
    assert_int_equal(a->calls, 3);
    assert_int_equal(a->flags, SOTH_CUR_END);
    assert_int_equal(b->flags, SOTH_CUR_END);
}

static void the_end_may_come_with_bytes(void **state)
{
    (void)state;
    struct actor *a = TAP("a", FRAME, tap_watch), *b = TAP("b", SANITIZE, tap_pass);
    TO_CLIENT(200);
    assert_int_equal(play_bytes(&play, SOTH_TO_CLIENT, "all", 3, true), CHAIN_GO);
    RELAYED("all");
    assert_int_equal(a->calls, 1);
    assert_int_equal(a->flags, SOTH_CUR_END);
    assert_int_equal(b->calls, 1);
    assert_string_equal(play_seen(b), "all");
}

static void what_it_makes_is_the_view_of_the_next(void **state)
{
    (void)state;
    TAP("a", CONTENT, tap_double);
    struct actor *b = TAP("b", FRAME, tap_odd), *c = TAP("c", SANITIZE, tap_watch);
    TO_CLIENT(200);
    GIVES("a b");
    GIVES("");
    GIVES(" c");
    ENDS();
    RELAYED("a b c");
    assert_string_equal(play_seen(b), "aa  bb  cc");
    assert_string_equal(play_seen(c), "aabbcc");
}

/* 100,000 bytes become 200,000: more than the room of one call. */
static void the_view_has_bounds_and_goes_on(void **state)
{
    (void)state;
    struct actor *a = TAP("a", CONTENT, tap_double), *b = TAP("b", FRAME, tap_watch), *c = TAP("c", SANITIZE, tap_pass);
    char *much = malloc(100000);
    assert_non_null(much);
    for (size_t i = 0; i < 100000; i++)
        much[i] = (char)('a' + i % 26);
    TO_CLIENT(200);
    assert_int_equal(play_bytes(&play, SOTH_TO_CLIENT, much, 100000, true), CHAIN_GO);
    assert_int_equal(buffer_size(&play.out[SOTH_TO_CLIENT]), 100000);
    assert_memory_equal(buffer_data(&play.out[SOTH_TO_CLIENT]), much, 100000);
    assert_int_equal(a->calls, 4);
    for (unsigned k = 0; k < 2; k++) {
        struct buffer *seen = k ? &c->seen : &b->seen;
        assert_int_equal(buffer_size(seen), 200000);
        for (size_t i = 0; i < 200000; i++)
            if (buffer_data(seen)[i] != (uint8_t)much[i / 2])
                fail_msg("byte %zu", i);
    }
    assert_int_equal(b->calls, 4);
    free(much);
}

/* Takes all of its input at once and makes `number` bytes of it, as much as there is room for. */
static int makes_much(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    static const char bytes[1000];
    struct actor *a = self;
    (void)flow;
    a->calls++;
    cursor_drop(cur, cur->in.n);
    while (a->number > 0 && cur->room > 0)
        a->number -= cursor_put(cur, (struct soth_span){bytes, a->number < sizeof bytes ? a->number : sizeof bytes});
    return SOTH_CONTINUE;
}

static void who_used_up_its_room_is_called_again(void **state)
{
    (void)state;
    struct actor *a = TAP("a", CONTENT, makes_much), *b = TAP("b", SANITIZE, tap_watch);
    a->number = 200000;
    TO_CLIENT(200);
    GIVES("x");
    assert_int_equal(a->calls, 4);
    assert_int_equal(buffer_size(&b->seen), 200000);
    a->number = 65536; /* exactly its room: once more, in vain */
    ENDS();
    assert_int_equal(a->calls, 6);
    assert_int_equal(b->flags, SOTH_CUR_END);
    assert_int_equal(buffer_size(&b->seen), 265536);
    RELAYED("x");
}

/* A TAP that passes a part and then no more lets the rest pass. */
static int passes_two(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct actor *a = self;
    (void)flow;
    if (a->calls++ == 0)
        assert_int_equal(cursor_pass(cur, 2), 2);
    assert_int_equal(cur->offset, a->calls == 1 ? 2 : a->calls == 2 ? 2 : 5);
    return SOTH_CONTINUE;
}

static void what_it_leaves_it_sees_again_at_once(void **state)
{
    (void)state;
    struct actor *a = TAP("a", CONTENT, passes_two), *b = TAP("b", SANITIZE, tap_watch);
    TO_CLIENT(200);
    GIVES("abcde");
    assert_int_equal(a->calls, 2);
    assert_string_equal(play_seen(b), "abcde");
    ENDS();
    assert_int_equal(a->calls, 3);
}

/* Bytes put, passed and dropped in turns. */
static int mixes(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)self;
    (void)flow;
    while (cur->in.n > 0) {
        cursor_pass(cur, 2);
        cursor_put(cur, soth_span("<"));
        cursor_drop(cur, 1);
        cursor_pass(cur, 1);
        cursor_put(cur, soth_span(">"));
    }
    return SOTH_CONTINUE;
}

static void order_is_kept(void **state)
{
    (void)state;
    TAP("a", CONTENT, mixes);
    struct actor *b = TAP("b", SANITIZE, tap_watch);
    TO_CLIENT(200);
    GIVES("abcdefgh");
    assert_string_equal(play_seen(b), "ab<d>ef<h>");
    RELAYED("abcdefgh");
}

/* What the module writes into the cursor changes nothing. */
static int lies(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)self;
    (void)flow;
    cur->in.p += 100;
    cur->in.n = 1000000;
    cur->room = 1u << 30;
    cur->offset = 77;
    assert_int_equal(cursor_pass(cur, 1000000), 3);
    assert_int_equal(cursor_drop(cur, 1), 0);
    assert_int_equal(cur->offset, 3);
    return SOTH_CONTINUE;
}

static void a_cursor_is_not_believed(void **state)
{
    (void)state;
    TAP("a", CONTENT, lies);
    struct actor *b = TAP("b", SANITIZE, tap_watch);
    TO_CLIENT(200);
    GIVES("abc");
    assert_string_equal(play_seen(b), "abc");
}

static int makes_for_ever(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)self;
    (void)flow;
    cursor_put(cur, soth_span("more"));
    return SOTH_CONTINUE;
}

static void who_makes_without_end_is_detached(void **state)
{
    (void)state;
    TAP("a", CONTENT, makes_for_ever);
    struct actor *b = TAP("b", SANITIZE, tap_watch);
    TO_CLIENT(200);
    GIVES("abc");
    GIVES("def");
    RELAYED("abcdef");
    assert_string_equal(play_events(&play), "decoder_stage_failed action=detached bytes_in=0 bytes_out=16388 failure_code=no_progress module=a stage=content_decode\n"
                        "decoder_stage_failed action=detached bytes_in=16388 bytes_out=16388 failure_code=undecoded module=b stage=payload_sanitize\n");
    assert_int_equal(buffer_size(&b->seen), 16388);
}

/* ---- views that end, and that nobody looks at ---- */

static int decodes_or_fails(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    if (memchr(cur->in.p, '!', cur->in.n))
        return chain_fail(self, flow, "Corrupt", ((struct actor *)self)->number ? SOTH_FAIL_CLOSE : 0);
    return tap_double(self, flow, cur);
}

/* What a failed decoder leaves undecoded means nothing to those behind it. */
static void a_view_ends_with_its_maker(void **state)
{
    (void)state;
    struct actor *a = TAP("a", CONTENT, decodes_or_fails), *b = TAP("b", FRAME, tap_watch);
    TO_CLIENT(200);
    GIVES("ab");
    assert_false(a->unseen);
    GIVES("c!");
    GIVES("d");
    ENDS();
    RELAYED("abc!d");
    assert_string_equal(play_seen(b), "aabb");
    assert_int_equal(b->closed, 1);
    assert_string_equal(play_events(&play), "decoder_stage_failed action=detached bytes_in=2 bytes_out=4 failure_code=corrupt module=a stage=content_decode\n"
                        "decoder_stage_failed action=detached bytes_in=4 bytes_out=4 failure_code=undecoded module=b stage=protocol_frame_parse\n");
    assert_int_equal(a->failures, 0); /* the traffic's fault */
    assert_int_equal(b->failures, 0);
    uint64_t bytes = 0;
    assert_true(chain_decoded(play.chain, SOTH_TO_CLIENT, &bytes));
    assert_int_equal(bytes, 4);
}

static int cut_at_its_end(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    tap_double(self, flow, cur);
    return cur->flags & SOTH_CUR_END ? chain_fail(self, flow, "truncated", 0) : SOTH_CONTINUE;
}

/* A message that ends cleanly around a coding that does not: those behind are told of no end. Whatever comes with its last bytes. */
static void a_coding_that_was_cut_has_no_end(void **state)
{
    (void)state;
    for (unsigned with_bytes = 0; with_bytes < 2; with_bytes++) {
        TAP("a", CONTENT, cut_at_its_end);
        struct actor *b = TAP("b", FRAME, tap_watch);
        TO_CLIENT(200);
        if (!with_bytes) {
            GIVES("ab");
            ENDS();
        } else {
            assert_int_equal(play_bytes(&play, SOTH_TO_CLIENT, "ab", 2, true), CHAIN_GO);
        }
        RELAYED("ab");
        assert_string_equal(play_seen(b), "aabb");
        assert_int_equal(b->all_flags & SOTH_CUR_END, 0);
        assert_string_equal(play_events(&play), "decoder_stage_failed action=detached bytes_in=2 bytes_out=4 failure_code=truncated module=a stage=content_decode\n"
                            "decoder_stage_failed action=detached bytes_in=4 bytes_out=4 failure_code=undecoded module=b stage=protocol_frame_parse\n");
        play_fini(&play);
        play_init(&play);
    }
}

static void who_must_not_miss_it_ends_the_exchange(void **state)
{
    (void)state;
    TAP("a", CONTENT, decodes_or_fails);
    TAP("b", FRAME, tap_watch);
    play.decoders[1].closed = true;
    TO_CLIENT(200);
    assert_int_equal(play_text(&play, SOTH_TO_CLIENT, "!"), CHAIN_BROKEN);
    assert_string_equal(chain_end(play.chain)->code, "undecoded");
}

static void a_failure_may_ask_for_the_end(void **state)
{
    (void)state;
    TAP("a", CONTENT, decodes_or_fails)->number = 1;
    TO_CLIENT(200);
    assert_int_equal(play_text(&play, SOTH_TO_CLIENT, "!"), CHAIN_BROKEN);
    assert_string_equal(play_events(&play), "decoder_stage_failed action=closed bytes_in=0 bytes_out=0 failure_code=corrupt module=a stage=content_decode\n");
}

static int enough_after_two(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    tap_watch(self, flow, cur);
    return ((struct actor *)self)->calls >= 2 ? SOTH_DONE : SOTH_CONTINUE;
}

static void enough_is_for_one_exchange(void **state)
{
    (void)state;
    struct actor *a = TAP("a", CONTENT, tap_double), *b = TAP("b", SANITIZE, enough_after_two);
    for (unsigned i = 1; i <= 2; i++) {
        b->calls = 0;
        TO_CLIENT(200);
        GIVES("a");
        assert_false(a->unseen);
        assert_true(b->unseen);
        GIVES("b");
        GIVES("c");
        assert_true(a->unseen);
        assert_int_equal(b->calls, 2);
        assert_int_equal(b->closed, i);
        ENDS();
        play_free(&play, true);
    }
    assert_string_equal(play_events(&play), "");
    RELAYED("abcabc");
}

/* One that closes comes to its limit however early those behind it had enough. When there never was anybody, there is nothing to look for. */
static void who_closes_looks_on(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct actor *a = TAP("a", CONTENT, tap_double), *b = TAP("b", SANITIZE, enough_after_two);
        play.decoders[0].closed = i == 0;
        play.decoders[0].closes_on_overflow = i == 1 || i == 3;
        b->answer = i == 3 ? SOTH_WATCH_NO : b->answer;
        TO_CLIENT(200);
        GIVES("a");
        assert_int_equal(a->unseen, i == 3);
        GIVES("b");
        GIVES("c");
        ENDS();
        assert_int_equal(b->calls, i == 3 ? 0 : 2);
        assert_int_equal(a->unseen, i >= 2);
        play_fini(&play);
        play_init(&play);
    }
}

/* Of two that can, the one that comes first in its direction does. */
static void one_of_two_takes_a_coding_away(void **state)
{
    (void)state;
    struct actor *a = TAP("a", CONTENT, tap_watch), *b = TAP("b", CONTENT, tap_watch), *c = TAP("c", FRAME, tap_watch);
    for (unsigned direction = 0; direction < 2; direction++) {
        struct soth_message message = {.size = sizeof message, .direction = direction, .status = direction ? 200 : 0, .coded = 1};
        assert_int_equal(chain_match(&play.chain, &play.env, &play.flow, &message), CHAIN_GO);
        assert_int_equal(a->coded, direction == SOTH_TO_SERVER);
        assert_int_equal(b->coded, direction == SOTH_TO_CLIENT);
        assert_int_equal(c->coded, 0);
        play_free(&play, true);
    }
}

static void a_coding_is_taken_away_once(void **state)
{
    (void)state;
    struct actor *a = TAP("a", CONTENT, tap_double), *b = TAP("b", FRAME, tap_watch), *c = play_add(&play, "c", SOTH_TRANSFORM, SOTH_STAGE_SANITIZE, transform_pass);
    struct soth_message message = {.size = sizeof message, .direction = SOTH_TO_CLIENT, .status = 200, .coded = 1};
    assert_int_equal(chain_match(&play.chain, &play.env, &play.flow, &message), CHAIN_GO);
    assert_int_equal(a->coded, 1);
    assert_int_equal(b->coded, 0);
    assert_int_equal(c->coded, 1); /* what is relayed stays coded */
    play_free(&play, true);
    a->answer = SOTH_WATCH_NO;
    assert_int_equal(chain_match(&play.chain, &play.env, &play.flow, &message), CHAIN_GO);
    assert_int_equal(b->coded, 1);
}

static void waiting_is_not_for_those_who_look_on(void **state)
{
    (void)state;
    struct actor *a = TAP("a", FRAME, tap_watch);
    a->fail_at = 1;
    a->data_result = SOTH_PAUSE;
    TO_CLIENT(200);
    GIVES("abc");
    GIVES("def");
    a->data_result = SOTH_BUSY;
    ENDS();
    RELAYED("abcdef");
    assert_int_equal(play.faults, 1); /* told once */
    assert_int_equal(atomic_load(&play.decoders[0].counts.faults), 3);
    assert_int_equal(play.failures, 0);
    assert_string_equal(play_seen(a), "abcdef");
}

static void who_fails_is_detached(void **state)
{
    (void)state;
    struct actor *a = TAP("a", FRAME, tap_watch), *b = TAP("b", SANITIZE, tap_pass);
    a->fail_at = 2;
    a->data_result = -SOTH_ELIMIT;
    TO_CLIENT(200);
    GIVES("one ");
    GIVES("two ");
    assert_string_equal(play_events(&play), "decoder_stage_failed action=detached bytes_in=4 bytes_out=4 failure_code=limit module=a stage=protocol_frame_parse\n");
    assert_string_equal(play_order(&play), "+a +b -a ");
    GIVES("three");
    ENDS();
    RELAYED("one two three");
    assert_string_equal(play_seen(a), "one two ");
    assert_string_equal(play_seen(b), "one two three");
    play_free(&play, true);
    assert_string_equal(play_order(&play), "+a +b -a -b ");
    assert_int_equal(a->complete, 0);
    assert_int_equal(b->complete, 1);
    assert_int_equal(play.flow.detached, 0); /* for this exchange */
    assert_int_equal(a->failures, 1);
    assert_int_equal(play.wells, 1);
}

static void a_verdict_that_is_none_is_a_failure(void **state)
{
    static const int verdicts[] = {SOTH_DECIDED, SOTH_PEEK, SOTH_RETRY, SOTH_DEAD, 99, -1000};
    (void)state;
    for (unsigned i = 0; i < sizeof verdicts / sizeof *verdicts; i++) {
        struct actor *a = TAP("a", FRAME, tap_watch);
        a->fail_at = 1;
        a->data_result = verdicts[i];
        TO_CLIENT(200);
        GIVES("abc");
        assert_int_equal(play.failures, 1);
        assert_non_null(strstr(play_events(&play), verdicts[i] > 0 ? "failure_code=verdict" : "failure_code=unknown"));
        play_fini(&play);
        play_init(&play);
    }
}

static void closed_on_error_closes(void **state)
{
    (void)state;
    struct actor *a = TAP("a", FRAME, tap_watch);
    a->fail_at = 2;
    a->data_result = -SOTH_EINVALID;
    play.decoders[0].closed = true;
    TO_CLIENT(200);
    GIVES("one ");
    assert_null(chain_end(play.chain));
    assert_int_equal(play_text(&play, SOTH_TO_CLIENT, "two"), CHAIN_BROKEN);
    RELAYED("one ");
    assert_string_equal(play_events(&play), "decoder_stage_failed action=closed bytes_in=4 bytes_out=4 failure_code=invalid module=a stage=protocol_frame_parse\n");
    const struct chain_end *why = chain_end(play.chain);
    assert_non_null(why);
    assert_false(why->blocked);
    assert_string_equal(why->module, "a");
    assert_string_equal(why->code, "invalid");
    assert_int_equal(play_text(&play, SOTH_TO_SERVER, "more"), CHAIN_BROKEN);
    assert_int_equal(play_resume(&play, SOTH_TO_CLIENT), CHAIN_BROKEN);
    assert_int_equal(play_match(&play, SOTH_TO_CLIENT, 200), CHAIN_BROKEN);
    assert_int_equal(chain_timer(play.chain), CHAIN_BROKEN);
    play_free(&play, true);
    assert_int_equal(a->closed, 1);
    assert_int_equal(a->complete, 0);
}

static void who_detaches_is_never_called_again(void **state)
{
    (void)state;
    struct actor *a = TAP("a", CONTENT, tap_double), *b = TAP("b", SANITIZE, tap_watch);
    a->fail_at = 2;
    a->data_result = SOTH_DETACH;
    TO_CLIENT(200);
    GIVES("ab");
    GIVES("cd");
    ENDS();
    assert_string_equal(play_seen(b), "aabbcd");
    assert_string_equal(play_events(&play), "");
    assert_int_equal(play.failures, 0);
    play_free(&play, true);
    assert_int_equal(a->closed, 1);
    assert_int_equal(play_match(&play, SOTH_TO_CLIENT, 200), CHAIN_GO); /* the next exchange of this flow */
    GIVES("ef");
    assert_int_equal(a->calls, 2);
    assert_int_equal(a->opened, 1);
    assert_int_equal(b->opened, 2);
}

static void what_went_through_is_counted(void **state)
{
    (void)state;
    TAP("a", CONTENT, tap_double);
    TAP("b", SANITIZE, tap_watch);
    TO_CLIENT(200);
    GIVES("abc");
    GIVES("de");
    ENDS();
    play_free(&play, true);
    assert_int_equal(atomic_load(&play.decoders[0].counts.calls), 3);
    assert_int_equal(atomic_load(&play.decoders[0].counts.bytes_in), 5);
    assert_int_equal(atomic_load(&play.decoders[0].counts.bytes_out), 10);
    assert_int_equal(atomic_load(&play.decoders[1].counts.bytes_in), 10);
    assert_int_equal(atomic_load(&play.decoders[1].counts.failures), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nobody_wants_it),
        TEST(it_sees_what_is_relayed),
        TEST(the_end_may_come_with_bytes),
        TEST(what_it_makes_is_the_view_of_the_next),
        TEST(the_view_has_bounds_and_goes_on),
        TEST(who_used_up_its_room_is_called_again),
        TEST(what_it_leaves_it_sees_again_at_once),
        TEST(order_is_kept),
        TEST(a_cursor_is_not_believed),
        TEST(who_makes_without_end_is_detached),
        TEST(waiting_is_not_for_those_who_look_on),
        TEST(a_view_ends_with_its_maker),
        TEST(a_coding_that_was_cut_has_no_end),
        TEST(who_must_not_miss_it_ends_the_exchange),
        TEST(a_failure_may_ask_for_the_end),
        TEST(enough_is_for_one_exchange),
        TEST(who_closes_looks_on),
        TEST(one_of_two_takes_a_coding_away),
        TEST(a_coding_is_taken_away_once),
        TEST(who_fails_is_detached),
        TEST(a_verdict_that_is_none_is_a_failure),
        TEST(closed_on_error_closes),
        TEST(who_detaches_is_never_called_again),
        TEST(what_went_through_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
