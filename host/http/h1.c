/* SPDX-License-Identifier: MPL-2.0 */
/* See h1.h. A head that comes in one read is parsed where it lies; one that is spread is collected and freed after it was taken. */
#include "host/http/h1.h"

#include <stdlib.h>
#include <string.h>

#include "host/http/chunk.h"
#include "host/http/head.h"
#include "host/mem/buffer.h"

enum h1_state { S_HEAD, S_LENGTH, S_CHUNKED, S_TRAILERS, S_UNTIL_CLOSE, S_END, S_FAILED };

struct h1 {
    struct h1_limits limits;
    enum h1_state state;
    bool is_request, answers_head, answers_connect, interim, drop_collected;
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
    h1->status = h1->is_request ? (error == -SOTH_ELIMIT ? 431 : 400) : 0;
    return error;
}

/* ---- heads ---- */

/* Garbage is refused by its first bytes: a method is a token, a response begins with HTTP/1. */
static bool start_is_possible(const struct h1 *h1, const char *p, size_t n)
{
    static const char http[] = "HTTP/1.";
    if (!h1->is_request)
        return memcmp(p, http, n < sizeof http - 1 ? n : sizeof http - 1) == 0;
    size_t at = 0;
    while (at < n && guard_token_char((unsigned char)p[at]))
        at++;
    return at == n || (at > 0 && p[at] == ' ');
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

static ssize_t head_ready(struct h1 *h1, const char *p, size_t n, struct h1_event *event)
{
    const char *fault = NULL;
    char *repaired = NULL;
    int r;
    if (!h1->is_request && !h1->limits.strict_responses) {
        if (!(repaired = guard_repair(p, &n)))
            return fail(h1, -SOTH_ENOMEM, "memory");
        /* the message's spans point into the copy: it takes the place of what was collected */
        buffer_fini(&h1->collected);
        h1->collected = (struct buffer){.p = (uint8_t *)repaired, .len = n, .cap = n};
        h1->drop_collected = true;
        p = repaired;
    }
    r = head_parse(h1->is_request ? HEAD_REQUEST : HEAD_RESPONSE, p, n, &message, &fault);
    if (r == SOTH_OK)
        r = h1->is_request ? guard_request(&message, &fault) : guard_response(&message, h1->answers_head, &fault);
    if (r < 0)
        return fail(h1, r, fault);
    if (h1->answers_connect && message.status >= 200 && message.status < 300)
        message.framing = FRAMING_NONE;
    h1->interim = !h1->is_request && message.status < 200;
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

/* Keeps the beginning of a head until its end comes. */
static ssize_t collect(struct h1 *h1, const char *p, size_t n, const struct head_end *end)
{
    if (buffer_size(&h1->collected) + n > h1->limits.max_head_bytes)
        return fail(h1, -SOTH_ELIMIT, "header_too_large");
    if (buffer_append(&h1->collected, p, n) < 0)
        return fail(h1, -SOTH_ENOMEM, "memory");
    h1->looked = end->looked;
    return (ssize_t)n;
}

static ssize_t take_head(struct h1 *h1, const char *p, size_t n, struct h1_event *event)
{
    size_t skipped = skip_empty_lines(h1, p, n), have = buffer_size(&h1->collected);
    bool lenient = !h1->is_request && !h1->limits.strict_responses;
    struct head_end end;
    const char *from = p + skipped;
    size_t size = n - skipped;
    if (size == 0)
        return (ssize_t)skipped;
    if (have > 0) { /* the rest of this read joins what was collected; what lies behind the head is not taken */
        size_t room = h1->limits.max_head_bytes - have;
        size_t part = size < room ? size : room;
        if (buffer_append(&h1->collected, from, part) < 0)
            return fail(h1, -SOTH_ENOMEM, "memory");
        from = (const char *)buffer_data(&h1->collected);
        size = have + part;
    }
    if (h1->state == S_HEAD && !start_is_possible(h1, from, size) && !(h1->is_request && size == 1 && *from == '\r'))
        return fail(h1, -SOTH_EINVALID, guard_explain(h1->is_request ? HEAD_REQUEST : HEAD_RESPONSE, from, size));
    head_find_end(from, size, h1->looked, lenient, &end);
    if (end.fault)
        return fail(h1, -SOTH_EINVALID, end.fault);
    if (end.size == 0 && have > 0) {
        h1->looked = end.looked;
        if (size >= h1->limits.max_head_bytes)
            return fail(h1, -SOTH_ELIMIT, "header_too_large");
        return (ssize_t)n;
    }
    if (end.size == 0)
        return collect(h1, from, size, &end) < 0 ? fail(h1, -SOTH_ELIMIT, h1->fault) : (ssize_t)n;
    if (end.size > h1->limits.max_head_bytes)
        return fail(h1, -SOTH_ELIMIT, "header_too_large");
    h1->looked = 0;
    h1->drop_collected = have > 0;
    if (h1->state == S_HEAD && h1->is_request && end.size == 2) /* an empty line that came in two reads */
        return (ssize_t)(skipped + end.size - have);
    ssize_t r = h1->state == S_HEAD ? head_ready(h1, from, end.size, event) : trailers_ready(h1, from, end.size, event);
    return r < 0 ? r : (ssize_t)(skipped + end.size - have);
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
    if (h1->state == S_UNTIL_CLOSE) {
        h1->state = S_HEAD;
        event->type = H1_END;
        return 1;
    }
    if (h1->state == S_HEAD && (h1->drop_collected || buffer_size(&h1->collected) == 0))
        return 0;
    fail(h1, -SOTH_EEOF, h1->state == S_HEAD ? "truncated_head" : "truncated_body");
    return -SOTH_EEOF;
}
