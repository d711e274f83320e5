/* SPDX-License-Identifier: MPL-2.0 */
/* See flow_driver.h: the flow's life, its inputs and its effects. Events are read from the port before anything publishes them. */
#include "flow_driver_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/event/private.h"
#include "host/flow/parts.h"

#define PLAIN_SIZE 16384
#define OUTPUT_FACTOR 64 /* a reply of our own to a short request is so much longer, at most */
#define OUTPUT_START 65536

void driver_promise(struct driver *d, bool kept, const char *format, ...)
{
    va_list args;
    if (kept || d->fault[0])
        return;
    va_start(args, format);
    vsnprintf(d->fault, sizeof d->fault, format, args);
    va_end(args);
}

void driver_inside(struct driver *d, bool begins)
{
    if (d->inside)
        d->inside(begins);
}

/* ---- life ---- */

/* An address that the flow is told to be the proxy's own. */
static bool is_own(void *dialer, const struct soth_addr *addr, uint16_t port)
{
    (void)dialer;
    return addr->family == 4 && addr->bytes[0] == 127 && port == 8080;
}

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
        .plain_size = PLAIN_SIZE, .hooks = SOTH_HOOK_CONNECT | SOTH_HOOK_REQUEST | SOTH_HOOK_RESPONSE | SOTH_HOOK_REWRITE, .policy = d, .ask = driver_ask,
        .forget = driver_forget, .rewrite = driver_rewrite, .trust_any = d->world->trust, .is_own = is_own,
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

void driver_end_fini(struct driver_end *end)
{
    session_free(end->tls);
    buffer_fini(&end->inbox);
    buffer_fini(&end->got);
    buffer_fini(&end->to_tls);
    buffer_fini(&end->from_tls);
    *end = (struct driver_end){.open = false};
}

static void free_flow(struct driver *d)
{
    flow_free(d->flow);
    d->flow = NULL;
    driver_take_events(d);
    for (unsigned i = 0; i < d->kin_count; i++)
        driver_promise(d, !d->kin[i].flow, "a connection is freed before its streams");
    for (unsigned i = 0; i < d->kin_count; i++)
        if (d->kin[i].rests)
            driver_kin_free(d, i);
    watch_end(&d->watch);
    driver_promise(d, !d->watch.fault[0], "%s", d->watch.fault);
    driver_promise(d, d->counters.active == 0, "the flow is still counted");
    driver_promise(d, d->counters.illegal_transitions == 0, "an illegal transition");
}

void driver_fini(struct driver *d)
{
    for (unsigned i = 0; i < d->spare_count; i++) {
        flow_spare_free(d->spares[i].origin);
        driver_end_fini(&d->spares[i].end);
    }
    d->spare_count = 0;
    for (unsigned i = 0; i < d->kin_count; i++)
        if (!d->kin[i].rests)
            driver_kin_free(d, i);
    if (d->flow)
        free_flow(d);
    for (unsigned i = 0; i < d->kin_count; i++)
        buffer_fini(&d->kin[i].told);
    driver_end_fini(&d->end[SIDE_CLIENT]);
    driver_end_fini(&d->end[SIDE_ORIGIN]);
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

void driver_capture(struct driver *d, uint64_t bytes)
{
    struct bus_port *port = d->world->port;
    const uint64_t kinds = (UINT64_C(1) << SOTH_EV_REQUEST_BODY_CHUNK) | (UINT64_C(1) << SOTH_EV_RESPONSE_BODY_CHUNK);
    d->captures = bytes;
    port->mask = UINT64_MAX; /* there is no sink to want them */
    port->payload_kinds = bytes ? kinds : 0;
    port->payload[SOTH_EV_REQUEST_BODY_CHUNK] = port->payload[SOTH_EV_RESPONSE_BODY_CHUNK] = bytes;
}

void driver_take_events(struct driver *d)
{
    struct bus_port_private *port = d->world->port->private;
    _Alignas(16) char room[VIEW_MOST];
    for (size_t i = 0; i < port->count; i++) {
        struct views views = {.memory = room}; /* memory may be what fails at the moment */
        driver_promise(d, port->pending[i]->attr_count <= EVENT_ATTRS_MOST + 1, "an event of %u attributes", port->pending[i]->attr_count);
        const struct soth_event *event = view_make(&views, port->pending[i], BUS_PAYLOAD_FULL);
        uint64_t id = event->flow_id;
        driver_promise(d, id >= 1 && id < DRIVER_KIN + 2, "an event of flow %llu", (unsigned long long)id);
        struct watch *watch = id < 2 ? &d->watch : &d->kin[id - 2].watch;
        watch_event(watch, event);
        driver_promise(d, !watch->fault[0], "flow %llu: %s", (unsigned long long)id, watch->fault);
        log_event(&d->log, event);
    }
    bus_flush(d->world->port);
    driver_capture(d, d->captures);
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
    driver_promise(d, !d->dialing && !d->end[SIDE_ORIGIN].open, "dialled while there is a connection");
    driver_promise(d, strcmp(where, d->cleared) == 0, "dialled %s, decided was '%s'", where, d->cleared);
}

static void check_origin_bytes(struct driver *d)
{
    driver_promise(d, d->end[SIDE_ORIGIN].open, "bytes for an origin that is not connected");
    driver_promise(d, d->watch.received > 0 && d->watch.received == d->watch.decided, "bytes for an origin before the decision");
    driver_promise(d, !d->watch.blocked, "bytes for an origin that is blocked");
}

void driver_keep_sent(struct buffer *to, const struct effects *fx, enum side side)
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
    driver_promise(d, !end->shut, "bytes for the %s after its end", side == SIDE_CLIENT ? "client" : "origin");
    driver_keep_sent(end->tls ? &end->to_tls : &end->got, fx, side);
    if (!end->tls)
        driver_keep_sent(&d->told[side], fx, side);
    d->sent += n;
}

static void run(struct driver *d, const struct effects *fx)
{
    if (fx->close_origin) {
        d->origin_closes++;
        d->dialing = false;
        driver_end_fini(&d->end[SIDE_ORIGIN]);
    }
    for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN; side++)
        transmit(d, side, fx);
    if (fx->spare_origin)
        driver_keep_spare(d, d->flow, &d->end[SIDE_ORIGIN]);
    driver_promise(d, !(fx->close && (fx->dial || fx->shut[SIDE_CLIENT] || fx->shut[SIDE_ORIGIN])), "closed, and more is asked for");
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
        driver_promise(d, !fx->shut[side] || (d->end[side].open && !d->end[side].shut), "an end for a connection that has none to get");
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
    driver_promise(d, d->counters.illegal_transitions == 0, "an illegal transition");
    driver_promise(d, d->sent <= OUTPUT_START + OUTPUT_FACTOR * d->received, "%llu bytes out for %llu in", (unsigned long long)d->sent,
            (unsigned long long)d->received);
    if (!d->flow || d->closed)
        return;
    if (closing_with_streams(d))
        return;
    driver_promise(d, flow_deadline(d->flow) != 0, "a flow without a deadline");
    driver_promise(d, !flow_waits(d->flow) || (!flow_wants(d->flow, SIDE_CLIENT) && !flow_wants(d->flow, SIDE_ORIGIN)), "it waits and reads");
    driver_promise(d, d->dialing || flow_waits(d->flow) || hears(d, SIDE_CLIENT) || hears(d, SIDE_ORIGIN) || waits_for_room(d, SIDE_CLIENT) ||
                   waits_for_room(d, SIDE_ORIGIN), "a flow that waits for nothing");
}

/* ---- what reaches the flow ---- */

bool driver_step_alone(struct driver *d, struct input input)
{
    struct buffer out[2] = {{0}, {0}};
    struct effects fx = {.out = {&out[0], &out[1]}};
    size_t had = buffer_size(&d->end[SIDE_ORIGIN].got);
    if (!d->flow)
        return false;
    bool http2 = d->flow->origin.h2 != NULL; /* which has words of its own: its peer looks for the request */
    if (d->on_input)
        d->on_input(d->on_input_arg, d, &input);
    driver_inside(d, true);
    flow_step(d->flow, &input, &fx);
    driver_inside(d, false);
    driver_take_events(d);
    run(d, &fx);
    flow_congested(d->flow, SIDE_CLIENT, d->blocked[SIDE_CLIENT]);
    flow_congested(d->flow, SIDE_ORIGIN, d->blocked[SIDE_ORIGIN]);
    check_state(d);
    buffer_fini(&out[0]);
    buffer_fini(&out[1]);
    http2 = http2 || d->flow->origin.h2;
    if (d->closed)
        free_flow(d);
    driver_peer_turn(d, SIDE_CLIENT);
    driver_peer_turn(d, SIDE_ORIGIN);
    driver_promise(d, d->kin_count || http2 || !d->refused || buffer_size(&d->end[SIDE_ORIGIN].got) <= had, "bytes for an origin, of a request that is blocked");
    return true;
}

bool driver_step(struct driver *d, struct input input)
{
    if (!driver_step_alone(d, input))
        return false;
    driver_step_due(d);
    return true;
}

void driver_resume(struct driver *d, bool stale)
{
    driver_step(d, (struct input){.type = INPUT_RESUMED, .pause = stale ? d->pause + 1 : d->pause, .arg = 7});
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
        driver_promise(d, false, "a deadline that passed stays");
        break;
    }
    return fired;
}

bool driver_time(struct driver *d, uint64_t ms)
{
    d->world->port->monotonic_ns += ms * UINT64_C(1000000);
    d->world->port->unix_ms += ms;
    driver_kin_time(d);
    return fire(d);
}

bool driver_deadline(struct driver *d)
{
    if (!d->flow || flow_deadline(d->flow) == 0)
        return false;
    uint64_t now = d->world->port->monotonic_ns, then = flow_deadline(d->flow);
    return driver_time(d, then > now ? (then - now + 999999) / 1000000 : 0);
}
