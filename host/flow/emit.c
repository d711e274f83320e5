/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The events of a flow: each function fills one kind of events.def from the flow and publishes it, after the state machine allowed it.
 * Attributes are in the order of their names. Nothing else in this room builds events but emit_tls.c.
 */
#include <stdlib.h>
#include <string.h>

#include "host/flow/emit.h"
#include "host/flow/payload.h"
#include "host/flow/stream.h"

#define MODULE_ATTRS_MOST EVENT_ATTRS_MOST

static void illegal(struct flow *flow)
{
    flow->env->counters->illegal_transitions++;
    flow->state = FLOW_STREAM_CLOSING;
}

/* What of a body came out of its content coding since it was last asked; absent when nobody decodes it. */
static struct soth_attr decoded_attr(struct flow *flow, enum side side)
{
    uint64_t *told = &flow->exchange.decoded[side], before = *told;
    if (!chain_decoded(flow->exchange.chain, side == SIDE_CLIENT ? SOTH_TO_SERVER : SOTH_TO_CLIENT, told))
        return ABSENT;
    return ATTR_NUMBER("decoded_bytes", *told - before);
}

void emit_event(struct flow *flow, unsigned kind, const struct soth_attr *attrs, size_t n)
{
    if (!fsm_event(&flow->state, flow->source.protocol, kind))
        illegal(flow);
    bus_emit(flow->env->bus, &flow->source, kind, attrs, n);
}

/* Nobody listens: the event counts in its flow and nothing else is done for it. */
static bool unwanted(struct flow *flow, unsigned kind)
{
    if (bus_wants(flow->env->bus, kind))
        return false;
    emit_event(flow, kind, NULL, 0);
    return true;
}

struct soth_attr emit_exchange_attr(const struct flow *flow)
{
    return NUMBER_IF(flow->exchange_no > 0 && !flow->is_stream && flow->source.protocol != SOTH_PROTO_TUNNEL, "exchange_no", flow->exchange_no);
}

/* Which of the connection's exchanges a message belongs to. */
static struct soth_attr message_attr(const struct flow *flow)
{
    return flow->is_stream ? ATTR_NUMBER("http2_stream_id", flow->stream_id) : emit_exchange_attr(flow);
}

void emit_connect_received(struct flow *flow)
{
    flow_tell_target(flow);
    struct soth_attr attrs[] = {emit_exchange_attr(flow), ATTR_WORD("listener_mode", flow->listen->mode == LISTEN_REVERSE ? "reverse" : "explicit")};
    emit_event(flow, SOTH_EV_CONNECT_RECEIVED, attrs, COUNT(attrs));
}

void emit_parse_failed(struct flow *flow, const char *code, const char *detail)
{
    struct soth_attr attrs[] = {ATTR_WORD("parse_error_code", code), WORD_OR_ABSENT("parse_error_detail", detail)};
    emit_event(flow, SOTH_EV_CONNECT_PARSE_FAILED, attrs, COUNT(attrs));
}

/* `limit` is the name of what was reached; max_concurrent_flows is the one of them that is a number. */
static void emit_budget_denied(struct flow *flow, const char *limit)
{
    bool counted = strcmp(limit, "max_concurrent_flows") == 0;
    struct soth_attr attrs[] = {
        ATTR_WORD("limit", limit),
        NUMBER_IF(counted, "limit_value", flow->env->settings->max_concurrent_flows),
        ATTR_WORD("what", "flow"),
    };
    emit_event(flow, SOTH_EV_BUDGET_DENIED, attrs, COUNT(attrs));
}

void emit_connect_decision(struct flow *flow)
{
    static const char *const actions[] = {"intercept", "tunnel", "block"};
    const struct verdict *v = &flow->verdict;
    flow->decision_due = false;
    flow->env->counters->decisions[v->action <= SOTH_BLOCK ? v->action : SOTH_BLOCK]++;
    uint32_t o = v->action == SOTH_BLOCK ? 0 : v->overrides;
    struct soth_attr attrs[] = {
        ATTR_WORD("action", v->action <= SOTH_BLOCK ? actions[v->action] : "block"),
        WORD_OR_ABSENT("authority_mismatch", flow->mismatch),
        emit_exchange_attr(flow),
        o & SOTH_OVERRIDE_DISABLE_H2 ? ATTR_BOOL("override_disable_h2", true) : ABSENT,
        o & SOTH_OVERRIDE_FORCE_TUNNEL ? ATTR_BOOL("override_force_tunnel", true) : ABSENT,
        o && v->override_pattern.n ? ATTR_TEXT("override_host_pattern", v->override_pattern) : ABSENT,
        o && v->override_rule_id.n ? ATTR_TEXT("override_rule_id", v->override_rule_id) : ABSENT,
        o & SOTH_OVERRIDE_SKIP_UPSTREAM_VERIFY ? ATTR_BOOL("override_skip_upstream_verify", true) : ABSENT,
        o & (SOTH_OVERRIDE_STRICT_HEADERS | SOTH_OVERRIDE_LENIENT_HEADERS)
            ? ATTR_BOOL("override_strict_header_mode", o & SOTH_OVERRIDE_STRICT_HEADERS)
            : ABSENT,
        WORD_OR_ABSENT("policy_module", v->policy_module),
        WORD_OR_ABSENT("reason", v->reason),
        v->rule_id.n ? ATTR_TEXT("rule_id", v->rule_id) : ABSENT,
    };
    emit_event(flow, SOTH_EV_CONNECT_DECISION, attrs, COUNT(attrs));
    if (flow->refusal.status && flow->refusal.code == CLOSE_BUDGET_EXCEEDED)
        emit_budget_denied(flow, flow->limit);
}

static const char *version_text(const struct message *msg)
{
    return msg->http2 ? "HTTP/2" : msg->minor == 0 ? "HTTP/1.0" : "HTTP/1.1";
}

static struct soth_attr optional_bytes(const char *name, size_t name_len, struct soth_span value)
{
    if (value.n == 0) /* also of a field that is there and empty */
        return ABSENT;
    return (struct soth_attr){name, value, 0, SOTH_ATTR_BYTES, (uint32_t)name_len};
}
#define BYTES_OR_ABSENT(name, span) optional_bytes(name, sizeof(name) - 1, span)

static struct soth_attr length_attr(const struct message *msg)
{
    return NUMBER_IF(msg->has_declared_length, "content_length", msg->declared_length);
}

void emit_request_headers(struct flow *flow, const struct message *msg, struct soth_span authority, struct soth_span origin_form)
{
    struct payload_head text = {.fields = {0}};
    if (unwanted(flow, SOTH_EV_REQUEST_HEADERS))
        return;
    struct soth_attr attrs[] = {
        BYTES_OR_ABSENT("authority", authority),
        length_attr(msg),
        BYTES_OR_ABSENT("content_type", msg->content_type),
        message_attr(flow),
        ATTR_NUMBER("header_bytes", msg->head_bytes),
        ATTR_NUMBER("header_count", msg->field_count),
        BYTES_OR_ABSENT("method", msg->method),
        ATTR_WORD("scheme", flow_is_secure(flow) ? "https" : "http"),
        BYTES_OR_ABSENT("target", payload_target(origin_form, &text)),
        ATTR_WORD("version", version_text(msg)),
        ABSENT, ABSENT, ABSENT,
    };
    payload_head(flow, SOTH_EV_REQUEST_HEADERS, msg, origin_form, &text, attrs + COUNT(attrs) - PAYLOAD_HEAD_ATTRS);
    emit_event(flow, SOTH_EV_REQUEST_HEADERS, attrs, COUNT(attrs));
    payload_head_fini(&text);
}

void emit_response_headers(struct flow *flow, const struct message *msg, bool interim)
{
    struct payload_head text = {.fields = {0}};
    if (unwanted(flow, SOTH_EV_RESPONSE_HEADERS))
        return;
    struct soth_attr attrs[] = {
        BYTES_OR_ABSENT("content_encoding", msg->content_encoding),
        length_attr(msg),
        BYTES_OR_ABSENT("content_type", msg->content_type),
        message_attr(flow),
        ATTR_NUMBER("header_bytes", msg->head_bytes),
        ATTR_NUMBER("header_count", msg->field_count),
        interim ? ATTR_BOOL("interim", true) : ABSENT,
        ATTR_NUMBER("status_code", msg->status),
        ATTR_WORD("version", version_text(msg)),
        ABSENT, ABSENT, ABSENT,
    };
    payload_head(flow, SOTH_EV_RESPONSE_HEADERS, msg, (struct soth_span){NULL, 0}, &text, attrs + COUNT(attrs) - PAYLOAD_HEAD_ATTRS);
    emit_event(flow, SOTH_EV_RESPONSE_HEADERS, attrs, COUNT(attrs));
    payload_head_fini(&text);
}

void emit_trailers(struct flow *flow, enum side side, const struct message *msg)
{
    char names[512];
    size_t n = 0;
    if (unwanted(flow, side == SIDE_CLIENT ? SOTH_EV_REQUEST_TRAILERS : SOTH_EV_RESPONSE_TRAILERS))
        return;
    for (uint32_t i = 0; i < msg->field_count; i++) {
        struct soth_span name = msg->fields[i].name;
        if (n + name.n + 1 > sizeof names)
            break;
        if (n)
            names[n++] = ',';
        for (size_t k = 0; k < name.n; k++)
            names[n++] = (char)(name.p[k] >= 'A' && name.p[k] <= 'Z' ? name.p[k] + 32 : name.p[k]);
    }
    struct soth_attr attrs[] = {
        message_attr(flow),
        n ? ATTR_BYTES("names", ((struct soth_span){names, n})) : ABSENT,
        ATTR_NUMBER("trailer_count", msg->field_count),
    };
    emit_event(flow, side == SIDE_CLIENT ? SOTH_EV_REQUEST_TRAILERS : SOTH_EV_RESPONSE_TRAILERS, attrs, COUNT(attrs));
}

/* `end`: the message is over. Where its head says how long the body is, the last byte says so. */
static void emit_chunk(struct flow *flow, enum side side, uint64_t bytes, struct soth_span payload, bool end)
{
    uint64_t *at = side == SIDE_CLIENT ? &flow->exchange.request_offset : &flow->exchange.response_offset, offset = *at;
    unsigned kind = side == SIDE_CLIENT ? SOTH_EV_REQUEST_BODY_CHUNK : SOTH_EV_RESPONSE_BODY_CHUNK;
    *at += bytes;
    if (unwanted(flow, kind))
        return;
    bool last = bus_captures(flow->env->bus, kind) && (end || *at == flow->exchange.announced[side]);
    struct soth_attr attrs[] = {ATTR_NUMBER("bytes", bytes), decoded_attr(flow, side), message_attr(flow), last ? ATTR_BOOL("last", true) : ABSENT,
                                ATTR_NUMBER("offset", offset), ATTR_BYTES("payload", payload)};
    attrs[5].type |= SOTH_ATTR_PAYLOAD;
    attrs[5].number = offset;
    flow->exchange.told_end[side] = last;
    emit_event(flow, kind, attrs, COUNT(attrs));
}

void emit_body(struct flow *flow, enum side side)
{
    uint64_t *chunk = side == SIDE_CLIENT ? &flow->exchange.request_chunk : &flow->exchange.response_chunk, bytes = *chunk;
    *chunk = 0;
    if (bytes > 0)
        emit_chunk(flow, side, bytes, (struct soth_span){NULL, 0}, false);
}

void emit_body_end(struct flow *flow, enum side side)
{
    const struct exchange *ex = &flow->exchange;
    unsigned kind = side == SIDE_CLIENT ? SOTH_EV_REQUEST_BODY_CHUNK : SOTH_EV_RESPONSE_BODY_CHUNK;
    uint64_t bytes = side == SIDE_CLIENT ? ex->request_chunk : ex->response_chunk;
    uint64_t all = bytes + (side == SIDE_CLIENT ? ex->request_offset : ex->response_offset);
    if (all == 0 || ex->told_end[side])
        return;
    if (!bus_captures(flow->env->bus, kind)) {
        emit_body(flow, side);
        return;
    }
    *(side == SIDE_CLIENT ? &flow->exchange.request_chunk : &flow->exchange.response_chunk) = 0;
    emit_chunk(flow, side, bytes, (struct soth_span){NULL, 0}, true);
}

void emit_body_payload(struct flow *flow, enum side side, struct soth_span payload)
{
    emit_chunk(flow, side, payload.n, payload, false);
}

void emit_decision(struct flow *flow, unsigned kind, const struct verdict *verdict)
{
    if (unwanted(flow, kind))
        return;
    struct soth_attr attrs[] = {
        ATTR_WORD("action", verdict->action == SOTH_BLOCK ? "block" : "allow"),
        message_attr(flow),
        WORD_OR_ABSENT("policy_module", verdict->policy_module),
        WORD_OR_ABSENT("reason", verdict->reason),
        verdict->rule_id.n ? ATTR_TEXT("rule_id", verdict->rule_id) : ABSENT,
    };
    emit_event(flow, kind, attrs, COUNT(attrs));
}

/* Content that a module publishes, without the values of redact_keys: copied. NULL: there is no such content, or (then it is left out) no memory. */
static char *mask_content(const struct flow *flow, struct soth_attr *attrs, size_t n)
{
    size_t size = 0;
    for (size_t i = 0; i < n; i++)
        size += attrs[i].type & SOTH_ATTR_PAYLOAD ? attrs[i].text.n : 0;
    char *copy = size > 0 ? malloc(size) : NULL, *at = copy;
    for (size_t i = 0; size > 0 && i < n; i++) {
        struct soth_span *text = &attrs[i].text;
        if (!(attrs[i].type & SOTH_ATTR_PAYLOAD))
            continue;
        if (copy && text->n > 0) {
            memcpy(at, text->p, text->n);
            payload_mask(flow, at, text->n);
        }
        text->p = copy ? at : NULL;
        at += copy ? text->n : 0;
    }
    return copy;
}

static struct flow *flow_of(struct soth_flow *view)
{
    return (struct flow *)(void *)((char *)view - offsetof(struct flow, hooks));
}

/* From here to its end an event is of the protocol that a decoder has told. Returns the transport's. */
static uint16_t module_event_begin(struct flow *flow, unsigned kind)
{
    const uint16_t transport = flow->source.protocol;
    if (fsm_knows(kind) && !fsm_event(&flow->state, transport, kind))
        illegal(flow);
    const uint16_t told = chain_protocol(&flow->hooks);
    if (told)
        flow->source.protocol = told;
    return transport;
}

static bool redacts(const struct flow *flow, unsigned kind)
{
    return flow->env->settings->redact_keys.n > 0 && bus_captures(flow->env->bus, kind);
}

/* What a module publishes; exchange_no is added where there is one. */
void emit_for_module(struct soth_flow *view, unsigned kind, const struct soth_attr *attrs, size_t n)
{
    struct flow *flow = flow_of(view);
    struct soth_attr with[MODULE_ATTRS_MOST + 1];
    n = n < MODULE_ATTRS_MOST ? n : MODULE_ATTRS_MOST;
    memcpy(with, attrs, n * sizeof *attrs);
    with[n] = message_attr(flow);
    char *masked = redacts(flow, kind) ? mask_content(flow, with, n) : NULL;
    const uint16_t transport = module_event_begin(flow, kind);
    bus_emit(flow->env->bus, &flow->source, kind, with, n + 1);
    flow->source.protocol = transport;
    free(masked);
}

/* By itself: what every event needs of the stack stays together. */
static __attribute__((noinline)) void emit_form_masked(struct soth_flow *view, const struct form *form, const union soth_value *values,
                                                       uint64_t present)
{
    struct soth_attr attrs[EVENT_ATTRS_MOST];
    emit_for_module(view, event_form_kind(form), attrs, event_form_attrs(form, values, present, attrs));
}

void emit_form_for_module(struct soth_flow *view, const struct form *form, const union soth_value *values, uint64_t present)
{
    struct flow *flow = flow_of(view);
    const unsigned kind = event_form_kind(form);
    if (redacts(flow, kind)) {
        emit_form_masked(view, form, values, present);
        return;
    }
    const struct soth_attr extra = message_attr(flow);
    const uint16_t transport = module_event_begin(flow, kind);
    bus_emit_form(flow->env->bus, &flow->source, kind, form, values, present, &extra);
    flow->source.protocol = transport;
}

void emit_stream_closed(struct flow *flow)
{
    uint64_t ms = (flow->env->bus->monotonic_ns - flow->started_ns) / 1000000u;
    struct soth_attr attrs[] = {
        ATTR_NUMBER("bytes_from_client", flow->client.bytes),
        ATTR_NUMBER("bytes_from_server", flow->origin.bytes),
        ATTR_NUMBER("duration_ms", ms),
        NUMBER_IF(flow->is_stream, "http2_stream_id", flow->stream_id),
        flow->rejected_likely ? ATTR_WORD("peer_rejected_ca", "likely") : ABSENT,
        ATTR_WORD("reason_code", close_code_name(flow->close_code)),
        WORD_OR_ABSENT("reason_detail", flow->close_detail),
    };
    if (flow->hooks.protocol) /* what its last exchange was */
        flow->source.protocol = flow->hooks.protocol;
    emit_event(flow, SOTH_EV_STREAM_CLOSED, attrs, COUNT(attrs));
}
