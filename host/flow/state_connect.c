/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The first head of a proxy connection: CONNECT or an absolute-form request, or an error that is answered. Decides, and sends the
 * flow on: to its tunnel, to the peek after the 200, or to the HTTP exchange. Never dials before the decision.
 */
#include "host/flow/stream.h"

static void parse_failed(struct flow *flow, struct effects *fx, enum connect_error error, const char *detail)
{
    const char *code = connect_error_name(error);
    struct refusal why;
    refusal_set(&why, error == CONNECT_HEADER_TOO_LARGE ? 431 : 400, "http_request_error", detail ? detail : code,
                CLOSE_CONNECT_PARSE_FAILED, code);
    emit_parse_failed(flow, code, detail);
    answer_write(flow, fx, &why, 1, false, true);
    fx->linger = true;
    flow_close(flow, fx, CLOSE_CONNECT_PARSE_FAILED, code);
}

static void refused(struct flow *flow, struct effects *fx, uint8_t minor)
{
    emit_connect_decision(flow);
    answer_write(flow, fx, &flow->refusal, minor, false, true);
    fx->linger = true;
    flow_close(flow, fx, flow->refusal.code, flow->refusal.detail);
}

enum { STEP_RECEIVED, STEP_TARGET, STEP_HOST, STEP_JUDGED };

static void received(struct flow *flow, const struct connect_request *request)
{
    flow->target = request->target;
    flow->proxy_requests = false;
    emit_connect_received(flow);
    flow->decision_due = true;
    struct verdict v;
    flow->judged = remap_connect(flow, &v);
    if (flow->judged == DECISION_REFUSED)
        decide_refuse_by_policy(flow, &v);
    flow->step = flow->judged == DECISION_REFUSED ? STEP_JUDGED : STEP_TARGET;
}

/* CONNECT's own Host field is one more name of the connection (contract section 5, Identity). */
static enum decision judge_host(struct flow *flow, const struct connect_request *request)
{
    struct soth_span host = {request->host.host, request->host.host_len};
    if (host.n == 0 || target_same_host(host, remap_named(flow)))
        return DECISION_GO;
    return decide_identity(flow, SOTH_ID_AUTHORITY, host);
}

/* Goes on where it was when a module has kept it waiting. */
static enum decision judge(struct flow *flow, const struct connect_request *request)
{
    if (flow->step == STEP_RECEIVED)
        received(flow, request);
    if (flow->step == STEP_TARGET) {
        flow->judged = decide_target(flow, false);
        if (flow->judged == DECISION_WAIT)
            return DECISION_WAIT;
        flow->step = flow->judged == DECISION_REFUSED ? STEP_JUDGED : STEP_HOST;
    }
    if (flow->step == STEP_HOST) {
        enum decision d = judge_host(flow, request);
        if (d == DECISION_WAIT)
            return d;
        flow->judged = d == DECISION_REFUSED ? d : flow->judged;
        flow->step = STEP_JUDGED;
    }
    flow->step = STEP_RECEIVED;
    return flow->judged;
}

static void connect_decided(struct flow *flow, struct effects *fx, const struct connect_request *request, enum decision d)
{
    flow->client.bytes -= request->head_bytes; /* not the application's */
    switch (d) {
    case DECISION_REFUSED:
        refused(flow, fx, request->minor);
        return;
    case DECISION_GO:
        if (flow->verdict.action == SOTH_TUNNEL) {
            tunnel_dial(flow, fx, true);
            return;
        }
        break;
    default:
        break;
    }
    static const char established[] = "HTTP/1.1 200 Connection Established\r\n\r\n";
    leg_write(flow, fx, SIDE_CLIENT, established, sizeof established - 1);
    peek_begin(flow, fx);
}

static void head_bytes(struct flow *flow, struct effects *fx, bool ended);

static void head_again(struct flow *flow, struct effects *fx)
{
    head_bytes(flow, fx, flow->client.ended);
}

static void connect_request(struct flow *flow, struct effects *fx, const struct connect_request *request)
{
    enum decision d = judge(flow, request);
    if (d == DECISION_WAIT) {
        flow_wait(flow, head_again); /* the head stays where it is and is parsed once more */
        return;
    }
    buffer_consume(&flow->held, request->head_bytes);
    connect_decided(flow, fx, request, d);
}

/* Looks at everything that came so far. */
static void head_bytes(struct flow *flow, struct effects *fx, bool ended)
{
    const struct settings *s = flow->env->settings;
    struct connect_request request;
    enum connect_error error = CONNECT_OK;
    const char *detail = NULL;
    int preface = flow->asked ? 0 : h2_begins(flow);
    if (preface == 1) {
        flow->proxy_requests = true;
        h2_begin(flow, fx);
        return;
    }
    if (preface == -SOTH_EAGAIN && !ended) {
        flow_read(flow, SIDE_CLIENT, true);
        return;
    }
    enum connect_result r = connect_parse(buffer_data(&flow->held), buffer_size(&flow->held), ended, s->connect_parse_mode == PARSE_LENIENT,
                                          s->max_http_head_bytes, &request, &error, &detail);
    switch (r) {
    case CONNECT_MORE:
        flow_read(flow, SIDE_CLIENT, true);
        break;
    case CONNECT_DONE:
        connect_request(flow, fx, &request);
        break;
    case CONNECT_IS_HTTP:
        flow->proxy_requests = true;
        http_begin(flow, fx);
        http_first_bytes(flow, fx);
        break;
    case CONNECT_FAILED:
        parse_failed(flow, fx, error, detail);
        break;
    }
}

static void connect_data(struct flow *flow, struct effects *fx, enum side side, const uint8_t *p, size_t n)
{
    (void)side;
    if (flow_hold(flow, p, n) < 0) {
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
        return;
    }
    head_bytes(flow, fx, false);
}

static void connect_ended(struct flow *flow, struct effects *fx, enum side side, int error)
{
    (void)side;
    if (flow->go_on) /* the head is whole, and is being judged */
        flow_close_phase(flow, fx, CLOSE_CLIENT_ABORTED);
    else if (error > 0 && buffer_size(&flow->held) > 0)
        parse_failed(flow, fx, CONNECT_READ_ERROR, "the connection broke inside the request head");
    else if (buffer_size(&flow->held) > 0)
        head_bytes(flow, fx, true);
    else
        flow_close_phase(flow, fx, CLOSE_CLIENT_ABORTED);
}

static void connect_timer(struct flow *flow, struct effects *fx)
{
    struct refusal why;
    refusal_set(&why, 408, "http_request_error", "the request head took too long", CLOSE_STREAM_STAGE_TIMEOUT, "request_head");
    answer_write(flow, fx, &why, 1, false, true);
    fx->linger = true;
    flow_close(flow, fx, CLOSE_STREAM_STAGE_TIMEOUT, "request_head");
}

static void connect_drain(struct flow *flow, struct effects *fx)
{
    if (buffer_size(&flow->held) == 0)
        flow_close(flow, fx, CLOSE_SHUTDOWN_DRAIN, NULL);
}

void connect_begin(struct flow *flow, struct effects *fx)
{
    stage_enter(flow, &stage_connect, flow->env->settings->stream_stage_timeout);
    flow_read(flow, SIDE_CLIENT, true);
    if (buffer_size(&flow->held) > 0)
        head_bytes(flow, fx, false);
}

const struct stage stage_connect = {
    .phase = PHASE_CONNECT,
    .data = connect_data,
    .ended = connect_ended,
    .timer = connect_timer,
    .drain = connect_drain,
};
