/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The request half of an exchange: a head is judged and rewritten, its body passes through in the framing it came in. No byte goes
 * to an origin before the request's decision; nothing is buffered but what one read brought.
 */
#include <stdio.h>
#include <string.h>

#include "host/flow/payload.h"
#include "host/flow/stage.h"

static struct soth_span target_name(const struct flow *flow)
{
    return (struct soth_span){flow->target.host, flow->target.host_len};
}

/* "host", "[v6]:8443": how a target is written in a Host field. */
static struct soth_span authority_text(const struct target *target, uint16_t default_port, char *text, size_t size)
{
    const char *form = target->addr.family == 6 ? "[%s]" : "%s";
    int n = snprintf(text, size, form, target->host);
    if (target->port != default_port)
        n += snprintf(text + n, size - (size_t)n, ":%u", target->port);
    return (struct soth_span){text, (size_t)n};
}

static bool origin_ready(const struct flow *flow)
{
    return flow->origin.open && (!flow->origin_tls || flow->origin.secure);
}

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
    bool close = ex->close_client || flow->draining || flow->client_left || why->code != CLOSE_NONE ||
                 ex->expects || why->retry_after;
    answer_write(flow, fx, why, ex->client_minor, ex->head_method, close);
    finish_answer(flow, fx, why, close);
}

static void bad_request(struct flow *flow, struct effects *fx, int status, const char *fault)
{
    struct refusal why;
    refusal_set(&why, status ? status : 400, "http_request_error", fault, CLOSE_MITM_HTTP_ERROR, fault);
    if (!flow->exchange.active || !flow->exchange.response_begun)
        answer_write(flow, fx, &why, 1, false, true);
    fx->linger = true;
    flow_close(flow, fx, CLOSE_MITM_HTTP_ERROR, fault);
}

/* ---- the head ---- */

struct head {
    struct soth_span origin_form;
    struct soth_span authority; /* for events and judgement */
    struct soth_span host;      /* to be sent; p == NULL: as the client sent it */
    char text[TARGET_MAX_HOST + 16];
};

static void begin(struct flow *flow, const struct message *msg)
{
    struct exchange *ex = &flow->exchange;
    struct buffer head = ex->head;
    buffer_clear(&head);
    buffer_fini(&ex->target);
    *ex = (struct exchange){.active = true, .head = head};
    ex->request_framing = msg->framing;
    ex->client_minor = msg->minor;
    ex->close_client = !msg->keep_alive;
    ex->head_method = soth_span_is(msg->method, "HEAD");
    ex->wants_upgrade = msg->wants_upgrade;
    ex->expects = msg->expect_continue;
    ex->request = PART_BODY;
    ex->safe = msg->framing == FRAMING_NONE && (ex->head_method || soth_span_is(msg->method, "GET") || soth_span_is(msg->method, "OPTIONS"));
    flow->exchange_no++;
    flow->env->counters->exchanges++;
}

/* RFC 9112 3.2.1: an empty path is sent as "/", also before a query. */
static void complete_path(struct flow *flow, struct soth_span *origin_form)
{
    struct buffer *target = &flow->exchange.target;
    if (origin_form->p[0] != '?')
        return;
    buffer_append(target, "/", 1);
    if (buffer_append(target, origin_form->p, origin_form->n) == 0)
        *origin_form = (struct soth_span){(const char *)buffer_data(target), buffer_size(target)};
}

/* An absolute-form request carries its own target: received and decided like a CONNECT of its own. */
static bool proxy_target(struct flow *flow, struct effects *fx, const struct message *msg, struct head *head)
{
    struct target target;
    struct soth_span scheme;
    const char *detail = NULL;
    enum connect_error error = target_parse_absolute(msg->target, &target, &scheme, &head->origin_form, &detail);
    if (error != CONNECT_OK || !soth_span_is(scheme, "http")) {
        bad_request(flow, fx, 400, error != CONNECT_OK ? connect_error_name(error) : "https_without_connect");
        return false;
    }
    complete_path(flow, &head->origin_form);
    bool same = flow->origin.open && target.port == flow->target.port && strcmp(target.host, flow->target.host) == 0;
    flow->target = target;
    if (!same && (flow->origin.open || flow->dialing))
        leg_reset_origin(flow, fx);
    head->authority = head->host = authority_text(&target, 80, head->text, sizeof head->text);
    return true;
}

static bool pinned_target(struct flow *flow, struct effects *fx, const struct message *msg, struct head *head)
{
    head->origin_form = msg->target;
    head->authority = msg->host.p ? msg->host : target_name(flow);
    if (soth_span_is(msg->method, "CONNECT")) {
        bad_request(flow, fx, 400, "connect_in_tunnel");
        return false;
    }
    if (msg->target.n && (msg->target.p[0] == '/' || soth_span_is(msg->target, "*")))
        return true;
    struct target target;
    struct soth_span scheme;
    const char *detail;
    if (target_parse_absolute(msg->target, &target, &scheme, &head->origin_form, &detail) != CONNECT_OK) {
        bad_request(flow, fx, 400, "invalid_target");
        return false;
    }
    complete_path(flow, &head->origin_form);
    head->authority = head->host = authority_text(&target, soth_span_is(scheme, "https") ? 443 : 80, head->text, sizeof head->text);
    return true;
}

/* The decision about an absolute-form target, before any look-up. true: go on. */
static bool judge_target(struct flow *flow, struct effects *fx, const struct message *msg, const struct head *head)
{
    emit_connect_received(flow);
    flow->refusal = (struct refusal){0};
    flow->mismatch = NULL;
    enum decision d = decide_target(flow, false);
    if (d == DECISION_HELLO)
        d = decide_target(flow, true);
    /* a Host that names somebody else is replaced by the target, but a blocked name stays blocked */
    if (d == DECISION_GO && msg->host.p && !target_same_host(msg->host, target_name(flow))) {
        struct verdict verdict = flow->verdict;
        d = decide_identity(flow, SOTH_ID_AUTHORITY, msg->host);
        if (d == DECISION_REFUSED && !flow->refusal.is_policy) {
            d = DECISION_GO;
            flow->verdict = verdict;
            flow->refusal = (struct refusal){0};
        }
    }
    emit_connect_decision(flow);
    emit_request_headers(flow, msg, head->authority, head->origin_form);
    if (d != DECISION_REFUSED)
        return true;
    struct refusal why = flow->refusal;
    flow->refusal = (struct refusal){0};
    if (why.is_policy) /* a block of one request: the next one may have another target */
        why.code = CLOSE_NONE;
    exchange_answer(flow, fx, &why);
    return false;
}

/* Inside an interception or behind a reverse listener: the Host field is one more name of the connection. */
static bool judge_authority(struct flow *flow, struct effects *fx, const struct message *msg, const struct head *head)
{
    emit_request_headers(flow, msg, head->authority, head->origin_form);
    if (flow->refusal.status) {
        exchange_answer(flow, fx, &flow->refusal);
        return false;
    }
    bool reverse = flow->listen->mode == LISTEN_REVERSE;
    struct soth_span reference = flow->sni && (reverse || flow->target.addr.family) ? soth_span(flow->sni) : target_name(flow);
    if (target_same_host(head->authority, reference))
        return true;
    struct verdict verdict = flow->verdict;
    bool nothing_to_compare = !flow->sni && (reverse || flow->target.addr.family);
    enum decision d = decide_identity(flow, SOTH_ID_AUTHORITY, head->authority);
    struct refusal why = flow->refusal;
    struct verdict judged = flow->verdict;
    flow->verdict = verdict;
    flow->refusal = (struct refusal){0};
    if (d != DECISION_REFUSED || (nothing_to_compare && !why.is_policy))
        return true;
    emit_request_decision(flow, &judged);
    if (why.is_policy)
        why.code = CLOSE_NONE;
    exchange_answer(flow, fx, &why);
    return false;
}

static bool judge(struct flow *flow, struct effects *fx, const struct message *msg, const struct head *head)
{
    struct refusal why;
    bool go = flow->proxy_requests ? judge_target(flow, fx, msg, head) : judge_authority(flow, fx, msg, head);
    if (!go)
        return false;
    if (decide_request(flow, msg, head->origin_form, &why))
        return true;
    exchange_answer(flow, fx, &why);
    return false;
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

static void request_head(struct flow *flow, struct effects *fx, const struct message *msg)
{
    struct head head;
    head.host = (struct soth_span){NULL, 0};
    begin(flow, msg);
    bool known = flow->proxy_requests ? proxy_target(flow, fx, msg, &head) : pinned_target(flow, fx, msg, &head);
    if (!known || !judge(flow, fx, msg, &head))
        return;
    bool upstream = flow->listen->mode == LISTEN_REVERSE && flow->listen->host_header == HOST_HEADER_UPSTREAM;
    /* HTTP/1.0 may come without Host, what goes on is HTTP/1.1 and may not */
    if (upstream || (!msg->host.p && !head.host.p))
        head.host = authority_text(&flow->target, flow->origin_tls ? 443 : 80, head.text, sizeof head.text);
    struct rewrite_request how = {.target = head.origin_form, .host = head.host, .keep_upgrade = msg->wants_upgrade};
    if (rewrite_request_head(&flow->exchange.head, msg, &how) < 0) {
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
        return;
    }
    if (origin_ready(flow))
        exchange_origin_ready(flow, fx);
    else
        exchange_connect(flow, fx);
}

/* ---- the origin's connection ---- */

void exchange_connect(struct flow *flow, struct effects *fx)
{
    flow->exchange.request_sent = false;
    flow->tls_retry = false;
    if (flow->dialing)
        return;
    if (flow->origin.open && flow->origin_tls && !flow->origin.tls)
        tls_origin_handshake(flow, fx);
    else if (!flow->origin.open)
        fx->dial = true;
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
    if (!flow->exchange.active || flow->exchange.request_sent)
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
    payload_body(flow, SIDE_CLIENT, data);
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

/* In a proxy connection each head is looked at again: it may be a CONNECT this time. true: another stage has taken over. */
static bool becomes_connect(struct flow *flow, struct effects *fx, const uint8_t *p, size_t n)
{
    static const char method[] = "CONNECT ";
    if (!flow->proxy_requests || flow->exchange.active || !h1_idle(flow->client.h1) || n < sizeof method - 1 ||
        memcmp(p, method, sizeof method - 1) != 0)
        return false;
    if (flow->origin.open || flow->dialing)
        leg_reset_origin(flow, fx);
    flow_hold(flow, p, n);
    flow->source.protocol = SOTH_PROTO_TUNNEL;
    connect_begin(flow, fx);
    return true;
}

void exchange_client(struct flow *flow, struct effects *fx, const uint8_t *p, size_t n)
{
    struct h1_event event;
    do {
        if (buffer_size(&flow->held) > 0 || !may_run(flow)) {
            if (n > 0 && flow_hold(flow, p, n) < 0)
                flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
            return;
        }
        if (becomes_connect(flow, fx, p, n))
            return;
        ssize_t used = h1_take(flow->client.h1, p, n, &event);
        if (used < 0) {
            bad_request(flow, fx, h1_status(flow->client.h1), h1_fault(flow->client.h1));
            return;
        }
        p += used;
        n -= (size_t)used;
        switch (event.type) {
        case H1_HEAD:
            request_head(flow, fx, event.message);
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
