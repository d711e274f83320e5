/* SPDX-License-Identifier: MPL-2.0 */
/* The calls of a decoder's operations but data (call.h). */
#include "host/chain/call.h"

int call_match(const struct chain_env *env, struct soth_flow *flow, struct place *place, struct decoder *decoder, const struct soth_message *message)
{
    struct call call = {.place = place, .direction = message->direction};
    (void)env;
    if (!decoder->module->match)
        return SOTH_WATCH_BODY;
    call_enter(&call, flow, NULL, decoder, "match");
    int r = decoder->module->match(decoder->self, flow, message);
    call_leave(flow);
    return r;
}

int call_open(struct chain *chain, struct place *place)
{
    struct call call = {.chain = chain, .place = place};
    if (!place->decoder->module->open)
        return SOTH_OK;
    call_enter(&call, chain->flow, NULL, place->decoder, "open");
    int r = place->decoder->module->open(place->decoder->self, chain->flow);
    call_leave(chain->flow);
    return r;
}

int call_trailers(struct chain *chain, struct place *place, const struct soth_message *trailers)
{
    struct call call = {.chain = chain, .place = place, .direction = trailers->direction};
    if (!place->decoder->module->trailers)
        return SOTH_CONTINUE;
    call_enter(&call, chain->flow, NULL, place->decoder, "trailers");
    int r = place->decoder->module->trailers(place->decoder->self, chain->flow, trailers);
    call_leave(chain->flow);
    return r;
}

int call_timer(struct chain *chain, struct place *place)
{
    struct call call = {.chain = chain, .place = place};
    if (!place->decoder->module->on_timer)
        return SOTH_CONTINUE;
    call_enter(&call, chain->flow, NULL, place->decoder, "on_timer");
    int r = place->decoder->module->on_timer(place->decoder->self, chain->flow);
    call_leave(chain->flow);
    return r;
}

void call_close(struct chain *chain, struct place *place, bool complete)
{
    struct call call = {.chain = chain, .place = place};
    if (!place->decoder->module->close)
        return;
    call_enter(&call, chain->flow, NULL, place->decoder, "close");
    place->decoder->module->close(place->decoder->self, chain->flow, complete);
    call_leave(chain->flow);
}

int call_compose(struct chain *chain, struct place *place, const struct soth_frame *frame, char *out, size_t room)
{
    struct call call = {.chain = chain, .place = place, .direction = frame->direction};
    call_enter(&call, chain->flow, NULL, place->decoder, "compose");
    int r = place->decoder->module->compose(place->decoder->self, chain->flow, frame, out, room);
    call_leave(chain->flow);
    return r;
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
