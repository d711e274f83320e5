/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A TAP sees borrowed bytes and never delays them. What it drops and puts makes the view of the TAPs behind it. Only in front of a policy
 * that judges frames it may have to wait, and then it is not its own doing (frame.c).
 */
#include "host/chain/call.h"

/* What its verdict means for the bytes. GO: on to the next; WAIT: a policy has still to judge. */
static enum chain_result outcome(struct run *run, struct place *place, const struct cursor *c, int r)
{
    struct chain *chain = run->chain;
    struct lane *lane = &place->lane[run->direction];
    const char *fault = c->no_memory ? "nomem" : NULL, *overflow = lane->fault;
    lane->fault = NULL;
    lane->idle = c->taken > 0 ? 0 : lane->idle + (c->made > 0);
    if (!fault && lane->idle > IDLE_MOST)
        fault = "no_progress";
    bool waits = lane->ask.hook != 0 && !fault;
    if (cursor_blocked(c))
        return CHAIN_BROKEN;
    if (overflow && !fault)
        return fault_overflow(chain, place, run->direction, overflow);
    if (fault || r < 0 || (!waits && r != SOTH_CONTINUE && r != SOTH_DETACH && r != SOTH_DONE && r != SOTH_PAUSE && r != SOTH_BUSY))
        return fault_failed(chain, place, run->direction, "data", fault ? fault : fault_code(r));
    if (r == SOTH_DETACH || r == SOTH_DONE)
        fault_detach(chain, place, r == SOTH_DETACH);
    else if (!waits && r != SOTH_CONTINUE)
        fault_contract(chain, place->decoder, "data", "only looks on, but wants bytes to wait: it is not waited for");
    return waits && !place->gone ? CHAIN_WAIT : CHAIN_GO;
}

/* What one has made is what the next one sees. */
static enum chain_result pass_on(struct run *run, unsigned i, const struct cursor *c, bool last)
{
    struct soth_span output = cursor_output(c);
    enum chain_result result = CHAIN_GO;
    if (output.n > 0 || last)
        result = tap_feed(run, i + 1, (const uint8_t *)output.p, output.n, last);
    buffer_clear(&c->lane->made);
    if (c->lane->made.cap > SCRATCH_KEPT)
        buffer_fini(&c->lane->made);
    return result;
}

/* The i-th has gone. If it decoded for those behind it and could not go on, the bytes that follow would mean nothing to them, nor would their end:
 * a coding that was cut has none. */
static enum chain_result leave_undecoded(struct run *run, unsigned i)
{
    struct way *way = run->way;
    if (!way->line[i]->failed || way->line[i]->decoder->module->stage != SOTH_STAGE_CONTENT)
        return CHAIN_GO;
    while (++i < way->count)
        if (!way->line[i]->gone && fault_undecoded(run->chain, way->line[i], run->direction) == CHAIN_BROKEN)
            return CHAIN_BROKEN;
    return CHAIN_GO;
}

/* The i-th, whose place and lane these are, is called once. */
static inline __attribute__((always_inline)) int call_once(struct run *run, unsigned i, struct call *call, struct place *place, struct lane *lane,
                                                           const uint8_t *p, size_t n, bool end)
{
    struct cursor *c = call->cursor;
    bool blind = i >= run->way->seen;
    cursor_init(c, lane, p, n, (end ? SOTH_CUR_END : 0) | (lane->resumed ? SOTH_CUR_RESUMED : 0) | (blind ? run->way->unseen : 0));
    c->blind = blind;
    c->gated_tap = run->way->gate.on && gate_applies(run->chain, place);
    lane->resumed = false;
    return call_data(call, place, NULL);
}

static bool touched(const struct cursor *c)
{
    return c->taken > 0 || c->made > 0 || c->stopped;
}

/* After a call that returned r: accounts for it, and calls again as long as there is something to do. Kept out of the loop of those that only
 * look on. */
static __attribute__((noinline)) enum chain_result go_on(struct run *run, unsigned i, struct call *call, int r, const uint8_t *p, size_t n, bool end)
{
    struct cursor *c = call->cursor;
    struct place *place = run->way->line[i];
    struct lane *lane = &place->lane[run->direction];
    for (;;) {
        bool undecodable = r < 0 && place->decoder->module->stage == SOTH_STAGE_CONTENT;
        if (!touched(c) && r >= 0)
            cursor_pass_all(c); /* one that fails has come no further than it said */
        lane->in += c->taken;
        lane->out += c->made;
        enum chain_result made = undecodable ? pass_on(run, i, c, false) : CHAIN_GO; /* what it did decode comes before its failure */
        enum chain_result result = made == CHAIN_BROKEN ? made : outcome(run, place, c, r);
        if (result == CHAIN_BROKEN)
            return result;
        lane->again = result == CHAIN_WAIT || c->room == 0;
        p += c->taken;
        n = c->left;
        lane->ended = end && n == 0 && !lane->again && !place->gone;
        enum chain_result next = undecodable ? made : pass_on(run, i, c, lane->ended);
        if (next == CHAIN_BROKEN || (place->gone && next == CHAIN_GO && leave_undecoded(run, i) == CHAIN_BROKEN))
            return CHAIN_BROKEN;
        bool work = n > 0 || lane->again || end != lane->ended;
        if (result == CHAIN_WAIT || next == CHAIN_WAIT)
            return work ? run_keep(run, place, p, n, CHAIN_WAIT) : CHAIN_WAIT;
        if (!work || place->gone)
            return work ? tap_feed(run, i, p, n, end) : CHAIN_GO;
        r = call_once(run, i, call, place, lane, p, n, end);
    }
}

enum chain_result tap_feed(struct run *run, unsigned i, const uint8_t *p, size_t n, bool end)
{
    struct way *way = run->way;
    struct cursor c;
    struct call call = {.chain = run->chain, .direction = run->direction, .cursor = &c};
    cursor_open(&c, run->direction);
    for (; i < way->count; i++) {
        struct place *place = way->line[i];
        struct lane *lane = &place->lane[run->direction];
        lane->end = end;
        if (n == 0 && !end && !(lane->again && !place->gone))
            break;
        if (place->gone) {
            lane->todo = false;
            if (leave_undecoded(run, i) == CHAIN_BROKEN)
                return CHAIN_BROKEN;
        } else {
            int r = call_once(run, i, &call, place, lane, p, n, end);
            if (r != SOTH_CONTINUE || touched(&c))
                return go_on(run, i, &call, r, p, n, end);
            lane->in += n; /* it only looked on: the next one sees the same */
            lane->out += n;
            lane->idle = 0;
            lane->again = false;
        }
        lane->ended = end;
    }
    return CHAIN_GO;
}

enum chain_result tap_resume(struct run *run, unsigned i)
{
    struct place *place = run->way->line[i];
    struct lane *lane = &place->lane[run->direction];
    enum chain_result result = place->gone ? CHAIN_GO : frame_settle(run, place);
    if (result != CHAIN_GO)
        return result;
    struct buffer kept = lane->kept;
    lane->kept = (struct buffer){0};
    lane->todo = false;
    result = tap_feed(run, i, buffer_data(&kept), buffer_size(&kept), lane->end && !lane->ended);
    buffer_fini(&kept);
    return result;
}
