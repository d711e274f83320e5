/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Bytes that nobody has sent: a message that a module adds, the last words to both peers after a policy has blocked. Where frames are judged,
 * what was relayed ends between two of them; there the decoder that reads them composes what is added.
 */
#include "host/chain/parts.h"

#define LAST_WORDS_MOST 1024u

/* Who reads this direction's frames before they are relayed, and can write some. */
static struct place *composer(const struct chain *chain, unsigned direction)
{
    const struct way *way = &chain->ways[direction];
    for (unsigned i = way->transforms; i < way->count; i++)
        if (!way->line[i]->gone && way->line[i]->decoder->module->compose && gate_applies(chain, way->line[i]))
            return way->line[i];
    return NULL;
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
    if (chain->broken || way->end)
        return -SOTH_EPERM;
    size_t room = CHAIN_ROOM - buffer_size(&way->added);
    if (buffer_reserve(&way->added, room) < 0)
        return -SOTH_ENOMEM;
    int r = compose(chain, place, frame, (char *)way->added.p + way->added.len, room);
    if (r > 0)
        buffer_commit(&way->added, (size_t)r);
    return r < 0 ? r : SOTH_OK;
}

void chain_added(struct chain *chain, unsigned direction, struct relay *relay)
{
    struct buffer *added = &chain->ways[direction].added;
    if (buffer_size(added) > 0 && relay->put && !chain->broken)
        relay->put(relay->arg, buffer_data(added), buffer_size(added));
    buffer_fini(added);
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
