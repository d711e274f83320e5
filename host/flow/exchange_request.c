/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The request half of an exchange: its head goes to exchange_head.c, its body passes through in the framing it came in, answers of our own
 * take the place of an origin's. Nothing is buffered but what one read brought.
 */
#include <string.h>
#include <strings.h>

#include "host/flow/stage.h"

/* ---- answers of our own ---- */

static void finish_answer(struct flow *flow, struct effects *fx, const struct refusal *why, bool close)
{
    struct exchange *ex = &flow->exchange;
    ex->response = PART_DONE;
    buffer_clear(&ex->head);
    if (close) {
        fx->linger = ex->request != PART_DONE;
        flow_close(flow, fx, why->code ? why->code : CLOSE_MITM_HTTP_COMPLETED, why->code ? why->detail : NULL);
        return;
    }
    ex->discard = true;
    if (ex->request == PART_DONE)
        exchange_over(flow, fx);
    else
        exchange_resume(flow, fx); /* what is held of its body is read and dropped */
}

void exchange_answer(struct flow *flow, struct effects *fx, const struct refusal *why)
{
    struct exchange *ex = &flow->exchange;
    /* a refusal with a close code belongs to the whole connection */
    bool close = ex->close_client || flow->draining || exchange_is_last(flow) || why->code != CLOSE_NONE ||
                 ex->expects || why->retry_after;
    answer_write(flow, fx, why, ex->client_minor, ex->head_method, close);
    finish_answer(flow, fx, why, close);
}

void exchange_bad_request(struct flow *flow, struct effects *fx, int status, const char *fault)
{
    struct refusal why;
    const struct exchange *ex = &flow->exchange;
    fx->linger = true;
    if (ex->active && ex->response == PART_BODY) { /* half of a response is out: what is added would belong to it */
        flow_cut(flow, fx, CLOSE_MITM_HTTP_ERROR, fault);
        return;
    }
    refusal_set(&why, status ? status : 400, "http_request_error", fault, CLOSE_MITM_HTTP_ERROR, fault);
    if (!ex->active || ex->response == PART_HEAD)
        answer_write(flow, fx, &why, 1, false, true);
    flow_close(flow, fx, CLOSE_MITM_HTTP_ERROR, fault);
}

/* ---- the origin's connection ---- */

bool exchange_waits(const struct flow *flow)
{
    const struct exchange *ex = &flow->exchange;
    return ex->active && !ex->request_sent && ex->response == PART_HEAD;
}

static bool origin_ready(const struct flow *flow)
{
    return flow->origin.open && (!flow->origin_tls || flow->origin.secure);
}

static void send_head(struct flow *flow, struct effects *fx)
{
    struct exchange *ex = &flow->exchange;
    leg_write(flow, fx, SIDE_ORIGIN, buffer_data(&ex->head), buffer_size(&ex->head));
    h1_answers(flow->origin.h1, ex->head_method, false);
    ex->request_sent = true;
    if (flow->origin.used)
        flow->env->counters->origin_reused++;
    else
        buffer_fini(&ex->head); /* a fresh connection is not stale: no retry */
}

void exchange_connect(struct flow *flow, struct effects *fx)
{
    flow->exchange.request_sent = false;
    flow->tls_retry = false;
    if (flow->dialing)
        return;
    if (origin_ready(flow))
        exchange_origin_ready(flow, fx);
    else if (flow->origin.open && flow->origin_tls && !flow->origin.tls)
        tls_origin_handshake(flow, fx);
    else if (!flow->origin.open)
        flow_dial(flow, fx);
}

void exchange_origin_ready(struct flow *flow, struct effects *fx)
{
    struct h1_limits limits = {.max_head_bytes = (uint32_t)flow->env->settings->max_http_head_bytes,
                               .strict_responses = flow->env->settings->strict_header_mode};
    flow_read(flow, SIDE_ORIGIN, true);
    if (!flow->origin.h1 && !(flow->origin.h1 = h1_new_response(&limits))) {
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
        return;
    }
    if (!exchange_waits(flow))
        return;
    send_head(flow, fx);
    exchange_resume(flow, fx);
}

/* ---- bytes of the client ---- */

/* May the client's next bytes be taken now, or must they wait for the origin or for the response in hand? */
static bool may_run(const struct flow *flow)
{
    const struct exchange *ex = &flow->exchange;
    if (!ex->active || ex->discard)
        return true;
    return ex->request == PART_BODY && (ex->request_sent || ex->request_framing == FRAMING_NONE);
}

static void body(struct flow *flow, struct effects *fx, struct soth_span data)
{
    struct exchange *ex = &flow->exchange;
    ex->request_chunk += data.n;
    if (ex->discard || !flow->origin.open)
        return;
    if (ex->request_framing != FRAMING_CHUNKED) {
        leg_write(flow, fx, SIDE_ORIGIN, data.p, data.n);
        return;
    }
    struct buffer frame = {0};
    rewrite_chunk_begin(&frame, data.n);
    leg_write(flow, fx, SIDE_ORIGIN, buffer_data(&frame), buffer_size(&frame));
    leg_write(flow, fx, SIDE_ORIGIN, data.p, data.n);
    leg_write(flow, fx, SIDE_ORIGIN, "\r\n", 2);
    buffer_fini(&frame);
}

static void trailers_or_end(struct flow *flow, struct effects *fx, const struct message *trailers)
{
    struct exchange *ex = &flow->exchange;
    emit_body(flow, SIDE_CLIENT);
    if (trailers)
        emit_trailers(flow, SIDE_CLIENT, trailers);
    if (ex->request_framing != FRAMING_CHUNKED || ex->discard || !flow->origin.open || ex->request == PART_DONE)
        return;
    struct buffer frame = {0};
    rewrite_last_chunk(&frame, trailers);
    leg_write(flow, fx, SIDE_ORIGIN, buffer_data(&frame), buffer_size(&frame));
    buffer_fini(&frame);
    ex->request_framing = FRAMING_NONE; /* the last chunk is sent once, with or without trailers */
}

static void request_end(struct flow *flow, struct effects *fx)
{
    trailers_or_end(flow, fx, NULL);
    flow->exchange.request = PART_DONE;
    if (flow->exchange.response == PART_DONE)
        exchange_over(flow, fx);
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
    else if (n > 0 && may_run(flow))
        exchange_resume(flow, fx);
}

void exchange_client(struct flow *flow, struct effects *fx, const uint8_t *p, size_t n)
{
    struct h1_event event;
    do {
        if (buffer_size(&flow->held) > 0 || !may_run(flow)) {
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
        switch (event.type) {
        case H1_HEAD:
            exchange_head(flow, fx, event.message);
            break;
        case H1_BODY:
            body(flow, fx, event.data);
            break;
        case H1_TRAILERS:
            trailers_or_end(flow, fx, event.message);
            break;
        case H1_END:
            request_end(flow, fx);
            break;
        case H1_NONE:
            return;
        }
    } while (!flow->closing && flow->stage == &stage_http);
    if (!flow->closing && n > 0)
        flow->stage->data(flow, fx, SIDE_CLIENT, p, n);
}

void exchange_resume(struct flow *flow, struct effects *fx)
{
    struct buffer held = flow->held;
    flow_read(flow, SIDE_CLIENT, !flow->client.ended);
    if (buffer_size(&held) == 0)
        return;
    flow->held = (struct buffer){0};
    exchange_client(flow, fx, buffer_data(&held), buffer_size(&held));
    buffer_fini(&held);
}
