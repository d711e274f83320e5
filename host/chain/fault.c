/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Decoders that fail or leave. One that looks on is detached and traffic passes; with on_error closed, or when it has changed bytes that are
 * gone already, nobody may take the rest for what the sender meant: the chain is broken.
 */
#include <stdio.h>
#include <string.h>

#include "host/chain/parts.h"

const char *decoder_stage_name(uint32_t stage)
{
    static const char *const names[] = {"", "content_decode", "protocol_frame_parse", "payload_sanitize"};
    return stage < sizeof names / sizeof *names ? names[stage] : "";
}

const char *direction_name(unsigned direction)
{
    return direction == SOTH_TO_SERVER ? "client_to_server" : "server_to_client";
}

const char *fault_code(int result)
{
    switch (-result) {
#define SOTH_ERROR(name, number, text) case number: return #name;
#include <soth/errors.def>
#undef SOTH_ERROR
    default:
        return result > 0 ? "verdict" : "unknown";
    }
}

void chain_emit(struct soth_flow *flow, unsigned kind, struct soth_attr *attrs, size_t n)
{
    if (flow->emit)
        flow->emit(flow, kind, attrs, n);
    else
        bus_emit(flow->bus, flow->source, kind, attrs, n);
}

static void code_text(char text[24], const char *code)
{
    size_t n = 0;
    for (; code[n] && n < 23; n++)
        text[n] = (char)(code[n] >= 'A' && code[n] <= 'Z' ? code[n] + 32 : code[n]);
    text[n] = 0;
}

static void tell(struct soth_flow *flow, struct decoder *decoder, const struct lane *lane, const char *code, bool closed)
{
    struct soth_attr attrs[] = {
        ATTR_WORD("action", closed ? "closed" : "detached"),
        ATTR_NUMBER("bytes_in", lane ? lane->in : 0),
        ATTR_NUMBER("bytes_out", lane ? lane->out : 0),
        ATTR_WORD("failure_code", code),
        ATTR_WORD("module", decoder->name),
        ATTR_WORD("stage", decoder_stage_name(decoder->module->stage)),
    };
    chain_emit(flow, SOTH_EV_DECODER_STAGE_FAILED, attrs, sizeof attrs / sizeof *attrs);
}

enum chain_result fault_break(struct chain *chain, const struct decoder *decoder, const char *code)
{
    chain->broken = true;
    chain->why = (struct chain_end){.module = decoder->name};
    snprintf(chain->why.code, sizeof chain->why.code, "%s", code);
    return CHAIN_BROKEN;
}

/* What is relayed is no longer what was sent, and its end is still to come. */
static bool has_changed(const struct place *place)
{
    if (place->decoder->module->mode != SOTH_TRANSFORM)
        return false;
    return (place->lane[0].changed && !place->lane[0].ended) || (place->lane[1].changed && !place->lane[1].ended);
}

enum chain_result fault_failed(struct chain *chain, struct place *place, unsigned direction, const char *hook, const char *code)
{
    struct decoder *decoder = place->decoder;
    char text[24];
    bool closed = decoder->closed || place->closes || has_changed(place), own = !place->reason[0];
    code_text(text, own ? code : place->reason);
    place->failed = true;
    atomic_fetch_add_explicit(&decoder->counts.failures, 1, memory_order_relaxed);
    if (own)
        chain->env->failed(decoder, hook, text);
    tell(chain->flow, decoder, direction < 2 ? &place->lane[direction] : NULL, text, closed);
    if (closed)
        return fault_break(chain, decoder, text);
    fault_detach(chain, place, false);
    return CHAIN_GO;
}

enum chain_result fault_refused(struct chain **chain, const struct chain_env *env, struct soth_flow *flow, struct decoder *decoder,
                                const char *hook, const char *code)
{
    char text[24];
    code_text(text, code);
    atomic_fetch_add_explicit(&decoder->counts.failures, 1, memory_order_relaxed);
    env->failed(decoder, hook, text);
    tell(flow, decoder, NULL, text, decoder->closed);
    if (!decoder->closed)
        return CHAIN_GO;
    if (chain_make(chain, env, flow))
        fault_break(*chain, decoder, text);
    return CHAIN_BROKEN;
}

int chain_fail(void *self, struct soth_flow *flow, const char *code, uint32_t flags)
{
    (void)self;
    struct call *call = flow->chain;
    if (!call || !call->chain || !call->place)
        return -SOTH_EUNSUPPORTED;
    snprintf(call->place->reason, sizeof call->place->reason, "%s", code && *code ? code : "unknown");
    call->place->closes = (flags & SOTH_FAIL_CLOSE) != 0;
    return SOTH_FAIL;
}

/* Who looks on was given what is beyond the limit, too, as far as the last read went; it is told where the limit was. */
static void step_back(struct lane *lane)
{
    const uint64_t most = lane->judged + CHAIN_WINDOW, beyond = lane->in > most ? lane->in - most : 0;
    lane->in -= beyond;
    if (!lane->changed)
        lane->out -= beyond;
}

enum chain_result fault_overflow(struct chain *chain, struct place *place, unsigned direction, const char *code)
{
    snprintf(place->reason, sizeof place->reason, "%s", code);
    place->closes = place->decoder->closes_on_overflow;
    if (place->decoder->module->mode == SOTH_TAP)
        step_back(&place->lane[direction]);
    return fault_failed(chain, place, direction, "data", code);
}

enum chain_result fault_undecoded(struct chain *chain, struct place *place, unsigned direction)
{
    snprintf(place->reason, sizeof place->reason, "undecoded");
    return fault_failed(chain, place, direction, "data", "undecoded");
}

void fault_contract(struct chain *chain, struct decoder *decoder, const char *hook, const char *what)
{
    atomic_fetch_add_explicit(&decoder->counts.faults, 1, memory_order_relaxed);
    if (!atomic_exchange_explicit(&decoder->told, true, memory_order_relaxed))
        chain->env->fault(decoder, hook, what);
}

void fault_detach(struct chain *chain, struct place *place, bool for_good)
{
    if (for_good)
        chain->flow->detached |= UINT64_C(1) << (place->decoder->position & 63);
    place_leave(chain, place, false);
    for (unsigned d = 0; d < 2; d++) { /* what was held for its sake goes on */
        struct lane *lane = &place->lane[d];
        bool held = buffer_size(&lane->kept) > 0 || buffer_size(&lane->unjudged) > 0 || (lane->end && !lane->ended);
        if ((place->watches >> d) & 1)
            lane->todo = lane->todo || held || (chain->ways[d].gate.on && buffer_size(&chain->ways[d].gate.held) > 0);
        chain->ways[d].due = chain->ways[d].due || lane->todo;
        way_left(&chain->ways[d]);
    }
}
