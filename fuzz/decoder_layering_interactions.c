/* SPDX-License-Identifier: MPL-2.0 */
/* build: tests/fixtures/layer_content_decode.c tests/fixtures/layer_sse.c tests/fixtures/layer_ndjson.c tests/fixtures/layer_antihijack.c modules/coding/coding.c modules/coding/stage_zlib.c modules/coding/stage_brotli.c modules/coding/stage_zstd.c modules/sse/parser.c modules/ndjson/records.c modules/antihijack/guard.c modules/match/media.c tests/unit/fake_host.c */
/* needs: CODING */
/*
 * The shipped decoders in one chain, on one response. The first byte chooses its head, whether a policy judges frames and which modules there are, the
 * second where the body is cut; with a bit of the first the body is gzipped here, so that what the fuzzer writes is what decoders see. What must
 * hold: what is relayed is what was given (or, with rewrite, the same without a prefix), whatever the cut; what is published and judged is the
 * same whatever the cut.
 */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "fuzz/target.h"
#include "host/chain/chain.h"
#include "host/mem/buffer.h"
#include "tests/unit/fake_host.h"

extern const struct soth_module layer_content_decode, layer_sse, layer_ndjson, layer_antihijack;

enum { JUDGED = 1, REWRITES = 2, GZIPPED_HERE = 4, TYPE_SHIFT = 4, CODING_SHIFT = 6 };

static const char *const types[] = {"text/event-stream", "application/x-ndjson", "application/json-seq", "application/json"};
static const char *const codings[] = {"", "gzip", "br", "zstd"};

/* ---- the host ---- */

static struct {
    uint8_t options;
    struct buffer events, out;
} world;

static void say(const void *p, size_t n)
{
    MUST(buffer_append(&world.events, p, n) == 0);
}

static int on_emit(void *self, struct soth_flow *flow, uint32_t kind, const struct soth_attr *attrs, size_t n)
{
    (void)self;
    (void)flow;
    say(&kind, sizeof kind);
    for (size_t i = 0; i < n; i++) {
        if (!attrs[i].text.p)
            continue;
        say(attrs[i].name, strlen(attrs[i].name));
        say(&attrs[i].number, sizeof attrs[i].number);
        say(attrs[i].text.p, attrs[i].text.n);
    }
    return SOTH_OK;
}

/* Failures: how many bytes the one at fault has seen depends on the cut, and whether a coding is found broken for which nobody is left. */
static void on_chain_emit(struct soth_flow *flow, unsigned kind, const struct soth_attr *attrs, size_t n)
{
    (void)flow;
    MUST(kind == SOTH_EV_DECODER_STAGE_FAILED && n > 0 && attrs);
}

static int on_wanted(const struct soth_flow *flow, uint32_t kind)
{
    (void)kind;
    return SOTH_WANTED_EVENT | SOTH_WANTED_PAYLOAD | (chain_is_judged(flow) ? SOTH_WANTED_FRAME : 0);
}

static uint64_t on_payload_most(const struct soth_flow *flow, uint32_t kind)
{
    (void)flow, (void)kind;
    return UINT64_MAX;
}

static void on_protocol(struct soth_flow *flow, uint32_t protocol)
{
    (void)flow;
    say(&protocol, sizeof protocol);
}

static struct soth_span on_hdr_get(struct soth_flow *flow, const char *name, uint32_t nth)
{
    (void)flow;
    const char *coding = world.options & GZIPPED_HERE ? "gzip" : codings[world.options >> CODING_SHIFT & 3];
    if (nth == 0 && strcmp(name, "Content-Type") == 0)
        return soth_span(types[world.options >> TYPE_SHIFT & 3]);
    if (nth == 0 && strcmp(name, "Content-Encoding") == 0 && *coding)
        return soth_span(coding);
    return (struct soth_span){NULL, 0};
}

static void *on_state(struct soth_flow *flow)
{
    return flow->state;
}

static enum ask_result judge(void *policy, struct soth_flow *flow, struct ask *ask, const struct question *q)
{
    (void)policy;
    (void)flow;
    say("frame", 5);
    say(q->frame->payload.p, q->frame->payload.n);
    *ask = (struct ask){.verdict = {.action = SOTH_ALLOW, .policy_module = ""}};
    return ASK_DONE;
}

static void nothing_forgotten(void *policy, struct soth_flow *flow, struct ask *ask)
{
    (void)policy;
    (void)flow;
    ask->hook = 0;
}

static bool never_out(const struct decoder *decoder)
{
    (void)decoder;
    return false;
}

static void own_fault(struct decoder *decoder, const char *hook, const char *code)
{
    (void)decoder;
    (void)hook;
    (void)code;
    abort(); /* traffic is no fault of a module's */
}

static void went_well(struct decoder *decoder)
{
    (void)decoder;
}

/* ---- the modules ---- */

#define LAYERS 4u
static struct fake_instance instances[2][LAYERS];
static struct decoder decoders[2][LAYERS];

static void set_up(unsigned rewrites)
{
    static struct soth_module modules[2][LAYERS];
    static struct soth_host host;
    static const struct soth_module *const all[LAYERS] = {&layer_content_decode, &layer_sse, &layer_ndjson, &layer_antihijack};
    static const char *const config[LAYERS] = {"max_ratio: 50\nmax_bytes: 200k\n", "max_event_bytes: 4k\n", "max_record_bytes: 4k\n", "rewrite: false\n"};
    host = fake_api;
    host.emit = on_emit;
    host.wanted = on_wanted;
    host.payload_most = on_payload_most;
    host.protocol = on_protocol;
    host.hdr_get = on_hdr_get;
    host.flow_state = on_state;
    host.pass = cursor_pass;
    host.drop = cursor_drop;
    host.put = cursor_put;
    host.frame = chain_frame;
    host.fail = chain_fail;
    for (unsigned i = 0; i < LAYERS; i++) {
        struct fake_instance *instance = &instances[rewrites][i];
        MUST(fake_open_on(instance, all[i], &host, i == 3 && rewrites ? "rewrite: true\n" : config[i]) == SOTH_OK);
        modules[rewrites][i] = *all[i];
        if (all[i]->instance_mode)
            modules[rewrites][i].mode = all[i]->instance_mode(instance->self);
        decoders[rewrites][i].module = &modules[rewrites][i];
        decoders[rewrites][i].self = instance->self;
        decoders[rewrites][i].name = decoders[rewrites][i].site = all[i]->name;
        decoders[rewrites][i].position = i;
    }
}

/* ---- an exchange ---- */

static void relayed(void *arg, const uint8_t *p, size_t n)
{
    (void)arg;
    MUST(buffer_append(&world.out, p, n) == 0);
}

static void play(const uint8_t *p, size_t n, size_t first, size_t every)
{
    struct bus_port bus = {.mask = 0};
    struct event_source source = {.flow_id = 1};
    struct soth_flow flow = {.bus = &bus, .source = &source, .emit = on_chain_emit};
    struct chain_env env = {.decoders = decoders[(world.options & REWRITES) != 0], .count = LAYERS, .gated = (world.options & JUDGED) != 0,
                            .ask = judge, .forget = nothing_forgotten, .is_out = never_out, .failed = own_fault, .went_well = went_well, .fault = own_fault};
    struct soth_message message = {.size = sizeof message, .direction = SOTH_TO_CLIENT, .status = 200};
    struct relay relay = {relayed, NULL, SIZE_MAX};
    struct chain *chain = NULL;
    enum chain_result r = CHAIN_GO;
    message.coded = on_hdr_get(&flow, "Content-Encoding", 0).n > 0;
    MUST(chain_match(&chain, &env, &flow, &message) == CHAIN_GO);
    for (size_t at = 0; at < n && chain;) {
        const size_t piece = target_piece(at, n, first, every);
        uint8_t *exact = malloc(piece);
        MUST(exact);
        memcpy(exact, p + at, piece);
        r = chain_data(chain, SOTH_TO_CLIENT, exact, piece, false, &relay);
        MUST(r == CHAIN_GO);
        free(exact);
        at += piece;
    }
    if (!chain)
        relayed(NULL, p, n);
    else
        MUST(chain_data(chain, SOTH_TO_CLIENT, NULL, 0, true, &relay) == CHAIN_GO);
    chain_free(chain, true);
}

static size_t gzipped(const uint8_t *p, size_t n, uint8_t *out, size_t room)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)p, .avail_in = (uInt)n, .next_out = out, .avail_out = (uInt)room};
    MUST(deflateInit2(&z, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK && deflate(&z, Z_FINISH) == Z_STREAM_END);
    deflateEnd(&z);
    return z.total_out;
}

static void check_relayed(const uint8_t *p, size_t n)
{
    size_t out = buffer_size(&world.out);
    if (world.options & REWRITES) { /* something may be missing at its beginning */
        MUST(out <= n && (out == 0 || memcmp(buffer_data(&world.out), p + n - out, out) == 0));
        return;
    }
    MUST(out == n && (n == 0 || memcmp(buffer_data(&world.out), p, n) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t coded[8192];
    struct buffer wanted = {0};
    if (size < 2 || size > 4000)
        return 0;
    if (!instances[0][0].created) {
        set_up(0);
        set_up(1);
    }
    const uint8_t *body = data + 2;
    size_t n = size - 2;
    world.options = data[0];
    if (world.options & GZIPPED_HERE) {
        n = gzipped(body, n, coded, sizeof coded);
        body = coded;
    }
    size_t whole_out = 0;
    for (int way = 0; way < 3; way++) {
        play(body, n, way == 1 ? data[1] * n / 256 : 0, way == 2);
        check_relayed(body, n);
        if (way == 0) {
            wanted = world.events;
            whole_out = buffer_size(&world.out);
            world.events = (struct buffer){0};
        }
        MUST(buffer_size(&world.out) == whole_out);
        bool br = !(world.options & GZIPPED_HERE) && (world.options >> CODING_SHIFT & 3) == 2; /* before a fault it gives more when it comes in pieces */
        MUST(way == 0 || br || (buffer_size(&wanted) == buffer_size(&world.events) &&
                                (buffer_size(&wanted) == 0 || memcmp(buffer_data(&wanted), buffer_data(&world.events), buffer_size(&wanted)) == 0)));
        buffer_fini(&world.events);
        buffer_fini(&world.out);
    }
    buffer_fini(&wanted);
    return 0;
}
