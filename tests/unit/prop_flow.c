/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Lives of flows by chance: inputs in any order that a driver could produce, bytes cut anywhere, dials that fail, ends, broken writes, timers,
 * changes of the policy's mind, drains at every step. What must hold is what flow_driver.h checks at each step. PROP_CASES (default 3000) and
 * PROP_SEED are read from the environment; the seed of a failing case is printed, and the operations that are needed for it.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "draw.h"
#include "flow_program.h"
#include "flow_rig.h"

#define MOST_OPERATIONS 60
#define MOST_BYTES (PROGRAM_HEAD + MOST_OPERATIONS * 17)

struct program {
    uint8_t bytes[MOST_BYTES];
    size_t n;
};

/* ---- a life is thought up ---- */

static void add(struct program *p, unsigned op, unsigned argument)
{
    p->bytes[p->n++] = OPERATION(op, argument);
    if (op == OP_CLIENT_RAW || op == OP_ORIGIN_RAW)
        for (unsigned i = 0; i <= argument; i++)
            p->bytes[p->n++] = (uint8_t)draw_below(256);
}

/* Rare bits of the second byte are those that end a flow at once. */
static void think_of_head(struct program *p)
{
    static const unsigned rare = 0xc0;
    unsigned first = draw_below(256), second = draw_below(256);
    if (draw_below(4))
        second = (second & ~3u) | 3; /* intercepted, as most are */
    if (draw_below(8))
        second &= ~rare;
    if (draw_below(3))
        second &= ~(4u | 8u);
    if (draw_below(2))
        first &= ~3u;
    p->bytes[0] = (uint8_t)first;
    p->bytes[1] = (uint8_t)second;
    p->n = PROGRAM_HEAD;
}

static void think_of_operation(struct program *p)
{
    static const struct {
        uint8_t op, weight;
    } weights[] = {
        {OP_CLIENT_SAYS, 14}, {OP_CLIENT_SAYS2, 7}, {OP_ORIGIN_SAYS, 16}, {OP_CLIENT_RAW, 2}, {OP_ORIGIN_RAW, 1}, {OP_READ_CLIENT, 8},
        {OP_READ_ORIGIN, 6}, {OP_READ_ALL, 22}, {OP_DIALED, 14}, {OP_DIAL_FAILED, 2}, {OP_TIME, 3}, {OP_DEADLINE, 2}, {OP_HANG_UP, 4},
        {OP_BREAK, 1}, {OP_POLICY, 1}, {OP_SPECIAL, 0},
    };
    unsigned at = draw_below(110);
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        if (at < weights[i].weight) {
            add(p, weights[i].op, draw_below(16));
            return;
        }
        at -= weights[i].weight;
    }
    add(p, OP_SPECIAL, draw_below(14));
}

/* Beginnings that lead somewhere; chance alone rarely finds the way through two handshakes. */
static void think_of_beginning(struct program *p)
{
    unsigned kind = draw_below(5);
    if (kind == 0)
        return;
    if (kind < 4) {
        add(p, OP_CLIENT_SAYS, draw_below(3) ? 0 : draw_below(8));
        add(p, OP_READ_ALL, draw_below(3) ? 15 : draw_below(16));
    }
    if (kind == 2 || kind == 3) {
        add(p, OP_SPECIAL, draw_below(8) ? SPECIAL_CLIENT_TLS : SPECIAL_CLIENT_TLS_B);
        add(p, OP_READ_ALL, draw_below(2) ? 15 : draw_below(16));
        add(p, OP_SPECIAL, draw_below(8) ? SPECIAL_ORIGIN_TLS : SPECIAL_ORIGIN_TLS_B);
        if (draw_below(8))
            add(p, OP_DIALED, 0);
        if (draw_below(4))
            add(p, OP_READ_ALL, 15);
    }
    if (kind >= 3) {
        add(p, OP_CLIENT_SAYS, kind == 3 ? 11 : 6 + draw_below(5));
        add(p, OP_READ_ALL, 15);
        add(p, OP_DIALED, 0);
    }
}

static void think_of(struct program *p, uint64_t seed, unsigned most)
{
    draw_begin(seed);
    think_of_head(p);
    if (draw_below(3) == 0)
        add(p, OP_SPECIAL, SPECIAL_PAUSE);
    think_of_beginning(p);
    for (unsigned count = draw_below(most); count > 0 && p->n + 17 < MOST_BYTES; count--)
        think_of_operation(p);
}

/* ---- what must hold ---- */

static bool holds(const struct program *p, char *fault, size_t size)
{
    struct driver d;
    bool good = program_run(&d, &rig_world, p->bytes, p->n, true);
    driver_fini(&d);
    snprintf(fault, size, "%s", d.fault);
    return good && !d.fault[0];
}

/* Leaves out operations as long as it still fails without them. */
static void shrink(struct program *p)
{
    char fault[240];
    for (bool smaller = true; smaller;) {
        smaller = false;
        for (size_t at = PROGRAM_HEAD, next; at < p->n; at = next) {
            struct program less = *p;
            next = program_next(p->bytes, p->n, at);
            memmove(less.bytes + at, less.bytes + next, p->n - next);
            less.n = p->n - (next - at);
            if (holds(&less, fault, sizeof fault))
                continue;
            *p = less;
            next = at;
            smaller = true;
        }
    }
}

static void fail_with(struct program *p, uint64_t seed)
{
    struct driver d;
    struct buffer text = {0};
    shrink(p);
    program_print(p->bytes, p->n, &text);
    buffer_append(&text, "", 1);
    program_run(&d, &rig_world, p->bytes, p->n, true);
    fail_msg("PROP_SEED=%llu: %s\n%s--- events\n%s", (unsigned long long)seed, d.fault, (const char *)buffer_data(&text), driver_log(&d));
}

static void any_life_keeps_the_promises(void **state)
{
    unsigned long cases = 3000;
    uint64_t seed = draw_seed(&cases);
    char fault[240];
    (void)state;
    for (unsigned long i = 0; i < cases; i++) {
        struct program p;
        think_of(&p, seed + i, MOST_OPERATIONS - 15);
        if (!holds(&p, fault, sizeof fault))
            fail_with(&p, seed + i);
    }
}

/* Between any two operations of a life a drain is told, an abort comes, a write fails, the deadline passes. */
static void at_every_step(void **state)
{
    static const uint8_t events[] = {
        OPERATION(OP_SPECIAL, SPECIAL_DRAIN), OPERATION(OP_SPECIAL, SPECIAL_ABORT), OPERATION(OP_BREAK, 0), OPERATION(OP_BREAK, 1),
        OPERATION(OP_BREAK, 2), OPERATION(OP_BREAK, 3), OPERATION(OP_DEADLINE, 0), OPERATION(OP_DIAL_FAILED, 4),
        OPERATION(OP_SPECIAL, SPECIAL_PAUSE), OPERATION(OP_SPECIAL, SPECIAL_STALE),
    };
    unsigned long cases = 3000;
    uint64_t seed = draw_seed(&cases);
    char fault[240];
    (void)state;
    for (unsigned long i = 0; i < cases; i += 50) {
        struct program p;
        think_of(&p, seed + i, 20);
        for (size_t at = PROGRAM_HEAD; at < p.n; at = program_next(p.bytes, p.n, at))
            for (size_t k = 0; k < sizeof events; k++) {
                struct program more = p;
                memmove(more.bytes + at + 1, p.bytes + at, p.n - at);
                more.bytes[at] = events[k];
                more.n++;
                if (!holds(&more, fault, sizeof fault))
                    fail_with(&more, seed + i);
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_life_keeps_the_promises),
        cmocka_unit_test(at_every_step),
    };
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
