/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The request half of an exchange: its body passes through in the framing it came in, towards the origin's connection that it gets here;
 * nothing is buffered but what one read brought.
 */
#include <string.h>
#include <strings.h>

#include "host/flow/opening.h"
#include "host/flow/payload.h"
#include "host/flow/stream.h"

/* ---- the origin's connection ---- */

void exchange_names(const struct exchange *ex, struct soth_span parts[EXCHANGE_LINE_PARTS])
{
    struct soth_span names[PACK_NAMES]; /* method, target, host, authority */
    pack_names(ex->again, names);
    parts[0] = names[0];
    parts[1] = parts[3] = names[1];
    parts[2] = names[3].p ? names[3] : names[2];
}

/* false: no memory. */
static bool unpack_outgoing(struct exchange *ex)
{
    if (ex->again && !ex->outgoing && !ex->spent)
        ex->outgoing = pack_open(ex->again);
    return ex->outgoing || !ex->again || ex->spent;
}

/* false: it was given up. */
static bool send_head(struct flow *flow, struct effects *fx)
{
    struct exchange *ex = &flow->exchange;
    if (!talk_request_head(flow, fx))
        return false;
    struct leg *leg = flow->strand[SIDE_ORIGIN] ? &flow->strand[SIDE_ORIGIN]->line->origin : &flow->origin;
    ex->request_sent = true;
    if (leg->used)
        flow->env->counters->origin_reused++;
    else if (!leg->h2)
        exchange_drop_outgoing(ex); /* a fresh connection is not stale: no retry */
    leg->used = leg->used || leg->h2;
    return true;
}

static void send_peeked(struct flow *flow, struct effects *fx);

bool exchange_waits(const struct flow *flow)
{
    const struct exchange *ex = &flow->exchange;
    return ex->active && ex->ready && !ex->request_sent && ex->response == PART_HEAD;
}

static bool origin_ready(const struct flow *flow)
{
    return flow->origin.open && (!flow->origin_tls || flow->origin.secure);
}

/* The codec of its own connection to the origin; false: no memory. */
static bool origin_codec(struct flow *flow)
{
    const uint32_t overrides = flow->verdict.overrides;
    struct h1_limits limits = {.max_head_bytes = (uint32_t)flow->env->settings->max_http_head_bytes,
                               .strict_responses = flow->env->settings->strict_header_mode};
    if (!flow->origin.open || flow->origin.h1 || flow->origin.h2)
        return true;
    if (flow->origin_tls ? alpn_is_h2(flow->origin.tls) : flow->is_stream && !flow->h1_only && stream_knows_h2(flow))
        return mux_open(flow, SIDE_ORIGIN);
    if (overrides & (SOTH_OVERRIDE_STRICT_HEADERS | SOTH_OVERRIDE_LENIENT_HEADERS))
        limits.strict_responses = overrides & SOTH_OVERRIDE_STRICT_HEADERS;
    return (flow->origin.h1 = h1_new_response(&limits)) != NULL;
}

void exchange_connect(struct flow *flow, struct effects *fx)
{
    struct refusal why;
    flow->exchange.request_sent = false;
    flow->tls_retry = false;
    if (!unpack_outgoing(&flow->exchange)) {
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
        return;
    }
    if (stream_shares(flow)) {
        stream_connect(flow, fx);
        return;
    }
    opening_choose(flow, fx);
    if (flow->origin.h2 && h2_is_leaving(flow->origin.h2))
        leg_reset_origin(flow, fx); /* it said goodbye meanwhile, or while it refused this request */
    if (flow->dialing)
        return;
    if (flow->origin_tls && !flow->origin.tls && tls_sni_lacks(flow, &why)) {
        exchange_answer(flow, fx, &why);
        return;
    }
    if (origin_ready(flow))
        exchange_origin_ready(flow, fx);
    else if (flow->origin.open && flow->origin_tls && !flow->origin.tls)
        tls_origin_handshake(flow, fx);
    else if (!flow->origin.open)
        flow_dial(flow, fx);
}

void exchange_origin_ready(struct flow *flow, struct effects *fx)
{
    flow_read(flow, SIDE_ORIGIN, flow->origin.open);
    if (!origin_codec(flow)) {
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
        return;
    }
    if (!opening_may_go(flow, fx) || !exchange_waits(flow))
        return;
    if (flow->origin.h2 && !h2_can_open(flow->origin.h2)) {
        stream_wait_for_room(flow);
        return;
    }
    flow->waits_room = false;
    if (!send_head(flow, fx))
        return;
    if (flow->exchange.peek.complete || buffer_size(&flow->exchange.peek.bytes) > 0)
        send_peeked(flow, fx);
    exchange_resume(flow, fx);
}

/* ---- bytes of the client ---- */

/* May the client's next bytes be taken now, or must they wait for the origin or for the response in hand? */
bool exchange_takes_request(const struct flow *flow)
{
    const struct exchange *ex = &flow->exchange;
    if (flow->go_on || chained_stuck(flow, SIDE_CLIENT))
        return false;
    if (flow->stage == &stage_upgraded)
        return true;
    if (!ex->active || ex->discard || ex->peek.need)
        return true;
    return ex->request == PART_BODY && !ex->peek.complete && (ex->request_sent || ex->request_framing == FRAMING_NONE);
}

static void peek(struct flow *flow, struct effects *fx, struct soth_span data, bool complete)
{
    if (exchange_peek(flow, fx, data, complete))
        exchange_request_judge(flow, fx, flow->exchange.asked);
}

static void body(struct flow *flow, struct effects *fx, struct soth_span data)
{
    struct exchange *ex = &flow->exchange;
    if (ex->peek.need) {
        peek(flow, fx, data, false);
        return;
    }
    payload_body(flow, fx, SIDE_CLIENT, data);
}

void exchange_request_write(struct flow *flow, struct effects *fx, struct soth_span data)
{
    if (talk_origin_listens(flow))
        talk_request_body(flow, fx, data);
}

void exchange_request_finish(struct flow *flow, struct effects *fx)
{
    struct exchange *ex = &flow->exchange;
    if (!exchange_trailers_go(flow, fx, SIDE_CLIENT))
        return;
    if (!ex->discard && talk_origin_listens(flow))
        talk_request_end(flow, fx, ex->trailers[SIDE_CLIENT]);
    ex->request = PART_DONE;
    if (ex->response == PART_DONE)
        exchange_over(flow, fx);
}

static void request_end(struct flow *flow, struct effects *fx);

/* The body, or its beginning, that was kept until the head was judged. */
static void send_peeked(struct flow *flow, struct effects *fx)
{
    struct exchange *ex = &flow->exchange;
    struct buffer bytes = ex->peek.bytes;
    ex->peek.bytes = (struct buffer){0};
    if (buffer_size(&bytes) > 0)
        body(flow, fx, (struct soth_span){(const char *)buffer_data(&bytes), buffer_size(&bytes)});
    buffer_fini(&bytes);
    if (!ex->peek.complete)
        return;
    ex->peek.complete = false;
    if (!flow->closing)
        request_end(flow, fx);
}

static void request_end(struct flow *flow, struct effects *fx)
{
    if (flow->exchange.peek.need) {
        peek(flow, fx, (struct soth_span){"", 0}, true);
        return;
    }
    if (!flow->exchange.discard) {
        chained_end(flow, fx, SIDE_CLIENT);
        return;
    }
    if (!flow->exchange.late[SIDE_CLIENT]) /* what was held of it went nowhere */
        exchange_tell_end(flow, SIDE_CLIENT);
    exchange_request_finish(flow, fx);
}

/* ---- on a proxy connection each head is looked at again: it may be a CONNECT this time ---- */

enum first_word { WORD_METHOD, WORD_CONNECT, WORD_UNKNOWN };

/* Of what follows empty lines, which are passed over as the codec would; *skipped is their size. */
static enum first_word first_word(const struct flow *flow, const uint8_t *p, size_t n, size_t *skipped)
{
    static const char connect[] = "CONNECT ";
    bool lenient = flow->env->settings->connect_parse_mode == PARSE_LENIENT;
    size_t at = 0;
    while (at + 1 < n && p[at] == '\r' && p[at + 1] == '\n')
        at += 2;
    *skipped = at;
    const char *word = (const char *)p + at;
    size_t have = n - at, part = have < sizeof connect - 1 ? have : sizeof connect - 1;
    if (have == 1 && word[0] == '\r')
        return WORD_UNKNOWN;
    if (have == 0 || (lenient ? strncasecmp(word, connect, part) : memcmp(word, connect, part)) != 0)
        return WORD_METHOD;
    return part == sizeof connect - 1 ? WORD_CONNECT : WORD_UNKNOWN;
}

/* true: the bytes were taken, by the stage of CONNECT or to be looked at again when there are more of them. */
static bool becomes_connect(struct flow *flow, struct effects *fx, const uint8_t *p, size_t n)
{
    size_t skipped;
    if (!flow->proxy_requests || flow->exchange.active || !h1_idle(flow->client.h1))
        return false;
    enum first_word word = first_word(flow, p, n, &skipped);
    if (word == WORD_METHOD)
        return false;
    if (flow_hold(flow, p + skipped, n - skipped) < 0) {
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
        return true;
    }
    flow_read(flow, SIDE_CLIENT, !flow->client.ended);
    if (word == WORD_UNKNOWN)
        return true;
    if (flow->origin.open || flow->dialing)
        leg_reset_origin(flow, fx);
    flow->source.protocol = SOTH_PROTO_TUNNEL;
    connect_begin(flow, fx);
    return true;
}

/* Client bytes that must wait; or that complete what was held because it was too short to tell (becomes_connect). */
static void hold(struct flow *flow, struct effects *fx, const uint8_t *p, size_t n)
{
    if (n > 0 && flow_hold(flow, p, n) < 0)
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
    else if (n > 0 && exchange_takes_request(flow))
        exchange_resume(flow, fx);
}

void exchange_client_event(struct flow *flow, struct effects *fx, const struct h1_event *event)
{
    switch (event->type) {
    case H1_HEAD:
        exchange_request_head(flow, fx, event->message);
        break;
    case H1_BODY:
        body(flow, fx, event->data);
        break;
    case H1_TRAILERS:
        exchange_trailers(flow, fx, SIDE_CLIENT, event->message);
        break;
    case H1_END:
        request_end(flow, fx);
        break;
    case H1_NONE:
        break;
    }
}

void exchange_client(struct flow *flow, struct effects *fx, const uint8_t *p, size_t n)
{
    struct h1_event event;
    do {
        if (buffer_size(&flow->held) > 0 || !exchange_takes_request(flow)) {
            hold(flow, fx, p, n);
            return;
        }
        if (becomes_connect(flow, fx, p, n))
            return;
        ssize_t used = h1_take(flow->client.h1, p, n, &event);
        if (used < 0) {
            exchange_bad_request(flow, fx, h1_status(flow->client.h1), h1_fault(flow->client.h1));
            return;
        }
        p += used;
        n -= (size_t)used;
        if (event.type == H1_NONE)
            return;
        exchange_client_event(flow, fx, &event);
    } while (!flow->closing && flow->stage == &stage_http);
    if (!flow->closing && n > 0)
        flow->stage->data(flow, fx, SIDE_CLIENT, p, n);
}

void exchange_resume(struct flow *flow, struct effects *fx)
{
    if (flow->is_stream) {
        strand_pump_side(flow, fx, SIDE_CLIENT);
        return;
    }
    struct buffer held = flow->held;
    bool has_end = flow->exchange.active && flow->exchange.request == PART_BODY; /* which needs no further byte */
    flow_read(flow, SIDE_CLIENT, !flow->client.ended);
    if (buffer_size(&held) == 0 && !has_end)
        return;
    flow->held = (struct buffer){0};
    exchange_client(flow, fx, buffer_size(&held) ? buffer_data(&held) : (const uint8_t *)"", buffer_size(&held));
    buffer_fini(&held);
}
