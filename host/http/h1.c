/* SPDX-License-Identifier: MPL-2.0 */
/* See h1.h. A head that comes in one read is parsed where it lies; one that is spread is collected and freed after it was taken. */
#include "host/http/h1.h"

#include <stdlib.h>
#include <string.h>

#include "host/http/chunk.h"
#include "host/http/head.h"
#include "host/http/line.h"
#include "host/mem/buffer.h"

enum h1_state { S_HEAD, S_LENGTH, S_CHUNKED, S_TRAILERS, S_UNTIL_CLOSE, S_END, S_FAILED };

struct h1 {
    struct h1_limits limits;
    enum h1_state state;
    bool is_request, answers_head, answers_connect, drop_collected;
    int status;
    const char *fault;
    struct chunk chunk;
    uint64_t left;           /* S_LENGTH */
    size_t looked;           /* of a head that is not complete */
    struct buffer collected; /* the same */
};

static _Thread_local struct message message;

static struct h1 *h1_new(const struct h1_limits *limits, bool is_request)
{
    struct h1 *h1 = calloc(1, sizeof *h1);
    if (h1) {
        h1->limits = *limits;
        h1->is_request = is_request;
    }
    return h1;
}

struct h1 *h1_new_request(const struct h1_limits *limits)
{
    return h1_new(limits, true);
}

struct h1 *h1_new_response(const struct h1_limits *limits)
{
    return h1_new(limits, false);
}

void h1_free(struct h1 *h1)
{
    if (!h1)
        return;
    buffer_fini(&h1->collected);
    free(h1);
}

void h1_answers(struct h1 *h1, bool head, bool connect)
{
    h1->answers_head = head;
    h1->answers_connect = connect;
}

bool h1_idle(const struct h1 *h1)
{
    return h1->state == S_HEAD && buffer_size(&h1->collected) == 0;
}

const char *h1_fault(const struct h1 *h1)
{
    return h1->fault ? h1->fault : "";
}

int h1_status(const struct h1 *h1)
{
    return h1->status;
}

static ssize_t fail(struct h1 *h1, int error, const char *fault)
{
    h1->state = S_FAILED;
    h1->fault = fault;
    h1->status = !h1->is_request ? 0 : error == -SOTH_ELIMIT ? 431 : error == -SOTH_ENOMEM ? 503 : 400;
    return error;
}

/* ---- heads ---- */

static enum head_kind kind(const struct h1 *h1)
{
    return h1->state == S_TRAILERS ? HEAD_TRAILERS : h1->is_request ? HEAD_REQUEST : HEAD_RESPONSE;
}

static bool lenient(const struct h1 *h1)
{
    return kind(h1) == HEAD_RESPONSE && !h1->limits.strict_responses;
}

static size_t skip_empty_lines(const struct h1 *h1, const char *p, size_t n)
{
    size_t at = 0;
    if (h1->state != S_HEAD || !h1->is_request || buffer_size(&h1->collected) > 0)
        return 0;
    while (at + 1 < n && p[at] == '\r' && p[at + 1] == '\n')
        at += 2;
    return at;
}

static int parse_and_guard(const struct h1 *h1, const char *p, size_t n, const char **fault)
{
    int r = head_parse(kind(h1), p, n, &message, fault);
    if (r < 0)
        return r;
    return h1->is_request ? guard_request(&message, fault) : guard_response(&message, h1->answers_head, fault);
}

/* Once more with the repairs. The message's spans point into a copy, which takes the place of what was collected. */
static int parse_repaired(struct h1 *h1, const char *p, size_t n, const char **fault)
{
    size_t size = n;
    char *repaired = repair_head(p, &size);
    if (!repaired) {
        *fault = "memory";
        return -SOTH_ENOMEM;
    }
    buffer_fini(&h1->collected);
    h1->collected = (struct buffer){.p = (uint8_t *)repaired, .len = size, .cap = size};
    h1->drop_collected = true;
    int r = parse_and_guard(h1, repaired, size, fault);
    message.head_bytes = (uint32_t)n;
    return r;
}

static ssize_t head_ready(struct h1 *h1, const char *p, size_t n, struct h1_event *event)
{
    const char *fault = NULL;
    int r = parse_and_guard(h1, p, n, &fault);
    if (r == -SOTH_EINVALID && lenient(h1))
        r = parse_repaired(h1, p, n, &fault);
    if (r < 0)
        return fail(h1, r, fault);
    if (h1->answers_connect && message.status >= 200 && message.status < 300)
        message.framing = FRAMING_NONE;
    h1->left = message.content_length;
    h1->chunk = (struct chunk){0};
    h1->state = message.framing == FRAMING_LENGTH    ? S_LENGTH
                : message.framing == FRAMING_CHUNKED ? S_CHUNKED
                : message.framing == FRAMING_NONE    ? S_END
                                                     : S_UNTIL_CLOSE;
    *event = (struct h1_event){.type = H1_HEAD, .message = &message};
    return 0;
}

static ssize_t trailers_ready(struct h1 *h1, const char *p, size_t n, struct h1_event *event)
{
    const char *fault = NULL;
    h1->state = S_END;
    if (n == 2) {
        event->type = H1_NONE;
        return 0;
    }
    int r = head_parse(HEAD_TRAILERS, p, n, &message, &fault);
    if (r == SOTH_OK)
        r = guard_trailers(&message, &fault);
    if (r < 0)
        return fail(h1, r, fault);
    *event = (struct h1_event){.type = H1_TRAILERS, .message = &message};
    return 0;
}

/* A head that is complete: its event, or nothing for an empty line that came in two reads. */
static ssize_t head_complete(struct h1 *h1, const char *p, size_t n, struct h1_event *event)
{
    h1->looked = 0;
    h1->drop_collected = buffer_size(&h1->collected) > 0;
    if (h1->state == S_TRAILERS)
        return trailers_ready(h1, p, n, event);
    return h1->is_request && n == 2 ? 0 : head_ready(h1, p, n, event);
}

/* A head that is not complete in p[0..n), all of which there is: it may be refused already. */
static ssize_t head_incomplete(struct h1 *h1, const char *p, size_t n, size_t looked)
{
    const char *fault = line_first_fault(kind(h1), p, n, h1->looked, lenient(h1));
    if (fault)
        return fail(h1, -SOTH_EINVALID, fault);
    if (n == h1->limits.max_head_bytes)
        return fail(h1, -SOTH_ELIMIT, "header_too_large");
    if (buffer_size(&h1->collected) == 0 && buffer_append(&h1->collected, p, n) < 0)
        return fail(h1, -SOTH_ENOMEM, "memory");
    h1->looked = looked;
    return 0;
}

/* Never looks beyond max_head_bytes: so much is the same however the head was cut. */
static ssize_t take_head(struct h1 *h1, const char *p, size_t n, struct h1_event *event)
{
    size_t skipped = skip_empty_lines(h1, p, n), have = buffer_size(&h1->collected), room = h1->limits.max_head_bytes - have;
    const char *head = p + skipped;
    size_t part = n - skipped < room ? n - skipped : room;
    struct head_end end;
    if (part == 0)
        return (ssize_t)skipped;
    if (have > 0) { /* what lies behind the head is not taken */
        if (buffer_append(&h1->collected, head, part) < 0)
            return fail(h1, -SOTH_ENOMEM, "memory");
        head = (const char *)buffer_data(&h1->collected);
    }
    head_find_end(head, have + part, h1->looked, lenient(h1), &end);
    ssize_t r = end.size ? head_complete(h1, head, end.size, event) : head_incomplete(h1, head, have + part, end.looked);
    if (r < 0)
        return r;
    return (ssize_t)(skipped + (end.size ? end.size - have : part));
}

/* ---- bodies ---- */

static ssize_t take_chunked(struct h1 *h1, const char *p, size_t n, struct h1_event *event)
{
    size_t used;
    int r = chunk_take(&h1->chunk, p, n, &used, &event->data, &h1->fault);
    if (r < 0)
        return fail(h1, r, h1->fault);
    if (r == CHUNK_DATA)
        event->type = H1_BODY;
    if (r == CHUNK_LAST)
        h1->state = S_TRAILERS;
    return (ssize_t)used;
}

static ssize_t take_length(struct h1 *h1, const char *p, size_t n, struct h1_event *event)
{
    size_t part = n < h1->left ? n : (size_t)h1->left;
    h1->left -= part;
    if (h1->left == 0)
        h1->state = S_END;
    *event = (struct h1_event){.type = H1_BODY, .data = {p, part}};
    return (ssize_t)part;
}

static ssize_t take_end(struct h1 *h1, struct h1_event *event)
{
    h1->state = S_HEAD;
    event->type = H1_END;
    return 0;
}

ssize_t h1_take(struct h1 *h1, const uint8_t *bytes, size_t n, struct h1_event *event)
{
    const char *p = (const char *)bytes;
    size_t taken = 0;
    *event = (struct h1_event){.type = H1_NONE};
    if (h1->drop_collected) {
        buffer_fini(&h1->collected);
        h1->drop_collected = false;
    }
    while (event->type == H1_NONE && (taken < n || h1->state == S_END)) {
        ssize_t used;
        switch (h1->state) {
        case S_HEAD:
        case S_TRAILERS:
            used = take_head(h1, p + taken, n - taken, event);
            break;
        case S_LENGTH:
            used = take_length(h1, p + taken, n - taken, event);
            break;
        case S_CHUNKED:
            used = take_chunked(h1, p + taken, n - taken, event);
            break;
        case S_UNTIL_CLOSE:
            *event = (struct h1_event){.type = H1_BODY, .data = {p + taken, n - taken}};
            used = (ssize_t)(n - taken);
            break;
        case S_END:
            used = take_end(h1, event);
            break;
        case S_FAILED:
        default:
            return -SOTH_EINVALID;
        }
        if (used < 0)
            return used;
        taken += (size_t)used;
        if (event->type == H1_NONE && h1->drop_collected) {
            buffer_fini(&h1->collected);
            h1->drop_collected = false;
        }
    }
    return (ssize_t)taken;
}

int h1_eof(struct h1 *h1, struct h1_event *event)
{
    *event = (struct h1_event){.type = H1_NONE};
    if (h1->state == S_UNTIL_CLOSE || h1->state == S_END) {
        take_end(h1, event);
        return 1;
    }
    if (h1->state == S_HEAD && (h1->drop_collected || buffer_size(&h1->collected) == 0))
        return 0;
    if (h1->state != S_FAILED)
        fail(h1, -SOTH_EEOF, h1->state == S_HEAD ? "truncated_head" : "truncated_body");
    return -SOTH_EEOF;
}
