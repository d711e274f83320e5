/* SPDX-License-Identifier: MPL-2.0 */
/* See reply.h. A response is lines and runs of bytes; the part says which comes next. */
#include "reply.h"

#include <stdlib.h>
#include <strings.h>

void reply_init(struct reply *reply)
{
    memset(reply, 0, sizeof *reply);
}

void reply_fini(struct reply *reply)
{
    free(reply->body);
    reply_init(reply);
}

static int wrong(struct reply *reply, const char *fault)
{
    reply->fault = fault;
    return -SOTH_EINVALID;
}

/* ---- lines ---- */

static int status_line(struct reply *reply)
{
    const char *line = reply->line;
    if (reply->line_n < 12 || memcmp(line, "HTTP/1.", 7) != 0 || (line[7] != '0' && line[7] != '1') || line[8] != ' ' ||
        (reply->line_n > 12 && line[12] != ' '))
        return wrong(reply, "what it answers is not HTTP/1.1");
    for (int i = 9; i < 12; i++) {
        if (line[i] < '0' || line[i] > '9')
            return wrong(reply, "what it answers is not HTTP/1.1");
        reply->status = reply->status * 10 + (unsigned)(line[i] - '0');
    }
    if (reply->status >= 200 && reply->status != 200)
        return wrong(reply, "its status is not 200");
    reply->closes = line[7] == '0';
    reply->part = REPLY_FIELDS;
    return SOTH_OK;
}

static int is(const char *p, size_t n, const char *text)
{
    return n == strlen(text) && strncasecmp(p, text, n) == 0;
}

static int content_length(struct reply *reply, const char *p, size_t n)
{
    if (reply->has_length || n == 0)
        return wrong(reply, "its Content-Length is wrong");
    reply->has_length = 1;
    reply->left = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9')
            return wrong(reply, "its Content-Length is wrong");
        reply->left = reply->left * 10 + (size_t)(p[i] - '0');
        if (reply->left > REPLY_BODY_MOST)
            return wrong(reply, "its answer is too long");
    }
    return SOTH_OK;
}

/* "close" in a list of options. */
static void connection(struct reply *reply, const char *p, size_t n)
{
    for (size_t at = 0, size; at < n; at += size + 1) {
        size = 0;
        while (at + size < n && p[at + size] != ',' && p[at + size] != ' ' && p[at + size] != '\t')
            size++;
        if (is(p + at, size, "close"))
            reply->closes = 1;
    }
}

static int field_line(struct reply *reply)
{
    const char *line = reply->line, *colon = memchr(line, ':', reply->line_n);
    if (!colon || colon == line || *line == ' ' || *line == '\t' || colon[-1] == ' ' || colon[-1] == '\t')
        return wrong(reply, "a field of its answer is malformed");
    const char *value = colon + 1, *end = line + reply->line_n;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    size_t name = (size_t)(colon - line), n = (size_t)(end - value);
    if (is(line, name, "content-length"))
        return content_length(reply, value, n);
    if (is(line, name, "transfer-encoding")) {
        if (reply->chunked || !is(value, n, "chunked"))
            return wrong(reply, "its Transfer-Encoding is not chunked");
        reply->chunked = 1;
    } else if (is(line, name, "connection")) {
        connection(reply, value, n);
    }
    return SOTH_OK;
}

/* The empty line after the fields. */
static int head_ends(struct reply *reply)
{
    if (reply->status < 200) { /* an interim one (RFC 9110 15.2) */
        reply->status = 0;
        reply->has_length = reply->chunked = 0;
        reply->part = REPLY_STATUS;
        return SOTH_OK;
    }
    if (reply->chunked && reply->has_length)
        return wrong(reply, "its answer has a Content-Length and is chunked");
    if (reply->chunked)
        reply->part = REPLY_CHUNK_SIZE;
    else if (reply->has_length)
        reply->part = reply->left ? REPLY_LENGTH : REPLY_DONE;
    else
        reply->part = REPLY_TO_END;
    return SOTH_OK;
}

static int chunk_size(struct reply *reply)
{
    size_t size = 0, i = 0;
    for (; i < reply->line_n && reply->line[i] != ';' && reply->line[i] != ' ' && reply->line[i] != '\t'; i++) {
        char c = reply->line[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (digit < 0)
            return wrong(reply, "a chunk of its answer is malformed");
        size = size * 16 + (size_t)digit;
        if (size > REPLY_BODY_MOST)
            return wrong(reply, "its answer is too long");
    }
    if (i == 0)
        return wrong(reply, "a chunk of its answer is malformed");
    reply->left = size;
    reply->part = size ? REPLY_CHUNK_DATA : REPLY_TRAILERS;
    return SOTH_OK;
}

static int line_ends(struct reply *reply)
{
    if (reply->line_n > 0 && reply->line[reply->line_n - 1] == '\r')
        reply->line_n--;
    switch (reply->part) {
    case REPLY_STATUS:
        return status_line(reply);
    case REPLY_FIELDS:
        return reply->line_n ? field_line(reply) : head_ends(reply);
    case REPLY_CHUNK_SIZE:
        return chunk_size(reply);
    case REPLY_CHUNK_END:
        reply->part = REPLY_CHUNK_SIZE;
        return reply->line_n ? wrong(reply, "a chunk of its answer is malformed") : SOTH_OK;
    default: /* trailers */
        if (reply->line_n == 0)
            reply->part = REPLY_DONE;
        return SOTH_OK;
    }
}

/* Collects a line, its end included; returns how many bytes it took, or negative. */
static long take_line(struct reply *reply, const char *p, size_t n)
{
    const char *end = memchr(p, '\n', n);
    size_t size = end ? (size_t)(end - p) : n;
    if (reply->line_n + size > sizeof reply->line || (reply->head_n += size) > REPLY_HEAD_MOST)
        return wrong(reply, "the head of its answer is too long");
    memcpy(reply->line + reply->line_n, p, size);
    reply->line_n += size;
    if (!end)
        return (long)size;
    int r = line_ends(reply);
    reply->line_n = 0;
    return r < 0 ? r : (long)size + 1;
}

/* ---- bytes ---- */

static int has_room(struct reply *reply, size_t n)
{
    size_t room = reply->body_room ? reply->body_room : 1024;
    while (room < reply->body_n + n)
        room *= 2;
    if (room == reply->body_room)
        return 1;
    char *body = realloc(reply->body, room);
    if (!body)
        return 0;
    reply->body = body;
    reply->body_room = room;
    return 1;
}

static long take_body(struct reply *reply, const char *p, size_t n)
{
    if (reply->part != REPLY_TO_END && n > reply->left)
        n = reply->left;
    if (reply->body_n + n > REPLY_BODY_MOST)
        return wrong(reply, "its answer is too long");
    if (!has_room(reply, n))
        return wrong(reply, "out of memory");
    memcpy(reply->body + reply->body_n, p, n);
    reply->body_n += n;
    if (reply->part == REPLY_TO_END)
        return (long)n;
    reply->left -= n;
    if (reply->left == 0)
        reply->part = reply->part == REPLY_LENGTH ? REPLY_DONE : REPLY_CHUNK_END;
    return (long)n;
}

static int is_body(enum reply_part part)
{
    return part == REPLY_LENGTH || part == REPLY_TO_END || part == REPLY_CHUNK_DATA;
}

int reply_feed(struct reply *reply, const char *p, size_t n, size_t *used)
{
    *used = 0;
    while (reply->part != REPLY_DONE && *used < n) {
        long took = is_body(reply->part) ? take_body(reply, p + *used, n - *used) : take_line(reply, p + *used, n - *used);
        if (took < 0)
            return (int)took;
        *used += (size_t)took;
    }
    return reply->part == REPLY_DONE;
}

int reply_end(struct reply *reply)
{
    reply->closes = 1;
    if (reply->part == REPLY_TO_END)
        reply->part = REPLY_DONE;
    return reply->part == REPLY_DONE ? 1 : wrong(reply, "it ends the connection in the middle of its answer");
}
