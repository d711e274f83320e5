/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Random conversations, against a plain reading of the rules: the reference keeps the whole conversation as a list and finds its turns afterwards, by
 * going through it. PROP_CASES (default 20000) and PROP_SEED are read from the environment; the seed of a failing case is printed, and the shortest
 * beginning of it that still fails.
 * build: modules/ws/turns.c
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <soth/sdk.h>

#include "draw.h"
#include "modules/ws/turns.h"

#define MOST 60

#define IDLE 100u

/* What happens: a frame, bytes of a data frame that is not complete, a look at the clock for silence, or the end of the connection. */
enum { FRAME, BYTES, LOOK, END };
struct happening {
    int what;
    uint64_t ns;
    struct turn_frame frame;
    enum turn_end end; /* END */
};

/* ---- a conversation is thought up ---- */

static unsigned think(struct happening *all)
{
    unsigned count = 1 + draw_below(MOST), ends = draw_below(4), in_message[2] = {0, 0};
    uint64_t ns = draw_below(3); /* nothing is special about 0 */
    for (unsigned i = 0; i < count; i++) {
        unsigned d = draw_below(2), kind = draw_below(20);
        ns += draw_below(4) ? draw_below(IDLE / 2) : draw_below(2 * IDLE);
        all[i] = (struct happening){.what = kind < 13 ? FRAME : kind < 15 ? BYTES : kind < 18 ? LOOK : FRAME, .ns = ns};
        struct turn_frame *f = &all[i].frame;
        *f = (struct turn_frame){.direction = d, .fin = draw_below(3) > 0, .number = i + 1, .bytes = draw_below(100), .unix_ms = 1000 + i * 10};
        f->part = kind < 3 ? TURN_CONTROL : kind == 18 && ends == 0 ? TURN_CLOSING : in_message[d] ? TURN_MORE : TURN_BEGIN;
        if (f->part == TURN_BEGIN && draw_below(30) == 0)
            f->part = TURN_CONTROL; /* a stray frame counts like a control frame */
        if (all[i].what == FRAME && (f->part == TURN_BEGIN || f->part == TURN_MORE))
            in_message[d] = !f->fin;
    }
    if (ends > 1)
        all[count - 1] = (struct happening){.what = END, .ns = ns, .end = ends == 2 ? TURN_EOF : TURN_ERROR};
    return count;
}

/* ---- what is said about it, as text ---- */

struct text {
    char p[16384];
    size_t n;
};

static void say_end(struct text *t, enum turn_end end, const struct turn *turn)
{
    t->n += (size_t)snprintf(t->p + t->n, sizeof t->p - t->n, "end %s id=%d by=%u %d-%d %d+%d %d+%d %d-%d\n", turn_end_word(end)->p, (int)turn->id,
                             turn->initiator, (int)turn->first, (int)turn->last, (int)turn->frames[0], (int)turn->frames[1], (int)turn->bytes[0],
                             (int)turn->bytes[1], (int)turn->started_ms, (int)turn->ended_ms);
}

static void say_begin(struct text *t, unsigned id, unsigned by, unsigned first)
{
    t->n += (size_t)snprintf(t->p + t->n, sizeof t->p - t->n, "begin id=%u by=%u at=%u\n", id, by, first);
}

/* As the module does it: a frame that says something is heard where silence may follow it, and who looks at the clock knows whether it did. */
static void happens(struct turns *turns, const struct happening *h, struct turn_step *step)
{
    if (h->what == END)
        turns_end(turns, h->end, step);
    else if (h->what == BYTES)
        turns_hear(turns, h->ns);
    else if (h->what == LOOK && turns_may_idle(turns) && turns_silence_left(turns, IDLE, h->ns) == 0)
        turns_end(turns, TURN_IDLE, step);
    if (h->what != FRAME)
        return;
    turns_frame(turns, &h->frame, step);
    if (h->frame.part != TURN_CONTROL && turns_may_idle(turns))
        turns_hear(turns, h->ns);
}

static void tell(const struct happening *all, unsigned count, struct text *out)
{
    struct turns turns = {.open = false};
    out->n = 0;
    out->p[0] = 0;
    for (unsigned i = 0; i < count; i++) {
        struct turn_step step = {.end = TURN_GOES_ON};
        happens(&turns, &all[i], &step);
        if (step.end != TURN_GOES_ON && step.end == TURN_ROLLOVER)
            say_end(out, step.end, &step.ended);
        if (step.began)
            say_begin(out, (unsigned)turns.now.id, turns.now.initiator, (unsigned)turns.now.first);
        if (step.end != TURN_GOES_ON && step.end != TURN_ROLLOVER)
            say_end(out, step.end, &step.ended);
    }
}

/* ---- the reference ---- */

static bool is_data(const struct happening *h)
{
    return h->what == FRAME && (h->frame.part == TURN_BEGIN || h->frame.part == TURN_MORE);
}

/* Is a message of that side unfinished before the i-th? Its last data frame says so. */
static bool unfinished(const struct happening *all, unsigned i, unsigned direction)
{
    while (i-- > 0)
        if (is_data(&all[i]) && all[i].frame.direction == direction)
            return !all[i].frame.fin;
    return false;
}

static bool has_begun(const struct happening *all, unsigned from, unsigned to, unsigned direction)
{
    for (unsigned i = from; i < to; i++)
        if (all[i].what == FRAME && all[i].frame.part == TURN_BEGIN && all[i].frame.direction == direction)
            return true;
    return false;
}

/* Has nobody said anything for so long before the i-th? */
static bool silent(const struct happening *all, unsigned i)
{
    uint64_t now = all[i].ns;
    while (i-- > 0)
        if (is_data(&all[i]) || all[i].what == BYTES)
            return now - all[i].ns >= IDLE;
    return false;
}

/* Why the turn that began with the from-th frame ends at the i-th; GOES_ON when it does not. */
static enum turn_end ends_at(const struct happening *all, unsigned from, unsigned i)
{
    const struct turn_frame *first = &all[from].frame, *f = &all[i].frame;
    bool quiet = !unfinished(all, i, 0) && !unfinished(all, i, 1);
    if (all[i].what == END)
        return all[i].end;
    if (all[i].what == LOOK)
        return quiet && silent(all, i) && has_begun(all, from, i, 0) && has_begun(all, from, i, 1) ? TURN_IDLE : TURN_GOES_ON;
    if (all[i].what == BYTES)
        return TURN_GOES_ON;
    if (f->part == TURN_CLOSING)
        return TURN_CLOSE;
    if (f->part == TURN_BEGIN && f->direction == first->direction && quiet && has_begun(all, from, i, !first->direction))
        return TURN_ROLLOVER;
    return TURN_GOES_ON;
}

static struct turn sum(const struct happening *all, unsigned from, unsigned to, unsigned id)
{
    struct turn turn = {.id = id, .initiator = all[from].frame.direction, .first = all[from].frame.number, .started_ms = all[from].frame.unix_ms};
    for (unsigned i = from; i < to; i++) {
        const struct turn_frame *f = &all[i].frame;
        if (all[i].what != FRAME)
            continue;
        turn.last = f->number;
        turn.ended_ms = f->unix_ms;
        turn.frames[f->direction]++;
        turn.bytes[f->direction] += f->bytes;
    }
    return turn;
}

static void expect(const struct happening *all, unsigned count, struct text *out)
{
    unsigned id = 0, i = 0;
    out->n = 0;
    out->p[0] = 0;
    while (i < count && !(all[i].what == FRAME && all[i].frame.part == TURN_CLOSING)) {
        if (all[i].what != FRAME || all[i].frame.part != TURN_BEGIN) {
            i++;
            continue;
        }
        unsigned from = i++;
        say_begin(out, ++id, all[from].frame.direction, from + 1);
        while (i < count && ends_at(all, from, i) == TURN_GOES_ON)
            i++;
        if (i == count)
            return; /* it goes on */
        enum turn_end end = ends_at(all, from, i);
        struct turn turn = sum(all, from, end == TURN_CLOSE ? i + 1 : i, id);
        say_end(out, end, &turn);
        if (end == TURN_CLOSE || end == TURN_EOF || end == TURN_ERROR)
            return;
    }
}

/* ---- */

static bool play(uint64_t seed, unsigned most, struct text *got, struct text *wanted)
{
    static struct happening all[MOST];
    draw_begin(seed);
    unsigned count = think(all);
    count = count < most ? count : most;
    tell(all, count, got);
    expect(all, count, wanted);
    return strcmp(got->p, wanted->p) == 0;
}

static void turns_are_as_the_rules_say(void **state)
{
    static struct text got, wanted;
    unsigned long count = 20000;
    const uint64_t seed = draw_seed(&count);
    (void)state;
    for (unsigned long i = 0; i < count; i++) {
        unsigned most = MOST;
        if (play(seed + i, most, &got, &wanted))
            continue;
        while (most > 1 && !play(seed + i, most - 1, &got, &wanted))
            most--;
        play(seed + i, most, &got, &wanted);
        fail_msg("PROP_SEED=%llu, %u happenings:\n--- by the rules\n%s--- got\n%s", (unsigned long long)(seed + i), most, wanted.p, got.p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(turns_are_as_the_rules_say)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
