/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What streams hold while they wait for their origin: counted in bytes of the flows' own allocations, the library's for both connections among
 * them. And what becomes of those at rest: they wake for whatever comes, and end once.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "h2_talk.h"

#define STREAM_BUDGET 900u /* bytes of one that waits, on both connections: 100 of them are to stay under 100 KiB */
#define FEW 10u
#define MANY 60u

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNCOUNTED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNCOUNTED 1
#endif
#endif

static struct driver *const d = &talk.driver;
static struct h2_peer *const client = &talk.client, *const origin = &talk.origin;

/* ---- bytes that the flows hold ---- */

static size_t held;
static bool inside;

#ifndef UNCOUNTED
#define PLACES (1u << 16)
static void *places[PLACES]; /* what they have allocated, by its address */

#define EVERYBODYS __attribute__((visibility("default"))) /* nghttp2's, too */

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t count, size_t n);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);

static size_t place_of(const void *p)
{
    size_t at = ((uintptr_t)p >> 4) * 2654435761u % PLACES;
    while (places[at] && places[at] != p)
        at = (at + 1) % PLACES;
    return at;
}

static void *note(void *p)
{
    if (!p || !inside)
        return p;
    places[place_of(p)] = p;
    held += malloc_usable_size(p) + sizeof(size_t);
    return p;
}

static void unnote(void *p)
{
    size_t at = p ? place_of(p) : 0;
    if (!p || !places[at])
        return;
    held -= malloc_usable_size(p) + sizeof(size_t);
    places[at] = NULL;
    for (size_t next = (at + 1) % PLACES; places[next]; next = (next + 1) % PLACES) { /* those behind it may move up */
        void *other = places[next];
        places[next] = NULL;
        places[place_of(other)] = other;
    }
}

EVERYBODYS void *malloc(size_t n)
{
    return note(__libc_malloc(n));
}

EVERYBODYS void *calloc(size_t count, size_t n)
{
    return note(__libc_calloc(count, n));
}

EVERYBODYS void *realloc(void *p, size_t n)
{
    unnote(p);
    return note(__libc_realloc(p, n));
}

EVERYBODYS void free(void *p)
{
    unnote(p);
    __libc_free(p);
}
#endif

static void step(bool begins)
{
    inside = begins;
}

/* ---- a connection whose origin takes its time ---- */

static void connected(uint32_t awake)
{
    talk_begin();
    d->settings.http2_max_concurrent_streams = 100;
    d->inside = step;
    driver_accept(d);
    d->env.awake = awake;
    talk_connect();
}

/* In one piece, as a client has them that wants much at once. */
static void ask(unsigned count, const char *method, bool end_it)
{
    for (unsigned i = 0; i < count; i++) {
        char path[32];
        snprintf(path, sizeof path, "/waiting/%u", i);
        h2_peer_ask(client, method, path, "a.test", "user-agent: curl/7.88.1\naccept: */*\n", end_it);
    }
    talk_run();
    if (!driver_dialed(d))
        return;
    h2_peer_init(origin, d, SIDE_ORIGIN, -1, 0);
    talk_run();
}

static unsigned asleep(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < d->kin_count; i++)
        n += d->kin[i].rests;
    return n;
}

static unsigned lines(struct h2_peer *peer, const char *words)
{
    unsigned n = 0;
    for (const char *at = h2_peer_log(peer); (at = strstr(at, words)); at++)
        n++;
    return n;
}

/* ---- */

static void cost_of(uint32_t awake)
{
    connected(awake);
    ask(FEW, "GET", true);
    size_t few = held;
    ask(MANY - FEW, "GET", true);
    assert_int_equal(asleep(), MANY);
    size_t each = (held - few) / (MANY - FEW);
    print_message("%zu bytes a stream\n", awake < FEW ? each : held / MANY);
    if (awake < FEW)
        assert_in_range(each, 1, STREAM_BUDGET);
    talk_end();
}

/* Whether the first of them were few for a time, or not. */
static void a_waiting_stream_is_small(void **state)
{
    (void)state;
#ifdef UNCOUNTED
    skip();
#endif
    cost_of(0); /* what is there once for all comes, too */
    const size_t before = held;
    cost_of(0);
    cost_of(FEW);
    assert_int_equal(held, before);
}

/* One after the other: memory is as it was after the first ones. */
static void streams_leave_nothing(void **state)
{
    size_t before = 0;
    (void)state;
#ifdef UNCOUNTED
    skip();
#endif
    connected(0);
    for (unsigned i = 0; i < MANY; i++) {
        ask(1, "GET", true);
        h2_peer_respond(origin, origin->heard[origin->heard_count - 1], 200, "x-a: 1\n", false);
        h2_peer_body(origin, origin->heard[origin->heard_count - 1], "hello", 5, true);
        talk_run();
        if (i == 5)
            before = held;
        if (i > 5 && held > before)
            fail_msg("stream %u: %zu bytes, there were %zu", i, held, before);
    }
    assert_int_equal(lines(client, "body hello"), MANY);
    talk_end();
}

/* Each way of waking, with siblings that sleep on. */
static void they_wake(void **state)
{
    (void)state;
    connected(0);
    ask(1, "GET", true);
    ask(3, "GET", true);
    assert_int_equal(asleep(), 4);
    assert_int_equal(lines(origin, "head GET"), 4);
    h2_peer_respond(origin, origin->heard[2], 200, "", true);
    h2_reset(origin->h2, origin->heard[1], H2_INTERNAL_ERROR);
    h2_reset(client->h2, 1, H2_CANCEL);
    talk_run();
    assert_int_equal(asleep(), 1);
    h2_peer_respond(origin, origin->heard[3], 103, "link: a\n", false);
    h2_peer_respond(origin, origin->heard[3], 204, "", true);
    talk_run();
    const char *heard = h2_peer_log(client);
    if (asleep())
        fail_msg("heard\n%s\nafter\n%s", heard, driver_log(d));
    assert_non_null(strstr(heard, "5 head 200"));
    assert_non_null(strstr(heard, "3 closed internal_error"));
    assert_non_null(strstr(heard, "7 interim 103"));
    assert_non_null(strstr(heard, "7 head 204"));
    talk_end();
}

/* A request whose body comes later. */
static void a_body_wakes(void **state)
{
    (void)state;
    connected(0);
    ask(3, "POST", false);
    assert_int_equal(asleep(), 3);
    h2_peer_body(client, 3, "hello", 5, true);
    talk_run();
    const char *heard = h2_peer_log(origin);
    assert_non_null(strstr(heard, "body hello"));
    assert_int_equal(asleep(), 3); /* again, now that all of it is out */
    h2_peer_respond(origin, origin->heard[1], 200, "", true);
    talk_run();
    assert_int_equal(lines(client, "3 head 200"), 1);
    talk_end();
}

static void time_passes(void **state)
{
    (void)state;
    connected(0);
    ask(2, "GET", true);
    assert_int_equal(asleep(), 2);
    driver_time(d, d->settings.response_header_timeout + 1);
    talk_run();
    assert_int_equal(asleep(), 0);
    assert_int_equal(lines(client, "head 504"), 2);
    talk_end();
}

/* The origin takes none of them any more: they are sent again, as they were, where it takes some. */
static void sent_again(void **state)
{
    (void)state;
    connected(0);
    ask(1, "GET", true);
    assert_int_equal(asleep(), 1);
    const char *first = strdup(h2_peer_log(origin));
    h2_reset(origin->h2, origin->heard[0], H2_REFUSED_STREAM);
    talk_run();
    const char *second = h2_peer_log(origin);
    assert_non_null(strstr(first, "1 head GET"));
    assert_non_null(strstr(second, "3 head GET"));
    const char *line = strstr(first, "head GET");
    assert_memory_equal(line, strstr(second, "head GET"), strcspn(line, "\n"));
    free((void *)(uintptr_t)first);
    assert_int_equal(asleep(), 1);
    h2_peer_respond(origin, origin->heard[1], 200, "", true);
    talk_run();
    assert_int_equal(lines(client, "1 head 200"), 1);
    talk_end();
}

/* The connection goes, while they rest. */
static void the_end_of_all(void **state)
{
    (void)state;
    connected(0);
    ask(5, "GET", true);
    driver_hang_up(d, SIDE_CLIENT, 0);
    talk_run();
    assert_int_equal(asleep(), 0);
    talk_end();
    connected(0);
    ask(5, "GET", true);
    talk_end(); /* as when a worker ends: each has its stream_closed, says the driver */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_waiting_stream_is_small), cmocka_unit_test(streams_leave_nothing), cmocka_unit_test(they_wake),
        cmocka_unit_test(a_body_wakes),              cmocka_unit_test(time_passes),           cmocka_unit_test(sent_again),
        cmocka_unit_test(the_end_of_all),
    };
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
