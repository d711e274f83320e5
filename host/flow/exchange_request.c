/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The request half of an exchange: a head is judged and rewritten, its body passes through in the framing it came in. No byte goes
 * to an origin before the request's decision; nothing is buffered but what one read brought.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

void exchange_drop_head(struct exchange *ex)
{
    free(ex->asked);
    head_edit_free(ex->edit);
    ex->asked = NULL;
    ex->edit = NULL;
}

void exchange_fini(struct exchange *ex)
{
    exchange_drop_head(ex);
    free(ex->trailers);
    ex->trailers = NULL;
    buffer_fini(&ex->head);
    buffer_fini(&ex->target);
    buffer_fini(&ex->line);
    buffer_fini(&ex->peek.bytes);
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
    if (ex->peek.complete)
        ex->request = PART_DONE;
    ex->peek.need = 0;
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
    struct target target;       /* where the request goes */
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
    ex->head = (struct buffer){0};
    exchange_fini(ex);
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
    buffer_clear(target);
    buffer_append(target, "/", 1);
    if (buffer_append(target, origin_form->p, origin_form->n) == 0)
        *origin_form = (struct soth_span){(const char *)buffer_data(target), buffer_size(target)};
}

/* Another origin than the one at hand: its connection is of no use. */
static void go_to(struct flow *flow, struct effects *fx, const struct target *target)
{
    bool same = target->port == flow->target.port && strcmp(target->host, flow->target.host) == 0;
    flow->target = *target;
    flow->source.server_host = (struct soth_span){flow->target.host, flow->target.host_len};
    flow->source.server_port = flow->target.port;
    if (!same && (flow->origin.open || flow->dialing))
        leg_reset_origin(flow, fx);
}

/* An absolute-form request carries its own target: received and decided like a CONNECT of its own. */
static bool proxy_target(struct flow *flow, struct effects *fx, const struct message *msg, struct head *head)
{
    struct soth_span scheme;
    const char *detail = NULL;
    enum connect_error error = target_parse_absolute(msg->target, &head->target, &scheme, &head->origin_form, &detail);
    if (error != CONNECT_OK || !soth_span_is(scheme, "http")) {
        bad_request(flow, fx, 400, error != CONNECT_OK ? connect_error_name(error) : "https_without_connect");
        return false;
    }
    complete_path(flow, &head->origin_form);
    head->authority = head->host = authority_text(&head->target, 80, head->text, sizeof head->text);
    return true;
}

static bool pinned_target(struct flow *flow, struct effects *fx, const struct message *msg, struct head *head)
{
    head->target = flow->pinned ? *flow->pinned : flow->target;
    head->origin_form = msg->target;
    head->authority = msg->host.p ? msg->host : remap_named(flow);
    if (flow->named) /* the connection was mapped: its origin knows itself by its own name */
        head->host = authority_text(&head->target, flow->origin_tls ? 443 : 80, head->text, sizeof head->text);
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
    head->authority = authority_text(&target, soth_span_is(scheme, "https") ? 443 : 80, head->text, sizeof head->text);
    if (!flow->named)
        head->host = head->authority;
    return true;
}

/* ---- the judgement of a request: in steps, so that a module may keep it waiting between any two ---- */

enum { STEP_BEGIN, STEP_TARGET, STEP_HELLO, STEP_NAMES, STEP_TELL, STEP_REQUEST, STEP_DONE };

static enum decision answered(struct flow *flow, struct effects *fx, const struct refusal *why)
{
    exchange_answer(flow, fx, why);
    return DECISION_REFUSED;
}

/* A module that had to change the request could not, and is closed on error. */
static enum decision remap_failed(struct flow *flow, struct effects *fx, const struct message *msg, const struct head *head,
                                  const struct verdict *v)
{
    struct refusal why;
    if (flow->proxy_requests) {
        flow->target = head->target;
        flow->verdict = *v;
        emit_connect_received(flow);
        emit_connect_decision(flow);
    }
    emit_request_headers(flow, msg, head->authority, head->origin_form);
    if (!flow->proxy_requests)
        emit_decision(flow, SOTH_EV_REQUEST_DECISION, v);
    decide_refuse_message(v, &why);
    return answered(flow, fx, &why);
}

/* What modules want to be different, before anybody looks. */
static enum decision remap(struct flow *flow, struct effects *fx, const struct message *msg, struct head *head)
{
    struct exchange *ex = &flow->exchange;
    struct verdict v;
    if (ex->step == STEP_BEGIN) {
        if (remap_request(flow, msg, head->origin_form, &v) == DECISION_REFUSED)
            return remap_failed(flow, fx, msg, head, &v);
        ex->step = STEP_TARGET;
    }
    if (!flow->wish.any)
        return DECISION_GO;
    if (flow->wish.path)
        head->origin_form = soth_span(flow->wish.path);
    if (!remap_parse(&flow->wish, &head->target, &head->target))
        return DECISION_GO;
    ex->remapped = true;
    head->host = authority_text(&head->target, flow->proxy_requests || !flow->origin_tls ? 80 : 443, head->text, sizeof head->text);
    if (flow->proxy_requests)
        head->authority = head->host;
    return DECISION_GO;
}

/* The target of this request, judged: the policies' answer to one that no CONNECT has named. */
static enum decision judge_new_target(struct flow *flow, const struct message *msg)
{
    struct exchange *ex = &flow->exchange;
    if (ex->step <= STEP_HELLO) {
        ex->judged = decide_target(flow, ex->step == STEP_HELLO);
        if (ex->judged == DECISION_WAIT)
            return ex->judged;
        if (ex->judged == DECISION_HELLO && ex->step != STEP_HELLO) {
            ex->step = STEP_HELLO;
            return judge_new_target(flow, msg);
        }
        ex->step = STEP_NAMES;
    }
    return ex->judged == DECISION_REFUSED ? DECISION_REFUSED : DECISION_GO;
}

/* A Host that names somebody else is replaced by the target, but a blocked name stays blocked. */
static enum decision judge_replaced_host(struct flow *flow, const struct message *msg)
{
    struct verdict verdict = flow->verdict;
    if (!msg->host.p || target_same_host(msg->host, target_name(flow)))
        return DECISION_GO;
    enum decision d = decide_identity(flow, SOTH_ID_AUTHORITY, msg->host);
    if (d != DECISION_REFUSED || flow->refusal.is_policy)
        return d;
    flow->verdict = verdict;
    flow->refusal = (struct refusal){0};
    return DECISION_GO;
}

/* The decision about an absolute-form target, before any look-up. */
static enum decision judge_target(struct flow *flow, struct effects *fx, const struct message *msg, const struct head *head)
{
    struct exchange *ex = &flow->exchange;
    if (ex->step == STEP_TARGET && !ex->told) {
        ex->told = true;
        emit_connect_received(flow);
        flow->refusal = (struct refusal){0};
        flow->mismatch = NULL;
    }
    enum decision d = judge_new_target(flow, msg);
    if (d == DECISION_GO)
        d = judge_replaced_host(flow, msg);
    if (d == DECISION_WAIT)
        return d;
    emit_connect_decision(flow);
    emit_request_headers(flow, msg, head->authority, head->origin_form);
    if (d != DECISION_REFUSED)
        return DECISION_GO;
    struct refusal why = flow->refusal;
    flow->refusal = (struct refusal){0};
    if (why.is_policy) /* a block of one request: the next one may have another target */
        why.code = CLOSE_NONE;
    return answered(flow, fx, &why);
}

/* A refusal of one request in a connection that as such was let through. */
static enum decision refused_here(struct flow *flow, struct effects *fx, const struct verdict *before)
{
    struct refusal why = flow->refusal;
    struct verdict judged = flow->verdict;
    flow->verdict = *before;
    flow->refusal = (struct refusal){0};
    emit_decision(flow, SOTH_EV_REQUEST_DECISION, &judged);
    if (why.is_policy || flow->exchange.remapped)
        why.code = CLOSE_NONE;
    return answered(flow, fx, &why);
}

/* Inside an interception or behind a reverse listener: the Host field is one more name of the connection. */
static enum decision judge_host(struct flow *flow, struct effects *fx, const struct head *head)
{
    bool reverse = flow->listen->mode == LISTEN_REVERSE;
    struct soth_span reference = flow->sni && (reverse || flow->target.addr.family) ? soth_span(flow->sni) : remap_named(flow);
    if (target_same_host(head->authority, reference))
        return DECISION_GO;
    struct verdict verdict = flow->verdict;
    bool nothing_to_compare = !flow->sni && (reverse || flow->target.addr.family);
    enum decision d = decide_identity(flow, SOTH_ID_AUTHORITY, head->authority);
    if (d == DECISION_WAIT)
        return d;
    if (d == DECISION_REFUSED && (!nothing_to_compare || flow->refusal.is_policy))
        return refused_here(flow, fx, &verdict);
    flow->verdict = verdict;
    flow->refusal = (struct refusal){0};
    return DECISION_GO;
}

static enum decision judge_authority(struct flow *flow, struct effects *fx, const struct message *msg, const struct head *head)
{
    struct exchange *ex = &flow->exchange;
    if (!ex->told) {
        ex->told = true;
        emit_request_headers(flow, msg, head->authority, head->origin_form);
        if (flow->refusal.status)
            return answered(flow, fx, &flow->refusal);
    }
    if (ex->remapped && ex->step <= STEP_HELLO) {
        struct verdict verdict = flow->verdict;
        enum decision d = judge_new_target(flow, msg);
        if (d == DECISION_WAIT)
            return d;
        if (d == DECISION_REFUSED)
            return refused_here(flow, fx, &verdict);
        flow->verdict = verdict;
    }
    return judge_host(flow, fx, head);
}

static enum decision judge(struct flow *flow, struct effects *fx, const struct message *msg, const struct head *head)
{
    struct exchange *ex = &flow->exchange;
    struct refusal why;
    if (ex->step < STEP_REQUEST) {
        enum decision d = flow->proxy_requests ? judge_target(flow, fx, msg, head) : judge_authority(flow, fx, msg, head);
        if (d != DECISION_GO)
            return d;
        ex->step = STEP_REQUEST;
    }
    enum decision d = decide_request(flow, msg, head->origin_form, &why);
    return d == DECISION_REFUSED ? answered(flow, fx, &why) : d;
}

/* In a connection to one target a request may go elsewhere, and the next one comes back. false: no memory. */
static bool take_target(struct flow *flow, struct effects *fx, const struct target *target)
{
    if (!flow->proxy_requests && flow->exchange.remapped && !flow->pinned) {
        if (!(flow->pinned = malloc(sizeof *flow->pinned))) {
            flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
            return false;
        }
        *flow->pinned = flow->target;
    }
    if (flow->proxy_requests || flow->pinned)
        go_to(flow, fx, target);
    if (flow->pinned && !flow->exchange.remapped) {
        free(flow->pinned);
        flow->pinned = NULL;
    }
    return true;
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

/* For the response's policies and decoders: the head is gone by then. */
static void remember(struct flow *flow, const struct message *msg, const struct head *head)
{
    struct exchange *ex = &flow->exchange;
    if (!(flow->env->hooks & (SOTH_HOOK_RESPONSE | SOTH_HOOK_REWRITE)))
        return;
    ex->method_size = msg->method.n;
    buffer_append(&ex->line, msg->method.p, msg->method.n);
    buffer_append(&ex->line, head->origin_form.p, head->origin_form.n);
}

static void request_go(struct flow *flow, struct effects *fx, const struct message *msg, struct head *head)
{
    struct exchange *ex = &flow->exchange;
    bool upstream = flow->listen->mode == LISTEN_REVERSE && flow->listen->host_header == HOST_HEADER_UPSTREAM;
    /* HTTP/1.0 may come without Host, what goes on is HTTP/1.1 and may not */
    if (upstream || (!msg->host.p && !head->host.p))
        head->host = authority_text(&flow->target, flow->origin_tls ? 443 : 80, head->text, sizeof head->text);
    struct rewrite_request how = {.target = head->origin_form, .host = head->host, .keep_upgrade = msg->wants_upgrade};
    remember(flow, msg, head);
    if (rewrite_request_head(&ex->head, ex->edit ? head_edit_message(ex->edit) : msg, &how) < 0 || ex->line.failed) {
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
        return;
    }
    exchange_drop_head(ex);
    ex->step = STEP_DONE;
    if (origin_ready(flow))
        exchange_origin_ready(flow, fx);
    else
        exchange_connect(flow, fx);
}

static void request_again(struct flow *flow, struct effects *fx);

/* The head must outlive the codec's next step. */
static void request_waits(struct flow *flow, struct effects *fx, const struct message *msg, enum decision d)
{
    struct exchange *ex = &flow->exchange;
    if (!ex->asked && !(ex->asked = message_copy(msg))) {
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
        return;
    }
    if (d == DECISION_WAIT) {
        flow_wait(flow, request_again);
        return;
    }
    if (ex->expects && !ex->peek.need) /* nobody but us can ask for the body now */
        leg_write(flow, fx, SIDE_CLIENT, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    ex->peek.need = flow->ask.need_bytes;
}

static void request_judge(struct flow *flow, struct effects *fx, const struct message *msg)
{
    struct head head;
    head.host = (struct soth_span){NULL, 0};
    bool known = flow->proxy_requests ? proxy_target(flow, fx, msg, &head) : pinned_target(flow, fx, msg, &head);
    if (!known || remap(flow, fx, msg, &head) != DECISION_GO || !take_target(flow, fx, &head.target))
        return;
    enum decision d = judge(flow, fx, msg, &head);
    if (d == DECISION_WAIT || d == DECISION_BODY)
        request_waits(flow, fx, msg, d);
    else if (d == DECISION_GO)
        request_go(flow, fx, msg, &head);
}

static void request_again(struct flow *flow, struct effects *fx)
{
    request_judge(flow, fx, flow->exchange.asked);
    if (!flow->closing && !flow->go_on && flow->stage == &stage_http)
        http_first_bytes(flow, fx);
}

static void request_head(struct flow *flow, struct effects *fx, const struct message *msg)
{
    begin(flow, msg);
    request_judge(flow, fx, msg);
}

/* ---- the origin's connection ---- */

static void send_peeked(struct flow *flow, struct effects *fx);

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
    if (flow->exchange.peek.complete || buffer_size(&flow->exchange.peek.bytes) > 0)
        send_peeked(flow, fx);
    exchange_resume(flow, fx);
}

/* ---- bytes of the client ---- */

/* May the client's next bytes be taken now, or must they wait for the origin or for the response in hand? */
static bool may_run(const struct flow *flow)
{
    const struct exchange *ex = &flow->exchange;
    if (flow->go_on)
        return false;
    if (!ex->active || ex->discard || ex->peek.need)
        return true;
    return ex->request == PART_BODY && !ex->peek.complete && (ex->request_sent || ex->request_framing == FRAMING_NONE);
}

/* A policy wants to see the beginning of the body before it judges the head. */
static void peek(struct flow *flow, struct effects *fx, struct soth_span data, bool complete)
{
    struct peek *peek = &flow->exchange.peek;
    if (buffer_append(&peek->bytes, data.p, data.n) < 0) {
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
        return;
    }
    peek->complete = complete;
    if (!complete && buffer_size(&peek->bytes) < peek->need)
        return;
    peek->need = 0;
    request_judge(flow, fx, flow->exchange.asked);
}

static void body(struct flow *flow, struct effects *fx, struct soth_span data)
{
    struct exchange *ex = &flow->exchange;
    if (ex->peek.need) {
        peek(flow, fx, data, false);
        return;
    }
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
    if (ex->peek.need) {
        ex->trailers = trailers ? message_copy(trailers) : NULL;
        return;
    }
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
    if (ex->trailers)
        trailers_or_end(flow, fx, ex->trailers);
    request_end(flow, fx);
}

static void request_end(struct flow *flow, struct effects *fx)
{
    if (flow->exchange.peek.need) {
        peek(flow, fx, (struct soth_span){"", 0}, true);
        return;
    }
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
