/* SPDX-License-Identifier: MPL-2.0 */
/* Events of many shapes, mixed: what a sink sees of each is what was emitted, in the order of names, whether its port keeps the shape or not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/event/private.h"

#define EVENTS 6000u
#define LINE 512u

static const char *const names[] = {"a", "bytes", "client_bytes", "direction", "e", "sequence_no", "sequence_no_of_all", "status_code"};
#define NAMES (sizeof names / sizeof *names)

static char expected[EVENTS][LINE];
static unsigned seen, wrong;

static void describe(char line[LINE], const struct soth_event *e)
{
    int n = snprintf(line, LINE, "%u %llu<%llu %llu %llu %.*s %d %.*s %d %u", e->kind, (unsigned long long)e->flow_id,
                     (unsigned long long)e->parent_flow_id, (unsigned long long)e->flow_sequence_id, (unsigned long long)e->monotonic_ns,
                     SOTH_SPAN(e->client_addr), e->client_addr.p != NULL, SOTH_SPAN(e->server_host), e->server_host.p != NULL, e->server_port);
    for (uint32_t i = 0; i < e->attr_count; i++) {
        const struct soth_attr *a = &e->attrs[i];
        assert_int_equal(a->name_len, strlen(a->name));
        n += event_type_is_text(a->type) ? snprintf(line + n, LINE - (size_t)n, " %s=%.*s", a->name, SOTH_SPAN(a->text))
                                         : snprintf(line + n, LINE - (size_t)n, " %s:%llu", a->name, (unsigned long long)a->number);
    }
    assert_true((size_t)n < LINE);
}

static int compare(void *instance, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    (void)instance;
    (void)retry_ms;
    for (*done = 0; *done < batch->count; ++*done) {
        char line[LINE];
        describe(line, batch->events[*done]);
        if (seen < EVENTS && strcmp(line, expected[seen]) != 0 && wrong++ == 0)
            print_error("event %u: %s\n  expected: %s\n", seen, line, expected[seen]);
        seen++;
    }
    return SOTH_OK;
}

static const struct bus_sink_ops ops = {compare, NULL, NULL};

static uint32_t draw(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Which are there, which are texts and in which order they are given comes from `which`; what they are from `at`. */
static size_t give(struct soth_attr attrs[NAMES], char texts[NAMES][64], unsigned which, unsigned at)
{
    for (size_t i = 0; i < NAMES; i++) {
        size_t k = which & 1 ? NAMES - 1 - i : i;
        bool here = which >> k & 1, text = which >> (k + 3) & 1;
        snprintf(texts[k], 64, "%.*s", (int)((at * 7 + k) % 40 + 1), "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOP");
        struct soth_span absent = {NULL, 0};
        attrs[i] = (struct soth_attr){names[k], here ? soth_span(text ? texts[k] : "") : absent, text ? 0 : at + k,
                                      text ? SOTH_ATTR_TEXT : SOTH_ATTR_U64, (uint32_t)strlen(names[k])};
    }
    return NAMES;
}

static void expect(char line[LINE], const struct bus_port *port, const struct event_source *source, unsigned kind, const struct soth_attr *attrs)
{
    struct soth_attr sorted[NAMES];
    struct soth_event e = {.kind = (uint16_t)kind, .flow_sequence_id = source->next_sequence, .monotonic_ns = port->monotonic_ns,
                           .flow_id = source->flow_id, .parent_flow_id = source->parent_flow_id, .client_addr = source->client_addr, .server_host = source->server_host, .server_port = source->server_port,
                           .attrs = sorted};
    for (size_t k = 0; k < NAMES; k++) /* names[] is in order */
        for (size_t i = 0; i < NAMES; i++)
            if (attrs[i].name == names[k] && attrs[i].text.p && !(attrs[i].type & EVENT_FLAGGED))
                sorted[e.attr_count++] = attrs[i];
    describe(line, &e);
}

/* Names change where they are, mostly in one byte alone: at the beginning, in the middle, at the end. */
static void change(struct event_source *source, char host[64], uint32_t *state)
{
    size_t n = source->server_host.n;
    if (draw(state) % 4 == 0)
        n = draw(state) % 4 ? 1 + draw(state) % 40 : 0;
    host[n ? draw(state) % 3 * (n - 1) / 2 : 0] = (char)('a' + draw(state) % 4);
    source->server_host = draw(state) % 7 ? (struct soth_span){host, n} : (struct soth_span){NULL, 0};
    source->server_port = draw(state) % 5 ? 443 : 8443;
    source->parent_flow_id = draw(state) % 5 ? 0 : 7;
    source->version++;
    source->client_addr = draw(state) % 5 ? soth_span("192.0.2.1:4711") : (struct soth_span){NULL, 0};
}

/* No event refers to a slab that it does not keep alive. */
static void sources_are_of_the_slab(const struct bus_port_private *p)
{
    for (unsigned i = 0; i < PORT_SOURCES; i++)
        assert_true(!p->sources[i] || p->sources[i]->slab == p->slab);
}

static void run(unsigned shapes, bool payload, uint64_t kinds, unsigned flows)
{
    struct bus_queue_config queue = {.max_events = EVENTS, .max_bytes = 64 << 20, .on_full = QUEUE_DROP_NEWEST};
    struct bus *bus = bus_new();
    assert_int_equal(bus_add_sink(bus, "compare", NULL, &ops, ~UINT64_C(1), &queue), SOTH_OK);
    assert_int_equal(bus_start(bus), SOTH_OK);
    struct bus_port *port = bus_port_new(bus, NULL, NULL);
    struct event_source source = {.next_sequence = 1};
    uint32_t state = 1;
    char host[64] = "www.example.com; www.example.com; www.example.com";
    seen = wrong = 0;
    for (unsigned i = 0; i < EVENTS; i++) {
        struct soth_attr attrs[NAMES];
        char texts[NAMES][64];
        size_t n = give(attrs, texts, draw(&state) % shapes * 2654435761u >> 12, i);
        if (payload && i % 3 == 0) { /* nobody wants it: it is left out */
            attrs[2].type = SOTH_ATTR_TEXT | SOTH_ATTR_PAYLOAD;
            attrs[2].text = soth_span("content");
        }
        unsigned kind = 1 + draw(&state) % (unsigned)kinds;
        source.flow_id = draw(&state) % flows;
        if (draw(&state) % 3 == 0)
            change(&source, host, &state);
        port->monotonic_ns = i;
        expect(expected[i], port, &source, kind, attrs);
        bus_emit(port, &source, kind, attrs, n);
        sources_are_of_the_slab(port->private);
        if (draw(&state) % 9 == 0)
            bus_flush(port);
    }
    bus_port_free(port);
    assert_int_equal(bus_stop(bus, 5000), 0);
    assert_int_equal(seen, EVENTS);
    assert_int_equal(wrong, 0);
    bus_free(bus);
}

static void few_shapes_of_a_kind(void **state)
{
    (void)state;
    run(SHAPES_OF_KIND, false, 2, 2);
}

static void more_shapes_than_a_port_keeps(void **state)
{
    (void)state;
    run(4096, false, SOTH_EV_COUNT - 1, 2);
    run(4096, false, 1, 1);
}

static void payload_that_nobody_wants(void **state)
{
    (void)state;
    run(64, true, 3, 2);
}

static void more_flows_than_a_port_keeps_in_mind(void **state)
{
    (void)state;
    run(SHAPES_OF_KIND, false, 2, 3 * PORT_SOURCES);
}

/* What is kept in mind of a slab is forgotten when all of it was read and it is filled from its beginning. */
static void a_slab_that_is_filled_again(void **state)
{
    struct bus_queue_config queue = {.max_events = EVENTS, .max_bytes = 64 << 20, .on_full = QUEUE_DROP_NEWEST};
    struct bus *bus = bus_new();
    (void)state;
    assert_int_equal(bus_add_sink(bus, "compare", NULL, &ops, ~UINT64_C(1), &queue), SOTH_OK);
    assert_int_equal(bus_start(bus), SOTH_OK);
    struct bus_port *port = bus_port_new(bus, NULL, NULL);
    struct event_source source = {.flow_id = 1, .next_sequence = 1, .server_host = soth_span("www.example.com")};
    unsigned emitted = 0;
    seen = wrong = 0;
    for (unsigned turn = 0; turn < 20; turn++) {
        for (unsigned i = turn % 2 ? 0 : 11; i < 12; i++) { /* one with much before it, then many with little */
            struct soth_attr attrs[NAMES];
            char texts[NAMES][64];
            size_t n = give(attrs, texts, turn % 2 ? 0x10u : 0xffffu, 38);
            expect(expected[emitted++], port, &source, SOTH_EV_WS_FRAME, attrs);
            bus_emit(port, &source, SOTH_EV_WS_FRAME, attrs, n);
        }
        bus_flush(port);
        while (atomic_load(&port->private->slab->refs) > 1)
            usleep(1000);
        bus_flush(port);
        assert_ptr_equal(port->private->at, port->private->slab->data);
    }
    bus_port_free(port);
    assert_int_equal(bus_stop(bus, 5000), 0);
    assert_int_equal(wrong, 0);
    bus_free(bus);
}

/* A shape that is known is not made again: the memory of a port has a bound. */
static void a_port_keeps_few_shapes(void **state)
{
    struct bus_queue_config queue = {.max_events = EVENTS, .max_bytes = 64 << 20, .on_full = QUEUE_DROP_NEWEST};
    struct bus *bus = bus_new();
    (void)state;
    bus_add_sink(bus, "compare", NULL, &ops, ~UINT64_C(1), &queue);
    struct bus_port *port = bus_port_new(bus, NULL, NULL);
    struct event_source source = {.flow_id = 1, .next_sequence = 1};
    for (unsigned i = 0; i < 1000; i++) {
        struct soth_attr attrs[NAMES];
        char texts[NAMES][64];
        bus_emit(port, &source, SOTH_EV_WS_FRAME, attrs, give(attrs, texts, i * 2654435761u >> 12, i));
        bus_flush(port);
    }
    unsigned made = 0;
    for (const struct shape *shape = port->private->made; shape; shape = shape->next)
        made++;
    assert_int_equal(made, SHAPES_OF_KIND);
    bus_port_free(port);
    bus_free(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_shapes_of_a_kind),
        cmocka_unit_test(more_shapes_than_a_port_keeps),
        cmocka_unit_test(payload_that_nobody_wants),
        cmocka_unit_test(more_flows_than_a_port_keeps_in_mind),
        cmocka_unit_test(a_slab_that_is_filled_again),
        cmocka_unit_test(a_port_keeps_few_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
