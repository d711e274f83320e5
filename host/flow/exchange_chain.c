/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Bodies, and what follows a 101, on their way through the decoders of their exchange (chain/). A direction that a decoder keeps waiting is
 * not read, what one read has brought already is held; its end follows its last byte. Without a chain bytes go straight on.
 */
#include <stdio.h>

#include "host/flow/payload.h"
#include "host/flow/stream.h"

#define ROOM_BYTES 262144u /* of output in one step; then the peer takes it first */

struct way_out {
    struct flow *flow;
    struct effects *fx;
    enum side side; /* where the bytes came from */
};

static unsigned direction(enum side side)
{
    return side == SIDE_CLIENT ? SOTH_TO_SERVER : SOTH_TO_CLIENT;
}

bool chained_stuck(const struct flow *flow, enum side side)
{
    return flow->exchange.stuck[side] || flow->exchange.jam[side];
}

static bool is_upgraded(const struct flow *flow)
{
    return flow->stage == &stage_upgraded;
}

/* ---- out of the chain ---- */

static void write_on(struct flow *flow, struct effects *fx, enum side side, const void *p, size_t n)
{
    struct soth_span bytes = {p, n};
    enum side other = side == SIDE_CLIENT ? SIDE_ORIGIN : SIDE_CLIENT;
    if (is_upgraded(flow) && flow->strand[other])
        strand_write(flow, other, bytes);
    else if (is_upgraded(flow))
        leg_write(flow, fx, other, p, n);
    else if (side == SIDE_CLIENT)
        exchange_request_write(flow, fx, bytes);
    else
        exchange_response_write(flow, fx, bytes);
}

static void put(void *arg, const uint8_t *p, size_t n)
{
    struct way_out *out = arg;
    if (n > 0)
        write_on(out->flow, out->fx, out->side, p, n);
}

/* The same of a body that is told when it is relayed. */
static void put_late(void *arg, const uint8_t *p, size_t n)
{
    struct way_out *out = arg;
    put(arg, p, n);
    if (n > 0 && !out->flow->closing)
        payload_relayed(out->flow, out->side, (struct soth_span){(const char *)p, n});
}

static struct relay relay_to(struct way_out *out)
{
    const struct exchange *ex = &out->flow->exchange;
    bool is_body = !is_upgraded(out->flow);
    bool bodiless = out->side == SIDE_CLIENT ? ex->request_framing == FRAMING_NONE : ex->plan.framing == REWRITE_NONE || ex->head_method;
    return (struct relay){bodiless && is_body ? NULL : is_body && ex->late[out->side] ? put_late : put, out, ROOM_BYTES};
}

static void finish(struct flow *flow, struct effects *fx, enum side side)
{
    if (!is_upgraded(flow))
        exchange_tell_end(flow, side);
    if (flow->exchange.jam[side]) /* its last bytes wait for a window */
        flow->exchange.ending[side] = true;
    else if (is_upgraded(flow))
        upgraded_finish(flow, fx, side);
    else if (side == SIDE_CLIENT)
        exchange_request_finish(flow, fx);
    else
        exchange_response_finish(flow, fx);
}

/* ---- a chain that is broken ---- */

/* Before the response has begun what is too large is the request's. */
static bool is_too_large(const struct flow *flow, const struct chain_end *end)
{
    return end && flow->exchange.response == PART_HEAD && strncmp(end->code, "max_", 4) == 0;
}

static void describe_end(const struct flow *flow, const struct chain_end *end, struct refusal *why)
{
    if (end && end->blocked) {
        decide_refuse_message(&end->verdict, why);
        why->code = CLOSE_BLOCKED;
        snprintf(why->detail, sizeof why->detail, "%.*s", end->verdict.rule_id.n ? (int)end->verdict.rule_id.n : 64,
                 end->verdict.rule_id.n ? end->verdict.rule_id.p : end->verdict.reason);
        return;
    }
    if (is_too_large(flow, end))
        refusal_set(why, 413, "http_request_error", "the request is beyond a decoder's limit", CLOSE_MITM_HTTP_ERROR, "decoder_stage_failed");
    else
        refusal_set(why, 502, "proxy_internal_error", "a decoder failed and is configured to close what it cannot look at", CLOSE_MITM_HTTP_ERROR,
                    "decoder_stage_failed");
}

/* Nothing of either side is relayed any more: streams end with what they were told. */
static void end_both(struct flow *flow, struct effects *fx, enum close_code code, const char *detail)
{
    for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN; side++)
        if (flow->strand[side] && buffer_size(&flow->strand[side]->out) == 0)
            strand_end(flow, side, NULL);
    fx->linger = true;
    flow_close(flow, fx, code, detail);
}

/* Both peers are told in their own protocol that a policy has ended it. */
static bool say_farewell(struct flow *flow, struct effects *fx)
{
    bool any = false;
    for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN && chain_end(flow->exchange.chain); side++) {
        struct way_out out = {flow, fx, side};
        struct relay relay = relay_to(&out);
        any = chain_farewell(flow->exchange.chain, direction(side), &relay) || any;
    }
    return any;
}

static void broken(struct flow *flow, struct effects *fx)
{
    struct exchange *ex = &flow->exchange;
    struct refusal why;
    describe_end(flow, chain_end(ex->chain), &why);
    if (is_upgraded(flow) && say_farewell(flow, fx)) {
        end_both(flow, fx, why.code, why.detail);
        return;
    }
    if (is_upgraded(flow) || ex->response != PART_HEAD) {
        flow_cut(flow, fx, why.code, why.detail);
        return;
    }
    chained_free(flow, false);
    leg_reset_origin(flow, fx);
    exchange_answer(flow, fx, &why);
}

/* What modules have added, to either side. */
static void put_added(struct flow *flow, struct effects *fx)
{
    for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN; side++) {
        struct way_out out = {flow, fx, side};
        struct relay relay = relay_to(&out);
        chain_added(flow->exchange.chain, direction(side), &relay);
    }
    if (chain_has_left(flow->exchange.chain))
        end_both(flow, fx, CLOSE_SHUTDOWN_DRAIN, NULL);
}

void chained_leave(struct flow *flow, struct effects *fx)
{
    if (flow->exchange.chain && chain_leave(flow->exchange.chain))
        put_added(flow, fx);
}

/* true: the direction goes on. */
static bool settle(struct flow *flow, struct effects *fx, enum side side, enum chain_result result)
{
    struct exchange *ex = &flow->exchange;
    ex->stuck[side] = result == CHAIN_WAIT || result == CHAIN_FULL;
    ex->full[side] = result == CHAIN_FULL;
    if (ex->stuck[side] && !flow->strand[side])
        flow_read(flow, side, false);
    if (ex->chain && chain_has_added(ex->chain))
        put_added(flow, fx);
    if (result == CHAIN_BROKEN)
        broken(flow, fx);
    return result == CHAIN_GO && !flow->closing;
}

/* ---- into the chain ---- */

/* When is the body of the message that has come told, and when do its decoders hear of its end? */
static void plan_ends(struct exchange *ex, enum side side)
{
    if (!ex->chain)
        return;
    ex->late[side] = chain_holds(ex->chain, direction(side));
    if (ex->late[side] && chain_transforms(ex->chain, direction(side)))
        ex->announced[side] = 0; /* another body is relayed */
    ex->to_come[side] = ex->late[side] || chain_reads_trailers(ex->chain, direction(side)) ? 0 : ex->announced[side];
}

bool chained_match(struct flow *flow, struct effects *fx, const struct message *msg, struct soth_span origin_form)
{
    struct exchange *ex = &flow->exchange;
    struct soth_message what;
    struct soth_connect connect;
    struct target authority;
    if (!flow->env->chains)
        return true;
    decide_describe(flow, msg, &what, &connect, &authority);
    what.target = origin_form;
    if (!msg->is_request)
        exchange_of_response(flow, &what, &connect, &authority, false);
    flow->hooks.message = msg;
    flow->hooks.edit = NULL;
    enum chain_result r = chain_match(&ex->chain, flow->env->chains, &flow->hooks, &what);
    flow->hooks.message = NULL;
    plan_ends(ex, msg->is_request ? SIDE_CLIENT : SIDE_ORIGIN);
    if (r != CHAIN_BROKEN)
        return true;
    broken(flow, fx);
    return false;
}

bool chained_changes(const struct flow *flow, enum side side)
{
    return chain_transforms(flow->exchange.chain, direction(side));
}

void chained_data(struct flow *flow, struct effects *fx, enum side side, struct soth_span data)
{
    struct way_out out = {flow, fx, side};
    struct exchange *ex = &flow->exchange;
    if (!ex->chain) {
        write_on(flow, fx, side, data.p, data.n);
        return;
    }
    struct relay relay = relay_to(&out);
    bool end = ex->to_come[side] > 0 && ex->to_come[side] <= data.n;
    ex->to_come[side] -= end || ex->to_come[side] == 0 ? ex->to_come[side] : data.n;
    settle(flow, fx, side, chain_data(ex->chain, direction(side), data.p, data.n, end, &relay));
}

/* Decoders that read trailers get them before they hear of the end. What they tell of them follows the host's event, unless bytes are still held,
 * whose chunk comes first. false: the chain is broken. */
static bool show_trailers(struct flow *flow, struct effects *fx, enum side side)
{
    struct soth_message what;
    struct soth_connect connect;
    struct target authority;
    struct exchange *ex = &flow->exchange;
    if (!ex->trailers[side] || is_upgraded(flow) || !chain_reads_trailers(ex->chain, direction(side)))
        return true;
    if (chain_is_empty(ex->chain, direction(side)))
        exchange_tell_end(flow, side);
    decide_describe(flow, ex->trailers[side], &what, &connect, &authority);
    what.direction = direction(side);
    if (chain_trailers(ex->chain, direction(side), &what) != CHAIN_BROKEN)
        return true;
    broken(flow, fx);
    return false;
}

/* true: the decoders have heard of the end, and nothing waits. */
static bool end_chain(struct flow *flow, struct effects *fx, enum side side)
{
    struct way_out out = {flow, fx, side};
    struct exchange *ex = &flow->exchange;
    if (!ex->chain || chain_ended(ex->chain, direction(side)))
        return true;
    if (!show_trailers(flow, fx, side))
        return false;
    struct relay relay = relay_to(&out);
    enum chain_result r = chain_data(ex->chain, direction(side), NULL, 0, true, &relay);
    ex->ending[side] = r == CHAIN_WAIT || r == CHAIN_FULL;
    return settle(flow, fx, side, r);
}

void chained_end(struct flow *flow, struct effects *fx, enum side side)
{
    if (flow->exchange.stuck[side]) /* a body that was peeked at comes at once, with its end */
        flow->exchange.ending[side] = true;
    else if (end_chain(flow, fx, side))
        finish(flow, fx, side);
}

bool chained_gives_up(struct flow *flow)
{
    struct exchange *ex = &flow->exchange;
    if (!ex->ending[SIDE_CLIENT])
        return false;
    ex->ending[SIDE_CLIENT] = ex->stuck[SIDE_CLIENT] = ex->full[SIDE_CLIENT] = ex->jam[SIDE_CLIENT] = false;
    chained_free(flow, false);
    return true;
}

void chained_free(struct flow *flow, bool complete)
{
    struct chain *chain = flow->exchange.chain;
    flow->exchange.chain = NULL;
    chain_free(chain, complete);
}

/* ---- going on ---- */

static void free_side(struct flow *flow, struct effects *fx, enum side side)
{
    struct exchange *ex = &flow->exchange;
    if (ex->ending[side]) {
        ex->ending[side] = false;
        chained_end(flow, fx, side);
        return;
    }
    flow_read(flow, side, !leg_of(flow, side)->ended);
    if (side == SIDE_CLIENT && !is_upgraded(flow))
        exchange_resume(flow, fx);
    else if (!is_upgraded(flow))
        exchange_origin(flow, fx, (const uint8_t *)"", 0); /* an end that needs no further byte */
}

static void resume_side(struct flow *flow, struct effects *fx, enum side side)
{
    struct way_out out = {flow, fx, side};
    struct exchange *ex = &flow->exchange;
    if (!ex->chain || flow->closing)
        return;
    struct relay relay = relay_to(&out);
    bool was_stuck = ex->stuck[side]; /* if not, a decoder that has left may still have held something */
    if (settle(flow, fx, side, chain_resume(ex->chain, direction(side), &relay)) && was_stuck)
        free_side(flow, fx, side);
}

void chained_go_on(struct flow *flow, struct effects *fx)
{
    resume_side(flow, fx, SIDE_CLIENT);
    resume_side(flow, fx, SIDE_ORIGIN);
    if (!flow->closing)
        flow_deliver_held(flow, fx);
}

void chained_unjam(struct flow *flow, struct effects *fx, enum side side)
{
    if (!flow->exchange.stuck[side])
        free_side(flow, fx, side);
    if (!flow->closing)
        flow_deliver_held(flow, fx);
}

bool chained_resumed(struct flow *flow, struct effects *fx, uint64_t pause, uint64_t arg)
{
    if (!flow->exchange.chain || !chain_resumed(flow->exchange.chain, pause, arg))
        return false;
    chained_go_on(flow, fx);
    return true;
}

uint64_t chained_deadline(const struct flow *flow)
{
    return flow->exchange.chain ? chain_deadline(flow->exchange.chain) : 0;
}

void chained_timer(struct flow *flow, struct effects *fx)
{
    if (chain_timer(flow->exchange.chain) == CHAIN_BROKEN)
        broken(flow, fx);
    else
        chained_go_on(flow, fx);
}
