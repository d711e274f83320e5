/* SPDX-License-Identifier: MPL-2.0 */
/*
 * content_decode: takes gzip, deflate, br, zstd and their stacks off bodies, for those who look on behind it. What is relayed stays as it was
 * sent. A message with a coding that it does not know is left alone, and so is one that nobody looks at.
 */
#include "../coding/coding.h"
#include "../match/media.h"

#include <stdlib.h>

#define PIECE 16384u

enum { OVERFLOW_DETACH, OVERFLOW_CLOSE };

struct decode {
    struct coding_limits limits;
    int64_t max_ratio;
    struct soth_strings streams;
    uint8_t always;
    uint32_t on_overflow;
    const struct soth_host *host;
};

/* A message. */
struct state {
    struct coding_list codings; /* of its head */
    uint8_t is_stream, idle;
    struct coding *coding; /* since its first byte */
};

#define S struct decode
static const struct soth_opt options[] = {
    SOTH_OPT_INT(S, max_ratio, "1000", 1, 1000000000, "bytes that may come out of one byte, looked at after each MB of output"),
    {"max_window", SOTH_OPT_T_SIZE, 0, offsetof(S, limits.max_window), "8M", 32768, INT64_C(1) << 27, NULL, NULL, 0,
     "how far back a coding may refer: br and zstd with a larger window are not decoded"},
    {"max_bytes", SOTH_OPT_T_SIZE, 0, offsetof(S, limits.max_bytes), "256M", 1, INT64_C(1) << 50, NULL, NULL, 0,
     "most that is decoded of one message; streams are bounded by those who read them"},
    SOTH_OPT_STRINGS(S, streams,
                     "[text/event-stream, application/x-ndjson, application/ndjson, application/jsonl, application/x-jsonl, "
                     "application/x-jsonlines, application/jsonlines, application/json-lines, application/x-json-lines, text/x-ndjson, text/jsonl, "
                     "application/json-seq, '*+json-seq', application/stream+json, application/x-json-stream, "
                     "application/concatenated-json, application/x-concatenated-json, 'application/grpc*']",
                     "content types without max_bytes, * at one end stands for anything"),
    SOTH_OPT_BOOL(S, always, "false", "decode also what no other decoder looks at, so that body events have decoded_bytes"),
    SOTH_OPT_ENUM(S, on_overflow, "detach|close", "detach", "what a reached limit means: only the view ends, or the exchange"),
    SOTH_OPT_END,
};

static int check(const struct soth_host *host, void *self)
{
    const struct decode *d = self;
    return media_check(host, self, "streams", &d->streams);
}

static int create(const struct soth_host *host, void *self)
{
    struct decode *d = self;
    d->host = host;
    d->limits.max_ratio = (uint64_t)d->max_ratio;
    return SOTH_OK;
}

/* ---- which messages ---- */

/* 1: it has codings, all of them known. */
static int read_codings(const struct decode *d, struct soth_flow *flow, struct coding_list *codings)
{
    struct soth_span value;
    *codings = (struct coding_list){.n = 0};
    for (uint32_t i = 0; (value = d->host->hdr_get(flow, "Content-Encoding", i)).p; i++)
        if (coding_list_add(codings, value) < 0)
            return 0;
    return codings->n > 0;
}

static int match(void *self, struct soth_flow *flow, const struct soth_message *message)
{
    const struct decode *d = self;
    struct coding_list codings;
    /* a range of coded bytes has no beginning */
    return message->coded && !d->host->hdr_get(flow, "Content-Range", 0).p && read_codings(d, flow, &codings) ? SOTH_WATCH_BODY : SOTH_WATCH_NO;
}

static int open_it(void *self, struct soth_flow *flow)
{
    const struct decode *d = self;
    struct state *s = d->host->flow_state(flow);
    read_codings(d, flow, &s->codings);
    s->is_stream = (uint8_t)media_is_any(media_type(d->host->hdr_get(flow, "Content-Type", 0)), &d->streams);
    return SOTH_OK;
}

/* ---- bytes ---- */

static int start(const struct decode *d, struct state *s)
{
    struct coding_limits limits = d->limits;
    if (s->is_stream)
        limits.max_bytes = 0;
    s->coding = coding_new(&s->codings, &limits);
    return s->coding ? SOTH_OK : -SOTH_ENOMEM;
}

static void stop(struct state *s)
{
    coding_free(s->coding);
    s->coding = NULL;
    s->idle = 1;
}

static int failed(struct decode *d, struct soth_flow *flow, const struct coding *coding)
{
    int close = coding_is_over_limit(coding) && d->on_overflow == OVERFLOW_CLOSE;
    return d->host->fail(d, flow, coding_fault(coding), close ? SOTH_FAIL_CLOSE : 0);
}

static int decode(struct decode *d, struct soth_flow *flow, struct coding *coding, struct soth_cursor *cur)
{
    char piece[PIECE];
    size_t made = 1;
    while ((cur->in.n > 0 || made > 0) && cur->room > 0) {
        struct soth_span in = cur->in;
        int r = coding_take(coding, &in, piece, cur->room < sizeof piece ? cur->room : sizeof piece, &made);
        d->host->put(cur, (struct soth_span){piece, made});
        d->host->drop(cur, cur->in.n - in.n);
        if (r < 0)
            return failed(d, flow, coding);
    }
    if (cur->room > 0 && (cur->flags & SOTH_CUR_END) && coding_end(coding) < 0)
        return failed(d, flow, coding);
    return SOTH_CONTINUE;
}

static int data(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct decode *d = self;
    struct state *s = d->host->flow_state(flow);
    if (!s->idle && (cur->flags & SOTH_CUR_UNSEEN) && !d->always)
        stop(s);
    if (s->idle || (!s->coding && cur->in.n == 0))
        return SOTH_CONTINUE;
    if (!s->coding && start(d, s) < 0)
        return -SOTH_ENOMEM;
    return decode(d, flow, s->coding, cur);
}

static void close_it(void *self, struct soth_flow *flow, uint32_t complete)
{
    struct state *s = ((struct decode *)self)->host->flow_state(flow);
    (void)complete;
    coding_free(s->coding);
}

SOTH_DECODER_MODULE(content_decode, "0.1.0", "MPL-2.0",
    .doc = "gzip, deflate, br, zstd and their stacks are taken off, for decoders that come behind it",
    .options = options, .self_size = sizeof(struct decode), .state_size = sizeof(struct state),
    .mode = SOTH_TAP, .stage = SOTH_STAGE_CONTENT,
    .check = check, .create = create, .match = match, .open = open_it, .data = data, .close = close_it);
