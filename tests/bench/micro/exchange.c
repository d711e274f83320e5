/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a policy costs that does not take part: `exchange PART N` runs N exchanges of one kept-alive connection through a flow without
 * sockets - 200 with 16 bytes behind a cleartext reverse listener, no events wanted - with no policy, with one that is subscribed to no hook
 * that an exchange has, or with one that is asked about requests. scripts/bench modules has the instructions counted.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/flow/flow.h"
#include "host/module/instance.h"
#include "host/module/registry.h"
#include "host/tls/failure.h"

#define START_NS UINT64_C(1000000000)

static const char request[] = "GET /a/path HTTP/1.1\r\nHost: www.example.com\r\nAccept: */*\r\nUser-Agent: bench\r\n\r\n";
static const char response[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n\r\n0123456789abcdef";

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "exchange: %s failed\n", what);
    exit(1);
}

/* ---- policies ---- */

static int no_opinion(void *self, struct soth_flow *flow, const struct soth_message *message, struct soth_decision *out)
{
    (void)self;
    (void)flow;
    (void)message;
    (void)out;
    return SOTH_CONTINUE;
}

static int no_frame(void *self, struct soth_flow *flow, const struct soth_frame *frame, struct soth_decision *out)
{
    (void)self;
    (void)flow;
    (void)frame;
    (void)out;
    return SOTH_CONTINUE;
}

static enum ask_result ask(void *policy, struct soth_flow *flow, struct ask *ask, const struct question *q)
{
    return registry_ask(policy, flow, ask, q);
}

static void forget(void *policy, struct soth_flow *flow, struct ask *ask)
{
    registry_forget(policy, flow, ask);
}

static bool is_own(void *dialer, const struct soth_addr *addr, uint16_t port)
{
    (void)dialer;
    (void)addr;
    (void)port;
    return false;
}

/* ---- a flow ---- */

struct bench {
    struct settings settings;
    struct settings_listen listen;
    struct settings_cidr loopback;
    struct flow_counters counters;
    struct bus *bus;
    struct flow_env env;
    struct flow *flow;
    struct buffer out[2];
    uint64_t sent[2];
};

static void step(struct bench *b, struct input input)
{
    struct effects fx = {.out = {&b->out[0], &b->out[1]}};
    buffer_clear(&b->out[0]);
    buffer_clear(&b->out[1]);
    flow_step(b->flow, &input, &fx);
    for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN; side++)
        b->sent[side] += buffer_size(&b->out[side]) + fx.direct_size[side];
    must(!fx.close, "the connection");
    if (fx.dial)
        step(b, (struct input){.type = INPUT_DIALED});
}

static void hear(struct bench *b, enum side side, const char *text, size_t n)
{
    must(flow_wants(b->flow, side), "reading");
    step(b, (struct input){.type = INPUT_DATA, .side = side, .data = (const uint8_t *)text, .size = n});
}

static void begin(struct bench *b, struct registry *registry)
{
    b->listen = (struct settings_listen){.addr = "127.0.0.1", .mode = LISTEN_REVERSE, .cert_path = "", .key_path = ""};
    b->loopback = (struct settings_cidr){.addr = {.family = 4, .bytes = {127}}, .bits = 8};
    b->settings = (struct settings){
        .listen = {&b->listen, 1}, .allow = &b->loopback, .allow_count = 1, .max_http_head_bytes = 65536, .strict_header_mode = 1,
        .max_concurrent_flows = 10, .upstream_connect_timeout = 10000, .tls_handshake_timeout = 10000, .idle_timeout = 600000,
        .stream_stage_timeout = 30000, .response_header_timeout = 600000, .resolver_timeout = 5000, .upstream_ca_file = "",
        .reverse_upstream = {.host = "www.example.com", .port = 80}, .block_response = {403, "", "text/plain"},
    };
    b->bus = bus_new();
    b->env = (struct flow_env){.settings = &b->settings, .bus = b->bus ? bus_port_new(b->bus, NULL, NULL) : NULL,
                               .failures = tls_failure_stats_new(16), .counters = &b->counters, .hooks = registry_hooks(registry),
                               .policy = registry, .ask = ask, .forget = forget, .is_own = is_own};
    must(b->env.bus && b->env.failures, "memory");
    b->env.bus->monotonic_ns = START_NS;
    struct flow_origin_of what = {.flow_id = 1, .client = "127.0.0.1:4711", .client_addr = {.family = 4, .bytes = {127, 0, 0, 1}}, .listen = &b->listen};
    b->flow = flow_new(&b->env, &what);
    must(b->flow != NULL, "memory");
    step(b, (struct input){.type = INPUT_ACCEPTED});
}

static void end(struct bench *b)
{
    flow_free(b->flow);
    bus_port_free(b->env.bus);
    bus_free(b->bus);
    tls_failure_stats_free(b->env.failures);
    for (unsigned i = 0; i < 2; i++) {
        buffer_fini(&b->out[i]);
        buffer_fini(&b->env.staged[i]);
    }
}

static void exchanges(uint64_t n, struct registry *registry)
{
    struct bench b = {.sent = {0, 0}};
    begin(&b, registry);
    for (uint64_t i = 0; i < n; i++) {
        hear(&b, SIDE_CLIENT, request, sizeof request - 1);
        hear(&b, SIDE_ORIGIN, response, sizeof response - 1);
    }
    must(b.sent[SIDE_ORIGIN] == n * (sizeof request - 1) && b.sent[SIDE_CLIENT] == n * (sizeof response - 1) && b.counters.exchanges == n, "the relay");
    end(&b);
}

static void with_policy(uint64_t n, uint32_t hooks)
{
    struct conf_module conf = {.name = "empty"};
    struct instance *instance = calloc(1, sizeof *instance);
    must(instance != NULL, "an instance");
    struct registry registry = {.v = &instance, .n = 1, .hooks = hooks};
    instance->conf = &conf;
    instance->registry = &registry;
    instance->module.request = no_opinion;
    instance->module.frame = no_frame;
    instance->hooks = hooks;
    exchanges(n, &registry);
    free(instance);
}

int main(int argc, char **argv)
{
    uint64_t n = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
    struct registry empty = {.n = 0};
    if (n && strcmp(argv[1], "alone") == 0)
        exchanges(n, &empty);
    else if (n && strcmp(argv[1], "deaf") == 0)
        with_policy(n, SOTH_HOOK_FRAME | SOTH_HOOK_SIGNAL);
    else if (n && strcmp(argv[1], "asked") == 0)
        with_policy(n, SOTH_HOOK_REQUEST);
    else
        must(false, "the command line: expected is alone, deaf or asked, and N; it");
    return 0;
}
