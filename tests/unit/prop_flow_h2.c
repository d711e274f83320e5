/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Lives of HTTP/2 connections by chance: requests of many streams, answers in any order and half of them, resets, GOAWAY, connections that
 * break, windows and sockets that are full, policies that think, time. What must hold is what flow_driver.h checks at each step, for the
 * connection and for every stream; and that what one end sent of a stream is what the other one got. PROP_CASES (default 4000) and PROP_SEED
 * are read from the environment; a failing case is cut to the operations that it needs and told with its seed.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>

#include <cmocka.h>

#include "draw.h"
#include "flow_rig.h"
#include "h2_peer.h"

#define OPERATIONS 250u

static struct driver d;
static struct h2_peer client, origin, kin[DRIVER_KIN];
static char bulk[70000];
static bool tells;
static int32_t asked; /* the newest stream of the client */
static uint64_t closed[CLOSE_CODE_COUNT], reused, retried; /* in all lives: what chance must not miss */

__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...)
{
    va_list args;
    if (!tells)
        return;
    va_start(args, format);
    vprint_message(format, args);
    va_end(args);
}

/* ---- what can happen ---- */

static void ask(void)
{
    static const char *const names[] = {"a.test", "a.test", "a.test", "a.test", "b.test", "a.test:81"};
    static const char *const paths[] = {"/", "/long?query", "*", "/x"};
    const char *method = draw_below(2) ? "GET" : draw_below(8) ? "POST" : "CONNECT";
    bool end = draw_below(3) > 0;
    int32_t id = h2_peer_ask(&client, method, paths[draw_below(4)], names[draw_below(6)], draw_below(3) ? "" : "x-a: 1\nte: trailers\ncookie: a=b\n", end);
    asked = id > 0 ? id : asked;
    tell("client asks %s on %d%s\n", method, id, end ? ", that is all" : "");
}

static int32_t of_client(void)
{
    return asked ? asked - 2 * (int32_t)draw_below(6) : 1; /* one of the last */
}

static int32_t of_origin(const struct h2_peer *p)
{
    return p->heard_count ? p->heard[draw_below(p->heard_count)] : 1;
}

static void say_body(struct h2_peer *p, int32_t stream)
{
    size_t n = draw_below(3) ? draw_below(200) : draw_below(sizeof bulk);
    bool end = draw_below(3) == 0;
    tell("%s body of %zu on %d%s\n", p->is_client ? "client" : "origin", n, stream, end ? ", the end" : "");
    h2_peer_body(p, stream, bulk, n, end);
}

static void answer(struct h2_peer *p)
{
    int32_t stream = of_origin(p);
    unsigned kind = draw_below(10);
    tell("origin answers %d with %u\n", stream, kind);
    if (kind == 0)
        h2_peer_respond(p, stream, 103, "link: a\n", false);
    else if (kind < 6)
        h2_peer_respond(p, stream, draw_below(4) ? 200 : 404, draw_below(2) ? "" : "content-type: text/plain\n", draw_below(3) == 0);
    else if (kind == 6)
        h2_peer_trailers(p, stream, "grpc-status: 0\n");
    else
        say_body(p, stream);
}

static void misbehave(struct h2_peer *p)
{
    static const enum h2_code codes[] = {H2_NO_ERROR, H2_CANCEL, H2_REFUSED_STREAM, H2_INTERNAL_ERROR};
    int32_t stream = p->is_client ? of_client() : of_origin(p);
    enum h2_code code = codes[draw_below(4)];
    unsigned kind = draw_below(12);
    if (kind < 10)
        h2_reset(p->h2, stream, code);
    else
        h2_goaway(p->h2, kind == 10 ? H2_GOAWAY_SOON : H2_GOAWAY_LAST, code);
    tell("%s %s %d %s\n", p->is_client ? "client" : "origin", kind < 10 ? "resets" : "goes away", stream, h2_code_name(code));
}

/* What a peer of before has not read is read by the next one here: what its codec refuses says nothing (fuzz/exchange_pairings.c tells them apart). */
static void peer_begins(struct h2_peer *p, enum side side, int of_kin, uint32_t window)
{
    h2_peer_init(p, &d, side, of_kin, window);
    p->lies = true;
}

static void dial_ends(void)
{
    bool well = draw_below(5) > 0;
    bool main_dial = well ? driver_dialed(&d) : driver_dial_failed(&d, DIAL_FAILURE_REFUSED, "ECONNREFUSED");
    if (main_dial)
        tell("the dial ends %s\n", well ? "well" : "ill");
    if (main_dial && well) {
        h2_peer_fini(&origin);
        peer_begins(&origin, SIDE_ORIGIN, -1, draw_below(2) ? 0 : 70000);
    }
    for (unsigned i = 0; !main_dial && i < d.kin_count; i++) {
        if (!d.kin[i].dialing || !draw_below(2))
            continue;
        tell("the dial of %u ends %s\n", i, well ? "well" : "ill");
        if (!well)
            driver_kin_dial_failed(&d, i, DIAL_FAILURE_TIMEOUT, "ETIMEDOUT");
        else
            driver_kin_dialed(&d, i);
        return;
    }
}

/* An origin of HTTP/1, or of HTTP/2 where the first bytes say so. */
static void kin_turn(unsigned i)
{
    static const char *const answers[] = {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 200 OK\r\n\r\nuntil",
                                          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n",
                                          "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "no"};
    struct driver_end *end = &d.kin[i].origin;
    if (!end->open || end->ended)
        return;
    if (!kin[i].h2 && buffer_size(&end->got) >= 3 && memcmp(buffer_data(&end->got), "PRI", 3) == 0)
        peer_begins(&kin[i], SIDE_ORIGIN, (int)i, 0);
    if (kin[i].h2) {
        h2_peer_turn(&kin[i]);
        answer(&kin[i]);
        h2_peer_turn(&kin[i]);
    } else if (buffer_size(&end->got)) {
        const char *text = answers[draw_below(6)];
        tell("the origin of %u says %.20s\n", i, text);
        buffer_append(&end->inbox, text, strlen(text));
        buffer_clear(&end->got);
    }
    if (draw_below(6) == 0)
        end->ends = true;
    while (driver_kin_read(&d, i, 1 + draw_below(400)) && draw_below(8))
        ;
}

static void windows(struct h2_peer *p)
{
    p->holds = draw_below(3) == 0;
    if (p->holds || !p->held)
        return;
    h2_consume(p->h2, 1, p->held); /* the connection's; what streams hold stays */
    p->held = 0;
}

static void policy(void)
{
    unsigned kind = draw_below(5);
    tell("policy %u\n", kind);
    if (kind == 0)
        d.policy.request.action = draw_below(2) ? SOTH_BLOCK : SOTH_ALLOW;
    else if (kind == 1)
        d.policy.blocked = draw_below(2) ? "b.test" : NULL;
    else if (kind == 2)
        d.policy.pauses = true;
    else
        d.policy.pauses = false;
}

static void time_passes(void)
{
    unsigned ms = draw_below(8) ? draw_below(700) : draw_below(70000);
    tell("%u ms pass\n", ms);
    driver_time(&d, ms);
}

static void ends(void)
{
    unsigned kind = draw_below(40);
    if (kind == 0 && draw_below(3) == 0)
        driver_hang_up(&d, SIDE_CLIENT, draw_below(2) ? ECONNRESET : 0);
    else if (kind < 8)
        driver_hang_up(&d, SIDE_ORIGIN, draw_below(2) ? ECONNRESET : 0);
    else if (kind == 8)
        driver_step(&d, (struct input){.type = INPUT_DRAIN});
    else if (kind == 9)
        driver_break(&d, SIDE_ORIGIN, EPIPE);
    else if (kind == 10 && draw_below(4) == 0)
        driver_break(&d, SIDE_CLIENT, ECONNRESET);
    else
        return;
    tell("an end of kind %u\n", kind);
}

static void bytes_move(void)
{
    size_t most = draw_below(3) ? SIZE_MAX : 1 + draw_below(3000);
    for (unsigned i = 0; i < 1 + draw_below(6); i++) {
        h2_peer_turn(&client);
        if (origin.h2)
            h2_peer_turn(&origin);
        driver_read(&d, SIDE_CLIENT, most);
        driver_read(&d, SIDE_ORIGIN, most);
    }
}

static void operation(void)
{
    unsigned kind = draw_below(100);
    if (kind < 12)
        ask();
    else if (kind < 20)
        say_body(&client, of_client());
    else if (kind < 38 && origin.h2)
        answer(&origin);
    else if (kind < 41)
        misbehave(&client);
    else if (kind < 44 && origin.h2)
        misbehave(&origin);
    else if (kind < 52)
        dial_ends();
    else if (kind < 62 && d.kin_count)
        kin_turn(draw_below(d.kin_count));
    else if (kind < 65)
        windows(draw_below(2) || !origin.h2 ? &client : &origin);
    else if (kind < 68)
        driver_block(&d, draw_below(2) ? SIDE_CLIENT : SIDE_ORIGIN, draw_below(2) != 0);
    else if (kind < 70)
        policy();
    else if (kind < 72)
        time_passes();
    else if (kind < 74)
        ends();
    else
        bytes_move();
}

/* ---- a life ---- */

static bool holds(uint64_t seed, unsigned operations, char *fault, size_t size)
{
    draw_begin(seed);
    world_reset(&rig_world);
    driver_init(&d, &rig_world);
    driver_capture(&d, draw_below(3) ? 0 : draw_below(2) ? BUS_PAYLOAD_FULL : draw_below(10));
    d.settings.http2_enabled = 1;
    d.settings.upstream_http2 = draw_below(5) ? UPSTREAM_HTTP2_MIRROR : UPSTREAM_HTTP2_ALWAYS;
    bool proxy = draw_below(3) == 0;
    asked = 0;
    origin = client = (struct h2_peer){.h2 = NULL};
    memset(kin, 0, sizeof kin);
    driver_accept(&d);
    d.env.awake = draw_below(2) ? 0 : draw_below(6);
    if (!proxy) {
        static const char head[] = "CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n";
        driver_say(&d, SIDE_CLIENT, head, sizeof head - 1);
        driver_read(&d, SIDE_CLIENT, SIZE_MAX);
        buffer_clear(&d.end[SIDE_CLIENT].got);
    }
    peer_begins(&client, SIDE_CLIENT, -1, draw_below(2) ? 0 : 70000);
    for (unsigned i = 0; i < operations && !d.fault[0] && d.flow && d.kin_count < DRIVER_KIN - 8; i++)
        operation();
    h2_peer_fini(&client);
    h2_peer_fini(&origin);
    for (unsigned i = 0; i < DRIVER_KIN; i++)
        h2_peer_fini(&kin[i]);
    driver_fini(&d);
    for (unsigned i = 0; i < CLOSE_CODE_COUNT; i++)
        closed[i] += d.counters.closed[i];
    reused += d.reused;
    retried += d.counters.origin_retries;
    snprintf(fault, size, "%s", d.fault);
    return !d.fault[0];
}

static void fail_with(uint64_t seed)
{
    char fault[240];
    unsigned n = 1;
    while (n < OPERATIONS && holds(seed, n, fault, sizeof fault))
        n++;
    tells = true;
    holds(seed, n, fault, sizeof fault);
    fail_msg("PROP_SEED=%llu, %u operations: %s", (unsigned long long)seed, n, fault);
}

static void any_life_keeps_the_promises(void **state)
{
    unsigned long cases = 4000;
    const uint64_t seed = draw_seed(&cases);
    char fault[240];
    (void)state;
    memset(bulk, 'b', sizeof bulk);
    for (unsigned long i = 0; i < cases; i++)
        if (!holds(seed + i, OPERATIONS, fault, sizeof fault))
            fail_with(seed + i);
    for (unsigned i = 0; i < CLOSE_CODE_COUNT; i++)
        print_message("%s %llu\n", close_code_name(i), (unsigned long long)closed[i]);
    print_message("connections used again %llu, requests sent again %llu\n", (unsigned long long)reused, (unsigned long long)retried);
    if (cases < 500)
        return;
    assert_true(closed[CLOSE_MITM_HTTP_COMPLETED] > cases && closed[CLOSE_CLIENT_ABORTED] > cases / 2 && closed[CLOSE_MITM_HTTP_ERROR] > cases / 2);
    assert_true(closed[CLOSE_UPSTREAM_CONNECT_FAILED] > 0 && closed[CLOSE_STREAM_STAGE_TIMEOUT] > 0 && reused > 0 && retried > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_life_keeps_the_promises),
    };
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
