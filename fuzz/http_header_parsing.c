/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The first byte chooses a codec, the second where the rest is cut; the rest goes through the HTTP/1 codec whole, in two pieces and byte by
 * byte. What must hold: the same events whatever the cut; a head that goes on is read by a strict codec as the same message.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz/target.h"
#include "host/http/h1.h"
#include "host/http/rewrite.h"

enum { RESPONSE = 1, LENIENT = 2, ANSWERS_HEAD = 4, ANSWERS_CONNECT = 8, SMALL = 16 };

static void put_span(struct buffer *out, struct soth_span span)
{
    target_append(out, &span.n, sizeof span.n);
    target_append(out, span.p, span.n);
}

static void put_fields(struct buffer *out, const struct message *msg)
{
    target_append(out, &msg->field_count, sizeof msg->field_count);
    for (uint32_t i = 0; i < msg->field_count; i++) {
        put_span(out, msg->fields[i].name);
        put_span(out, msg->fields[i].value);
    }
}

static void put_head(struct buffer *out, const struct message *msg)
{
    const uint64_t numbers[] = {msg->minor,         msg->status,         msg->framing,    msg->content_length,  msg->declared_length,
                                msg->keep_alive,    msg->expect_continue, msg->head_bytes, msg->wants_upgrade,   msg->connection_names};
    target_append(out, numbers, sizeof numbers);
    put_span(out, msg->method);
    put_span(out, msg->target);
    put_span(out, msg->reason);
    put_fields(out, msg);
}

/* Serialised anew, a strict codec takes all of it and finds the same framing. */
static void check_relayed(const struct message *msg, int options)
{
    struct h1_limits limits = {.max_head_bytes = 1u << 24, .strict_responses = true};
    struct h1 *h1 = msg->is_request ? h1_new_request(&limits) : h1_new_response(&limits);
    struct rewrite_request request = {.target = msg->target, .host = {"a.test", 6}, .keep_upgrade = true};
    struct rewrite_response response = {.client_minor = 1, .keep_upgrade = msg->status == 101, .no_body = (options & ANSWERS_HEAD) != 0};
    enum framing framing = msg->framing;
    uint64_t length = msg->content_length;
    uint32_t count = msg->field_count;
    struct buffer head = {0};
    struct h1_event event;
    if (msg->is_request) {
        MUST(rewrite_request_head(&head, msg, &request) == 0);
    } else {
        rewrite_plan_response(msg, &response);
        MUST(rewrite_response_head(&head, msg, &response) == 0);
        h1_answers(h1, (options & ANSWERS_HEAD) != 0, (options & ANSWERS_CONNECT) != 0);
    }
    if (count < 1000) { /* some of ours are added */
        MUST(h1_take(h1, buffer_data(&head), buffer_size(&head), &event) == (ssize_t)buffer_size(&head));
        MUST(event.type == H1_HEAD && event.message->framing == framing && event.message->content_length == length);
    }
    buffer_fini(&head);
    h1_free(h1);
}

struct run {
    struct h1 *h1;
    struct buffer events; /* heads, trailers and ends */
    struct buffer body;   /* of all messages */
    int options;
    int error;
};

static void note(struct run *run, const struct h1_event *event)
{
    uint8_t type = (uint8_t)event->type;
    size_t body = buffer_size(&run->body);
    if (event->type == H1_NONE)
        return;
    if (event->type == H1_BODY) {
        MUST(event->data.n > 0);
        target_append(&run->body, event->data.p, event->data.n);
        return;
    }
    target_append(&run->events, &type, 1);
    target_append(&run->events, &body, sizeof body);
    if (event->type == H1_TRAILERS)
        put_fields(&run->events, event->message);
    if (event->type != H1_HEAD)
        return;
    put_head(&run->events, event->message);
    check_relayed(event->message, run->options);
}

static void feed(struct run *run, const uint8_t *p, size_t n)
{
    struct h1_event event = {.type = H1_HEAD};
    uint8_t *exact = malloc(n ? n : 1);
    size_t at = 0;
    MUST(exact);
    memcpy(exact, p, n);
    while (run->error == 0 && event.type != H1_NONE) {
        ssize_t used = h1_take(run->h1, exact + at, n - at, &event);
        if (used < 0) {
            run->error = (int)used;
            MUST(h1_fault(run->h1)[0]);
            break;
        }
        at += (size_t)used;
        MUST(at <= n && (event.type != H1_NONE || at == n));
        note(run, &event);
    }
    free(exact);
}

static struct run play(const uint8_t *p, size_t n, size_t first, size_t every, int options)
{
    struct h1_limits limits = {.max_head_bytes = options & SMALL ? 100 : 65536, .strict_responses = !(options & LENIENT)};
    struct run run = {.options = options};
    struct h1_event event;
    run.h1 = options & RESPONSE ? h1_new_response(&limits) : h1_new_request(&limits);
    MUST(run.h1);
    if (options & RESPONSE)
        h1_answers(run.h1, (options & ANSWERS_HEAD) != 0, (options & ANSWERS_CONNECT) != 0);
    for (size_t at = 0; at < n && run.error == 0;) {
        const size_t piece = target_piece(at, n, first, every);
        feed(&run, p + at, piece);
        at += piece;
    }
    if (run.error == 0)
        run.error = h1_eof(run.h1, &event);
    const char *fault = h1_fault(run.h1);
    target_append(&run.events, fault, strlen(fault));
    h1_free(run.h1);
    return run;
}

static void finish(struct run *run)
{
    buffer_fini(&run->events);
    buffer_fini(&run->body);
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
        MUST(other.error == whole.error && target_same(&other.events, &whole.events) && target_same(&other.body, &whole.body));
        finish(&other);
    }
    finish(&whole);
    return 0;
}
