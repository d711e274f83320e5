/* SPDX-License-Identifier: MPL-2.0 */
/* Every call of a decoder's operations: sets up what its services find in struct soth_flow, and takes it away again. */
#include "host/chain/parts.h"
#include "host/module/site.h"

/* hook: a literal. */
static void enter(struct call *call, struct soth_flow *flow, struct pause *pause, const struct decoder *decoder, const char *hook)
{
    flow->state = call->place ? call->place->state : NULL;
    flow->chain = call;
    flow->pause = flow->mailbox ? pause : NULL;
    site_enter_module(decoder->site, hook);
}

static void leave(struct soth_flow *flow)
{
    site_leave();
    flow->state = NULL;
    flow->chain = NULL;
    flow->pause = NULL;
}

int call_match(const struct chain_env *env, struct soth_flow *flow, struct place *place, struct decoder *decoder, const struct soth_message *message)
{
    struct call call = {.place = place, .direction = message->direction};
    (void)env;
    if (!decoder->module->match)
        return SOTH_WATCH_BODY;
    enter(&call, flow, NULL, decoder, "match");
    int r = decoder->module->match(decoder->self, flow, message);
    leave(flow);
    return r;
}

int call_open(struct chain *chain, struct place *place)
{
    struct call call = {.chain = chain, .place = place};
    if (!place->decoder->module->open)
        return SOTH_OK;
    enter(&call, chain->flow, NULL, place->decoder, "open");
    int r = place->decoder->module->open(place->decoder->self, chain->flow);
    leave(chain->flow);
    return r;
}

int call_data(struct run *run, struct place *place, struct cursor *cursor)
{
    struct chain *chain = run->chain;
    struct lane *lane = cursor->lane;
    struct call call = {chain, place, run->direction, cursor};
    buffer_clear(&lane->made);
    enter(&call, chain->flow, place->decoder->module->mode == SOTH_TRANSFORM ? &lane->pause : NULL, place->decoder, "data");
    int r = place->decoder->module->data(place->decoder->self, chain->flow, &cursor->open);
    leave(chain->flow);
    place->calls++;
    if ((place->calls & 1023) == 0)
        place_count(place);
    return r;
}

int call_trailers(struct chain *chain, struct place *place, const struct soth_message *trailers)
{
    struct call call = {.chain = chain, .place = place, .direction = trailers->direction};
    if (!place->decoder->module->trailers)
        return SOTH_CONTINUE;
    enter(&call, chain->flow, NULL, place->decoder, "trailers");
    int r = place->decoder->module->trailers(place->decoder->self, chain->flow, trailers);
    leave(chain->flow);
    return r;
}

int call_timer(struct chain *chain, struct place *place)
{
    struct call call = {.chain = chain, .place = place};
    if (!place->decoder->module->on_timer)
        return SOTH_CONTINUE;
    enter(&call, chain->flow, NULL, place->decoder, "on_timer");
    int r = place->decoder->module->on_timer(place->decoder->self, chain->flow);
    leave(chain->flow);
    return r;
}

void call_close(struct chain *chain, struct place *place, bool complete)
{
    struct call call = {.chain = chain, .place = place};
    if (!place->decoder->module->close)
        return;
    enter(&call, chain->flow, NULL, place->decoder, "close");
    place->decoder->module->close(place->decoder->self, chain->flow, complete);
    leave(chain->flow);
}

void call_cancel(struct chain *chain, struct place *place, const struct soth_token *token)
{
    (void)chain;
    if (!place->decoder->module->cancel)
        return;
    site_enter_module(place->decoder->site, "cancel");
    place->decoder->module->cancel(place->decoder->self, *token);
    site_leave();
}
