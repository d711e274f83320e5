/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Bytes that nobody has sent: a message that a module adds, the last words to both peers after a policy has blocked or when the host ends. The
 * decoder that reads a direction's frames composes them. Where frames are judged, what was relayed ends between two of them; elsewhere
 * that decoder has said where that is (soth_host.between), and what is added waits until it is there.
 */
#include "host/chain/parts.h"

#define LAST_WORDS_MOST 1024u
#define CLOSE_GOING_AWAY 1001u /* RFC 6455 7.4.1 */

/* Who reads this direction's frames as they are relayed, and can write some. */
static struct place *composer(const struct chain *chain, unsigned direction)
{
    const struct way *way = &chain->ways[direction];
    for (unsigned i = way->transforms; i < way->count; i++) {
        struct place *place = way->line[i];
        if (!place->gone && place->decoder->module->compose && place->decoder->module->stage == SOTH_STAGE_FRAME)
            return place;
        if (!way->gate.on && place->lane[direction].changed)
            return NULL; /* who follows counts other bytes */
    }
    return NULL;
}

void chain_between(struct soth_cursor *cursor, size_t n)
{
    const struct cursor *c = (const struct cursor *)(const void *)cursor;
    c->lane->between = c->lane->in + c->taken + (n < c->left ? n : c->left);
}

/* In the middle of another hook. */
static int compose(struct chain *chain, struct place *place, const struct soth_frame *frame, char *out, size_t room)
{
    struct soth_flow *flow = chain->flow;
    void *state = flow->state, *call = flow->chain, *judged = flow->judged;
    struct pause *pause = flow->pause;
    flow->judged = NULL;
    int r = call_compose(chain, place, frame, out, room);
    flow->state = state;
    flow->chain = call;
    flow->judged = judged;
    flow->pause = pause;
    if (r <= (int)room)
        return r;
    fault_contract(chain, place->decoder, "compose", "says that it wrote more than there was room for");
    return -SOTH_EINVALID;
}

static struct chain *chain_of(const struct soth_flow *flow)
{
    const struct call *call = flow->chain;
    return flow->judged ? flow->judged : call ? call->chain : NULL;
}

int chain_inject(void *self, struct soth_flow *flow, const struct soth_frame *frame)
{
    (void)self;
    struct chain *chain = chain_of(flow);
    if (!chain || frame->direction > 1)
        return -SOTH_EUNSUPPORTED;
    struct way *way = &chain->ways[frame->direction];
    struct place *place = composer(chain, frame->direction);
    if (!place)
        return -SOTH_EUNSUPPORTED;
    if (chain->broken || way->end || way->leaving)
        return -SOTH_EPERM;
    size_t room = CHAIN_ROOM - buffer_size(&way->added);
    if (buffer_reserve(&way->added, room) < 0)
        return -SOTH_ENOMEM;
    int r = compose(chain, place, frame, (char *)way->added.p + way->added.len, room);
    if (r > 0)
        buffer_commit(&way->added, (size_t)r);
    way->adds = buffer_size(&way->added) > 0;
    return r < 0 ? r : SOTH_OK;
}

/* ---- at its place ---- */

static void put_added(struct way *way, struct relay *relay)
{
    if (relay->put)
        relay->put(relay->arg, buffer_data(&way->added), buffer_size(&way->added));
    buffer_fini(&way->added);
    way->adds = way->left = way->leaving;
}

void inject_put(struct run *run, const uint8_t *p, size_t n)
{
    struct way *way = run->way;
    struct place *place = composer(run->chain, run->direction);
    uint64_t at = place ? place->lane[run->direction].between : 0;
    if (!way->left && at >= way->relayed && at <= way->relayed + n) {
        size_t before = (size_t)(at - way->relayed);
        relay_put(run, p, before);
        put_added(way, run->relay);
        p += before;
        n -= before;
    }
    relay_put(run, p, n);
}

bool chain_has_added(const struct chain *chain)
{
    return chain->ways[0].adds || chain->ways[1].adds;
}

void chain_added(struct chain *chain, unsigned direction, struct relay *relay)
{
    struct way *way = &chain->ways[direction];
    const struct place *place = composer(chain, direction);
    if (!way->adds || way->left)
        return;
    if (chain->broken || !place) { /* nobody knows any more where it would belong */
        buffer_fini(&way->added);
        way->adds = way->leaving = false;
    } else if (way->gate.on || place->lane[direction].between == way->relayed) {
        put_added(way, relay);
    }
}

/* ---- last words ---- */

bool chain_leave(struct chain *chain)
{
    const struct soth_attr code[] = {ATTR_NUMBER("close_code", CLOSE_GOING_AWAY)};
    char words[2][LAST_WORDS_MOST];
    int n[2];
    for (unsigned d = 0; d < 2; d++) {
        struct place *place = composer(chain, d);
        const struct soth_frame frame = {.size = sizeof frame, .direction = d, .kind = SOTH_EV_WS_CLOSED, .attrs = code, .attr_count = 1};
        n[d] = place && !chain->broken && !chain->ways[d].end ? compose(chain, place, &frame, words[d], sizeof words[d]) : 0;
        if (n[d] <= 0)
            return false;
    }
    for (unsigned d = 0; d < 2; d++)
        if (buffer_append(&chain->ways[d].added, words[d], (size_t)n[d]) == 0)
            chain->ways[d].adds = chain->ways[d].leaving = true;
    return true;
}

bool chain_has_left(const struct chain *chain)
{
    return chain->ways[0].left && chain->ways[1].left;
}

bool chain_farewell(struct chain *chain, unsigned direction, struct relay *relay)
{
    char words[LAST_WORDS_MOST];
    struct place *place = chain->why.blocked ? composer(chain, direction) : NULL;
    const struct soth_frame frame = {.size = sizeof frame, .direction = direction, .kind = SOTH_EV_FRAME_DECISION};
    int n = place && !chain->ways[direction].end ? compose(chain, place, &frame, words, sizeof words) : 0;
    if (n <= 0 || !relay->put)
        return false;
    relay->put(relay->arg, (const uint8_t *)words, (size_t)n);
    return true;
}
