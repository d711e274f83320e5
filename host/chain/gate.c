/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What is relayed waits here behind TAPs of the frame stage, when a policy judges frames: it goes on up to the end of the last frame that was
 * allowed. A TAP that sees the relayed bytes themselves tells that to the byte; behind one that decodes them, a whole piece goes on when all
 * that was made of it has been judged.
 */
#include "host/chain/parts.h"

/* Does the i-th see the relayed bytes as they are? */
static bool is_exact(const struct run *run, unsigned i)
{
    for (unsigned k = run->way->transforms; k < i; k++)
        if (run->way->line[k]->lane[run->direction].changed)
            return false;
    return true;
}

/* How far the i-th lets the relayed bytes go. `whole`: all that has come was looked at. */
static uint64_t cleared(struct run *run, unsigned i, bool whole)
{
    struct lane *lane = &run->way->line[i]->lane[run->direction];
    uint64_t relayed = run->way->relayed;
    if (is_exact(run, i))
        return lane->cleared = lane->judged;
    if (lane->mark_in && lane->judged >= lane->mark_in) {
        lane->cleared = lane->mark_relayed;
        lane->mark_in = 0;
    }
    if (whole && lane->judged == lane->in) {
        lane->cleared = relayed;
        lane->mark_in = 0;
    } else if (whole && lane->mark_in == 0) {
        lane->mark_in = lane->in;
        lane->mark_relayed = relayed;
    }
    return lane->cleared;
}

/* The gated decoder that holds most back, of those that are still there; NULL when none is. */
static struct place *slowest(struct run *run, bool whole, uint64_t *upto)
{
    struct way *way = run->way;
    struct place *slow = NULL;
    *upto = way->relayed;
    for (unsigned i = way->transforms; i < way->count; i++) {
        struct place *place = way->line[i];
        if (place->gone || !gate_applies(run->chain, place))
            continue;
        uint64_t far = cleared(run, i, whole);
        if (!slow || far < *upto) {
            *upto = far;
            slow = place;
        }
    }
    return slow;
}

static void release(struct run *run, uint64_t upto)
{
    struct gate *gate = &run->way->gate;
    uint64_t first = run->way->relayed - gate->now_size - buffer_size(&gate->held);
    size_t n = upto > first ? (size_t)(upto - first) : 0;
    size_t old = n < buffer_size(&gate->held) ? n : buffer_size(&gate->held);
    size_t now = n - old;
    if (old > 0) {
        relay_put(run, buffer_data(&gate->held), old);
        buffer_consume(&gate->held, old);
    }
    relay_put(run, gate->now, now);
    gate->now += now;
    gate->now_size -= now;
}

static enum chain_result keep(struct run *run, enum chain_result result)
{
    struct gate *gate = &run->way->gate;
    int r = buffer_append(&gate->held, gate->now, gate->now_size);
    gate->now_size = 0;
    if (buffer_size(&gate->held) == 0)
        buffer_fini(&gate->held);
    return r < 0 ? fault_break(run->chain, run->way->line[0]->decoder, "nomem") : result;
}

enum chain_result gate_settle(struct run *run, enum chain_result result)
{
    struct gate *gate = &run->way->gate;
    uint64_t upto;
    struct place *slow = slowest(run, result == CHAIN_GO, &upto);
    if (result == CHAIN_GO && gate->end && !run->way->raw)
        upto = run->way->relayed; /* whoever judges has judged what was left of the message */
    if (slow || result == CHAIN_GO)
        release(run, upto);
    if (result == CHAIN_BROKEN) {
        gate->now_size = 0;
        return result;
    }
    if (result == CHAIN_GO && gate->end) { /* half a frame has no verdict, and will have none */
        gate->now_size = 0;
        buffer_fini(&gate->held);
        return result;
    }
    if (result == CHAIN_GO && buffer_size(&gate->held) + gate->now_size > CHAIN_WINDOW) {
        if (fault_overflow(run->chain, slow, run->direction, "window") == CHAIN_BROKEN)
            return CHAIN_BROKEN;
        return gate_settle(run, result);
    }
    return keep(run, result);
}

enum chain_result gate_relay(struct run *run, const uint8_t *p, size_t n, bool end)
{
    struct gate *gate = &run->way->gate;
    run->way->relayed += n;
    gate->now = p;
    gate->now_size = n;
    gate->end = end;
    return gate_settle(run, tap_feed(run, run->way->transforms, p, n, end));
}
