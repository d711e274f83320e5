/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Header blocks (RFC 9113 8): fields are collected while nghttp2 decodes them, within the limit, and judged by guard.c; a complete block
 * becomes a struct message in memory of the thread. A block that is refused costs its stream, never the connection.
 */
#include <string.h>
#include <strings.h>

#include "host/http/h2_state.h"
#include "host/http/head.h"

#define FIELD_OVERHEAD 32 /* RFC 7541 4.1 */

struct record {
    uint32_t name, value; /* bytes */
};

/* What an event points to, until the thread's next h2_take. */
static _Thread_local struct message message;
static _Thread_local struct soth_field fields[HEAD_MAX_FIELDS];
static _Thread_local uint8_t ids[HEAD_MAX_FIELDS];

void h2_head_release(struct h2 *h2)
{
    if (!h2->block.open)
        buffer_fini(&h2->block.text);
}

int h2_head_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h2 = user;
    struct h2_block *block = &h2->block;
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    struct h2_stream *stream = h2_stream_of(h2, frame->hd.stream_id);
    if (!stream && h2->server && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        stream = h2_stream_new(h2, frame->hd.stream_id);
        if (!stream)
            return NGHTTP2_ERR_CALLBACK_FAILURE;
        nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream);
    }
    buffer_clear(&block->text);
    block->stream = stream;
    block->count = 0;
    block->size = 0;
    block->open = true;
    return 0;
}

/* The stream is over; nghttp2 goes on decoding for the sake of its table, and asks no more. */
static int refuse(struct h2 *h2, const char *fault, uint32_t code)
{
    h2_stream_fault(h2, h2->block.stream->id, fault, code);
    h2->block.open = false;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static bool add(struct h2_block *block, struct soth_span name, struct soth_span value)
{
    struct record record = {(uint32_t)name.n, (uint32_t)value.n};
    buffer_append(&block->text, &record, sizeof record);
    buffer_append(&block->text, name.p, name.n);
    if (value.n)
        buffer_append(&block->text, value.p, value.n);
    block->count++;
    return !block->text.failed;
}

int h2_head_field(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name_at, size_t name_len, const uint8_t *value_at,
                  size_t value_len, uint8_t flags, void *user)
{
    struct h2 *h2 = user;
    struct h2_block *block = &h2->block;
    struct soth_span name = {(const char *)name_at, name_len}, value = {(const char *)value_at, value_len};
    const char *fault = NULL;
    (void)session;
    (void)flags;
    if (frame->hd.type != NGHTTP2_HEADERS || !block->stream)
        return 0;
    block->size += name_len + value_len + FIELD_OVERHEAD;
    if (block->size > h2->limits.max_header_list)
        return refuse(h2, "header_too_large", NGHTTP2_ENHANCE_YOUR_CALM);
    if (block->count == HEAD_MAX_FIELDS)
        return refuse(h2, "too_many_fields", NGHTTP2_ENHANCE_YOUR_CALM);
    if (name_len > 0 && name_at[0] != ':' && guard_h2_field(name, value, &fault) < 0)
        return refuse(h2, fault, NGHTTP2_PROTOCOL_ERROR);
    return add(block, name, message_trimmed(value)) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* nghttp2 would pass over a field of which it does not like the characters. */
int h2_head_invalid(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name_at, size_t name_len, const uint8_t *value_at,
                    size_t value_len, uint8_t flags, void *user)
{
    struct h2 *h2 = user;
    const char *fault = "blanks_around_value";
    (void)session;
    (void)flags;
    if (frame->hd.type != NGHTTP2_HEADERS || !h2->block.stream)
        return 0;
    guard_h2_field((struct soth_span){(const char *)name_at, name_len}, (struct soth_span){(const char *)value_at, value_len}, &fault);
    if (message_field_id((struct soth_span){(const char *)name_at, name_len}) == FIELD_HOST)
        fault = "invalid_host";
    return refuse(h2, fault, NGHTTP2_PROTOCOL_ERROR);
}

/* ---- the complete block ---- */

static void note_pseudo(struct soth_span name, struct soth_span value)
{
    if (soth_span_is(name, ":method"))
        message.method = value;
    else if (soth_span_is(name, ":path"))
        message.target = value;
    else if (soth_span_is(name, ":scheme"))
        message.scheme = value;
    else if (soth_span_is(name, ":authority"))
        message.authority = value;
    else if (soth_span_is(name, ":protocol"))
        message.protocol = value;
    else if (soth_span_is(name, ":status"))
        for (size_t i = 0; i < value.n; i++)
            message.status = (uint16_t)(message.status * 10 + (value.p[i] - '0'));
}

/* Crumbs of a cookie (RFC 9113 8.2.3), joined at the end of the block's text; room for them was made before. */
static struct soth_span join(struct h2_block *block, struct soth_span joined, struct soth_span crumb)
{
    if (joined.p == NULL)
        return crumb;
    struct buffer *text = &block->text;
    if (joined.p + joined.n != (const char *)text->p + text->len) { /* the first is moved there */
        buffer_append(text, joined.p, joined.n);
        joined.p = (const char *)text->p + text->len - joined.n;
    }
    buffer_append(text, "; ", 2);
    buffer_append(text, crumb.p, crumb.n);
    joined.n += 2 + crumb.n;
    return joined;
}

static bool is_cookie(struct soth_span name)
{
    return name.n == 6 && memcmp(name.p, "cookie", 6) == 0;
}

static void note_regular(struct h2_block *block, struct soth_span name, struct soth_span value, struct soth_field **cookie)
{
    struct soth_field *field = &fields[message.field_count];
    if (message.is_request && is_cookie(name)) {
        if (*cookie) {
            (*cookie)->value = join(block, (*cookie)->value, value);
            return;
        }
        *cookie = field;
    }
    *field = (struct soth_field){name, value};
    ids[message.field_count] = (uint8_t)message_field_id(name);
    head_note_field(&message, field, ids[message.field_count++]);
}

/* The records as a message. 0 or -SOTH_ENOMEM. */
static int assemble(struct h2_block *block, bool is_request)
{
    struct buffer *text = &block->text;
    size_t end = text->len;
    struct soth_field *cookie = NULL;
    message = (struct message){.is_request = is_request, .http2 = true, .minor = 1, .head_bytes = (uint32_t)block->size};
    message.fields = fields;
    message.ids = ids;
    if (end == 0)
        return SOTH_OK;
    if (buffer_reserve(text, end + 2 * (size_t)block->count) < 0) /* it does not move from here on */
        return -SOTH_ENOMEM;
    for (size_t at = 0; at < end;) {
        struct record record;
        memcpy(&record, text->p + at, sizeof record);
        struct soth_span name = {(const char *)text->p + at + sizeof record, record.name}, value = {name.p + name.n, record.value};
        at += sizeof record + record.name + record.value;
        if (name.p[0] == ':')
            note_pseudo(name, value);
        else
            note_regular(block, name, value, &cookie);
    }
    if (is_request && soth_span_is(message.method, "CONNECT") && !message.protocol.p)
        message.target = message.authority;
    return SOTH_OK;
}

static int judge(enum h2_event_type type, bool end, const char **fault)
{
    if (type == H2_TRAILERS)
        return guard_h2_trailers(&message, fault);
    return message.is_request ? guard_h2_request(&message, end, fault) : guard_h2_response(&message, end, fault);
}

void h2_head_complete(struct h2 *h2, const nghttp2_frame *frame)
{
    struct h2_block *block = &h2->block;
    struct h2_stream *stream = block->stream;
    bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    const char *fault = NULL;
    block->open = false;
    block->stream = NULL;
    if (!stream)
        return;
    enum h2_event_type type = stream->head_done ? H2_TRAILERS : H2_HEAD;
    if (assemble(block, h2->server && type == H2_HEAD) < 0) {
        h2_fail(h2, -SOTH_ENOMEM, "memory");
        return;
    }
    if (judge(type, end, &fault) < 0) {
        h2_stream_fault(h2, stream->id, fault, NGHTTP2_PROTOCOL_ERROR);
        return;
    }
    if (type == H2_TRAILERS && message.field_count == 0)
        return;
    if (type == H2_HEAD && !h2->server && message.status < 200)
        type = H2_INTERIM;
    if (type != H2_INTERIM)
        stream->left = message.framing == FRAMING_LENGTH ? message.content_length : message.framing == FRAMING_NONE ? 0 : UINT64_MAX;
    stream->head_done = type != H2_INTERIM;
    h2_stream_announce(h2, stream);
    if (h2->server && type == H2_HEAD)
        h2_early_due(h2, stream->id);
    h2_tell(h2, &(struct h2_event){.type = type, .stream = stream->id, .user = stream->user, .message = &message, .end = end});
}
