/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/sse/sse.c modules/sse/parser.c modules/match/media.c */
/* A stream of 24 hours, ten million events, through the chain and the module sse on a clock that is moved: memory stays flat, nothing is lost. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "chain_play.h"

#define EVENTS 10000000u
#define DAY_MS UINT64_C(86400000)

extern const struct soth_module soth_mitm_module;

static struct play play;
static void *module; /* the real one; the play's own decoder stands in front of it */
static uint64_t told, bytes_told;

static void *on_flow_state(struct soth_flow *flow) { return flow->state; }

static void on_protocol(struct soth_flow *flow, uint32_t protocol)
{
    (void)flow;
    assert_int_equal(protocol, SOTH_PROTO_SSE);
}

static int on_wanted(const struct soth_flow *flow, uint32_t kind)
{
    (void)flow;
    return kind == SOTH_EV_SSE_EVENT ? SOTH_WANTED_EVENT | SOTH_WANTED_PAYLOAD : 0;
}

static uint64_t on_payload_most(const struct soth_flow *flow, uint32_t kind)
{
    (void)flow, (void)kind;
    return UINT64_MAX;
}

static struct soth_span on_hdr_get(struct soth_flow *flow, const char *name, uint32_t nth)
{
    (void)flow;
    return nth == 0 && strcmp(name, "Content-Type") == 0 ? soth_span("text/event-stream") : (struct soth_span){NULL, 0};
}

static int on_emit(void *self, struct soth_flow *flow, uint32_t kind, const struct soth_attr *attrs, size_t n)
{
    (void)self;
    (void)flow;
    assert_int_equal(kind, SOTH_EV_SSE_EVENT);
    told++;
    assert_string_equal(attrs[0].name, "data");
    assert_string_equal(attrs[n - 1].name, "sequence_no");
    assert_int_equal(attrs[n - 1].number, told);
    bytes_told += attrs[0].text.n;
    return SOTH_OK;
}

static const struct soth_host host = {
    .size = sizeof host, .abi_minor = SOTH_ABI_MINOR, .flow_state = on_flow_state, .protocol = on_protocol, .wanted = on_wanted,
    .hdr_get = on_hdr_get, .emit = on_emit, .pass = cursor_pass, .fail = chain_fail, .payload_most = on_payload_most,
};

/* ---- the module behind the play's decoder ---- */

static int real_match(void *self, struct soth_flow *flow, const struct soth_message *message)
{
    (void)self;
    return soth_mitm_module.match(module, flow, message);
}

static int real_open(void *self, struct soth_flow *flow)
{
    ((struct actor *)self)->opened++;
    return soth_mitm_module.open(module, flow);
}

static int real_data(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)self;
    return soth_mitm_module.data(module, flow, cur);
}

static void real_close(void *self, struct soth_flow *flow, uint32_t complete)
{
    ((struct actor *)self)->closed++;
    soth_mitm_module.close(module, flow, complete);
}

static void put_nowhere(void *arg, const uint8_t *p, size_t n)
{
    (void)p;
    *(uint64_t *)arg += n;
}

static void begin(uint64_t *relayed)
{
    play_init(&play);
    play_add(&play, "sse", SOTH_TAP, soth_mitm_module.stage, real_data);
    play.modules[0].match = real_match;
    play.modules[0].open = real_open;
    play.modules[0].close = real_close;
    play.modules[0].state_size = soth_mitm_module.state_size;
    play.relay[SOTH_TO_CLIENT] = (struct relay){put_nowhere, relayed, SIZE_MAX};
    module = calloc(1, soth_mitm_module.self_size);
    assert_non_null(module);
    for (const struct soth_opt *o = soth_mitm_module.options; o->key; o++)
        if (strcmp(o->key, "max_event_bytes") == 0)
            *(uint64_t *)(void *)((char *)module + o->offset) = 1u << 20;
    assert_int_equal(soth_mitm_module.create(&host, module), SOTH_OK);
}

static long resident_kb(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%*s %ld", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Events of different sizes, cut where they please; the clock goes on with each. */
static uint64_t an_hour(unsigned events)
{
    uint64_t sent = 0;
    char text[256];
    for (unsigned i = 0; i < events; i++) {
        int n = snprintf(text, sizeof text, "id: %u\nevent: token\n: note\ndata: {\"delta\":\"%.*s\"}\r\n\r\n", i, (int)(i % 40),
                         "0123456789012345678901234567890123456789");
        size_t cut = i % (unsigned)n;
        assert_int_equal(chain_data(play.chain, SOTH_TO_CLIENT, text, cut, false, &play.relay[SOTH_TO_CLIENT]), CHAIN_GO);
        assert_int_equal(chain_data(play.chain, SOTH_TO_CLIENT, text + cut, (size_t)n - cut, false, &play.relay[SOTH_TO_CLIENT]), CHAIN_GO);
        play.port.monotonic_ns += DAY_MS * 1000000 / EVENTS;
        sent += (uint64_t)n;
    }
    return sent;
}

static void a_day_leaves_memory_flat(void **state)
{
    uint64_t relayed = 0, sent = 0;
    (void)state;
    begin(&relayed);
    assert_int_equal(play_match(&play, SOTH_TO_CLIENT, 200), CHAIN_GO);
    uint64_t start_ns = play.port.monotonic_ns;
    sent += an_hour(EVENTS / 24);
    long before_kb = resident_kb(); /* what a FILE needs is kept by the allocator from here on */
    size_t before = mallinfo2().uordblks;
    for (unsigned hour = 1; hour < 24; hour++)
        sent += an_hour(hour == 23 ? EVENTS - 23 * (EVENTS / 24) : EVENTS / 24);
    size_t after = mallinfo2().uordblks;
    print_message("%.1f hours, %llu events: heap %zu -> %zu bytes, resident %ld -> %ld kB\n",
                  (double)(play.port.monotonic_ns - start_ns) / 3.6e12, (unsigned long long)told, before, after, before_kb, resident_kb());
    assert_int_equal(told, EVENTS);
    assert_int_equal(relayed, sent);
    assert_int_equal(after, before);
    assert_int_equal(play.port.monotonic_ns - start_ns, DAY_MS * 1000000);
    assert_true(bytes_told > EVENTS * UINT64_C(12));
    assert_int_equal(play_end(&play, SOTH_TO_CLIENT), CHAIN_GO);
    play_fini(&play);
    free(module);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_day_leaves_memory_flat)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
