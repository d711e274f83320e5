/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Replies that the proxy makes itself: which status, Proxy-Status error and close code a cause has (contract section 4), and the
 * reply with a short text for a person, or the configured block_response. Writes into the client's leg, closes nothing.
 */
#include <stdio.h>
#include <string.h>

#include "host/flow/talk.h"
#include "host/http/grpc.h"

void refusal_set(struct refusal *refusal, int status, const char *error, const char *words, enum close_code code, const char *detail)
{
    *refusal = (struct refusal){.status = status, .error = error, .words = words, .code = code};
    if (detail)
        snprintf(refusal->detail, sizeof refusal->detail, "%s", detail);
}

void refusal_dial(struct refusal *refusal, const struct input *input)
{
    static const struct {
        int status;
        const char *error;
        enum close_code code;
    } causes[] = {
        [DIAL_FAILURE_DNS] = {502, "dns_error", CLOSE_UPSTREAM_CONNECT_FAILED},
        [DIAL_FAILURE_DNS_TIMEOUT] = {504, "dns_timeout", CLOSE_UPSTREAM_CONNECT_FAILED},
        [DIAL_FAILURE_DENIED] = {403, "destination_ip_prohibited", CLOSE_BLOCKED},
        [DIAL_FAILURE_LOOP] = {508, "proxy_loop_detected", CLOSE_ROUTE_PLANNER_FAILED},
        [DIAL_FAILURE_REFUSED] = {502, "connection_refused", CLOSE_UPSTREAM_CONNECT_FAILED},
        [DIAL_FAILURE_UNREACHABLE] = {502, "destination_ip_unroutable", CLOSE_UPSTREAM_CONNECT_FAILED},
        [DIAL_FAILURE_TIMEOUT] = {504, "connection_timeout", CLOSE_UPSTREAM_CONNECT_FAILED},
        [DIAL_FAILURE_OTHER] = {502, "connection_terminated", CLOSE_UPSTREAM_CONNECT_FAILED},
    };
    const char *detail = input->detail ? input->detail : "";
    refusal_set(refusal, causes[input->failure].status, causes[input->failure].error, detail, causes[input->failure].code, detail);
    if (input->failure == DIAL_FAILURE_DENIED)
        refusal_set(refusal, 403, "destination_ip_prohibited", "denied_upstream", CLOSE_BLOCKED, "denied_upstream");
    if (input->failure == DIAL_FAILURE_LOOP)
        refusal_set(refusal, 508, "proxy_loop_detected", "loop", CLOSE_ROUTE_PLANNER_FAILED, "loop");
}

/* {reason}, {rule_id} and {host} of block_response. The body is text for a page: markup in a host name is not let through. */
static void fill_template(struct buffer *out, const char *text, const struct flow *flow, const struct refusal *refusal)
{
    while (*text) {
        const char *brace = strchr(text, '{');
        if (!brace) {
            buffer_append_text(out, text);
            return;
        }
        buffer_append(out, text, (size_t)(brace - text));
        if (strncmp(brace, "{reason}", 8) == 0) {
            buffer_append_text(out, refusal->words ? refusal->words : "");
            text = brace + 8;
        } else if (strncmp(brace, "{rule_id}", 9) == 0) {
            buffer_append(out, refusal->rule_id.p, refusal->rule_id.n);
            text = brace + 9;
        } else if (strncmp(brace, "{host}", 6) == 0) {
            buffer_append(out, flow->target.host, flow->target.host_len);
            text = brace + 6;
        } else {
            buffer_append(out, "{", 1);
            text = brace + 1;
        }
    }
}

static void explain(struct buffer *out, const struct flow *flow, const struct refusal *refusal)
{
    char text[512];
    snprintf(text, sizeof text, "soth-mitm: %d %s: %s%s%.*s\n", refusal->status, rewrite_status_text(refusal->status),
             refusal->detail[0] ? refusal->detail : refusal->words ? refusal->words : "", flow->target.host_len ? " - " : "",
             (int)flow->target.host_len, flow->target.host);
    buffer_append_text(out, text);
}

/* The same for a gRPC call: its status says it, in a head without a body. */
static void write_status(struct flow *flow, struct effects *fx, struct reply *how, const struct refusal *refusal)
{
    struct buffer fields = {0};
    if (how->extra)
        buffer_append_text(&fields, how->extra);
    grpc_fields(&fields, refusal->is_policy ? grpc_status(403) : grpc_status(refusal->status), how->body);
    buffer_append(&fields, "", 1);
    how->status = 200;
    how->content_type = flow->exchange.grpc_type;
    how->body.n = 0;
    how->extra = fields.failed ? NULL : (const char *)buffer_data(&fields);
    talk_reply(flow, fx, how);
    buffer_fini(&fields);
}

void answer_write(struct flow *flow, struct effects *fx, const struct refusal *refusal, uint8_t minor, bool head_only, bool close)
{
    const struct settings_block_response *block = &flow->env->settings->block_response;
    struct buffer body = {0};
    struct reply how = {
        .status = refusal->status,
        .error = refusal->error,
        .content_type = "text/plain; charset=utf-8",
        .extra = refusal->retry_after ? "Retry-After: 1\r\n" : NULL,
        .close = close,
        .head_only = head_only,
        .client_minor = minor,
    };
    if (refusal->is_policy) {
        how.status = (int)block->status;
        how.content_type = block->content_type;
        fill_template(&body, block->body, flow, refusal);
    } else {
        explain(&body, flow, refusal);
    }
    how.body = (struct soth_span){(const char *)buffer_data(&body), buffer_size(&body)};
    if (flow->exchange.active && flow->exchange.grpc_type)
        write_status(flow, fx, &how, refusal);
    else
        talk_reply(flow, fx, &how);
    buffer_fini(&body);
}
