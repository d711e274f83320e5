/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A request's head: whose it is, whether it may go on - the target of an absolute-form request, the Host field, the policies that judge
 * requests - and what the origin gets of it. Nothing is sent and nothing is dialled before that.
 */
#include <stdio.h>
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
    flow->asked = true;
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
        exchange_bad_request(flow, fx, 400, error != CONNECT_OK ? connect_error_name(error) : "https_without_connect");
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

void exchange_head(struct flow *flow, struct effects *fx, const struct message *msg)
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
    exchange_connect(flow, fx);
}
