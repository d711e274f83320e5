/* SPDX-License-Identifier: MPL-2.0 */
/* Content of messages in events: each sink sees as much of it as it asked for, and nothing is kept that nobody asked for. Also run under TSan. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus_probe.h"
#include "host/event/private.h"

/* ---- a sink that writes down what it sees ---- */

struct reader {
    char text[8192];
    size_t n;
};

static int read_write(void *instance, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    struct reader *r = instance;
    (void)retry_ms;
    for (*done = 0; *done < batch->count; ++*done) {
        const struct soth_event *e = batch->events[*done];
        r->n += (size_t)snprintf(r->text + r->n, sizeof r->text - r->n, "%u:", e->kind);
        for (uint32_t i = 0; i < e->attr_count; i++) {
            const struct soth_attr *a = &e->attrs[i];
            bool number = a->type == SOTH_ATTR_U64;
            assert_true(number || a->type == SOTH_ATTR_TEXT || a->type == SOTH_ATTR_BYTES); /* flags are the host's affair */
            r->n += number ? (size_t)snprintf(r->text + r->n, sizeof r->text - r->n, " %s=%u", a->name, (unsigned)a->number)
                           : (size_t)snprintf(r->text + r->n, sizeof r->text - r->n, " %s=%.*s", a->name, SOTH_SPAN(a->text));
        }
        r->n += (size_t)snprintf(r->text + r->n, sizeof r->text - r->n, "\n");
        assert_true(r->n < sizeof r->text);
    }
    return SOTH_OK;
}

#define SINKS 4
struct stage {
    struct bus *bus;
    struct bus_port *port;
    struct event_source source;
    struct reader readers[SINKS];
};

/* Sinks with these payloads; kinds 0 = all. */
static void stage_init(struct stage *s, const uint64_t *payloads, const uint64_t *kinds, size_t n)
{
    static const struct bus_sink_ops ops = {read_write, NULL, NULL};
    memset(s, 0, sizeof *s);
    s->bus = bus_new();
    for (size_t i = 0; i < n; i++) {
        char name[16];
        struct bus_queue_config queue = {.max_events = 1024, .max_bytes = 1 << 20, .payload = payloads[i]};
        snprintf(name, sizeof name, "sink%zu", i);
        assert_int_equal(bus_add_sink(s->bus, name, &s->readers[i], &ops, kinds && kinds[i] ? kinds[i] : EVERY, &queue), SOTH_OK);
    }
    assert_int_equal(bus_start(s->bus), SOTH_OK);
    s->port = bus_port_new(s->bus, NULL, NULL);
    s->source.next_sequence = 1;
}

static void stage_fini(struct stage *s)
{
    bus_port_free(s->port);
    assert_int_equal(bus_stop(s->bus, 5000), 0);
    bus_free(s->bus);
}

static struct soth_attr flagged(struct soth_attr attr, uint32_t flags, uint64_t offset)
{
    attr.type |= flags;
    attr.number = offset;
    return attr;
}

static void chunk(struct stage *s, uint64_t offset, const char *text)
{
    struct soth_attr attrs[] = {ATTR_NUMBER("bytes", strlen(text)), ATTR_NUMBER("offset", offset),
                                flagged(ATTR_BYTES("payload", soth_span(text)), SOTH_ATTR_PAYLOAD, offset)};
    bus_emit(s->port, &s->source, SOTH_EV_REQUEST_BODY_CHUNK, attrs, 3);
}

static void head(struct stage *s)
{
    struct soth_attr attrs[] = {
        flagged(ATTR_BYTES("headers", soth_span("A: 1\nReferer: /x\n")), SOTH_ATTR_PAYLOAD | EVENT_ATTR_WHOLE, 0),
        flagged(ATTR_BYTES("headers", soth_span("A: 1\nReferer: /x?secret\n")), SOTH_ATTR_FULL | EVENT_ATTR_WHOLE, 0),
        ATTR_WORD("method", "GET"),
        flagged(ATTR_BYTES("query", soth_span("q=1")), SOTH_ATTR_FULL, 0),
    };
    bus_emit(s->port, &s->source, SOTH_EV_REQUEST_HEADERS, attrs, 4);
}

/* ---- views ---- */

static void each_sink_sees_what_it_asked_for(void **state)
{
    static const uint64_t payloads[] = {0, 1, 10, BUS_PAYLOAD_FULL};
    struct stage s;
    (void)state;
    stage_init(&s, payloads, NULL, 4);
    assert_true(bus_payload(s.port, SOTH_EV_REQUEST_BODY_CHUNK) == BUS_PAYLOAD_FULL);
    head(&s);
    chunk(&s, 0, "0123456");
    chunk(&s, 7, "789abc");
    chunk(&s, 13, "def");
    stage_fini(&s);
    assert_string_equal(s.readers[0].text, "7: method=GET\n8: bytes=7 offset=0\n8: bytes=6 offset=7\n8: bytes=3 offset=13\n");
    assert_string_equal(s.readers[1].text, "7: headers=A: 1\nReferer: /x\n method=GET\n8: bytes=7 offset=0 payload=0\n8: bytes=6 offset=7\n"
                                           "8: bytes=3 offset=13\n");
    assert_string_equal(s.readers[2].text, "7: headers=A: 1\nReferer: /x\n method=GET\n8: bytes=7 offset=0 payload=0123456\n"
                                           "8: bytes=6 offset=7 payload=789\n8: bytes=3 offset=13\n");
    assert_string_equal(s.readers[3].text, "7: headers=A: 1\nReferer: /x?secret\n method=GET query=q=1\n8: bytes=7 offset=0 payload=0123456\n"
                                           "8: bytes=6 offset=7 payload=789abc\n8: bytes=3 offset=13 payload=def\n");
}

static void more_payload_than_a_batch_may_lie_in_a_queue(void **state)
{
    static const uint64_t payloads[] = {0, 3};
    struct stage s;
    (void)state;
    stage_init(&s, payloads, NULL, 2);
    for (unsigned i = 0; i < 100; i++) {
        chunk(&s, 0, "abcdef");
        struct soth_attr plain = ATTR_NUMBER("bytes", i);
        bus_emit(s.port, &s.source, SOTH_EV_RESPONSE_BODY_CHUNK, &plain, 1);
    }
    stage_fini(&s);
    const char *none = s.readers[0].text, *some = s.readers[1].text;
    for (unsigned i = 0; i < 100; i++) {
        char line[64];
        snprintf(line, sizeof line, "8: bytes=6 offset=0\n11: bytes=%u\n", i);
        assert_memory_equal(none, line, strlen(line));
        none += strlen(line);
        snprintf(line, sizeof line, "8: bytes=6 offset=0 payload=abc\n11: bytes=%u\n", i);
        assert_memory_equal(some, line, strlen(line));
        some += strlen(line);
    }
}

/* ---- what is not wanted is not even copied ---- */

static size_t size_of_last(const struct stage *s)
{
    const struct bus_port_private *p = s->port->private;
    return p->count ? p->pending[p->count - 1]->bytes : 0;
}

static void nothing_is_captured_when_nobody_wants_it(void **state)
{
    static const uint64_t none[] = {0}, some[] = {4}, all[] = {BUS_PAYLOAD_FULL};
    static const uint64_t *const wanted[] = {none, some, all};
    size_t sizes[3];
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct stage s;
        stage_init(&s, wanted[i], NULL, 1);
        assert_int_equal(bus_captures(s.port, SOTH_EV_REQUEST_BODY_CHUNK), i > 0);
        chunk(&s, 0, "0123456789");
        sizes[i] = size_of_last(&s);
        stage_fini(&s);
    }
    assert_int_equal(sizes[1], sizes[0] + sizeof(struct soth_attr) + 4);
    assert_int_equal(sizes[2], sizes[0] + sizeof(struct soth_attr) + 10);
}

/* A sink wants payload, but of kinds of its own. */
static void payload_is_captured_by_kind(void **state)
{
    static const uint64_t payloads[] = {0, BUS_PAYLOAD_FULL};
    static const uint64_t kinds[] = {0, KINDS(SOTH_EV_REQUEST_HEADERS)};
    struct stage s;
    (void)state;
    stage_init(&s, payloads, kinds, 2);
    assert_true(bus_captures(s.port, SOTH_EV_REQUEST_HEADERS));
    assert_false(bus_captures(s.port, SOTH_EV_REQUEST_BODY_CHUNK));
    chunk(&s, 0, "0123");
    head(&s);
    stage_fini(&s);
    assert_string_equal(s.readers[0].text, "8: bytes=4 offset=0\n7: method=GET\n");
    assert_string_equal(s.readers[1].text, "7: headers=A: 1\nReferer: /x?secret\n method=GET query=q=1\n");
}

/* A value that is no text is not cut: it is there or not. */
static void numbers_of_a_message_are_payload_too(void **state)
{
    static const uint64_t payloads[] = {0, 1};
    struct stage s;
    struct soth_attr attrs[] = {ATTR_NUMBER("bytes", 9)};
    (void)state;
    stage_init(&s, payloads, NULL, 2);
    attrs[0].type |= SOTH_ATTR_PAYLOAD;
    bus_emit(s.port, &s.source, SOTH_EV_REQUEST_BODY_CHUNK, attrs, 1);
    stage_fini(&s);
    assert_string_equal(s.readers[0].text, "8:\n");
    assert_string_equal(s.readers[1].text, "8: bytes=9\n");
}

static void payload_counts_in_the_queue(void **state)
{
    struct bus_queue_config queue = {.max_events = 1024, .max_bytes = 65536, .payload = BUS_PAYLOAD_FULL};
    static char text[16384];
    struct sink_line rig;
    (void)state;
    memset(text, 'x', sizeof text);
    line_init_queue(&rig, &queue);
    line_hold(&rig);
    for (unsigned i = 0; i < 10; i++) {
        struct soth_attr attr = flagged(ATTR_BYTES("payload", ((struct soth_span){text, sizeof text})), SOTH_ATTR_PAYLOAD, 0);
        bus_emit(rig.port, &rig.source, SOTH_EV_REQUEST_BODY_CHUNK, &attr, 1);
        bus_flush(rig.port);
    }
    struct bus_sink_stats stats;
    bus_stats(rig.bus, &stats, 1);
    assert_int_equal(stats.lost, 7);
    assert_in_range(stats.queued_bytes, 3 * 16384, 65536);
    probe_gate(&rig.probe, false);
    assert_int_equal(line_fini(&rig), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_sink_sees_what_it_asked_for),
        cmocka_unit_test(more_payload_than_a_batch_may_lie_in_a_queue),
        cmocka_unit_test(nothing_is_captured_when_nobody_wants_it),
        cmocka_unit_test(payload_is_captured_by_kind),
        cmocka_unit_test(numbers_of_a_message_are_payload_too),
        cmocka_unit_test(payload_counts_in_the_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
