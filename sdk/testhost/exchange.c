/* SPDX-License-Identifier: MPL-2.0 */
/* One exchange, run by a plan: heads, bytes in pieces, trailers, ends, in the order in which a host sees them. */
#include "parts.h"

static void trailers(const struct testhost_case *c, struct flow *flow, unsigned direction)
{
    struct testhost *host = flow->host;
    struct testhost_question nobody = {0};
    struct head head, none;
    unsigned mark = th_guard_mark();
    if (!c->trailers[direction] || !th_sees(flow, direction) || !host->module.trailers)
        return;
    th_head_read(&head, c->trailers[direction]);
    th_head_read(&none, NULL);
    flow->seat = flow->seat_of[direction];
    int r = host->module.trailers(host->self, th_flow_lend(flow), th_head_lend(&head, &none, direction, &nobody));
    th_guard_return(mark);
    th_head_free(&head);
    th_settled(flow, "trailers", r);
}

static void end_direction(const struct testhost_case *c, struct flow *flow, struct progress *p, unsigned direction)
{
    if (p->ended[direction])
        return;
    p->ended[direction] = true;
    trailers(c, flow, direction);
    th_give(flow, direction, NULL, 0, true);
}

static bool is_101(const struct progress *p)
{
    return p->response.start[1] && strcmp(p->response.start[1], "101") == 0;
}

static void begin_anew(struct flow *flow, struct progress *p)
{
    for (unsigned d = 0; d < 2; d++) {
        th_text_free(&flow->lane[d].kept);
        flow->lane[d] = (struct lane){.in = 0};
        flow->watches[d] = p->ended[d] = false;
    }
}

static void meet_response(const struct testhost_case *c, struct flow *flow, struct progress *p)
{
    if (p->response_met || !c->response)
        return;
    p->response_met = true;
    if (is_101(p)) {
        end_direction(c, flow, p, SOTH_TO_SERVER);
        begin_anew(flow, p);
    }
    th_match(flow, &p->response, &p->request, SOTH_TO_CLIENT);
}

static void timer(struct flow *flow, struct seat *seat)
{
    unsigned mark = th_guard_mark();
    if (!seat->is_open || !seat->timer_ns || seat->timer_ns > th_api.monotonic_ns())
        return;
    seat->timer_ns = 0;
    flow->seat = seat;
    int r = flow->host->module.on_timer ? flow->host->module.on_timer(flow->host->self, th_flow_lend(flow)) : SOTH_CONTINUE;
    th_guard_return(mark);
    th_settled(flow, "on_timer", r);
}

static void later(struct flow *flow, uint64_t ms)
{
    th_later(ms);
    flow->later_ms += ms;
    timer(flow, &flow->seats[0]);
    timer(flow, &flow->seats[1]);
}

static size_t piece(const struct testhost_case *c, const struct plan *plan, const struct progress *p)
{
    size_t left = c->steps[p->step].bytes.n - p->at, n = plan->every ? plan->every : left;
    if (plan->cut > p->total && plan->cut - p->total < n)
        n = plan->cut - p->total;
    if (plan->close_after - p->total < n)
        n = plan->close_after - p->total;
    return n < left ? n : left;
}

static bool is_last(const struct testhost_case *c, size_t step, uint32_t direction)
{
    for (size_t i = step + 1; i < c->step_count; i++)
        if (c->steps[i].direction == direction)
            return false;
    return true;
}

void th_exchange_begin(struct testhost *host, const struct testhost_case *c, const struct plan *plan, struct flow *flow, struct progress *p)
{
    static atomic_uint_fast64_t ids;
    *flow = (struct flow){.host = host, .plan = plan, .id = atomic_fetch_add(&ids, 1) + 1};
    *p = (struct progress){.step = 0};
    th_head_read(&p->request, c->request ? c->request : "GET / HTTP/1.1\nHost: a.test");
    th_head_read(&p->response, c->response);
    th_match(flow, &p->request, &p->request, SOTH_TO_SERVER);
    if (is_101(p))
        meet_response(c, flow, p);
}

bool th_exchange_step(const struct testhost_case *c, struct flow *flow, struct progress *p)
{
    if (flow->blocked || p->step == c->step_count || p->total >= flow->plan->close_after)
        return false;
    const struct testhost_step *step = &c->steps[p->step];
    if (step->direction == TESTHOST_LATER) {
        later(flow, step->bytes.n);
        p->step++;
        return true;
    }
    if (step->direction == SOTH_TO_CLIENT)
        meet_response(c, flow, p);
    size_t n = piece(c, flow->plan, p);
    const char *bytes = (const char *)step->bytes.p + p->at;
    bool over = p->at + n == step->bytes.n, last = over && is_last(c, p->step, step->direction);
    bool together = last && !flow->plan->end_apart && !c->trailers[step->direction];
    p->at = over ? 0 : p->at + n;
    p->step += over;
    p->total += n;
    p->ended[step->direction] = together;
    th_give(flow, step->direction, bytes, n, together);
    if (last && !together && !flow->blocked)
        end_direction(c, flow, p, step->direction);
    return true;
}

void th_exchange_end(const struct testhost_case *c, struct flow *flow, struct progress *p)
{
    bool complete = !flow->blocked && p->step == c->step_count;
    if (complete) {
        if (!is_101(p))
            end_direction(c, flow, p, SOTH_TO_SERVER);
        meet_response(c, flow, p);
        for (unsigned d = 0; d < 2; d++)
            if (d == SOTH_TO_SERVER || c->response)
                end_direction(c, flow, p, d);
    }
    if (flow->blocked)
        th_farewell(flow);
    for (unsigned d = 2; d-- > 0;) { /* the last opened first */
        flow->seat = &flow->seats[d];
        th_leave(flow, complete ? NULL : "cut");
    }
    th_head_free(&p->request);
    th_head_free(&p->response);
}

void th_exchange_run(struct testhost *host, const struct testhost_case *c, const struct plan *plan, struct flow *flow)
{
    struct progress progress;
    th_exchange_begin(host, c, plan, flow, &progress);
    while (th_exchange_step(c, flow, &progress))
        ;
    th_exchange_end(c, flow, &progress);
}

void th_flow_free(struct flow *flow)
{
    th_text_free(&flow->events);
    th_text_free(&flow->frames);
    for (unsigned d = 0; d < 2; d++) {
        th_text_free(&flow->out[d]);
        th_text_free(&flow->lane[d].kept);
    }
}
