/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The first byte chooses the role and what the owner does, the second where the rest is cut; the rest is what the peer sends, read whole, in
 * two pieces and byte by byte. What must hold: the same events whatever the cut; each stream ends once, and nothing comes of it afterwards;
 * what is sent is frames; every body byte is accounted for.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz/target.h"
#include "host/http/h2.h"

enum { CLIENT = 1, SMALL = 2, ANSWERS = 4, RESETS = 8, LENIENT = 16, CONNECTS = 32, KEEPS = 64, BARE = 128 };
#define STREAMS 64 /* that are watched: ids below 128; those above share the last place and are not */

struct run {
    struct h2 *h2;
    int options, error;
    struct buffer events, out;
    struct buffer body[STREAMS + 1];
    uint8_t state[STREAMS + 1];    /* 1 open */
    size_t unconsumed[STREAMS + 1];
    uint64_t kept;
};

static void put_span(struct buffer *out, struct soth_span span)
{
    target_append(out, &span.n, sizeof span.n);
    target_append(out, span.p, span.n);
}

static void put_message(struct buffer *out, const struct message *msg)
{
    const uint64_t numbers[] = {msg->status, msg->framing, msg->content_length, msg->declared_length, msg->expect_continue, msg->field_count};
    target_append(out, numbers, sizeof numbers);
    const struct soth_span spans[] = {msg->method, msg->target, msg->scheme, msg->authority, msg->host, msg->protocol};
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++)
        put_span(out, spans[i]);
    for (uint32_t i = 0; i < msg->field_count; i++) {
        MUST(msg->fields[i].name.n > 0 && msg->fields[i].name.p[0] != ':');
        MUST(msg->ids[i] == message_field_id(msg->fields[i].name));
        put_span(out, msg->fields[i].name);
        put_span(out, msg->fields[i].value);
    }
}

static size_t slot(int32_t id)
{
    return id < 2 * STREAMS ? (size_t)id / 2 : STREAMS;
}

static bool is_open(const struct run *run, size_t at)
{
    return at == STREAMS || run->state[at] == 1;
}

static void answer(struct run *run, int32_t id)
{
    static const struct message ok = {.status = 200};
    static const struct reply page = {.status = 403, .content_type = "text/plain", .body = {"the reason why", 14}};
    if ((run->options & (RESETS | ANSWERS)) == (RESETS | ANSWERS)) {
        MUST(h2_reply(run->h2, id, &page) == 0);
        MUST(h2_leave(run->h2, id) == 0);
        run->state[slot(id)] = 0;
    } else if (run->options & RESETS) {
        MUST(h2_reset(run->h2, id, H2_CANCEL) == 0);
        run->state[slot(id)] = 0;
    } else if (run->options & ANSWERS) {
        MUST(h2_response(run->h2, id, &ok, &(struct h2_response){.end = false}) == 0);
        h2_body(run->h2, id, (struct soth_span){"some bytes of a body", 20}, true, &run->out);
    }
}

static void note(struct run *run, const struct h2_event *event)
{
    size_t at = slot(event->stream);
    if (event->type == H2_BODY) {
        MUST(event->data.n > 0 && is_open(run, at));
        target_append(&run->body[at], event->data.p, event->data.n);
        run->kept += event->data.n;
        run->unconsumed[at] += event->data.n;
        return;
    }
    if ((event->type == H2_END || event->type == H2_CLOSED) && !(run->options & KEEPS)) { /* at a place that no cut moves */
        h2_consume(run->h2, event->stream, run->unconsumed[at]);
        run->kept -= run->unconsumed[at];
        run->unconsumed[at] = 0;
    }
    const uint64_t numbers[] = {event->type, (uint64_t)event->stream, event->end,    event->cause,
                                event->code, (uint64_t)event->last_id, event->number, event->unprocessed};
    target_append(&run->events, numbers, sizeof numbers);
    if (event->message)
        put_message(&run->events, event->message);
    if (event->fault)
        target_append(&run->events, event->fault, strlen(event->fault));
    if (event->type == H2_CLOSED) {
        bool cut = event->fault && strcmp(event->fault, "content_length_mismatch") == 0; /* then how much came before is the cut's */
        if (!cut)
            put_span(&run->events, (struct soth_span){(const char *)buffer_data(&run->body[at]), buffer_size(&run->body[at])});
        buffer_clear(&run->body[at]);
        MUST(is_open(run, at) || event->user == NULL);
        run->state[at] = 0;
        return;
    }
    if (event->stream && event->type == H2_HEAD && !(run->options & CLIENT)) {
        MUST(run->state[at] == 0 || at == STREAMS);
        run->state[at] = 1;
        MUST(h2_set_user(run->h2, event->stream, run) == 0);
        answer(run, event->stream);
    } else if (event->stream) {
        MUST(is_open(run, at) && event->user == run);
    }
}

static void feed(struct run *run, const uint8_t *p, size_t n)
{
    struct h2_event event = {.type = H2_HEAD};
    uint8_t *exact = malloc(n ? n : 1);
    size_t at = 0;
    MUST(exact);
    memcpy(exact, p, n);
    while (run->error == 0 && event.type != H2_NONE) {
        ssize_t used = h2_take(run->h2, exact + at, n - at, 1, &event);
        if (used < 0) {
            run->error = (int)used;
            MUST(h2_fault(run->h2)[0] && h2_stream_count(run->h2) == 0);
            break;
        }
        at += (size_t)used;
        MUST(at <= n && (event.type != H2_NONE || at == n));
        if (event.type != H2_NONE)
            note(run, &event);
    }
    free(exact);
    MUST(h2_unconsumed(run->h2) == run->kept);
}

static void open_streams(struct run *run)
{
    static const struct message get = {.is_request = true, .method = {"GET", 3}, .target = {"/", 1}};
    for (int i = 0; i < 3; i++) {
        int32_t id = h2_request(run->h2, &get, &(struct h2_request){.scheme = {"https", 5}, .authority = {"a", 1}, .end = i > 0}, run);
        MUST(id == 2 * i + 1);
        run->state[slot(id)] = 1;
    }
}

static void check_frames(const struct run *run)
{
    const uint8_t *p = buffer_data(&run->out);
    size_t n = buffer_size(&run->out), at = run->options & CLIENT ? 24 : 0;
    while (at < n) {
        MUST(n - at >= 9);
        at += 9 + ((size_t)p[at] << 16 | (size_t)p[at + 1] << 8 | p[at + 2]);
    }
    MUST(at == n);
}

static struct run play(const uint8_t *p, size_t n, size_t first, size_t every, int options)
{
    static const uint8_t opening[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    struct h2_limits limits = {.max_header_list = options & SMALL ? 200 : 65536, .max_concurrent_streams = 10};
    struct run run = {.options = options};
    limits.stream_window = options & SMALL ? 100 : 0;
    limits.strict_responses = !(options & LENIENT);
    limits.connect_protocol = options & CONNECTS;
    run.h2 = options & CLIENT ? h2_new_client(&limits) : h2_new_server(&limits);
    MUST(run.h2);
    if (!(options & BARE)) {
        size_t skip = options & CLIENT ? 24 : 0;
        feed(&run, opening + skip, sizeof opening - 1 - skip);
    }
    if (options & CLIENT)
        open_streams(&run);
    for (size_t at = 0; at < n && run.error == 0;) {
        const size_t piece = target_piece(at, n, first, every);
        feed(&run, p + at, piece);
        at += piece;
    }
    MUST(h2_output(run.h2, &run.out) == 0);
    check_frames(&run);
    h2_lost(run.h2);
    feed(&run, opening, 0);
    MUST(h2_stream_count(run.h2) == 0);
    h2_free(run.h2);
    return run;
}

static void finish(struct run *run)
{
    buffer_fini(&run->events);
    buffer_fini(&run->out);
    for (size_t i = 0; i <= STREAMS; i++)
        buffer_fini(&run->body[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 70000)
        return 0;
    int options = data[0];
    size_t n = size - 2, cut = n ? data[1] * n / 256 : 0;
    struct run whole = play(data + 2, n, 0, 0, options);
    for (int way = 0; way < 3; way++) {
        if (way == 2 && n > 4096) /* byte by byte is slow */
            break;
        struct run other = play(data + 2, n, way == 0 ? cut : data[1], way == 2, options);
        MUST(other.error == whole.error && target_same(&other.events, &whole.events));
        finish(&other);
    }
    finish(&whole);
    return 0;
}
