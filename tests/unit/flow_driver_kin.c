/* SPDX-License-Identifier: MPL-2.0 */
/* See flow_driver.h: streams, which are flows of their own, the origins that they have for themselves, and the connections that they leave. */
#include "flow_driver_private.h"

#include <stdlib.h>
#include <string.h>

void driver_kin_free(struct driver *d, unsigned which)
{
    struct driver_kin *kin = &d->kin[which];
    if (kin->flow || kin->rests) {
        flow_free(kin->flow);
        kin->flow = NULL;
        kin->rests = false; /* its end was told by its connection */
        driver_take_events(d);
        watch_end(&kin->watch);
        driver_promise(d, !kin->watch.fault[0], "%s", kin->watch.fault);
    }
    driver_end_fini(&kin->origin);
}

static void adopt(struct driver *d, struct flow *flow)
{
    if (flow_id(flow)) { /* it was at rest */
        struct driver_kin *same = &d->kin[flow_id(flow) - 2];
        driver_promise(d, !same->flow && same->rests, "a stream wakes that was not at rest");
        same->flow = flow;
        same->rests = false;
        flow_adopt(flow, 0, same);
        return;
    }
    driver_promise(d, d->kin_count < DRIVER_KIN, "more streams than there is room for");
    struct driver_kin *kin = &d->kin[d->kin_count++];
    kin->flow = flow;
    kin->told = (struct buffer){0};
    flow_adopt(flow, d->kin_count + 1, kin);
}

void driver_keep_spare(struct driver *d, struct flow *flow, struct driver_end *end)
{
    driver_promise(d, end->open && !end->ended && d->spare_count < DRIVER_KIN, "a connection that is not there is left for others");
    d->spares[d->spare_count].origin = flow_give_origin(flow);
    d->spares[d->spare_count++].end = *end;
    *end = (struct driver_end){.open = false};
}

static bool take_spare(struct driver *d, struct driver_kin *kin)
{
    for (unsigned i = 0; i < d->spare_count; i++) {
        if (!flow_can_take(kin->flow, d->spares[i].origin))
            continue;
        flow_take_origin(kin->flow, d->spares[i].origin);
        kin->origin = d->spares[i].end;
        d->spares[i] = d->spares[--d->spare_count];
        d->reused++;
        return true;
    }
    return false;
}

static void run_kin(struct driver *d, struct driver_kin *kin, const struct effects *fx)
{
    struct driver_end *end = &kin->origin;
    driver_promise(d, buffer_size(fx->out[SIDE_CLIENT]) == 0, "a stream wrote to its client's socket");
    if (fx->close_origin) {
        kin->dialing = false;
        driver_end_fini(end);
    }
    if (buffer_size(fx->out[SIDE_ORIGIN])) {
        driver_promise(d, end->open, "bytes for an origin that is not connected");
        driver_promise(d, !kin->refused, "bytes for an origin, of a stream whose request is blocked");
        driver_keep_sent(end->tls ? &end->to_tls : &end->got, fx, SIDE_ORIGIN);
        driver_keep_sent(&kin->told, fx, SIDE_ORIGIN);
        d->sent += buffer_size(fx->out[SIDE_ORIGIN]);
    }
    driver_promise(d, !fx->shut[SIDE_CLIENT], "a stream ended its client's socket");
    driver_promise(d, !fx->shut[SIDE_ORIGIN] || (end->open && !end->shut), "an end for an origin that has none to get");
    end->shut = end->shut || fx->shut[SIDE_ORIGIN];
    if (fx->spare_origin)
        driver_keep_spare(d, kin->flow, end);
    kin->closed = kin->closed || fx->close;
    if (fx->dial && !end->open && take_spare(d, kin)) {
        kin->reused = true;
    } else if (fx->dial) {
        driver_promise(d, !kin->dialing && !end->open, "a stream dialled while it has a connection");
        kin->dialing = true;
        d->dials++;
    }
}

/* Its connection has a note of it, and its time. */
static void rest_kin(struct driver *d, struct driver_kin *kin)
{
    driver_inside(d, true);
    kin->rests = flow_rest(kin->flow);
    driver_inside(d, false);
    if (!kin->rests)
        return;
    kin->flow = NULL;
    d->rests++;
    driver_promise(d, flow_deadline(d->flow) != 0, "a connection without a deadline, with a stream at rest");
}

static bool step_kin(struct driver *d, unsigned which, struct input input)
{
    struct driver_kin *kin = &d->kin[which];
    struct buffer out[2] = {{0}, {0}};
    struct effects fx = {.out = {&out[0], &out[1]}};
    driver_inside(d, true);
    flow_step(kin->flow, &input, &fx);
    driver_inside(d, false);
    driver_take_events(d);
    run_kin(d, kin, &fx);
    buffer_fini(&out[0]);
    buffer_fini(&out[1]);
    if (kin->reused) {
        kin->reused = false;
        return step_kin(d, which, (struct input){.type = INPUT_REUSED});
    }
    driver_promise(d, kin->closed || flow_deadline(kin->flow) != 0, "a stream without a deadline");
    if (kin->closed)
        driver_kin_free(d, which);
    else if (!kin->dialing && !kin->origin.open)
        rest_kin(d, kin);
    return true;
}

static struct flow *take_due(struct driver *d)
{
    driver_inside(d, true);
    struct flow *flow = flow_take_due(&d->env);
    driver_inside(d, false);
    return flow;
}

void driver_step_due(struct driver *d)
{
    struct flow *flow;
    while ((flow = take_due(d))) {
        if (!flow_owner(flow))
            adopt(d, flow);
        if (flow_owner(flow) == d)
            driver_step_alone(d, (struct input){.type = INPUT_CALLED});
        else
            step_kin(d, (unsigned)((struct driver_kin *)flow_owner(flow) - d->kin), (struct input){.type = INPUT_CALLED});
    }
}

bool driver_kin_dialed(struct driver *d, unsigned which)
{
    struct driver_kin *kin = &d->kin[which];
    if (!kin->flow || !kin->dialing)
        return false;
    kin->dialing = false;
    kin->origin.open = true;
    kin->origin.born = ++d->connections;
    step_kin(d, which, (struct input){.type = INPUT_DIALED});
    driver_step_due(d);
    return true;
}

bool driver_kin_dial_failed(struct driver *d, unsigned which, enum dial_failure failure, const char *detail)
{
    struct driver_kin *kin = &d->kin[which];
    if (!kin->flow || !kin->dialing)
        return false;
    kin->dialing = false;
    step_kin(d, which, (struct input){.type = INPUT_DIAL_FAILED, .failure = failure, .detail = detail});
    driver_step_due(d);
    return true;
}

bool driver_kin_read(struct driver *d, unsigned which, size_t most)
{
    struct driver_kin *kin = &d->kin[which];
    struct driver_end *end = &kin->origin;
    if (!kin->flow || !end->open || end->ended || !flow_wants(kin->flow, SIDE_ORIGIN))
        return false;
    size_t n = buffer_size(&end->inbox) < most ? buffer_size(&end->inbox) : most;
    if (n == 0 && !end->ends)
        return false;
    struct input input = {.type = n ? INPUT_DATA : INPUT_EOF, .side = SIDE_ORIGIN, .size = n, .error = n ? 0 : end->error};
    end->ended = n == 0;
    uint8_t *slab = malloc(n + 1);
    if (!slab)
        return false;
    if (n)
        memcpy(slab, buffer_data(&end->inbox), n);
    buffer_consume(&end->inbox, n);
    d->received += n;
    input.data = slab;
    step_kin(d, which, input);
    free(slab);
    driver_step_due(d);
    return true;
}

void driver_kin_time(struct driver *d)
{
    for (unsigned i = 0; i < d->kin_count; i++)
        while (d->kin[i].flow && flow_deadline(d->kin[i].flow) && flow_deadline(d->kin[i].flow) <= d->world->port->monotonic_ns) {
            uint64_t before = flow_deadline(d->kin[i].flow);
            step_kin(d, i, (struct input){.type = INPUT_TIMER});
            driver_step_due(d);
            if (!d->kin[i].flow || flow_deadline(d->kin[i].flow) != before)
                continue;
            driver_promise(d, false, "a stream's deadline that passed stays");
            break;
        }
}
