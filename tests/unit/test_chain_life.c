/* SPDX-License-Identifier: MPL-2.0 */
/* Who takes part in an exchange, from its heads to its end: match, open, trailers, timers, close, and decoders that fail there. */
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

#define WATCHER(name) play_add(&play, name, SOTH_TAP, SOTH_STAGE_FRAME, tap_watch)
#define IS(result, call) assert_int_equal(call, CHAIN_##result)
#define REQUEST() IS(GO, play_match(&play, SOTH_TO_SERVER, 0))
#define RESPONSE(status) IS(GO, play_match(&play, SOTH_TO_CLIENT, status))
#define UP(text_) IS(GO, play_text(&play, SOTH_TO_SERVER, text_))
#define DOWN(text_) IS(GO, play_text(&play, SOTH_TO_CLIENT, text_))
#define UP_ENDS() IS(GO, play_end(&play, SOTH_TO_SERVER))
#define DOWN_ENDS() IS(GO, play_end(&play, SOTH_TO_CLIENT))

static void of_a_request_its_body(void **state)
{
    (void)state;
    struct actor *a = WATCHER("a"), *b = WATCHER("b");
    b->answer = SOTH_WATCH_NO;
    REQUEST();
    UP("up");
    UP_ENDS();
    a->answer = SOTH_WATCH_NO;
    b->answer = SOTH_WATCH_BODY;
    RESPONSE(200);
    DOWN("down");
    DOWN_ENDS();
    assert_string_equal(play_seen(a), "up");
    assert_string_equal(play_seen(b), "down");
    assert_string_equal(play_order(&play), "+a +b ");
    play_free(&play, true);
    assert_string_equal(play_order(&play), "+a +b -b -a ");
    assert_int_equal(a->complete, 1);
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "up");
    assert_string_equal(play_out(&play, SOTH_TO_CLIENT), "down");
}

static void of_a_request_both(void **state)
{
    (void)state;
    struct actor *a = WATCHER("a");
    a->answer = SOTH_WATCH_BOTH;
    REQUEST();
    UP("up ");
    UP_ENDS();
    a->answer = SOTH_WATCH_NO; /* changes nothing any more */
    RESPONSE(200);
    DOWN("down");
    DOWN_ENDS();
    assert_string_equal(play_seen(a), "up down");
    assert_int_equal(a->opened, 1);
}

static void both_of_a_response_is_its_body(void **state)
{
    (void)state;
    struct actor *a = WATCHER("a");
    a->answer = SOTH_WATCH_NO;
    REQUEST();
    UP("up");
    a->answer = SOTH_WATCH_BOTH;
    RESPONSE(200);
    DOWN("down");
    UP("more"); /* the request goes on: too late to join */
    assert_string_equal(play_seen(a), "down");
}

/* A request and its response that are watched for themselves are opened apart. */
static void each_message_is_opened_for_itself(void **state)
{
    (void)state;
    struct actor *a = WATCHER("a"), *b = WATCHER("b");
    b->answer = SOTH_WATCH_BOTH;
    REQUEST();
    UP("up ");
    UP_ENDS();
    RESPONSE(200);
    DOWN("down");
    DOWN_ENDS();
    play_free(&play, true);
    assert_string_equal(play_order(&play), "+a +b +a -a -b -a ");
    assert_string_equal(play_seen(a), "up down");
    assert_int_equal(a->complete, 2);
    assert_string_equal(play_seen(b), "up down");
}

/* What fails in one of them is still there for the other, whichever comes first; one that watches both has gone from both. */
static void a_failure_is_of_its_message(void **state)
{
    (void)state;
    for (unsigned late = 0; late < 2; late++) {
        struct actor *a = WATCHER("a"), *b = WATCHER("b");
        b->answer = SOTH_WATCH_BOTH;
        a->fail_at = b->fail_at = 1;
        a->data_result = b->data_result = -SOTH_EINVALID;
        REQUEST();
        if (late)
            RESPONSE(200);
        UP("up");
        a->fail_at = b->fail_at = 0;
        if (!late)
            RESPONSE(200);
        UP(" unseen");
        DOWN("down");
        DOWN_ENDS();
        assert_string_equal(play_seen(a), "updown");
        assert_string_equal(play_seen(b), "up");
        assert_int_equal(a->closed, 1);
        play_free(&play, false);
        assert_int_equal(a->closed, 2);
        assert_int_equal(b->closed, 1);
        assert_int_equal(play.wells, 0); /* also not in the message that it read */
        play_fini(&play);
        play_init(&play);
    }
}

/* A decoder behind one that decodes: blind for the request, not for the response. */
static void what_was_not_decoded_is_of_its_message(void **state)
{
    (void)state;
    struct actor *a = play_add(&play, "a", SOTH_TAP, SOTH_STAGE_CONTENT, tap_double), *b = WATCHER("b");
    a->fail_at = 1;
    a->data_result = -SOTH_EINVALID;
    REQUEST();
    UP("up");
    assert_non_null(strstr(play_events(&play), "failure_code=undecoded module=b"));
    a->fail_at = 0;
    RESPONSE(200);
    DOWN("ab");
    assert_string_equal(play_seen(b), "aabb");
}

/* Never again means never again for the flow. */
static void who_detaches_is_not_asked_about_the_response(void **state)
{
    (void)state;
    struct actor *a = WATCHER("a");
    a->fail_at = 1;
    a->data_result = SOTH_DETACH;
    REQUEST();
    UP("up");
    RESPONSE(200);
    DOWN("down");
    assert_string_equal(play_seen(a), "up");
    assert_int_equal(a->opened, 1);
}

static void after_a_101_it_begins_anew(void **state)
{
    (void)state;
    struct actor *a = WATCHER("a"), *b = WATCHER("b"), *c = WATCHER("c");
    a->answer = SOTH_WATCH_BOTH;
    b->answer = SOTH_WATCH_NO;
    REQUEST();
    UP_ENDS();
    a->answer = SOTH_WATCH_NO; /* of what follows it wants nothing */
    b->answer = SOTH_WATCH_BOTH;
    c->answer = SOTH_WATCH_BODY;
    RESPONSE(101);
    DOWN("down");
    UP("up");
    assert_string_equal(play_seen(a), "");
    assert_string_equal(play_seen(b), "downup");
    assert_string_equal(play_seen(c), "down");
    UP_ENDS();
    DOWN_ENDS();
    play_free(&play, true);
    assert_string_equal(play_order(&play), "+a +c +b +c -c -b -c -a ");
    assert_int_equal(a->closed, 1);
    assert_int_equal(atomic_load(&play.decoders[1].counts.bytes_in), 6);
}

static void counts_are_whole_after_a_101(void **state)
{
    (void)state;
    WATCHER("a")->answer = SOTH_WATCH_BOTH;
    REQUEST();
    UP("12345");
    UP_ENDS();
    RESPONSE(101);
    UP("678");
    DOWN("9");
    play_free(&play, true);
    assert_int_equal(atomic_load(&play.decoders[0].counts.bytes_in), 9);
    assert_int_equal(atomic_load(&play.decoders[0].counts.calls), 4);
}

static void one_without_match_watches_every_body(void **state)
{
    (void)state;
    struct actor *a = WATCHER("a");
    play.modules[0].match = NULL;
    play.modules[0].open = NULL;
    REQUEST();
    UP("up ");
    RESPONSE(200);
    DOWN("down");
    assert_string_equal(play_seen(a), "up down");
    play_free(&play, true);
    assert_int_equal(a->closed, 2);
    a->opened = 2; /* for the books */
}

/* ---- failing before there are bytes ---- */

static void match_may_fail(void **state)
{
    (void)state;
    struct actor *a = WATCHER("a"), *b = WATCHER("b");
    a->answer = -SOTH_EINVALID;
    REQUEST();
    assert_string_equal(play_events(&play), "decoder_stage_failed action=detached bytes_in=0 bytes_out=0 failure_code=invalid module=a stage=protocol_frame_parse\n");
    UP("up");
    assert_string_equal(play_seen(b), "up");
    assert_int_equal(a->opened, 0);
    a->answer = 77;
    RESPONSE(200);
    assert_non_null(strstr(play_events(&play), "failure_code=verdict"));
    assert_int_equal(a->failures, 2);
}

static void match_may_fail_for_one_that_is_open(void **state)
{
    (void)state;
    struct actor *a = WATCHER("a");
    a->answer = SOTH_WATCH_BOTH;
    REQUEST();
    a->answer = -SOTH_EINVALID;
    RESPONSE(200);
    DOWN("down");
    assert_string_equal(play_seen(a), "");
    assert_int_equal(a->closed, 1);
}

static void a_closed_match_closes(void **state)
{
    (void)state;
    WATCHER("a")->answer = -SOTH_EINVALID;
    play.decoders[0].closed = true;
    IS(BROKEN, play_match(&play, SOTH_TO_SERVER, 0));
    assert_string_equal(chain_end(play.chain)->module, "a");
    assert_string_equal(chain_end(play.chain)->code, "invalid");
}

static void open_may_fail(void **state)
{
    (void)state;
    struct actor *a = WATCHER("a"), *b = WATCHER("b");
    a->open_result = -SOTH_ENOMEM;
    b->open_result = SOTH_DETACH;
    REQUEST();
    UP("up");
    UP_ENDS();
    assert_non_null(strstr(play_events(&play), "action=detached bytes_in=0 bytes_out=0 failure_code=nomem module=a"));
    assert_int_equal(play.flow.detached, 2);
    play_free(&play, true);
    assert_string_equal(play_order(&play), ""); /* what was not opened is not closed */
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "up");
    play.decoders[0].closed = true;
    IS(BROKEN, play_match(&play, SOTH_TO_SERVER, 0));
    play_free(&play, true);
    assert_int_equal(a->closed, 0);
}

static void a_transform_that_did_not_open_changes_nothing(void **state)
{
    (void)state;
    play_add(&play, "d", SOTH_TRANSFORM, SOTH_STAGE_CONTENT, transform_double)->open_result = -SOTH_ENOMEM;
    REQUEST();
    assert_false(chain_transforms(play.chain, SOTH_TO_SERVER));
    UP("up");
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "up");
}

static void after_too_many_failures_it_is_left_alone(void **state)
{
    (void)state;
    struct actor *a = WATCHER("a");
    a->fail_at = 1;
    a->data_result = -SOTH_EINVALID;
    for (unsigned i = 0; i < 3; i++) {
        REQUEST();
        UP("up");
        play_free(&play, true);
    }
    assert_int_equal(a->calls, 3);
    a->fail_at = 0;
    play_events(&play);
    REQUEST();
    assert_null(play.chain);
    assert_string_equal(play_events(&play), "");
    assert_int_equal(a->opened, 3);
    /* closed on error: what it wants to see does not pass unseen, what it does not want passes */
    play.decoders[0].closed = true;
    IS(BROKEN, play_match(&play, SOTH_TO_SERVER, 0));
    assert_string_equal(chain_end(play.chain)->code, "circuit_open");
    play_free(&play, true);
    a->answer = SOTH_WATCH_NO;
    REQUEST();
}

/* ---- trailers ---- */

static void trailers_are_shown(void **state)
{
    struct soth_field fields[] = {{soth_span("A"), soth_span("1")}, {soth_span("B"), soth_span("2")}};
    struct soth_message trailers = {.size = sizeof trailers, .direction = SOTH_TO_CLIENT, .field_count = 2, .fields = fields};
    (void)state;
    struct actor *a = WATCHER("a"), *b = WATCHER("b"), *c = WATCHER("c"), *d = WATCHER("d");
    d->answer = SOTH_WATCH_NO;
    RESPONSE(200);
    DOWN("down");
    a->trailers_result = -SOTH_EINVALID;
    b->trailers_result = SOTH_DETACH;
    c->trailers_result = SOTH_PAUSE;
    IS(GO, chain_trailers(play.chain, SOTH_TO_CLIENT, &trailers));
    /* responses see the decoders of a stage the other way round */
    assert_string_equal(play_events(&play), "trailers c 2\ntrailers b 2\ntrailers a 2\n"
                                            "decoder_stage_failed action=detached bytes_in=4 bytes_out=4 failure_code=invalid module=a stage=protocol_frame_parse\n");
    assert_int_equal(play.flow.detached, 2);
    assert_int_equal(play.faults, 1);
    c->trailers_result = -SOTH_EINVALID;
    play.decoders[2].closed = true;
    IS(BROKEN, chain_trailers(play.chain, SOTH_TO_CLIENT, &trailers));
}

/* ---- timers ---- */

static void a_timer_rings_once(void **state)
{
    (void)state;
    struct actor *a = WATCHER("a"), *b = WATCHER("b");
    a->timer_ms = 50;
    b->timer_ms = 30;
    REQUEST();
    assert_int_equal(chain_deadline(play.chain), play.port.monotonic_ns + 30000000);
    play_later(&play, 30);
    IS(GO, chain_timer(play.chain));
    assert_string_equal(play_events(&play), "timer b\n");
    assert_int_equal(chain_deadline(play.chain), play.port.monotonic_ns + 20000000);
    IS(GO, chain_timer(play.chain));
    play_later(&play, 500);
    IS(GO, chain_timer(play.chain));
    assert_string_equal(play_events(&play), "timer a\n");
    assert_int_equal(chain_deadline(play.chain), 0);
}

static int sets_its_timer(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct actor *a = self;
    (void)cur;
    assert_int_equal(chain_set_timer(self, flow, a->timer_ms), 0);
    return SOTH_CONTINUE;
}

static void a_timer_is_set_anew_and_switched_off(void **state)
{
    (void)state;
    struct actor *a = play_add(&play, "a", SOTH_TAP, SOTH_STAGE_FRAME, sets_its_timer);
    REQUEST();
    assert_int_equal(chain_deadline(play.chain), 0);
    a->timer_ms = 40;
    UP("x");
    play_later(&play, 30);
    UP("x");
    assert_int_equal(chain_deadline(play.chain), play.port.monotonic_ns + 40000000);
    a->timer_ms = 0;
    UP("x");
    assert_int_equal(chain_deadline(play.chain), 0);
}

static void timers_may_fail(void **state)
{
    (void)state;
    struct actor *a = WATCHER("a"), *b = WATCHER("b");
    a->timer_ms = b->timer_ms = 10;
    a->timer_result = SOTH_BUSY;
    b->timer_result = -SOTH_EIO;
    REQUEST();
    play_later(&play, 10);
    IS(GO, chain_timer(play.chain));
    assert_int_equal(play.faults, 1);
    assert_int_equal(b->closed, 1);
    assert_non_null(strstr(play_events(&play), "failure_code=io module=b"));
}

/* A TRANSFORM that has changed something cannot leave quietly, unless it had its say. */
static void a_timer_that_fails_may_close(void **state)
{
    (void)state;
    for (unsigned ended = 0; ended < 2; ended++) {
        struct actor *a = play_add(&play, "d", SOTH_TRANSFORM, SOTH_STAGE_FRAME, transform_double);
        a->timer_ms = 10;
        a->timer_result = -SOTH_EIO;
        REQUEST();
        UP("x");
        if (ended)
            UP_ENDS();
        play_later(&play, 10);
        assert_int_equal(chain_timer(play.chain), ended ? CHAIN_GO : CHAIN_BROKEN);
        play_fini(&play);
        play_init(&play);
    }
}

/* What a TRANSFORM has in its window goes on when its timer makes it leave. */
static void a_timer_may_let_go(void **state)
{
    (void)state;
    struct actor *a = play_add(&play, "r", SOTH_TRANSFORM, SOTH_STAGE_FRAME, transform_replace);
    struct actor *b = play_add(&play, "t", SOTH_TAP, SOTH_STAGE_SANITIZE, tap_watch);
    a->timer_ms = 10;
    a->timer_result = SOTH_DETACH;
    REQUEST();
    UP("ca");
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "");
    play_later(&play, 10);
    IS(GO, chain_timer(play.chain));
    IS(GO, play_resume(&play, SOTH_TO_SERVER));
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "ca");
    UP("t");
    UP_ENDS();
    assert_string_equal(play_out(&play, SOTH_TO_SERVER), "cat");
    assert_string_equal(play_seen(b), "cat");
    assert_int_equal(b->flags, SOTH_CUR_END);
}

/* ---- close ---- */

static int emits_at_close;

static void closes_with_an_event(void *self, struct soth_flow *flow, uint32_t complete)
{
    struct actor *a = self;
    struct soth_attr attr = ATTR_NUMBER("bytes", complete);
    a->closed++;
    emits_at_close++;
    flow->emit(flow, SOTH_EV_REQUEST_BODY_CHUNK, &attr, 1);
    chain_set_timer(self, flow, 10); /* too late */
}

static void close_may_emit(void **state)
{
    (void)state;
    WATCHER("a");
    play.modules[0].close = closes_with_an_event;
    REQUEST();
    UP("x");
    play_free(&play, true);
    assert_string_equal(play_events(&play), "request_body_chunk bytes=1\n");
    assert_int_equal(emits_at_close, 1);
    chain_free(NULL, true);
}

/* State is of each decoder, zeroed, and of the message, or of the exchange for one that watches both. */
static int counts_in_its_state(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct actor *a = self;
    unsigned *calls = flow->state;
    (void)cur;
    assert_int_equal((uintptr_t)calls % 16, 0);
    (*calls)++;
    a->calls++;
    a->number = a->number * 10 + *calls;
    return SOTH_CONTINUE;
}

static void state_is_of_what_is_watched(void **state)
{
    (void)state;
    struct actor *a = play_add(&play, "a", SOTH_TAP, SOTH_STAGE_FRAME, counts_in_its_state);
    struct actor *b = play_add(&play, "b", SOTH_TAP, SOTH_STAGE_FRAME, counts_in_its_state);
    b->answer = SOTH_WATCH_BOTH;
    for (unsigned i = 0; i < 2; i++) {
        REQUEST();
        UP("x");
        UP("x");
        RESPONSE(200);
        DOWN("x");
        assert_int_equal(a->number, 121);
        assert_int_equal(b->number, 123);
        play_free(&play, true);
        a->number = b->number = 0;
    }
    assert_null(play.flow.state);
    assert_null(play.flow.chain);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(of_a_request_its_body),
        TEST(of_a_request_both),
        TEST(both_of_a_response_is_its_body),
        TEST(each_message_is_opened_for_itself),
        TEST(a_failure_is_of_its_message),
        TEST(what_was_not_decoded_is_of_its_message),
        TEST(who_detaches_is_not_asked_about_the_response),
        TEST(after_a_101_it_begins_anew),
        TEST(counts_are_whole_after_a_101),
        TEST(one_without_match_watches_every_body),
        TEST(match_may_fail),
        TEST(match_may_fail_for_one_that_is_open),
        TEST(a_closed_match_closes),
        TEST(open_may_fail),
        TEST(a_transform_that_did_not_open_changes_nothing),
        TEST(after_too_many_failures_it_is_left_alone),
        TEST(trailers_are_shown),
        TEST(a_timer_rings_once),
        TEST(a_timer_is_set_anew_and_switched_off),
        TEST(timers_may_fail),
        TEST(a_timer_that_fails_may_close),
        TEST(a_timer_may_let_go),
        TEST(close_may_emit),
        TEST(state_is_of_what_is_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
