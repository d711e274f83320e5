/* SPDX-License-Identifier: MPL-2.0 */
/* See flow_driver.h. Events are read from the port before anything publishes them. */
#include "flow_driver.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/event/private.h"
#include "host/flow/parts.h"

#define PLAIN_SIZE 16384
#define OUTPUT_FACTOR 64 /* a reply of our own to a short request is so much longer, at most */
#define OUTPUT_START 65536

__attribute__((format(printf, 3, 4))) static void promise(struct driver *d, bool kept, const char *format, ...)
{
    va_list args;
    if (kept || d->fault[0])
        return;
    va_start(args, format);
    vsnprintf(d->fault, sizeof d->fault, format, args);
    va_end(args);
}

/* ---- the policy ---- */

static void decide_connect(struct driver *d, const struct soth_connect *connect, struct verdict *out)
{
    *out = d->policy.target;
    if (connect->has_hello)
        out->needs_hello = false;
    if (d->policy.blocked && soth_span_is(connect->host, d->policy.blocked))
        *out = (struct verdict){.action = SOTH_BLOCK, .reason = "blocked_host", .policy_module = "test"};
}

static void note_connect(struct driver *d, const struct soth_connect *connect, const struct verdict *v)
{
    if (connect->identity != SOTH_ID_TARGET)
        return;
    d->refused = false;
    d->cleared[0] = 0;
    if (v->action != SOTH_BLOCK && !v->needs_hello)
        snprintf(d->cleared, sizeof d->cleared, "%.*s:%u", SOTH_SPAN(connect->host), connect->port);
}

/* It waits for driver_resume or its deadline, which blocks. */
static bool pauses(struct driver *d, struct soth_flow *flow, struct ask *ask)
{
    if (ask->pause.state == PAUSE_NONE && d->policy.pauses) {
        ask->pause = (struct pause){.state = PAUSE_WAITING, .deadline_ns = flow->bus->monotonic_ns + (d->policy.pause_ms ? d->policy.pause_ms : 300) * UINT64_C(1000000)};
        ask->pause.token.pause = ++flow->pauses;
        d->pause = flow->pauses;
    }
    return ask->pause.state == PAUSE_WAITING;
}

static void decide_request(struct driver *d, const struct soth_message *message, struct verdict *out)
{
    *out = d->policy.request;
    if (d->policy.blocked_path && soth_span_is(message->target, d->policy.blocked_path))
        *out = (struct verdict){.action = SOTH_BLOCK, .reason = "rule", .policy_module = "test"};
}

static void note_request(struct driver *d, const struct soth_flow *flow, const struct verdict *v)
{
    struct driver_kin *kin = flow->owner == d ? NULL : flow->owner;
    d->refused = v->action == SOTH_BLOCK;
    if (kin)
        kin->refused = d->refused;
}

static enum ask_result ask(void *policy, struct soth_flow *flow, struct ask *ask, const struct question *q)
{
    struct driver *d = policy;
    if (ask->hook == 0)
        *ask = (struct ask){.hook = q->hook};
    promise(d, ask->hook == q->hook, "another question than the one that is open");
    if (pauses(d, flow, ask))
        return ASK_WAIT;
    if (q->hook == SOTH_HOOK_CONNECT)
        decide_connect(d, q->connect, &ask->verdict);
    else if (q->hook == SOTH_HOOK_REQUEST)
        decide_request(d, q->message, &ask->verdict);
    else
        ask->verdict = d->policy.request;
    if (ask->pause.state == PAUSE_LATE)
        ask->verdict = (struct verdict){.action = SOTH_BLOCK, .reason = "module_timeout", .policy_module = "test"};
    if (q->hook == SOTH_HOOK_CONNECT)
        note_connect(d, q->connect, &ask->verdict);
    else if (q->hook == SOTH_HOOK_REQUEST)
        note_request(d, flow, &ask->verdict);
    *ask = (struct ask){.verdict = ask->verdict};
    return ASK_DONE;
}

static void forget(void *policy, struct soth_flow *flow, struct ask *ask)
{
    struct driver *d = policy;
    (void)flow;
    d->forgotten += ask->hook != 0;
    *ask = (struct ask){.hook = 0};
}

static void rewrite(void *policy, struct soth_flow *flow, const struct soth_message *message, struct verdict *out)
{
    (void)policy;
    (void)flow;
    (void)message;
    *out = (struct verdict){.action = SOTH_ALLOW, .policy_module = ""};
}

void driver_resume(struct driver *d, bool stale)
{
    driver_step(d, (struct input){.type = INPUT_RESUMED, .pause = stale ? d->pause + 1 : d->pause, .arg = 7});
}

static bool is_own(void *dialer, const struct soth_addr *addr, uint16_t port)
{
    (void)dialer;
    return addr->family == 4 && addr->bytes[0] == 127 && port == 8080;
}

/* ---- life ---- */

void driver_init(struct driver *d, struct world *world)
{
    memset(d, 0, sizeof *d);
    d->world = world;
    d->loopback = (struct settings_cidr){.addr = {.family = 4, .bytes = {127}}, .bits = 8};
    d->denied = (struct settings_cidr){.addr = {.family = 4, .bytes = {169, 254}}, .bits = 16};
    d->listen = (struct settings_listen){.addr = "127.0.0.1", .cert_path = "", .key_path = ""};
    d->settings = (struct settings){
        .max_http_head_bytes = 4096, .strict_header_mode = 1, .max_concurrent_flows = 10, .upstream_connect_timeout = 1000,
        .tls_profile = TLS_PROFILE_DEFAULT, .upstream_sni_mode = SNI_AUTO, .tls_handshake_timeout = 1500, .idle_timeout = 60000, .stream_stage_timeout = 2000, .response_header_timeout = 5000,
        .resolver_timeout = 1000, .upstream_ca_file = "", .reverse_upstream = {.host = "origin.test", .port = 80},
        .http2_max_header_list_size = 16384, .http2_max_concurrent_streams = 32, .block_response = {403, "blocked: {reason} {rule_id} {host}", "text/plain"},
    };
    d->policy.target = (struct verdict){.action = SOTH_INTERCEPT, .is_default = true, .reason = "default_intercept", .policy_module = ""};
    d->policy.request = (struct verdict){.action = SOTH_ALLOW, .is_default = true, .policy_module = ""};
}

void driver_open(struct driver *d)
{
    struct flow_origin_of what = {.flow_id = 1, .owner = d, .client = "127.0.0.1:4711", .client_addr = {.family = 4, .bytes = {127, 0, 0, 1}},
                                  .listen = &d->listen, .fixed_leaf = d->fixed_leaf, .refused_because = d->refused_because};
    d->settings.listen = (struct soth_list){&d->listen, 1};
    d->settings.allow = &d->loopback;
    d->settings.allow_count = 1;
    d->settings.deny = &d->denied;
    d->settings.deny_count = 1;
    d->env = (struct flow_env){
        .settings = &d->settings, .bus = d->world->port, .authority = d->world->authority, .trust = d->world->trust,
        .tickets = d->world->tickets, .failures = d->world->failures, .counters = &d->counters, .plain = malloc(PLAIN_SIZE),
        .plain_size = PLAIN_SIZE, .hooks = SOTH_HOOK_CONNECT | SOTH_HOOK_REQUEST | SOTH_HOOK_RESPONSE | SOTH_HOOK_REWRITE, .policy = d, .ask = ask,
        .forget = forget, .rewrite = rewrite, .trust_any = d->world->trust, .is_own = is_own,
    };
    d->flow = flow_new(&d->env, &what);
    d->accepted = true;
    d->end[SIDE_CLIENT].open = true;
}

void driver_accept(struct driver *d)
{
    driver_open(d);
    driver_step(d, (struct input){.type = INPUT_ACCEPTED});
}

static void end_fini(struct driver_end *end)
{
    session_free(end->tls);
    buffer_fini(&end->inbox);
    buffer_fini(&end->got);
    buffer_fini(&end->to_tls);
    buffer_fini(&end->from_tls);
    *end = (struct driver_end){.open = false};
}

static void take_events(struct driver *d);
static void free_kin(struct driver *d, unsigned which);

static void free_flow(struct driver *d)
{
    flow_free(d->flow);
    d->flow = NULL;
    take_events(d);
    for (unsigned i = 0; i < d->kin_count; i++)
        promise(d, !d->kin[i].flow, "a connection is freed before its streams");
    for (unsigned i = 0; i < d->kin_count; i++)
        if (d->kin[i].rests)
            free_kin(d, i);
    watch_end(&d->watch);
    promise(d, !d->watch.fault[0], "%s", d->watch.fault);
    promise(d, d->counters.active == 0, "the flow is still counted");
    promise(d, d->counters.illegal_transitions == 0, "an illegal transition");
}

static void free_kin(struct driver *d, unsigned which)
{
    struct driver_kin *kin = &d->kin[which];
    if (kin->flow || kin->rests) {
        flow_free(kin->flow);
        kin->flow = NULL;
        kin->rests = false; /* its end was told by its connection */
        take_events(d);
        watch_end(&kin->watch);
        promise(d, !kin->watch.fault[0], "%s", kin->watch.fault);
    }
    end_fini(&kin->origin);
}

void driver_fini(struct driver *d)
{
    for (unsigned i = 0; i < d->spare_count; i++) {
        flow_spare_free(d->spares[i].origin);
        end_fini(&d->spares[i].end);
    }
    d->spare_count = 0;
    for (unsigned i = 0; i < d->kin_count; i++)
        if (!d->kin[i].rests)
            free_kin(d, i);
    if (d->flow)
        free_flow(d);
    for (unsigned i = 0; i < d->kin_count; i++)
        buffer_fini(&d->kin[i].told);
    end_fini(&d->end[SIDE_CLIENT]);
    end_fini(&d->end[SIDE_ORIGIN]);
    buffer_fini(&d->env.staged[SIDE_CLIENT]);
    buffer_fini(&d->env.staged[SIDE_ORIGIN]);
    buffer_fini(&d->log);
    buffer_fini(&d->told[SIDE_CLIENT]);
    buffer_fini(&d->told[SIDE_ORIGIN]);
    free(d->env.plain);
    d->env.plain = NULL;
}

/* ---- events ---- */

static void log_event(struct buffer *log, const struct soth_event *e)
{
    buffer_append_text(log, e->kind_name);
    for (uint32_t i = 0; i < e->attr_count; i++) {
        const struct soth_attr *a = &e->attrs[i];
        buffer_append(log, " ", 1);
        buffer_append_text(log, a->name);
        buffer_append(log, "=", 1);
        if (a->type == SOTH_ATTR_TEXT || a->type == SOTH_ATTR_BYTES)
            buffer_append(log, a->text.p, a->text.n);
        else
            buffer_append_number(log, a->number);
    }
    buffer_append(log, "\n", 1);
}

static void take_events(struct driver *d)
{
    struct bus_port_private *port = d->world->port->private;
    _Alignas(16) char room[8192];
    for (size_t i = 0; i < port->count; i++) {
        struct views views = {.memory = room, .size = sizeof room}; /* memory may be what fails at the moment */
        promise(d, view_size(port->pending[i]) <= sizeof room, "an event of %u attributes", port->pending[i]->attr_count);
        const struct soth_event *event = view_make(&views, port->pending[i], BUS_PAYLOAD_FULL);
        uint64_t id = event->flow_id;
        promise(d, id >= 1 && id < DRIVER_KIN + 2, "an event of flow %llu", (unsigned long long)id);
        struct watch *watch = id < 2 ? &d->watch : &d->kin[id - 2].watch;
        watch_event(watch, event);
        promise(d, !watch->fault[0], "flow %llu: %s", (unsigned long long)id, watch->fault);
        log_event(&d->log, event);
    }
    bus_flush(d->world->port);
    d->world->port->mask = UINT64_MAX; /* there is no sink to want them */
}

const char *driver_log(struct driver *d)
{
    buffer_append(&d->log, "", 1);
    d->log.len--;
    return (const char *)buffer_data(&d->log);
}

/* ---- effects ---- */

static void check_dial(struct driver *d)
{
    struct dial_target target;
    char where[TARGET_MAX_HOST + 8];
    flow_dial_target(d->flow, &target);
    snprintf(where, sizeof where, "%s:%u", target.host, target.port);
    promise(d, !d->dialing && !d->end[SIDE_ORIGIN].open, "dialled while there is a connection");
    promise(d, strcmp(where, d->cleared) == 0, "dialled %s, decided was '%s'", where, d->cleared);
}

static void check_origin_bytes(struct driver *d)
{
    promise(d, d->end[SIDE_ORIGIN].open, "bytes for an origin that is not connected");
    promise(d, d->watch.received > 0 && d->watch.received == d->watch.decided, "bytes for an origin before the decision");
    promise(d, !d->watch.blocked, "bytes for an origin that is blocked");
}

static void keep_sent(struct buffer *to, const struct effects *fx, enum side side)
{
    buffer_append(to, buffer_data(fx->out[side]), buffer_size(fx->out[side]));
    if (fx->direct_size[side])
        buffer_append(to, fx->direct[side], fx->direct_size[side]);
}

static void transmit(struct driver *d, enum side side, const struct effects *fx)
{
    struct driver_end *end = &d->end[side];
    size_t n = buffer_size(fx->out[side]) + fx->direct_size[side];
    if (n == 0)
        return;
    if (side == SIDE_ORIGIN)
        check_origin_bytes(d);
    promise(d, !end->shut, "bytes for the %s after its end", side == SIDE_CLIENT ? "client" : "origin");
    keep_sent(end->tls ? &end->to_tls : &end->got, fx, side);
    if (!end->tls)
        keep_sent(&d->told[side], fx, side);
    d->sent += n;
}

static void keep_spare(struct driver *d, struct flow *flow, struct driver_end *end);

static void run(struct driver *d, const struct effects *fx)
{
    if (fx->close_origin) {
        d->origin_closes++;
        d->dialing = false;
        end_fini(&d->end[SIDE_ORIGIN]);
    }
    for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN; side++)
        transmit(d, side, fx);
    if (fx->spare_origin)
        keep_spare(d, d->flow, &d->end[SIDE_ORIGIN]);
    promise(d, !(fx->close && (fx->dial || fx->shut[SIDE_CLIENT] || fx->shut[SIDE_ORIGIN])), "closed, and more is asked for");
    if (fx->close) {
        d->closed = true;
        d->aborted = fx->abort;
        d->lingers = fx->linger;
        return;
    }
    if (fx->dial) {
        check_dial(d);
        d->dials++;
        d->dialing = true;
    }
    for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN; side++) {
        promise(d, !fx->shut[side] || (d->end[side].open && !d->end[side].shut), "an end for a connection that has none to get");
        d->end[side].shut = d->end[side].shut || fx->shut[side];
    }
}

/* It has ended, and waits for its streams to do so. */
static bool closing_with_streams(const struct driver *d)
{
    return d->flow->closing && d->flow->children;
}

static bool hears(struct driver *d, enum side side)
{
    return flow_wants(d->flow, side) && d->end[side].open && !d->end[side].ended;
}

static bool waits_for_room(struct driver *d, enum side side)
{
    return d->blocked[side] && d->end[side].open && flow_wants_room(d->flow, side);
}

static void check_state(struct driver *d)
{
    promise(d, d->counters.illegal_transitions == 0, "an illegal transition");
    promise(d, d->sent <= OUTPUT_START + OUTPUT_FACTOR * d->received, "%llu bytes out for %llu in", (unsigned long long)d->sent,
            (unsigned long long)d->received);
    if (!d->flow || d->closed)
        return;
    if (closing_with_streams(d))
        return;
    promise(d, flow_deadline(d->flow) != 0, "a flow without a deadline");
    promise(d, !flow_waits(d->flow) || (!flow_wants(d->flow, SIDE_CLIENT) && !flow_wants(d->flow, SIDE_ORIGIN)), "it waits and reads");
    promise(d, d->dialing || flow_waits(d->flow) || hears(d, SIDE_CLIENT) || hears(d, SIDE_ORIGIN) || waits_for_room(d, SIDE_CLIENT) ||
                   waits_for_room(d, SIDE_ORIGIN), "a flow that waits for nothing");
}

static void peer_turn(struct driver *d, enum side side);

/* ---- streams ---- */

static void adopt(struct driver *d, struct flow *flow)
{
    if (flow_id(flow)) { /* it was at rest */
        struct driver_kin *same = &d->kin[flow_id(flow) - 2];
        promise(d, !same->flow && same->rests, "a stream wakes that was not at rest");
        same->flow = flow;
        same->rests = false;
        flow_adopt(flow, 0, same);
        return;
    }
    promise(d, d->kin_count < DRIVER_KIN, "more streams than there is room for");
    struct driver_kin *kin = &d->kin[d->kin_count++];
    kin->flow = flow;
    kin->told = (struct buffer){0};
    flow_adopt(flow, d->kin_count + 1, kin);
}

static void keep_spare(struct driver *d, struct flow *flow, struct driver_end *end)
{
    promise(d, end->open && !end->ended && d->spare_count < DRIVER_KIN, "a connection that is not there is left for others");
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
    promise(d, buffer_size(fx->out[SIDE_CLIENT]) == 0, "a stream wrote to its client's socket");
    if (fx->close_origin) {
        kin->dialing = false;
        end_fini(end);
    }
    if (buffer_size(fx->out[SIDE_ORIGIN])) {
        promise(d, end->open, "bytes for an origin that is not connected");
        promise(d, !kin->refused, "bytes for an origin, of a stream whose request is blocked");
        keep_sent(end->tls ? &end->to_tls : &end->got, fx, SIDE_ORIGIN);
        keep_sent(&kin->told, fx, SIDE_ORIGIN);
        d->sent += buffer_size(fx->out[SIDE_ORIGIN]);
    }
    promise(d, !fx->shut[SIDE_CLIENT], "a stream ended its client's socket");
    promise(d, !fx->shut[SIDE_ORIGIN] || (end->open && !end->shut), "an end for an origin that has none to get");
    end->shut = end->shut || fx->shut[SIDE_ORIGIN];
    if (fx->spare_origin)
        keep_spare(d, kin->flow, end);
    kin->closed = kin->closed || fx->close;
    if (fx->dial && !end->open && take_spare(d, kin)) {
        kin->reused = true;
    } else if (fx->dial) {
        promise(d, !kin->dialing && !end->open, "a stream dialled while it has a connection");
        kin->dialing = true;
        d->dials++;
    }
}

/* Its connection has a note of it, and its time. */
static void rest_kin(struct driver *d, struct driver_kin *kin)
{
    if (d->inside)
        d->inside(true);
    kin->rests = flow_rest(kin->flow);
    if (d->inside)
        d->inside(false);
    if (!kin->rests)
        return;
    kin->flow = NULL;
    d->rests++;
    promise(d, flow_deadline(d->flow) != 0, "a connection without a deadline, with a stream at rest");
}

static bool step_kin(struct driver *d, unsigned which, struct input input)
{
    struct driver_kin *kin = &d->kin[which];
    struct buffer out[2] = {{0}, {0}};
    struct effects fx = {.out = {&out[0], &out[1]}};
    if (d->inside)
        d->inside(true);
    flow_step(kin->flow, &input, &fx);
    if (d->inside)
        d->inside(false);
    take_events(d);
    run_kin(d, kin, &fx);
    buffer_fini(&out[0]);
    buffer_fini(&out[1]);
    if (kin->reused) {
        kin->reused = false;
        return step_kin(d, which, (struct input){.type = INPUT_REUSED});
    }
    promise(d, kin->closed || flow_deadline(kin->flow) != 0, "a stream without a deadline");
    if (kin->closed)
        free_kin(d, which);
    else if (!kin->dialing && !kin->origin.open)
        rest_kin(d, kin);
    return true;
}

static bool step_main(struct driver *d, struct input input);

static struct flow *take_due(struct driver *d)
{
    if (d->inside)
        d->inside(true);
    struct flow *flow = flow_take_due(&d->env);
    if (d->inside)
        d->inside(false);
    return flow;
}

static void step_due(struct driver *d)
{
    struct flow *flow;
    while ((flow = take_due(d))) {
        if (!flow_owner(flow))
            adopt(d, flow);
        if (flow_owner(flow) == d)
            step_main(d, (struct input){.type = INPUT_CALLED});
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
    step_due(d);
    return true;
}

bool driver_kin_dial_failed(struct driver *d, unsigned which, enum dial_failure failure, const char *detail)
{
    struct driver_kin *kin = &d->kin[which];
    if (!kin->flow || !kin->dialing)
        return false;
    kin->dialing = false;
    step_kin(d, which, (struct input){.type = INPUT_DIAL_FAILED, .failure = failure, .detail = detail});
    step_due(d);
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
    step_due(d);
    return true;
}

void driver_block(struct driver *d, enum side side, bool blocked)
{
    d->blocked[side] = blocked;
    if (!d->flow)
        return;
    bool waits = flow_wants_room(d->flow, side);
    flow_congested(d->flow, side, blocked);
    if (waits && !blocked)
        driver_step(d, (struct input){.type = INPUT_WRITABLE, .side = side});
}

bool driver_step(struct driver *d, struct input input)
{
    if (!step_main(d, input))
        return false;
    step_due(d);
    return true;
}

static bool step_main(struct driver *d, struct input input)
{
    struct buffer out[2] = {{0}, {0}};
    struct effects fx = {.out = {&out[0], &out[1]}};
    size_t had = buffer_size(&d->end[SIDE_ORIGIN].got);
    if (!d->flow)
        return false;
    bool http2 = d->flow->origin.h2 != NULL; /* which has words of its own: its peer looks for the request */
    if (d->on_input)
        d->on_input(d->on_input_arg, d, &input);
    if (d->inside)
        d->inside(true);
    flow_step(d->flow, &input, &fx);
    if (d->inside)
        d->inside(false);
    take_events(d);
    run(d, &fx);
    flow_congested(d->flow, SIDE_CLIENT, d->blocked[SIDE_CLIENT]);
    flow_congested(d->flow, SIDE_ORIGIN, d->blocked[SIDE_ORIGIN]);
    check_state(d);
    buffer_fini(&out[0]);
    buffer_fini(&out[1]);
    http2 = http2 || d->flow->origin.h2;
    if (d->closed)
        free_flow(d);
    peer_turn(d, SIDE_CLIENT);
    peer_turn(d, SIDE_ORIGIN);
    promise(d, d->kin_count || http2 || !d->refused || buffer_size(&d->end[SIDE_ORIGIN].got) <= had, "bytes for an origin, of a request that is blocked");
    return true;
}

/* ---- the peers ---- */

/* What the peer's TLS wants to send goes to the inbox. */
static void peer_flush(struct driver_end *end)
{
    buffer_append(&end->inbox, buffer_data(&end->from_tls), buffer_size(&end->from_tls));
    buffer_clear(&end->from_tls);
}

/* The peer's TLS reads what it was sent. */
static void peer_turn(struct driver *d, enum side side)
{
    struct driver_end *end = &d->end[side];
    uint8_t plain[PLAIN_SIZE];
    ssize_t n;
    if (!end->tls || buffer_size(&end->to_tls) == 0)
        return;
    session_output(end->tls, &end->from_tls);
    session_feed(end->tls, buffer_data(&end->to_tls), buffer_size(&end->to_tls));
    if (session_handshake(end->tls) == 1)
        while ((n = session_read(end->tls, plain, sizeof plain)) > 0)
            buffer_append(&end->got, plain, (size_t)n);
    session_feed(end->tls, NULL, 0);
    buffer_clear(&end->to_tls);
    peer_flush(end);
}

void driver_say(struct driver *d, enum side side, const void *p, size_t n)
{
    struct driver_end *end = &d->end[side];
    if (!end->tls) {
        buffer_append(&end->inbox, p, n);
        return;
    }
    if (session_handshake(end->tls) != 1)
        return; /* it failed, or is not done: a peer would wait */
    session_output(end->tls, &end->from_tls);
    session_write(end->tls, p, n);
    peer_flush(end);
}

void driver_hang_up(struct driver *d, enum side side, int error)
{
    d->end[side].ends = true;
    d->end[side].error = error;
}

void driver_close_notify(struct driver *d, enum side side)
{
    struct driver_end *end = &d->end[side];
    if (!end->tls)
        return;
    session_output(end->tls, &end->from_tls);
    session_shutdown(end->tls);
    peer_flush(end);
}

void driver_client_tls(struct driver *d, const char *sni, const char *alpn)
{
    struct driver_end *end = &d->end[SIDE_CLIENT];
    const char *host = *sni ? sni : "no.name";
    if (end->tls)
        return;
    buffer_clear(&end->got); /* the 200 was for the cleartext connection */
    end->tls = session_client_new(d->world->trust, soth_span(host), 443, soth_span(sni), soth_span(alpn));
    if (!end->tls)
        return;
    session_output(end->tls, &end->from_tls);
    session_handshake(end->tls);
    peer_flush(end);
}

void driver_origin_tls(struct driver *d, const char *host, const char *alpn)
{
    struct driver_end *end = &d->end[SIDE_ORIGIN];
    int hit;
    if (end->tls)
        return;
    struct leaf *leaf = leaf_get(d->world->authority, soth_span(host), (int64_t)(d->world->port->unix_ms / 1000), &hit);
    if (!leaf)
        return;
    end->tls = session_server_new(leaf, d->world->tickets, soth_span(""), soth_span(alpn), TLS_PROFILE_DEFAULT);
    leaf_put(leaf);
}

/* ---- what reaches the flow ---- */

bool driver_read(struct driver *d, enum side side, size_t most)
{
    struct driver_end *end = &d->end[side];
    if (!d->flow || !end->open || end->ended || !flow_wants(d->flow, side))
        return false;
    size_t n = buffer_size(&end->inbox) < most ? buffer_size(&end->inbox) : most;
    if (n == 0) {
        if (!end->ends || buffer_size(&end->inbox) > 0)
            return false;
        end->ended = true;
        return driver_step(d, (struct input){.type = INPUT_EOF, .side = side, .error = end->error});
    }
    uint8_t *slab = malloc(n); /* of its exact size: a byte too far is seen */
    if (!slab)
        return false;
    memcpy(slab, buffer_data(&end->inbox), n);
    buffer_consume(&end->inbox, n);
    d->received += n;
    driver_step(d, (struct input){.type = INPUT_DATA, .side = side, .data = slab, .size = n});
    free(slab);
    return true;
}

bool driver_dialed(struct driver *d)
{
    if (!d->flow || !d->dialing)
        return false;
    d->dialing = false;
    d->end[SIDE_ORIGIN].open = true;
    d->end[SIDE_ORIGIN].born = ++d->connections;
    return driver_step(d, (struct input){.type = INPUT_DIALED});
}

bool driver_dial_failed(struct driver *d, enum dial_failure failure, const char *detail)
{
    if (!d->flow || !d->dialing)
        return false;
    d->dialing = false;
    return driver_step(d, (struct input){.type = INPUT_DIAL_FAILED, .failure = failure, .detail = detail});
}

bool driver_hung_up(struct driver *d, enum side side)
{
    struct driver_end *end = &d->end[side];
    if (!d->flow || !flow_waits(d->flow) || !end->open || end->ended || !end->ends)
        return false;
    if (side == SIDE_ORIGIN && buffer_size(&end->inbox) > 0)
        return false;
    end->ended = side == SIDE_CLIENT && end->error;
    return driver_step(d, (struct input){.type = INPUT_HUNG_UP, .side = side, .error = end->error});
}

bool driver_break(struct driver *d, enum side side, int error)
{
    struct driver_end *end = &d->end[side];
    if (!d->flow || !end->open || end->ended)
        return false;
    end->ended = true;
    return driver_step(d, (struct input){.type = INPUT_EOF, .side = side, .error = error});
}

static bool fire(struct driver *d)
{
    bool fired = false;
    while (d->flow && flow_deadline(d->flow) && flow_deadline(d->flow) <= d->world->port->monotonic_ns) {
        uint64_t before = flow_deadline(d->flow);
        fired = driver_step(d, (struct input){.type = INPUT_TIMER});
        if (!d->flow || flow_deadline(d->flow) != before)
            continue;
        promise(d, false, "a deadline that passed stays");
        break;
    }
    return fired;
}

static void fire_kin(struct driver *d)
{
    for (unsigned i = 0; i < d->kin_count; i++)
        while (d->kin[i].flow && flow_deadline(d->kin[i].flow) && flow_deadline(d->kin[i].flow) <= d->world->port->monotonic_ns) {
            uint64_t before = flow_deadline(d->kin[i].flow);
            step_kin(d, i, (struct input){.type = INPUT_TIMER});
            step_due(d);
            if (!d->kin[i].flow || flow_deadline(d->kin[i].flow) != before)
                continue;
            promise(d, false, "a stream's deadline that passed stays");
            break;
        }
}

bool driver_time(struct driver *d, uint64_t ms)
{
    d->world->port->monotonic_ns += ms * UINT64_C(1000000);
    d->world->port->unix_ms += ms;
    fire_kin(d);
    return fire(d);
}

bool driver_deadline(struct driver *d)
{
    if (!d->flow || flow_deadline(d->flow) == 0)
        return false;
    uint64_t now = d->world->port->monotonic_ns, then = flow_deadline(d->flow);
    return driver_time(d, then > now ? (then - now + 999999) / 1000000 : 0);
}
