/* SPDX-License-Identifier: MPL-2.0 */
/*
 * ndjson: each record of a stream of records (NDJSON, JSON Lines, json-seq, concatenated JSON) becomes a stream_record, in the call that brings
 * its last byte, requests and responses alike.
 */
#include "../match/media.h"
#include "records.h"

enum { OVERFLOW_DETACH, OVERFLOW_CLOSE };

struct streams {
    uint64_t max_record_bytes;
    struct soth_strings content_types, concatenated_types;
    uint32_t on_overflow;
    const struct soth_host *host;
    int truncated;
};

/* A message. */
struct state {
    struct records records;
    uint64_t judged; /* up to here nothing waits for a policy */
    uint8_t finished;
};

#define S struct streams
static const struct soth_opt options[] = {
    SOTH_OPT_SIZE(S, max_record_bytes, "1M", 1, INT64_C(1) << 30, "most that a record may have"),
    SOTH_OPT_STRINGS(S, content_types,
                     "[application/x-ndjson, application/ndjson, application/jsonl, application/x-jsonl, application/jsonlines, "
                     "application/x-jsonlines, application/json-lines, application/x-json-lines, text/x-ndjson, text/jsonl, "
                     "application/stream+json, application/x-json-stream, application/json-seq, '*+json-seq']",
                     "bodies with a record a line, or (json-seq) behind each record separator; * at one end stands for anything"),
    SOTH_OPT_STRINGS(S, concatenated_types, "[application/concatenated-json, application/x-concatenated-json]",
                     "bodies with JSON texts one after another, with nothing or anything white between them"),
    SOTH_OPT_ENUM(S, on_overflow, "detach|close", "detach", "what a longer record means: nobody looks on any more, or the exchange ends"),
    SOTH_OPT_END,
};

static int check(const struct soth_host *host, void *self)
{
    const struct streams *n = self;
    int r = media_check(host, self, "content_types", &n->content_types);
    return r < 0 ? r : media_check(host, self, "concatenated_types", &n->concatenated_types);
}

static int create(const struct soth_host *host, void *self)
{
    struct streams *n = self;
    n->host = host;
    n->truncated = host->counter(self, "truncated_records", NULL, "records of a json-seq that ended before their end");
    return n->truncated < 0 ? n->truncated : SOTH_OK;
}

static uint8_t kind_of(const struct streams *n, struct soth_flow *flow)
{
    struct soth_span type = media_type(n->host->hdr_get(flow, "Content-Type", 0));
    if (media_is_any(type, &n->concatenated_types))
        return RECORDS_CONCATENATED;
    if (!media_is_any(type, &n->content_types))
        return 0;
    return media_is(type, "*json-seq") ? RECORDS_SEQUENCE : RECORDS_LINES;
}

static int match(void *self, struct soth_flow *flow, const struct soth_message *message)
{
    return !message->coded && media_may_have_body(message) && kind_of(self, flow) ? SOTH_WATCH_BODY : SOTH_WATCH_NO;
}

static int open_it(void *self, struct soth_flow *flow)
{
    const struct streams *n = self;
    struct state *s = n->host->flow_state(flow);
    s->records.kind = kind_of(n, flow);
    s->records.max_record_bytes = n->max_record_bytes;
    n->host->protocol(flow, SOTH_PROTO_STREAMABLE_HTTP);
    return SOTH_OK;
}

/* One that has not ended is no event, but policies judge it all the same. Returns what they say. */
static int publish(struct streams *n, struct soth_flow *flow, unsigned direction, int found, const struct record *record, int wanted)
{
    const struct soth_attr attrs[] = {
        {"data", record->data, 0, SOTH_ATTR_BYTES | SOTH_ATTR_PAYLOAD, 0},
        {"direction", SOTH_TEXT(soth_span(direction == SOTH_TO_SERVER ? "client_to_server" : "server_to_client"))},
        {"record_len", SOTH_U64(record->len)},
        {"sequence_no", SOTH_U64(record->sequence_no)},
    };
    const size_t count = sizeof attrs / sizeof *attrs;
    if (found != RECORDS_CUT)
        n->host->emit(n, flow, SOTH_EV_STREAM_RECORD, attrs, wanted ? count : 0);
    if (!(wanted & SOTH_WANTED_FRAME))
        return SOTH_CONTINUE;
    struct soth_frame frame = {.size = sizeof frame, .direction = direction, .kind = SOTH_EV_STREAM_RECORD, .payload = record->data};
    frame.attrs = attrs;
    frame.attr_count = count;
    return n->host->frame(n, flow, &frame);
}

static int found_it(struct streams *n, struct soth_flow *flow, unsigned direction, int found, const struct record *record, int wanted)
{
    struct soth_frame nothing = {.size = sizeof nothing, .direction = direction, .kind = SOTH_EV_STREAM_RECORD, .flags = SOTH_FRAME_PASS};
    if (found == RECORDS_BETWEEN) /* line ends that keep the connection alive: nobody judges them */
        return n->host->frame(n, flow, &nothing);
    return found ? publish(n, flow, direction, found, record, wanted) : SOTH_CONTINUE;
}

static int failed(struct streams *n, struct soth_flow *flow, const struct records *records)
{
    int over = strncmp(records->fault, "max_", 4) == 0;
    return over ? n->host->fail(n, flow, records->fault, n->on_overflow == OVERFLOW_CLOSE ? SOTH_FAIL_CLOSE : 0) : -SOTH_ENOMEM;
}

static int data(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct streams *n = self;
    struct state *s = n->host->flow_state(flow);
    struct records *records = &s->records;
    const int wanted = n->host->wanted(flow, SOTH_EV_STREAM_RECORD), judged = (wanted & SOTH_WANTED_FRAME) != 0;
    const size_t most = cur->in.n < cur->room ? cur->in.n : cur->room, more = cur->in.n - most;
    struct soth_span in = {cur->in.p, most};
    const struct record none = {0};
    struct record record;
    int found = 1, r = SOTH_CONTINUE;
    records->gaps = judged != 0;
    records->keep_most = judged ? UINT64_MAX : wanted & SOTH_WANTED_PAYLOAD ? n->host->payload_most(flow, SOTH_EV_STREAM_RECORD) : 0;
    while (found > 0 && r == SOTH_CONTINUE) {
        found = records_next(records, &in, &record);
        n->host->pass(cur, (size_t)(in.p - cur->in.p)); /* also up to a fault */
        if (judged && cur->offset - s->judged > SOTH_FRAME_MOST) /* whether the record has ended in the same read means nothing: it is not told */
            return publish(n, flow, cur->direction, RECORDS_CUT, &none, wanted); /* says how data fails */
        if (found < 0)
            return failed(n, flow, records);
        s->judged = found ? cur->offset : s->judged;
        r = found_it(n, flow, cur->direction, found, &record, wanted);
    }
    if (r != SOTH_CONTINUE || !(cur->flags & SOTH_CUR_END) || more > 0 || s->finished)
        return r;
    s->finished = 1;
    found = records_finish(records, &record);
    return found_it(n, flow, cur->direction, found == 0 && judged ? RECORDS_BETWEEN : found, &record, wanted);
}

static void close_it(void *self, struct soth_flow *flow, uint32_t complete)
{
    struct streams *n = self;
    struct state *s = n->host->flow_state(flow);
    (void)complete;
    if (s->records.truncated)
        n->host->count(n, n->truncated, s->records.truncated);
    records_fini(&s->records);
}

SOTH_DECODER_MODULE(ndjson, "0.1.0", "MPL-2.0",
    .doc = "NDJSON, JSON Lines, json-seq and concatenated JSON: each record is an event while the stream runs",
    .options = options, .self_size = sizeof(struct streams), .state_size = sizeof(struct state),
    .mode = SOTH_TAP, .stage = SOTH_STAGE_FRAME,
    .check = check, .create = create, .match = match, .open = open_it, .data = data, .close = close_it);
