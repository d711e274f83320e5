/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What modules cost on the flow's side: `modules PART N` does one thing N times, and scripts/bench modules has the instructions of that
 * counted; `modules storm RATE SECONDS` emits RATE events a second from two threads into a sink that counts, RATE 0 as many as go. Prints
 * a line of JSON.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/chain/chain.h"
#include "host/event/bus.h"
#include "host/flow/hook.h"
#include "host/module/instance.h"
#include "host/module/registry.h"

#define TURN 4u /* events of a loop turn: what a small exchange brings */

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "modules: %s failed\n", what);
    exit(1);
}

/* ---- a sink that counts ---- */

struct tally {
    uint64_t events, lost;
};

static int tally_write(void *instance, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    struct tally *tally = instance;
    (void)retry_ms;
    tally->events += batch->count;
    tally->lost += batch->lost;
    *done = batch->count;
    return SOTH_OK;
}

static const struct bus_sink_ops tally_ops = {tally_write, NULL, NULL};

static struct bus *bus_with(struct tally *tally, uint64_t kinds, uint64_t max_events, uint32_t on_full)
{
    struct bus_queue_config queue = {.max_events = max_events, .max_bytes = UINT64_C(1) << 40, .on_full = on_full};
    struct bus *bus = bus_new();
    must(bus && bus_add_sink(bus, "tally", tally, &tally_ops, kinds, &queue) == SOTH_OK && bus_start(bus) == SOTH_OK, "the bus");
    return bus;
}

static void emit(struct bus_port *port, struct event_source *source, uint64_t n)
{
    struct soth_attr attrs[] = {ATTR_NUMBER("bytes", n), ATTR_NUMBER("exchange_no", 1), ATTR_NUMBER("offset", n)};
    bus_emit(port, source, SOTH_EV_RESPONSE_BODY_CHUNK, attrs, 3);
}

static const struct event_source a_source = {.flow_id = 1, .next_sequence = 1, .client_addr = {"127.0.0.1:40000", 15},
                                             .server_host = {"www.example.com", 15}, .server_port = 443, .protocol = SOTH_PROTO_HTTP1};

/* ---- the parts ---- */

static void events(uint64_t n, uint64_t kinds)
{
    struct tally tally = {0, 0};
    struct bus *bus = bus_with(&tally, kinds, 1 << 24, QUEUE_DROP_NEWEST);
    struct bus_port *port = bus_port_new(bus, NULL, NULL);
    struct event_source source = a_source;
    must(port != NULL, "a port");
    for (uint64_t i = 0; i < n; i++) {
        emit(port, &source, i);
        if (i % TURN == TURN - 1 && port->pending)
            bus_flush(port);
    }
    bus_port_free(port);
    must(bus_stop(bus, 60000) == 0 && tally.events == (kinds ? n : 0), "delivery");
    bus_free(bus);
}

static void wanted_events(uint64_t n)
{
    events(n, ~UINT64_C(1));
}

static void unwanted_events(uint64_t n)
{
    events(n, 0);
}

static int no_opinion(void *self, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out)
{
    (void)self;
    (void)flow;
    (void)request;
    (void)out;
    return SOTH_CONTINUE;
}

static void policy(uint64_t n)
{
    struct conf_module conf = {.name = "empty"};
    struct instance *instance = calloc(1, sizeof *instance);
    must(instance != NULL, "an instance");
    struct registry registry = {.v = &instance, .n = 1, .hooks = SOTH_HOOK_REQUEST};
    instance->conf = &conf;
    instance->registry = &registry;
    instance->module.request = no_opinion;
    instance->hooks = SOTH_HOOK_REQUEST;
    struct bus_port port = {.mask = 0};
    struct soth_flow flow = {.bus = &port};
    struct soth_message message = {.size = sizeof message};
    struct question question = {.hook = SOTH_HOOK_REQUEST, .message = &message};
    struct ask ask = {.hook = 0};
    for (uint64_t i = 0; i < n; i++)
        must(registry_ask(&registry, &flow, &ask, &question) == ASK_DONE, "the question");
    free(instance);
}

/* ---- decoders that look on and do nothing ---- */

static int watch_all(void *self, struct soth_flow *flow, const struct soth_message *message)
{
    (void)self;
    (void)flow;
    (void)message;
    return SOTH_WATCH_BODY;
}

static int see_nothing(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)self;
    (void)flow;
    (void)cur;
    return SOTH_CONTINUE;
}

static bool never_out(const struct decoder *decoder)
{
    (void)decoder;
    return false;
}

static void well(struct decoder *decoder)
{
    (void)decoder;
}

static void relayed(void *arg, const uint8_t *p, size_t n)
{
    (void)p;
    *(uint64_t *)arg += n;
}

/* A body in pieces through so many of them. */
static void taps(uint64_t n, unsigned count)
{
    static const struct soth_module module = {.name = "empty", .mode = SOTH_TAP, .stage = SOTH_STAGE_FRAME, .match = watch_all, .data = see_nothing};
    static const char piece[1024];
    struct decoder decoders[4];
    memset(decoders, 0, sizeof decoders);
    for (unsigned i = 0; i < count; i++)
        decoders[i] = (struct decoder){.module = &module, .name = "empty", .site = "empty", .position = i};
    struct chain_env env = {.decoders = decoders, .count = count, .is_out = never_out, .went_well = well};
    struct bus_port port = {.mask = 0};
    struct event_source source = a_source;
    struct soth_flow flow = {.bus = &port, .source = &source};
    struct soth_message message = {.size = sizeof message, .direction = SOTH_TO_CLIENT};
    struct chain *chain = NULL;
    uint64_t out = 0;
    struct relay relay = {relayed, &out, SIZE_MAX};
    must(chain_match(&chain, &env, &flow, &message) == CHAIN_GO && chain, "a chain");
    for (uint64_t i = 0; i < n; i++)
        must(chain_data(chain, SOTH_TO_CLIENT, piece, sizeof piece, false, &relay) == CHAIN_GO, "a piece");
    must(out == n * sizeof piece, "the relay");
    chain_free(chain, true);
}

static void one_tap(uint64_t n)
{
    taps(n, 1);
}

static void two_taps(uint64_t n)
{
    taps(n, 2);
}

static const struct part {
    const char *name;
    void (*run)(uint64_t n);
} parts[] = {
    {"policy", policy},
    {"tap", one_tap},
    {"taps", two_taps},
    {"event", wanted_events},
    {"unwanted", unwanted_events},
};

/* ---- the storm ---- */

struct producer {
    struct bus *bus;
    uint64_t rate, count; /* of this one; rate 0: no pause but what the bus asks for */
};

static void wait_until(struct timespec *at, uint64_t ns)
{
    at->tv_nsec += (long)ns;
    at->tv_sec += at->tv_nsec / 1000000000;
    at->tv_nsec %= 1000000000;
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, at, NULL) != 0)
        ;
}

static void *produce(void *arg)
{
    struct producer *me = arg;
    struct bus_port *port = bus_port_new(me->bus, NULL, NULL);
    struct event_source source = a_source;
    struct timespec at, moment = {0, 50000};
    must(port != NULL, "a port");
    clock_gettime(CLOCK_MONOTONIC, &at);
    uint64_t slice = me->rate ? me->rate / 1000 : 500; /* a millisecond's */
    for (uint64_t i = 0; i < me->count; i++) {
        emit(port, &source, i);
        if (i % 50 == 49)
            bus_flush(port);
        for (; !me->rate && port->congested; bus_port_woken(port))
            nanosleep(&moment, NULL);
        if (me->rate && i % slice == slice - 1)
            wait_until(&at, 1000000);
    }
    bus_port_free(port);
    return NULL;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void storm(uint64_t rate, uint64_t seconds)
{
    struct tally tally = {0, 0};
    struct bus *bus = bus_with(&tally, ~UINT64_C(1), 65536, rate ? QUEUE_DROP_NEWEST : QUEUE_PAUSE_FLOW);
    struct producer producers[2];
    pthread_t threads[2];
    double began = now();
    for (unsigned i = 0; i < 2; i++) {
        producers[i] = (struct producer){bus, rate / 2, (rate ? rate : 1000000) * seconds / 2};
        must(pthread_create(&threads[i], NULL, produce, &producers[i]) == 0, "a thread");
    }
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    double emitted = now() - began;
    bus_stop(bus, 60000);
    double written = now() - began;
    struct bus_sink_stats stats;
    bus_stats(bus, &stats, 1);
    printf("{\"emitted\": %" PRIu64 ", \"counted\": %" PRIu64 ", \"lost\": %" PRIu64 ", \"emit_seconds\": %.3f, \"seconds\": %.3f}\n",
           producers[0].count + producers[1].count, tally.events, stats.lost, emitted, written);
    bus_free(bus);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "storm") == 0) {
        storm(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
        return 0;
    }
    for (size_t i = 0; argc == 3 && i < sizeof parts / sizeof *parts; i++)
        if (strcmp(argv[1], parts[i].name) == 0) {
            parts[i].run(strtoull(argv[2], NULL, 10));
            return 0;
        }
    fprintf(stderr, "modules: expected is: PART N, or storm RATE SECONDS\n");
    return 2;
}
