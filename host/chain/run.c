/* SPDX-License-Identifier: MPL-2.0 */
/* Bytes down a direction's line, from the first decoder to the relay, and on again after a wait: from the last one that has work up to the first. */
#include <assert.h>

#include "host/chain/parts.h"

void relay_put(struct run *run, const uint8_t *p, size_t n)
{
    struct relay *relay = run->relay;
    if (n == 0 || !relay->put || run->way->left)
        return;
    relay->put(relay->arg, p, n);
    relay->room -= n < relay->room ? n : relay->room;
}

static enum chain_result relayed(struct run *run, const uint8_t *p, size_t n, bool end)
{
    struct way *way = run->way;
    if (way->gate.on)
        return gate_relay(run, p, n, end);
    enum chain_result result = tap_feed(run, way->transforms, p, n, end);
    if (result != CHAIN_BROKEN && way->adds)
        inject_put(run, p, n);
    else if (result != CHAIN_BROKEN)
        relay_put(run, p, n);
    way->relayed += n;
    return result;
}

enum chain_result run_feed(struct run *run, unsigned i, const uint8_t *p, size_t n, bool end)
{
    if (n == 0 && !end)
        return CHAIN_GO;
    return i < run->way->transforms ? transform_feed(run, i, p, n, end) : relayed(run, p, n, end);
}

enum chain_result run_keep(struct run *run, struct place *place, const uint8_t *p, size_t n, enum chain_result result)
{
    struct lane *lane = &place->lane[run->direction];
    lane->todo = true;
    if (buffer_append(&lane->kept, p, n) == 0)
        return result;
    return fault_break(run->chain, place->decoder, "nomem");
}

bool chain_waits(const struct chain *chain, unsigned direction)
{
    return chain->ways[direction].waiting;
}

static enum chain_result over(struct run *run, enum chain_result result)
{
    run->way->waiting = result == CHAIN_WAIT || result == CHAIN_FULL;
    run->way->due = false;
    return result;
}

/* Kept out of chain_data, whose common case needs little of a stack. */
static __attribute__((noinline)) enum chain_result feed(struct run *run, const uint8_t *p, size_t n, bool end)
{
    struct way *way = run->way;
    if (run->chain->broken)
        return CHAIN_BROKEN;
    assert(!way->end && !way->waiting);
    if (way->due) { /* somebody has left the other direction's line, and this one's */
        enum chain_result before = chain_resume(run->chain, run->direction, run->relay);
        assert(before == CHAIN_GO || before == CHAIN_BROKEN);
        if (before != CHAIN_GO)
            return before;
    }
    way->end = end;
    return over(run, run_feed(run, 0, p, n, end));
}

enum chain_result chain_data(struct chain *chain, unsigned direction, const void *p, size_t n, bool end, struct relay *relay)
{
    struct way *way = &chain->ways[direction];
    struct run run = {chain, way, direction, relay};
    if (way->delays || end || chain->broken)
        return feed(&run, p, n, end);
    assert(!way->end);
    enum chain_result result = tap_feed(&run, 0, p, n, false); /* the common case: nobody delays anything */
    if (result == CHAIN_GO && way->adds)
        inject_put(&run, p, n);
    else if (result == CHAIN_GO && n > 0 && relay->put)
        relay->put(relay->arg, p, n);
    way->relayed += n;
    return result;
}

static enum chain_result resume_taps(struct run *run)
{
    struct way *way = run->way;
    enum chain_result result = CHAIN_GO;
    for (unsigned i = way->count; i-- > way->transforms && result == CHAIN_GO;)
        if (way->line[i]->lane[run->direction].todo)
            result = tap_resume(run, i);
    return way->gate.on ? gate_settle(run, result) : result;
}

enum chain_result chain_resume(struct chain *chain, unsigned direction, struct relay *relay)
{
    struct run run = {chain, &chain->ways[direction], direction, relay};
    if (chain->broken)
        return CHAIN_BROKEN;
    enum chain_result result = resume_taps(&run);
    for (unsigned i = run.way->transforms; i-- > 0 && result == CHAIN_GO;)
        if (run.way->line[i]->lane[direction].todo)
            result = transform_resume(&run, i);
    return over(&run, result);
}
