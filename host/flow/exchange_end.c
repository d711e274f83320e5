/* SPDX-License-Identifier: MPL-2.0 */
/*
 * How an exchange ends: because both halves are over, because the origin broke it, or because a stream of HTTP/2 was closed - by whom, and
 * whether the request may be sent again. What its connections are good for after that is decided here.
 */
#include <errno.h>
#include <stdio.h>

#include "host/flow/exchange.h"
#include "host/flow/stream.h"

void exchange_origin_broken(struct flow *flow, struct effects *fx, const char *error, const char *detail)
{
    if (flow->exchange.response_begun) {
        flow_cut(flow, fx, CLOSE_MITM_HTTP_ERROR, detail);
        return;
    }
    struct refusal why;
    refusal_set(&why, 502, error, detail, CLOSE_MITM_HTTP_ERROR, detail);
    leg_reset_origin(flow, fx);
    exchange_answer(flow, fx, &why);
}

bool exchange_is_last(const struct flow *flow)
{
    return flow->client_left && buffer_size(&flow->held) == 0;
}

/* The connection to the client ends here, or waits for the next request. */
void exchange_over(struct flow *flow, struct effects *fx)
{
    struct exchange *ex = &flow->exchange;
    bool more = ex->request != PART_DONE;
    if (more && !ex->ends_early && !ex->discard && talk_origin_listens(flow))
        return; /* the answer came first, the rest of the request still goes to the origin */
    if (ex->plan.close || flow->is_stream || exchange_is_last(flow)) {
        fx->linger = more;
        chained_free(flow, !more);
        flow_close(flow, fx, CLOSE_MITM_HTTP_COMPLETED, NULL);
        return;
    }
    if (more)
        return;
    chained_free(flow, true);
    if (flow->strand[SIDE_ORIGIN])
        ex->origin_keeps = ex->origin_keeps && flow->origin.h2 && !h2_is_leaving(flow->origin.h2);
    strand_drop(flow, SIDE_ORIGIN, H2_CANCEL);
    ex->active = false;
    ex->discard = false;
    exchange_fini(ex);
    if (flow->origin.open && ex->origin_keeps)
        flow->origin.used = true;
    else if (flow->origin.open && ex->request_sent)
        leg_reset_origin(flow, fx);
    if (flow->draining && h1_idle(flow->client.h1) && buffer_size(&flow->held) == 0)
        flow_close(flow, fx, CLOSE_MITM_HTTP_COMPLETED, NULL);
    else
        exchange_resume(flow, fx);
    if (flow->client_left && !flow->closing && !ex->active)
        http_no_more_requests(flow, fx);
}

/* Nothing of the request has reached anybody: it may be sent again, once. */
static bool may_send_again(const struct exchange *ex, const struct strand *strand)
{
    if (ex->retried || !(ex->outgoing || (ex->again && !ex->spent)) || ex->response_begun || exchange_body_begun(ex))
        return false;
    return strand->unprocessed || (strand->cause == H2_BY_LOSS && ex->safe);
}

void exchange_stream_closed(struct flow *flow, struct effects *fx, const struct strand *strand)
{
    struct exchange *ex = &flow->exchange;
    const bool by_peer = strand->cause == H2_BY_PEER;
    const uint32_t code = strand->code;
    char detail[64];
    if (!ex->active || strand->cause == H2_BY_END)
        return;
    if (flow->stage == &stage_upgraded) {
        upgraded_lost(flow, fx, strand);
        return;
    }
    if (ex->response == PART_DONE) { /* it does not want the rest of the request */
        exchange_over(flow, fx);
        return;
    }
    if (may_send_again(ex, strand)) {
        flow->env->counters->origin_retries++;
        ex->retried = true;
        strand_drop(flow, SIDE_ORIGIN, H2_CANCEL);
        exchange_connect(flow, fx);
        return;
    }
    snprintf(detail, sizeof detail, "%s%s", by_peer ? "origin_reset:" : "",
             by_peer ? h2_code_name(code) : *strand->fault ? strand->fault : ex->response_begun ? "origin_truncated" : "origin_eof");
    if (by_peer && flow->is_stream) { /* its client knows best what that means; but nobody has refused what was begun */
        bool means_more = code == H2_NO_ERROR || (code == H2_REFUSED_STREAM && ex->response_begun);
        flow->strand[SIDE_CLIENT]->reset_with = means_more ? H2_INTERNAL_ERROR : code;
        flow_cut(flow, fx, CLOSE_MITM_HTTP_ERROR, detail);
        return;
    }
    exchange_origin_broken(flow, fx, *strand->fault ? "http_protocol_error" : "connection_terminated", detail);
}

void exchange_client_gone(struct flow *flow, struct effects *fx, const struct strand *strand)
{
    if (strand->cause == H2_BY_FAULT)
        flow_cut(flow, fx, CLOSE_MITM_HTTP_ERROR, strand->fault);
    else
        leg_deliver_end(flow, fx, SIDE_CLIENT, ECONNRESET);
}
