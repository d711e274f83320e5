/* SPDX-License-Identifier: MPL-2.0 */
/* Messages on their way out over HTTP/2: heads anew from the parsed message, bodies as far as the windows are open. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "host/http/h2_state.h"
#include "host/http/head.h"

/* ---- nghttp2's bytes ---- */

static int pumped(struct h2 *h2, ssize_t r)
{
    if (r < 0)
        return h2_fail_saying(h2, -SOTH_ENOMEM, "memory", NGHTTP2_INTERNAL_ERROR);
    return SOTH_OK;
}

int h2_pump(struct h2 *h2, struct buffer *to)
{
    const uint8_t *p;
    ssize_t n = 0;
    if (h2->lost)
        return SOTH_OK;
    if (h2->error == -SOTH_ENOMEM) /* half of a frame may be out: what came after it would be taken for its rest */
        return -SOTH_ENOMEM;
    h2->to = to;
    while ((n = nghttp2_session_mem_send(h2->session, &p)) > 0)
        if (buffer_append(to, p, (size_t)n) < 0)
            return pumped(h2, -1);
    return pumped(h2, n);
}

int h2_output(struct h2 *h2, struct buffer *out)
{
    size_t ready = buffer_size(&h2->ready);
    if (h2->lost)
        return SOTH_OK;
    if (ready && buffer_append(out, buffer_data(&h2->ready), ready) < 0)
        return -SOTH_ENOMEM;
    buffer_fini(&h2->ready);
    h2->answers = 0;
    return h2_pump(h2, out);
}

bool h2_wants_output(const struct h2 *h2)
{
    return !h2->lost && (buffer_size(&h2->ready) > 0 || nghttp2_session_want_write(h2->session));
}

/* ---- heads ---- */

struct list {
    nghttp2_nv nv[HEAD_MAX_FIELDS + 64];
    size_t n;
    bool full;
};
static _Thread_local struct list list;

static void put(struct soth_span name, struct soth_span value)
{
    if (list.n == sizeof list.nv / sizeof *list.nv) {
        list.full = true;
        return;
    }
    /* nghttp2 copies both, the name in lower case */
    list.nv[list.n++] = (nghttp2_nv){(uint8_t *)(uintptr_t)name.p, (uint8_t *)(uintptr_t)(value.n ? value.p : ""), name.n, value.n, NGHTTP2_NV_FLAG_NONE};
}

static void put_named(const char *name, struct soth_span value)
{
    put(soth_span(name), value);
}

/* RFC 9113 8.2.3: in crumbs, so that each has its place in the compressor's table. */
static void put_cookie(struct soth_span name, struct soth_span value)
{
    const char *at = value.p, *end = value.p + value.n, *semicolon;
    while (at < end && (semicolon = memchr(at, ';', (size_t)(end - at))) && semicolon + 1 < end && semicolon[1] == ' ') {
        put(name, (struct soth_span){at, (size_t)(semicolon - at)});
        at = semicolon + 2;
    }
    put(name, (struct soth_span){at, (size_t)(end - at)});
}

struct digits {
    char text[24];
};

static struct soth_span digits(struct digits *to, uint64_t number)
{
    int n = snprintf(to->text, sizeof to->text, "%llu", (unsigned long long)number);
    return (struct soth_span){to->text, (size_t)n};
}

static bool is_cookie(struct soth_span name)
{
    return name.n == 6 && strncasecmp(name.p, "cookie", 6) == 0;
}

/* length: of a Content-Length field, which is written once; p == NULL: none is written. */
static void put_fields(const struct message *msg, struct soth_span length)
{
    for (uint32_t i = 0; i < msg->field_count; i++) {
        const struct soth_field *f = &msg->fields[i];
        if (msg->ids[i] == FIELD_HOST || !rewrite_field_goes(msg, i))
            continue;
        if (msg->ids[i] == FIELD_CONTENT_LENGTH) {
            if (length.p)
                put(f->name, length);
            length.p = NULL;
        } else if (msg->is_request && is_cookie(f->name)) {
            put_cookie(f->name, f->value);
        } else {
            put(f->name, f->value);
        }
    }
}

static struct soth_span chosen(struct soth_span first, struct soth_span second)
{
    return first.p ? first : second;
}

static void put_request(const struct message *msg, const struct h2_request *how, struct digits *length)
{
    struct soth_span authority = chosen(how->authority, chosen(msg->authority, msg->host)), target = chosen(how->target, msg->target);
    bool tunnel = soth_span_is(msg->method, "CONNECT") && !how->protocol.p;
    list.n = 0;
    list.full = false;
    put_named(":method", how->protocol.p ? soth_span("CONNECT") : msg->method);
    if (!tunnel) {
        put_named(":scheme", how->scheme);
        put_named(":path", target);
    }
    if (authority.p)
        put_named(":authority", authority);
    if (how->protocol.p)
        put_named(":protocol", how->protocol);
    put_fields(msg, msg->has_declared_length && !how->reframe ? digits(length, msg->declared_length) : (struct soth_span){NULL, 0});
    if (rewrite_accepts_trailers(msg))
        put_named("te", soth_span("trailers"));
}

/* ---- bodies ---- */

static ssize_t read_data(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length, uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(session, id);
    const struct h2 *h2 = user;
    (void)buf;
    (void)source;
    size_t have = stream && stream == h2->sending ? h2->data.n : 0;
    if (!stream || (have == 0 && !stream->ended))
        return NGHTTP2_ERR_DEFERRED;
    size_t n = length < have ? length : have;
    if (n > 0)
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (n == have && stream->ended)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

int h2_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t length, nghttp2_data_source *source, void *user)
{
    struct h2 *h2 = user;
    (void)session;
    (void)frame;
    (void)source;
    if (buffer_append(h2->to, head, FRAME_HEAD) < 0 || buffer_append(h2->to, h2->data.p, length) < 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    h2->data.p += length;
    h2->data.n -= length;
    h2_dwell(h2, length > 0);
    h2_flood_earn(h2);
    return 0;
}

size_t h2_room(const struct h2 *h2, int32_t id)
{
    if (!h2_stream_of(h2, id))
        return 0;
    int32_t stream = nghttp2_session_get_stream_remote_window_size(h2->session, id);
    int32_t connection = nghttp2_session_get_remote_window_size(h2->session);
    int32_t room = stream < connection ? stream : connection;
    return room > 0 ? (size_t)room : 0;
}

ssize_t h2_body(struct h2 *h2, int32_t id, struct soth_span data, bool end, struct buffer *out)
{
    struct h2_stream *stream = h2_stream_of(h2, id);
    if (!stream)
        return -SOTH_ENOENT;
    if (!stream->answered || stream->ended)
        return -SOTH_EINVALID;
    if (h2_output(h2, out) < 0) /* the head, if it is not out */
        return -SOTH_ENOMEM;
    h2->sending = stream;
    h2->data = data;
    stream->ended = end && data.n <= h2_room(h2, id);
    nghttp2_session_resume_data(h2->session, id); /* fails when nothing waits for us: it waits for its window */
    int r = h2_pump(h2, out);
    size_t taken = data.n - h2->data.n;
    h2->sending = NULL;
    h2->data = (struct soth_span){NULL, 0};
    if (taken < data.n) {
        stream->ended = false;
        h2_stream_block(h2, stream);
    }
    return r < 0 ? r : (ssize_t)taken;
}

/* ---- messages ---- */

static const nghttp2_data_provider provider = {.read_callback = read_data};

bool h2_is_leaving(const struct h2 *h2)
{
    return h2->lost || h2->error || h2->heard_goodbye || h2->said_goodbye || !nghttp2_session_check_request_allowed(h2->session);
}

bool h2_can_open(const struct h2 *h2)
{
    return !h2_is_leaving(h2) && h2->stream_count < h2->limits.max_concurrent_streams && h2->stream_count < h2_peer_max_streams(h2);
}

int32_t h2_request(struct h2 *h2, const struct message *msg, const struct h2_request *how, void *user)
{
    struct digits length;
    if (!h2_can_open(h2))
        return -SOTH_EAGAIN;
    put_request(msg, how, &length);
    if (list.full)
        return -SOTH_EINVALID;
    struct h2_stream *stream = h2_stream_new(h2, 0);
    if (!stream)
        return -SOTH_ENOMEM;
    stream->user = user;
    stream->answered = true;
    stream->ended = how->end;
    int32_t id = nghttp2_submit_request(h2->session, NULL, list.nv, list.n, how->end ? NULL : &provider, stream);
    if (id < 0) {
        h2_stream_free(h2, stream);
        return id == NGHTTP2_ERR_NOMEM ? -SOTH_ENOMEM : -SOTH_EAGAIN;
    }
    stream->id = id;
    h2_stream_announce(h2, stream);
    h2_flood_earn_reset(h2);
    return h2_pump(h2, &h2->ready) < 0 ? -SOTH_ENOMEM : id; /* nghttp2 knows the stream when it is out */
}

static int submitted(struct h2 *h2, int r)
{
    if (r == NGHTTP2_ERR_NOMEM)
        return -SOTH_ENOMEM;
    return r < 0 ? -SOTH_EINVALID : h2_pump(h2, &h2->ready);
}

/* The list that is put together. body: NULL, none follows. */
static int send_response(struct h2 *h2, struct h2_stream *stream, const nghttp2_data_provider *body)
{
    if (list.full)
        return -SOTH_EINVALID;
    stream->answered = true;
    stream->ended = body != &provider;
    return submitted(h2, nghttp2_submit_response(h2->session, stream->id, list.nv, list.n, body));
}

static bool may_have_length(const struct message *msg)
{
    return msg->has_declared_length && msg->status >= 200 && msg->status != 204;
}

int h2_response(struct h2 *h2, int32_t id, const struct message *msg, const struct h2_response *how)
{
    struct h2_stream *stream = h2_stream_of(h2, id);
    struct digits status, length;
    if (!stream)
        return -SOTH_ENOENT;
    if (stream->answered || msg->status < 100 || msg->status == 101)
        return -SOTH_EINVALID;
    list.n = 0;
    list.full = false;
    put_named(":status", digits(&status, msg->status));
    put_fields(msg, may_have_length(msg) && !how->reframe ? digits(&length, msg->declared_length) : (struct soth_span){NULL, 0});
    if (msg->status >= 200)
        return send_response(h2, stream, how->end ? NULL : &provider);
    if (list.full)
        return -SOTH_EINVALID;
    return submitted(h2, nghttp2_submit_headers(h2->session, NGHTTP2_FLAG_NONE, id, NULL, list.nv, list.n, NULL));
}

/* "Name: value" CRLF, as HTTP/1's replies have them ready. */
static void put_lines(const char *lines)
{
    for (const char *end; lines && (end = strstr(lines, "\r\n")) != NULL; lines = end + 2) {
        const char *colon = memchr(lines, ':', (size_t)(end - lines));
        if (!colon)
            continue;
        const char *value = colon + 1;
        while (value < end && *value == ' ')
            value++;
        put((struct soth_span){lines, (size_t)(colon - lines)}, (struct soth_span){value, (size_t)(end - value)});
    }
}

int h2_reply(struct h2 *h2, int32_t id, const struct reply *reply)
{
    struct h2_stream *stream = h2_stream_of(h2, id);
    struct digits status, length;
    char proxy_status[128];
    if (!stream)
        return -SOTH_ENOENT;
    if (stream->answered)
        return -SOTH_EINVALID;
    list.n = 0;
    list.full = false;
    put_named(":status", digits(&status, (uint64_t)reply->status));
    put_named("content-type", soth_span(reply->content_type));
    put_named("content-length", digits(&length, reply->body.n));
    put_named("cache-control", soth_span("no-store"));
    if (reply->error) {
        snprintf(proxy_status, sizeof proxy_status, "soth-mitm; error=%s", reply->error);
        put_named("proxy-status", soth_span(proxy_status));
    }
    put_lines(reply->extra);
    if (reply->head_only || reply->body.n == 0)
        return send_response(h2, stream, NULL);
    nghttp2_data_provider page = {.source.ptr = h2_page_new(h2, id, reply->body), .read_callback = h2_page_read};
    if (!page.source.ptr)
        return -SOTH_ENOMEM;
    int r = send_response(h2, stream, &page);
    if (r < 0)
        h2_page_drop(h2, id);
    h2_dwell(h2, false);
    return r;
}

int h2_trailers(struct h2 *h2, int32_t id, const struct message *trailers)
{
    struct h2_stream *stream = h2_stream_of(h2, id);
    if (!stream)
        return -SOTH_ENOENT;
    if (!stream->answered || stream->ended)
        return -SOTH_EINVALID;
    list.n = 0;
    list.full = false;
    for (uint32_t i = 0; i < trailers->field_count; i++)
        if (rewrite_may_be_trailer(&trailers->fields[i]))
            put(trailers->fields[i].name, trailers->fields[i].value);
    stream->ended = true;
    if (list.n > 0)
        return submitted(h2, nghttp2_submit_trailer(h2->session, id, list.nv, list.n));
    nghttp2_session_resume_data(h2->session, id);
    return h2_pump(h2, &h2->ready);
}

int h2_reset(struct h2 *h2, int32_t id, enum h2_code code)
{
    struct h2_stream *stream = h2_stream_find(h2, id);
    if (!stream)
        return -SOTH_ENOENT;
    bool closed = stream->closed;
    nghttp2_session_set_stream_user_data(h2->session, id, NULL);
    h2_stream_free(h2, stream);
    return closed ? SOTH_OK : submitted(h2, nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, id, code));
}

int h2_leave(struct h2 *h2, int32_t id)
{
    struct h2_stream *stream = h2_stream_find(h2, id);
    if (!stream)
        return -SOTH_ENOENT;
    if (!h2_page_leave(h2, id) && (h2->said_goodbye || stream->closed || h2_is_used_up(h2, id)))
        return h2_reset(h2, id, H2_NO_ERROR);
    nghttp2_session_set_stream_user_data(h2->session, id, NULL);
    h2_stream_free(h2, stream);
    return SOTH_OK;
}

/* ---- the connection ---- */

int h2_goaway(struct h2 *h2, enum h2_goaway how, enum h2_code code)
{
    if (h2->lost || h2->error)
        return SOTH_OK;
    int r;
    h2->said_goodbye = h2->saying = true;
    if (how == H2_GOAWAY_SOON && h2->server)
        r = nghttp2_submit_shutdown_notice(h2->session);
    else if (how == H2_GOAWAY_NOW)
        r = nghttp2_session_terminate_session(h2->session, code);
    else
        r = nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h2->session), code, NULL, 0);
    r = submitted(h2, r);
    h2->saying = false;
    if (how == H2_GOAWAY_NOW)
        h2_fail(h2, -SOTH_EEOF, "");
    return r;
}

int h2_ping(struct h2 *h2, uint64_t number)
{
    uint8_t data[8];
    for (int i = 0; i < 8; i++)
        data[i] = (uint8_t)(number >> 8 * (7 - i));
    return submitted(h2, nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, data));
}

int h2_priority(struct h2 *h2, int32_t id, struct soth_span value)
{
    if (!h2_stream_of(h2, id))
        return -SOTH_ENOENT;
    if (h2->server || nghttp2_session_get_remote_settings(h2->session, NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES) != 1)
        return SOTH_OK;
    return submitted(h2, nghttp2_submit_priority_update(h2->session, NGHTTP2_FLAG_NONE, id, (const uint8_t *)value.p, value.n));
}
