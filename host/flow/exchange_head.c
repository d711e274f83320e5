/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The head of a request: where it goes, whether it goes, how it is written for its origin; and the answers of our own. No byte goes to an
 * origin before the request's decision.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "host/flow/exchange.h"
#include "host/flow/onboarding.h"
#include "host/flow/opening.h"
#include "host/http/grpc.h"
#include "host/http/websocket.h"

/* "host", "[v6]:8443": how a target is written in a Host field. */
struct soth_span exchange_authority_text(const struct target *target, uint16_t default_port, char *text, size_t size)
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

void exchange_drop_outgoing(struct exchange *ex)
{
    free(ex->outgoing);
    ex->outgoing = NULL;
    ex->spent = true;
    if (ex->named) /* who judges the response asks for them */
        return;
    pack_free(ex->again);
    ex->again = NULL;
}

void exchange_fini(struct exchange *ex)
{
    exchange_drop_head(ex);
    for (unsigned i = 0; i < 2; i++) {
        free(ex->trailers[i]);
        ex->trailers[i] = NULL;
    }
    free(ex->masks);
    ex->masks = NULL;
    ex->named = false;
    free(ex->accept);
    ex->accept = NULL;
    exchange_drop_outgoing(ex);
    buffer_fini(&ex->target);
    buffer_fini(&ex->line);
    buffer_fini(&ex->peek.bytes);
}

/* ---- answers of our own ---- */

static void finish_answer(struct flow *flow, struct effects *fx, const struct refusal *why, bool close)
{
    struct exchange *ex = &flow->exchange;
    ex->response = PART_DONE;
    exchange_drop_outgoing(ex);
    if (ex->peek.complete || chained_gives_up(flow))
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
    bool close = ex->close_client || flow->draining || exchange_is_last(flow) || why->code != CLOSE_NONE ||
                 ex->expects || why->retry_after;
    answer_write(flow, fx, why, ex->client_minor, ex->head_method, close);
    finish_answer(flow, fx, why, close);
}

void exchange_reply(struct flow *flow, struct effects *fx, struct reply *reply)
{
    const struct refusal nothing = {.code = CLOSE_NONE};
    struct exchange *ex = &flow->exchange;
    reply->close = ex->close_client || flow->draining || exchange_is_last(flow) || ex->expects;
    reply->head_only = ex->head_method;
    reply->client_minor = ex->client_minor;
    talk_reply(flow, fx, reply);
    finish_answer(flow, fx, &nothing, reply->close);
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

/* ---- the head ---- */

static void begin(struct flow *flow, const struct message *msg)
{
    struct exchange *ex = &flow->exchange;
    exchange_fini(ex);
    *ex = (struct exchange){.active = true};
    ex->request_framing = msg->framing;
    ex->announced[SIDE_CLIENT] = msg->content_length;
    ex->client_minor = msg->minor;
    ex->close_client = !msg->keep_alive || flow->is_stream; /* a stream carries one exchange */
    ex->head_method = soth_span_is(msg->method, "HEAD");
    ex->grpc_type = grpc_answer_type(msg);
    ex->wants_upgrade = msg->wants_upgrade;
    ex->websocket = websocket_is_asked(msg);
    ex->expects = msg->expect_continue;
    ex->request = PART_BODY;
    ex->safe = msg->framing == FRAMING_NONE && (ex->head_method || soth_span_is(msg->method, "GET") || soth_span_is(msg->method, "OPTIONS"));
    flow->exchange_no++;
    flow->hooks.protocol = 0;
    flow->asked = true;
    flow->env->counters->exchanges++;
}

/* RFC 9112 3.2.1, 3.2.4: an empty path is sent as "/", also before a query; OPTIONS without either asks about the server as a whole. */
static void complete_path(struct flow *flow, const struct message *msg, struct soth_span *origin_form)
{
    struct buffer *target = &flow->exchange.target;
    if (soth_span_is(msg->method, "OPTIONS") && msg->target.p[msg->target.n - 1] != '/' && soth_span_is(*origin_form, "/"))
        *origin_form = soth_span("*");
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
    flow_tell_target(flow);
    if (!same && (flow->origin.open || flow->dialing))
        leg_reset_origin(flow, fx);
}

/* An absolute-form request carries its own target: received and decided like a CONNECT of its own. */
/* The same over HTTP/2, where it comes in parts. */
static bool stream_target(struct flow *flow, struct effects *fx, const struct message *msg, struct head *head)
{
    const char *detail = NULL;
    if (!soth_span_is(msg->scheme, "http")) {
        exchange_bad_request(flow, fx, 400, soth_span_is(msg->method, "CONNECT") ? "connect_in_stream" : "https_without_connect");
        return false;
    }
    enum connect_error error = target_parse(msg->host, true, 80, &head->target, &detail);
    if (error != CONNECT_OK) {
        exchange_bad_request(flow, fx, 400, connect_error_name(error));
        return false;
    }
    head->origin_form = msg->target;
    head->authority = head->host = exchange_authority_text(&head->target, 80, head->text, sizeof head->text);
    return true;
}

static bool proxy_target(struct flow *flow, struct effects *fx, const struct message *msg, struct head *head)
{
    if (flow->is_stream)
        return stream_target(flow, fx, msg, head);
    struct soth_span scheme;
    const char *detail = NULL;
    enum connect_error error = target_parse_absolute(msg->target, &head->target, &scheme, &head->origin_form, &detail);
    if (error != CONNECT_OK || !soth_span_is(scheme, "http")) {
        exchange_bad_request(flow, fx, 400, error != CONNECT_OK ? connect_error_name(error) : "https_without_connect");
        return false;
    }
    complete_path(flow, msg, &head->origin_form);
    head->authority = head->host = exchange_authority_text(&head->target, 80, head->text, sizeof head->text);
    return true;
}

static bool pinned_target(struct flow *flow, struct effects *fx, const struct message *msg, struct head *head)
{
    head->target = flow->pinned ? *flow->pinned : flow->target;
    head->origin_form = msg->target;
    head->authority = msg->host.p ? msg->host : remap_named(flow);
    if (flow->named) /* the connection was mapped: its origin knows itself by its own name */
        head->host = exchange_authority_text(&head->target, flow->origin_tls ? 443 : 80, head->text, sizeof head->text);
    if (soth_span_is(msg->method, "CONNECT")) {
        exchange_bad_request(flow, fx, 400, "connect_in_tunnel");
        return false;
    }
    if (msg->target.n && (msg->target.p[0] == '/' || soth_span_is(msg->target, "*")))
        return true;
    struct target target;
    struct soth_span scheme;
    const char *detail;
    if (target_parse_absolute(msg->target, &target, &scheme, &head->origin_form, &detail) != CONNECT_OK) {
        exchange_bad_request(flow, fx, 400, "invalid_target");
        return false;
    }
    complete_path(flow, msg, &head->origin_form);
    head->authority = exchange_authority_text(&target, soth_span_is(scheme, "https") ? 443 : 80, head->text, sizeof head->text);
    if (!flow->named)
        head->host = head->authority;
    return true;
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

/* For the response's policies and decoders: the head is gone by then. */
static void remember(struct flow *flow, const struct message *msg, const struct head *head)
{
    struct exchange *ex = &flow->exchange;
    if (!(flow->env->hooks & (SOTH_HOOK_RESPONSE | SOTH_HOOK_REWRITE)) && !flow->env->chains)
        return;
    const struct soth_span parts[EXCHANGE_LINE_PARTS] = {msg->method, head->origin_form, head->authority, head->named_form};
    for (unsigned i = 0; i < EXCHANGE_LINE_PARTS; i++) {
        ex->line_sizes[i] = (uint32_t)parts[i].n;
        buffer_append(&ex->line, parts[i].p, parts[i].n);
    }
}

static void request_go(struct flow *flow, struct effects *fx, const struct message *msg, struct head *head)
{
    struct exchange *ex = &flow->exchange;
    if (onboarding_target(flow)) {
        onboarding_answer(flow, fx, msg, head->origin_form);
        return;
    }
    bool upstream = flow->listen->mode == LISTEN_REVERSE && flow->listen->host_header == HOST_HEADER_UPSTREAM;
    /* HTTP/1.0 may come without Host, what goes on is HTTP/1.1 and may not */
    if (upstream || (!msg->host.p && !head->host.p))
        head->host = exchange_authority_text(&flow->target, flow->origin_tls ? 443 : 80, head->text, sizeof head->text);
    if (ex->edit)
        msg = head_edit_message(ex->edit);
    remember(flow, msg, head);
    if (!chained_match(flow, fx, msg, head->origin_form))
        return;
    ex->reframe = msg->http2 && msg->framing == FRAMING_CHUNKED; /* HTTP/1 has to be told that it comes in chunks */
    ex->changes[SIDE_CLIENT] = ex->request_framing != FRAMING_NONE && chained_changes(flow, SIDE_CLIENT);
    if (ex->changes[SIDE_CLIENT]) {
        ex->reframe = true;
        ex->request_framing = FRAMING_CHUNKED;
    }
    struct message outgoing = *msg;
    outgoing.target = head->origin_form;
    outgoing.host = head->host.p ? head->host : msg->host;
    ex->outgoing = ex->changes[SIDE_CLIENT] ? message_copy_changed(&outgoing) : message_copy(&outgoing);
    if (!ex->outgoing || ex->line.failed) {
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
        return;
    }
    exchange_drop_head(ex);
    ex->ready = true;
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
        talk_continue(flow, fx);
    ex->peek.need = flow->ask.need_bytes;
}

void exchange_request_judge(struct flow *flow, struct effects *fx, const struct message *msg)
{
    struct head head;
    head.host = (struct soth_span){NULL, 0};
    bool known = flow->proxy_requests ? proxy_target(flow, fx, msg, &head) : pinned_target(flow, fx, msg, &head);
    if (!known || exchange_remap(flow, fx, msg, &head) != DECISION_GO || !take_target(flow, fx, &head.target))
        return;
    enum decision d = exchange_judge(flow, fx, msg, &head);
    if (d == DECISION_WAIT || d == DECISION_BODY)
        request_waits(flow, fx, msg, d);
    else if (d == DECISION_GO)
        request_go(flow, fx, msg, &head);
}

static void request_again(struct flow *flow, struct effects *fx)
{
    exchange_request_judge(flow, fx, flow->exchange.asked);
    if (!flow->closing && !flow->go_on && flow->stage == &stage_http)
        http_first_bytes(flow, fx);
}

/* Two names for one host (RFC 9113 8.3.1). */
static bool names_differ(const struct message *msg)
{
    for (uint32_t i = 0; msg->authority.p && i < msg->field_count; i++) {
        const struct soth_span host = msg->fields[i].value;
        if (msg->ids[i] == FIELD_HOST && (host.n != msg->authority.n || strncasecmp(host.p, msg->authority.p, host.n) != 0))
            return true;
    }
    return false;
}

void exchange_request_head(struct flow *flow, struct effects *fx, const struct message *msg)
{
    struct message *opening = NULL;
    begin(flow, msg);
    if (msg->protocol.p) {
        if (!(opening = opening_of(flow, fx, msg)))
            return;
        begin(flow, msg = opening);
    }
    if (names_differ(msg))
        exchange_bad_request(flow, fx, 400, "host_is_not_authority");
    else
        exchange_request_judge(flow, fx, msg);
    free(opening);
}
