/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The life of a flow: made at accept, stepped with inputs, closed once, freed with its stream_closed. What happens in between is in
 * the stages (state_*.c); here is what they share.
 */
#include "host/flow/flow.h"

#include <stdlib.h>
#include <string.h>

#include "host/flow/stream.h"

static const char *const close_names[] = {
#define CLOSE_CODE(NAME, text) [CLOSE_##NAME] = text,
#include "host/flow/close.def"
#undef CLOSE_CODE
};

static const char *const phase_names[] = {
#define PHASE(NAME, text) [PHASE_##NAME] = text,
#include "host/flow/phase.def"
#undef PHASE
};

const char *close_code_name(enum close_code code)
{
    return code < CLOSE_CODE_COUNT ? close_names[code] : "";
}

const char *phase_name(enum phase phase)
{
    return phase < PHASE_COUNT ? phase_names[phase] : "";
}

struct flow *flow_new(struct flow_env *env, const struct flow_origin_of *what)
{
    size_t text = strlen(what->client) + 1;
    struct flow *flow = calloc(1, sizeof *flow + text);
    if (!flow)
        return NULL;
    memcpy(flow->client_text, what->client, text);
    flow->env = env;
    flow->listen = what->listen;
    flow->fixed_leaf = what->fixed_leaf;
    flow->client_addr = what->client_addr;
    flow->source = (struct event_source){.flow_id = what->flow_id, .next_sequence = 1, .client_addr = {flow->client_text, text - 1}};
    flow->hooks = (struct soth_flow){.bus = env->bus, .source = &flow->source, .owner = what->owner, .mailbox = env->mailbox,
                                     .emit = emit_for_module, .emit_form = emit_form_for_module};
    flow->started_ns = env->bus->monotonic_ns;
    flow->client.open = true;
    flow->state = FLOW_ACCEPTED;
    flow->stage = &stage_connect;
    flow->limit = what->refused_because;
    env->counters->flows++;
    env->counters->active++;
    return flow;
}

void flow_forget(struct flow *flow)
{
    for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN; side++)
        strand_drop(flow, side, H2_INTERNAL_ERROR);
    family_leave(flow);
    flow->env->counters->active--;
    leg_fini(&flow->client);
    leg_fini(&flow->origin);
    buffer_fini(&flow->held);
    buffer_fini(&flow->held_origin);
    exchange_fini(&flow->exchange);
    if (flow->mux)
        pack_forget(&flow->mux->asked);
    free(flow->mux);
    free(flow->wish.path);
    free(flow->named);
    free(flow->pinned);
    free(flow->hello);
    free(flow->sni);
    free(flow->priority);
    free(flow);
}

void flow_free(struct flow *flow)
{
    if (!flow)
        return;
    if (flow->ask.hook == SOTH_HOOK_CONNECT) /* it ends while a policy still thinks about it: nothing has passed */
        flow->verdict = (struct verdict){.action = SOTH_BLOCK, .reason = "undecided", .policy_module = ""};
    flow->env->forget(flow->env->policy, &flow->hooks, &flow->ask);
    if (flow->decision_due)
        emit_connect_decision(flow);
    if (flow->close_code == CLOSE_NONE)
        flow->close_code = CLOSE_RELAY_EOF;
    emit_stream_closed(flow);
    flow->env->counters->closed[flow->close_code]++;
    flow_forget(flow);
}

void flow_arm(struct flow *flow, uint64_t timeout_ms)
{
    uint64_t ns = timeout_ms * UINT64_C(1000000);
    if (flow->go_on) /* counts from the end of the wait */
        flow->left_ns = ns;
    else
        flow->deadline_ns = flow->env->bus->monotonic_ns + ns;
}

void stage_enter(struct flow *flow, const struct stage *stage, uint64_t timeout_ms)
{
    flow->stage = stage;
    flow->phase = stage->phase;
    flow_arm(flow, timeout_ms);
}

void flow_read(struct flow *flow, enum side side, bool on)
{
    uint8_t bit = (uint8_t)(1u << side);
    uint8_t *reading = flow->go_on ? &flow->read_then : &flow->reading;
    *reading = (uint8_t)(on ? *reading | bit : *reading & ~bit);
}

#define DIAL_GRACE_MS 1000 /* the dialler knows better why it failed: it is given time to say so */

uint64_t flow_dial_timeout(const struct flow *flow)
{
    const struct settings *s = flow->env->settings;
    return s->upstream_connect_timeout + s->resolver_timeout + DIAL_GRACE_MS;
}

void flow_dial(struct flow *flow, struct effects *fx)
{
    flow->dialing = true;
    fx->dial = true;
}

int flow_hold(struct flow *flow, const uint8_t *p, size_t n)
{
    flow_read(flow, SIDE_CLIENT, false);
    return buffer_append(&flow->held, p, n);
}

/* ---- inputs ---- */

static void accepted(struct flow *flow, struct effects *fx)
{
    flow_read(flow, SIDE_CLIENT, true);
    if (flow->listen->mode == LISTEN_REVERSE)
        reverse_begin(flow, fx);
    else
        connect_begin(flow, fx);
}

static void called(struct flow *flow, struct effects *fx)
{
    if (flow->is_stream && flow->stage == &stage_connect)
        stream_begin(flow);
    if (flow->late && flow->parent && !flow->parent->closing)
        flow_timed_out(flow, fx);
    else if (flow->stage->called)
        flow->stage->called(flow, fx);
    flow->late = false;
}

static void dispatch(struct flow *flow, const struct input *in, struct effects *fx)
{
    const struct stage *stage = flow->stage;
    switch (in->type) {
    case INPUT_ACCEPTED:
        accepted(flow, fx);
        break;
    case INPUT_DATA:
        leg_receive(flow, fx, in->side, in->data, in->size);
        break;
    case INPUT_EOF:
        leg_transport_ended(flow, fx, in->side, in->error);
        break;
    case INPUT_DIALED:
        flow->dialing = false;
        flow->origin.open = true;
        if (stage->dialed)
            stage->dialed(flow, fx);
        break;
    case INPUT_REUSED:
        flow->dialing = false;
        exchange_origin_ready(flow, fx);
        break;
    case INPUT_DIAL_FAILED:
        flow->dialing = false;
        if (stage->dial_failed)
            stage->dial_failed(flow, fx, in);
        break;
    case INPUT_TIMER:
        flow_timed_out(flow, fx);
        break;
    case INPUT_RESUMED:
        flow_resumed(flow, fx, in);
        break;
    case INPUT_WRITABLE:
        chained_go_on(flow, fx);
        if (flow->mux)
            family_call_jammed(flow, in->side);
        break;
    case INPUT_CALLED:
        called(flow, fx);
        break;
    case INPUT_HUNG_UP:
        flow_hung_up(flow, fx, in->side, in->error);
        break;
    case INPUT_DRAIN:
        flow->draining = true;
        if (stage->drain)
            stage->drain(flow, fx);
        break;
    case INPUT_ABORT:
        flow_cut(flow, fx, CLOSE_SHUTDOWN_DRAIN, NULL);
        break;
    }
}

/* Streams of HTTP/2: what has come is taken, what is due is sent, for as long as one brings the other. */
static void exchange_bytes(struct flow *flow, struct effects *fx)
{
    bool strands = flow->strand[SIDE_CLIENT] || flow->strand[SIDE_ORIGIN];
    do {
        strand_pump(flow, fx);
        mux_flush(flow, fx);
    } while (!flow->closing && strand_is_ready(flow));
    if (!flow->closing && strands && flow->stage == &stage_http)
        http_arm(flow);
}

/* Its streams end before it does; then it is called. */
static void wait_for_streams(struct flow *flow, struct effects *fx)
{
    flow->mux->linger = fx->linger;
    flow->mux->abort = fx->abort;
    flow->mux->flush_origin = fx->flush_origin;
    fx->close = fx->linger = fx->abort = fx->flush_origin = false;
}

static void end_with_streams(struct flow *flow, struct effects *fx)
{
    if (!flow->mux || flow->children)
        return;
    fx->close = true;
    fx->linger = flow->mux->linger;
    fx->abort = flow->mux->abort;
    fx->flush_origin = flow->mux->flush_origin;
}

void flow_step(struct flow *flow, const struct input *input, struct effects *fx)
{
    if (flow->closing) {
        end_with_streams(flow, fx);
        return;
    }
    leg_lend_output(flow, fx);
    dispatch(flow, input, fx);
    exchange_bytes(flow, fx);
    if (flow->state == FLOW_STREAM_CLOSING) /* and not because it closes: an event came where the state machine allows none */
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "illegal_transition");
    if (flow->closing) {
        buffer_clear(&flow->env->staged[SIDE_CLIENT]);
        buffer_clear(&flow->env->staged[SIDE_ORIGIN]);
        if (flow->children)
            wait_for_streams(flow, fx);
        return;
    }
    leg_flush(flow, fx, SIDE_CLIENT);
    leg_flush(flow, fx, SIDE_ORIGIN);
    if (flow->source.protocol != SOTH_PROTO_TUNNEL) {
        emit_body(flow, SIDE_CLIENT);
        emit_body(flow, SIDE_ORIGIN);
    }
}

bool flow_wants(const struct flow *flow, enum side side)
{
    return (flow->reading >> side) & 1;
}

bool flow_wants_room(const struct flow *flow, enum side side)
{
    enum side from = side == SIDE_CLIENT ? SIDE_ORIGIN : SIDE_CLIENT;
    bool h2 = flow->mux || flow->strand[SIDE_CLIENT] || flow->strand[SIDE_ORIGIN];
    return (h2 && (flow->congested >> side) & 1) || (flow->exchange.full[from] && !flow->exchange.jam[from]);
}

void flow_congested(struct flow *flow, enum side side, bool congested)
{
    uint8_t bit = (uint8_t)(1u << side);
    flow->congested = (uint8_t)(congested ? flow->congested | bit : flow->congested & ~bit);
}

bool flow_reads_alone(const struct flow *flow)
{
    return flow->mux != NULL;
}

bool flow_is_stream(const struct flow *flow)
{
    return flow->is_stream;
}

void flow_dial_target(const struct flow *flow, struct dial_target *out)
{
    *out = (struct dial_target){flow->target.host, &flow->target.addr, flow->target.port};
}

uint64_t flow_id(const struct flow *flow)
{
    return flow->source.flow_id;
}
