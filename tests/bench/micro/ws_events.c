/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/ws/report.c modules/ws/turns.c modules/ws/framing.c modules/sink_file/line.c modules/sink_file/form.c modules/sink_file/json.c */
/*
 * What the events of a WebSocket's echo cost: `ws_events echo N` publishes the six events of N echoes as the ws module does, into a sink that
 * makes the lines and rows of sink_file and writes them nowhere. Prints a line of JSON with the CPU of both threads, in ns an echo;
 * scripts/bench modules counts their instructions. `paced N`: a busy proxy's share of a moment, then a rest in which the sink comes after it, so
 * that slabs go round from core to core as they do there; without rests their pool runs dry, and half the worker's time is the kernel's, for pages.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/event/bus.h"
#include "host/flow/hook.h"
#include "host/module/hostapi.h"
#include "host/module/instance.h"
#include "modules/sink_file/form.h"
#include "modules/sink_file/line.h"
#include "modules/ws/ws.h"

#define EVENTS 6u /* of an echo */
#define BUFFER 131072u
#define PACE 320u /* echoes, */
#define REST_NS 4000000L
#define TIMES_MOST 10000000u

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "ws_events: %s failed\n", what);
    exit(1);
}

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* ---- the sink's side ---- */

struct writer {
    struct text lines, rows;
    struct forms forms;
    uint64_t events;
    double ns;
};

static void make_line(struct writer *w, const struct soth_event *event)
{
    char buf[SOTH_STREAM_KEY_MAX];
    struct soth_span key = {buf, event_stream_key(event, buf)};
    size_t before = w->lines.n;
    struct line line;
    must(line_event(&w->lines, &w->forms, event, key, &line) == SOTH_OK, "the line");
    const struct line_place place = {w->lines.p + before, 0, before};
    must(line_index(&w->rows, event, key, &line, &place) == SOTH_OK, "the row");
    if (w->lines.n >= BUFFER)
        w->lines.n = w->rows.n = 0;
}

static int writer_write(void *instance, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    struct writer *w = instance;
    double began = cpu_ns();
    (void)retry_ms;
    for (uint32_t i = 0; i < batch->count; i++) {
        if (i + 1 < batch->count)
            line_fetch(batch->events[i + 1]);
        make_line(w, batch->events[i]);
    }
    w->events += batch->count;
    w->ns += cpu_ns() - began;
    *done = batch->count;
    return SOTH_OK;
}

static const struct bus_sink_ops writer_ops = {writer_write, NULL, NULL};

/* ---- the worker's side ---- */

/* As flow/emit.c does. */
static void emit_form(struct soth_flow *view, const struct form *form, const union soth_value *values, uint64_t present)
{
    const struct soth_attr extra = ATTR_NUMBER("exchange_no", view->exchange_no);
    bus_emit_form(view->bus, view->source, event_form_kind(form), form, values, present, &extra);
}

struct talker {
    struct ws *ws;
    struct soth_flow flow;
    struct turn turn;
    uint64_t messages;
};

static void say(struct talker *t, unsigned direction)
{
    struct frame_head head = {.fin = true, .masked = direction == SOTH_TO_SERVER, .opcode = OP_BINARY, .length = 1024};
    struct message message = {.opcode = OP_BINARY, .number = ++t->messages, .frames = 1, .bytes = head.length};
    struct talk_frame frame = {.head = &head, .number = t->messages, .message = &message};
    report_frame(t->ws, &t->flow, direction, &frame);
    bus_flush(t->flow.bus); /* a loop turn each */
}

static void echo(struct talker *t)
{
    struct turn_step step = {.end = TURN_ROLLOVER, .ended = t->turn};
    t->turn.id++;
    t->turn.first = t->turn.last + 1;
    t->turn.last += 2;
    report_turn_ended(t->ws, &t->flow, &step);
    report_turn_started(t->ws, &t->flow, &t->turn);
    say(t, SOTH_TO_SERVER);
    say(t, SOTH_TO_CLIENT);
}

static struct instance *instance_new(struct registry *registry)
{
    struct instance *instance = calloc(1, sizeof *instance + sizeof(struct ws));
    must(instance != NULL, "an instance");
    instance->registry = registry;
    struct ws *ws = (struct ws *)(void *)instance->self;
    ws->host = &hostapi;
    must(report_begin(ws) == SOTH_OK, "its forms");
    return instance;
}

static double run(struct writer *writer, uint64_t echoes, bool paced)
{
    struct bus_queue_config queue = {.max_events = UINT64_C(1) << 40, .max_bytes = UINT64_C(1) << 40};
    struct bus *bus = bus_new();
    must(bus && bus_add_sink(bus, "writer", writer, &writer_ops, ~UINT64_C(1), &queue) == SOTH_OK && bus_start(bus) == SOTH_OK, "the bus");
    struct registry registry = {.bus = bus};
    struct instance *instance = instance_new(&registry);
    struct event_source source = {.flow_id = 1, .next_sequence = 1, .client_addr = soth_span("127.0.0.1:40000"),
                                  .server_host = soth_span("www.example.com"), .server_port = 443, .protocol = SOTH_PROTO_WS};
    struct talker talker = {.ws = (struct ws *)(void *)instance->self, .turn = {.frames = {1, 1}, .bytes = {1024, 1024}}};
    talker.flow = (struct soth_flow){.bus = bus_port_new(bus, NULL, NULL), .source = &source, .emit_form = emit_form, .exchange_no = 1};
    must(talker.flow.bus != NULL, "a port");
    double began = cpu_ns();
    for (uint64_t i = 0; i < echoes; i++) {
        echo(&talker);
        if (paced && i % PACE == PACE - 1)
            nanosleep(&(struct timespec){0, REST_NS}, NULL);
    }
    double ns = cpu_ns() - began;
    bus_port_free(talker.flow.bus);
    must(bus_stop(bus, 60000) == 0 && writer->events == echoes * EVENTS, "delivery");
    bus_free(bus);
    free(instance->forms);
    free(instance);
    return ns;
}

int main(int argc, char **argv)
{
    struct writer writer = {.events = 0};
    char *end = NULL;
    bool paced = argc == 3 && strcmp(argv[1], "paced") == 0;
    uint64_t n = paced || (argc == 3 && strcmp(argv[1], "echo") == 0) ? strtoull(argv[2], &end, 10) : 0;
    if (n == 0 || n > TIMES_MOST || *end) {
        fprintf(stderr, "ws_events echo|paced 1-%u\n", TIMES_MOST);
        return 2;
    }
    double ns = run(&writer, n, paced);
    printf("{\"echoes\": %" PRIu64 ", \"worker_ns\": %.0f, \"sink_ns\": %.0f}\n", n, ns / (double)n, writer.ns / (double)n);
    free(writer.lines.p);
    free(writer.rows.p);
    forms_fini(&writer.forms);
    return 0;
}
