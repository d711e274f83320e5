/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The host for tests of modules gives events to sinks in every way, and finds those that lose or keep them.
 * build: sdk/testhost/
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "testhost_rig.h"

static char written[1 << 16];
static int sink_result;
static unsigned flushes, wakes, retries;

static int writes_down(void *self, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    (void)self;
    wakes += batch->count == 0;
    for (*done = 0; *done < batch->count; ++*done) {
        const struct soth_event *e = batch->events[*done];
        if (++retries % 3 == 0) {
            *retry_ms = 1;
            return SOTH_RETRY;
        }
        size_t n = strlen(written);
        n += (size_t)snprintf(written + n, sizeof written - n, "%llu %s", (unsigned long long)e->sequence_id, e->kind_name);
        for (uint32_t i = 0; i < e->attr_count; i++)
            n += (size_t)snprintf(written + n, sizeof written - n, " %s=%.*s", e->attrs[i].name, SOTH_SPAN(e->attrs[i].text));
        snprintf(written + n, sizeof written - n, ";");
    }
    return SOTH_OK;
}

static int flushes_well(void *self, uint32_t deadline_ms)
{
    (void)self;
    (void)deadline_ms;
    flushes++;
    return SOTH_OK;
}

#define SINK(...) {SOTH_PREFIX(SOTH_KIND_SINK), .name = "sink", .version = "1", .license = "MIT", __VA_ARGS__}

static const char lines[] = "request_headers method=GET target=/a\\x20b version=HTTP/1.1\nresponse_headers status_code=200\nstream_closed reason_detail=two words reason_code=x\n";

static void a_right_sink_passes(void **state)
{
    static const struct soth_module module = SINK(.write = writes_down, .flush = flushes_well);
    (void)state;
    struct testhost *host = testhost_new(&module, NULL, NULL);
    assert_int_equal(testhost_sink(host, lines, 0), 0);
    assert_int_equal(testhost_free(host), 0);
    assert_ptr_equal(strstr(written, "1 request_headers method=GET target=/a b version=HTTP/1.1;2 response_headers status_code=200;"
                                     "3 stream_closed reason_detail=two words reason_code=x;4 request_headers"),
                     written);
    assert_non_null(strstr(written, ";12 stream_closed"));
    assert_null(strstr(written, ";13 "));
    assert_int_equal(flushes, 4);
    assert_int_equal(wakes, 4);
}

static int answers(void *self, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    (void)self;
    (void)retry_ms;
    *done = sink_result == 100 ? batch->count + 1 : 0;
    return batch->count == 0 ? SOTH_OK : sink_result == 100 ? SOTH_OK : sink_result;
}

static void wrong_sinks_are_found(void **state)
{
    static const struct soth_module module = SINK(.write = answers);
    static const int wrong[] = {SOTH_OK, SOTH_RETRY, SOTH_DROP, SOTH_DEAD, -SOTH_EIO, 99, 100};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct testhost *host = testhost_new(&module, NULL, NULL);
        sink_result = wrong[i];
        rig_hush(true);
        unsigned faults = testhost_sink(host, "budget_denied what=flow", 0);
        unsigned lossy = testhost_sink(host, "budget_denied what=flow", 1);
        testhost_free(host);
        rig_hush(false);
        if (faults == 0 || (wrong[i] == SOTH_DROP && lossy != 0))
            fail_msg("result %d", wrong[i]);
    }
}

static const struct soth_event *kept_event;

static int keeps_an_event(void *self, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    volatile uint16_t kind = kept_event ? kept_event->kind : 0;
    (void)self;
    (void)retry_ms;
    (void)kind;
    kept_event = batch->count ? batch->events[0] : kept_event;
    *done = batch->count;
    return SOTH_OK;
}

static void run_sink(void *module)
{
    rig_hush(true);
    testhost_sink(testhost_new(module, NULL, NULL), lines, 0);
}

static void a_sink_that_keeps_events_crashes(void **state)
{
    static struct soth_module module = SINK(.write = keeps_an_event);
    (void)state;
    assert_true(rig_crashes(run_sink, &module));
}

static int acks(void *self, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    (void)retry_ms;
    *done = batch->count;
    if (batch->count && sink_result == 0)
        rig_api->ack(self, batch->events[batch->count - 1]->sequence_id);
    if (batch->count && sink_result == 2)
        rig_api->ack(self, batch->events[batch->count - 1]->sequence_id + 5);
    return SOTH_OK;
}

static void what_is_taken_must_be_acknowledged(void **state)
{
    static const struct soth_module module = SINK(.create = rig_keeps_host, .write = acks, .flags = SOTH_SINK_ASYNC_ACK);
    (void)state;
    for (sink_result = 0; sink_result < 3; sink_result++) {
        struct testhost *host = testhost_new(&module, NULL, NULL);
        rig_hush(true);
        unsigned faults = testhost_sink(host, sink_result == 1 ? "budget_denied what=flow" : lines, 0);
        rig_hush(false);
        assert_int_equal(faults > 0, sink_result > 0);
        testhost_free(host);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_right_sink_passes),
        cmocka_unit_test(wrong_sinks_are_found),
        cmocka_unit_test(a_sink_that_keeps_events_crashes),
        cmocka_unit_test(what_is_taken_must_be_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
