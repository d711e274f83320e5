/* SPDX-License-Identifier: MPL-2.0 */
/* Bytes down a direction's line, from the first decoder to the relay, and on again after a wait: from the last one that has work up to the first. */
#include <assert.h>

#include "host/chain/parts.h"

static struct run begin(struct chain *chain, unsigned direction, struct relay *relay)
{
    return (struct run){chain, &chain->ways[direction], direction, relay};
}

void relay_put(struct run *run, const uint8_t *p, size_t n)
{
    struct relay *relay = run->relay;
    if (n == 0 || !relay->put)
        return;
    relay->put(relay->arg, p, n);
    relay->room -= n < relay->room ? n : relay->room;
}

static enum chain_result relayed(struct run *run, const uint8_t *p, size_t n, bool end)
{
    struct way *way = run->way;
    way->relayed += n;
    if (way->gate.on)
        return gate_relay(run, p, n, end);
    enum chain_result result = tap_feed(run, way->transforms, p, n, end);
    if (result != CHAIN_BROKEN)
        relay_put(run, p, n);
    return result;
}

enum chain_result run_feed(struct run *run, unsigned i, const uint8_t *p, size_t n, bool end)
{
    if (n == 0 && !end)
        return CHAIN_GO;
    if (i < run->way->transforms)
        return transform_feed(run, i, p, n, end);
    return relayed(run, p, n, end);
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
    const struct way *way = &chain->ways[direction];
    for (unsigned i = 0; i < way->count; i++)
        if (way->line[i]->lane[direction].todo)
            return true;
    return false;
}

enum chain_result chain_data(struct chain *chain, unsigned direction, const void *p, size_t n, bool end, struct relay *relay)
{
    struct run run = begin(chain, direction, relay);
    if (chain->broken)
        return CHAIN_BROKEN;
    assert(!run.way->end);
    if (chain_waits(chain, direction)) { /* somebody has left the other direction's line, and this one's */
        enum chain_result before = chain_resume(chain, direction, relay);
        assert(before == CHAIN_GO || before == CHAIN_BROKEN);
        if (before != CHAIN_GO)
            return before;
    }
    run.way->end = end;
    enum chain_result result = run_feed(&run, 0, p, n, end);
    run.way->due = false;
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
    struct run run = begin(chain, direction, relay);
    if (chain->broken)
        return CHAIN_BROKEN;
    enum chain_result result = resume_taps(&run);
    for (unsigned i = run.way->transforms; i-- > 0 && result == CHAIN_GO;)
        if (run.way->line[i]->lane[direction].todo)
            result = transform_resume(&run, i);
    run.way->due = false;
    return result;
}
