/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A flow's time, and its waiting for a module: what is due when, what a deadline that passed means, and what was held meanwhile. While it waits
 * nothing is read, and the stage's own deadline stands still.
 */
#include "host/flow/stream.h"

void flow_wait(struct flow *flow, void (*go_on)(struct flow *flow, struct effects *fx))
{
    uint64_t now = flow->env->bus->monotonic_ns;
    flow->go_on = go_on;
    flow->read_then = flow->reading;
    flow->reading = 0;
    flow->left_ns = flow->deadline_ns > now ? flow->deadline_ns - now : flow->deadline_ns ? 1 : 0;
    flow->deadline_ns = flow->ask.pause.deadline_ns;
}

static void deliver_bytes(struct flow *flow, struct effects *fx, enum side side)
{
    struct buffer *where = side == SIDE_CLIENT ? &flow->held : &flow->held_origin, held = *where;
    *where = (struct buffer){0};
    if (buffer_size(&held) > 0)
        leg_deliver(flow, fx, side, buffer_data(&held), buffer_size(&held));
    buffer_fini(&held);
}

void flow_deliver_held(struct flow *flow, struct effects *fx)
{
    /* in all other stages the client's are taken over by who held them */
    if (flow->stage == &stage_upgraded && !chained_stuck(flow, SIDE_CLIENT))
        deliver_bytes(flow, fx, SIDE_CLIENT);
    if (!flow->closing && !flow->go_on && !chained_stuck(flow, SIDE_ORIGIN))
        deliver_bytes(flow, fx, SIDE_ORIGIN);
    for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN; side++) {
        struct leg *leg = leg_of(flow, side);
        if (flow->closing || flow->go_on || chained_stuck(flow, side) || !leg->end_held)
            continue;
        leg->end_held = false;
        leg_deliver_end(flow, fx, side, leg->end_error);
    }
}

void flow_stop_waiting(struct flow *flow)
{
    flow->go_on = NULL;
    flow->reading = flow->read_then;
    flow->deadline_ns = flow->left_ns ? flow->env->bus->monotonic_ns + flow->left_ns : 0;
}

static void wait_over(struct flow *flow, struct effects *fx)
{
    void (*go_on)(struct flow *, struct effects *) = flow->go_on;
    flow_stop_waiting(flow);
    go_on(flow, fx);
    if (flow->closing || flow->go_on)
        return;
    flow->gone_ns = 0;
    flow_deliver_held(flow, fx);
}

void flow_resumed(struct flow *flow, struct effects *fx, const struct input *in)
{
    struct pause *pause = &flow->ask.pause;
    if (!flow->go_on || pause->state != PAUSE_WAITING || pause->token.pause != in->pause) {
        if (!chained_resumed(flow, fx, in->pause, in->arg))
            flow->env->counters->stale_resumes++;
        return;
    }
    pause->state = PAUSE_RESUMED;
    pause->arg = in->arg;
    wait_over(flow, fx);
}

static bool is_due(const struct flow *flow, uint64_t ns)
{
    return ns && ns <= flow->env->bus->monotonic_ns;
}

void flow_timed_out(struct flow *flow, struct effects *fx)
{
    bool chain = is_due(flow, chained_deadline(flow)), gone = flow->go_on && is_due(flow, flow->gone_ns);
    if (chain)
        chained_timer(flow, fx);
    if (flow->closing || (chain && !is_due(flow, flow->deadline_ns) && !gone))
        return;
    if (gone) {
        flow_client_gone(flow, fx);
    } else if (flow->go_on) {
        flow->ask.pause.state = flow->ask.pause.state == PAUSE_BUSY ? PAUSE_AGAIN : PAUSE_LATE;
        wait_over(flow, fx);
    } else if (flow->stage->timer) {
        flow->stage->timer(flow, fx);
    } else {
        flow_cut(flow, fx, CLOSE_IDLE_WATCHDOG_TIMEOUT, phase_name(flow->phase));
    }
}

bool flow_waits(const struct flow *flow)
{
    return flow->go_on != NULL;
}

uint64_t flow_deadline(const struct flow *flow)
{
    uint64_t chain = chained_deadline(flow), windows = flow->client.h2 && !flow->closing ? h2_deadline_ns(flow->client.h2) : 0;
    uint64_t own = flow->deadline_ns;
    if (flow->go_on && flow->gone_ns && flow->gone_ns < own)
        own = flow->gone_ns;
    if (windows && (windows < own || !own))
        own = windows;
    if (flow->rest_ns && !flow->closing && (flow->rest_ns < own || !own))
        own = flow->rest_ns;
    return chain && (chain < own || !own) ? chain : own;
}

bool flow_moved(struct flow *flow, uint64_t when_ns)
{
    uint64_t until = when_ns + flow->env->settings->idle_timeout * UINT64_C(1000000);
    bool silence = flow->phase == PHASE_REQUEST_BODY || flow->phase == PHASE_RESPONSE_BODY || flow->phase == PHASE_TUNNEL ||
                   flow->phase == PHASE_WS || flow->phase == PHASE_SSE;
    if (flow->go_on || is_due(flow, chained_deadline(flow)) || !silence || until <= flow->env->bus->monotonic_ns)
        return false;
    flow->deadline_ns = until;
    return true;
}
