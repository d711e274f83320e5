/* SPDX-License-Identifier: MPL-2.0 */
/* See h2.h. Input goes to nghttp2 frame by frame, so that between two events lies one frame's work; what that frame told is the next event. */
#include "host/http/h2_state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define STREAM_WINDOW (1u << 20)
#define CONNECTION_WINDOW (16u << 20)
#define ANSWERS_MOST (64u << 10) /* bytes that a peer may make us owe it */
#define SEND_BLOCK_MOST (1u << 20)

/* ---- names ---- */

static const struct code {
    uint32_t number;
    const char *name, *fault;
} codes[] = {
#define H2_CODE(NAME, number, text) {number, text, "h2_" text},
#include "host/http/h2.def"
#undef H2_CODE
};

static const struct code *code_of(uint32_t number)
{
    return number < sizeof codes / sizeof *codes ? &codes[number] : NULL;
}

const char *h2_code_name(uint32_t number)
{
    const struct code *code = code_of(number);
    return code ? code->name : "unknown";
}

const char *h2_code_fault(uint32_t number)
{
    const struct code *code = code_of(number);
    return code ? code->fault : "h2_unknown";
}

int h2_preface(const uint8_t *p, size_t n)
{
    size_t part = n < NGHTTP2_CLIENT_MAGIC_LEN ? n : NGHTTP2_CLIENT_MAGIC_LEN;
    if (memcmp(p, NGHTTP2_CLIENT_MAGIC, part) != 0)
        return 0;
    return part == NGHTTP2_CLIENT_MAGIC_LEN ? 1 : -SOTH_EAGAIN;
}

/* ---- new, free ---- */

static nghttp2_option *option_new(const struct h2_limits *limits, bool server)
{
    nghttp2_option *to = NULL;
    if (nghttp2_option_new(&to) != 0)
        return NULL;
    nghttp2_option_set_no_auto_window_update(to, 1);
    nghttp2_option_set_max_send_header_block_length(to, SEND_BLOCK_MOST);
    nghttp2_option_set_stream_reset_rate_limit(to, 1u << 20, 1u << 20); /* ours counts with the clock that it is given */
    if (server)
        nghttp2_option_set_builtin_recv_extension_type(to, NGHTTP2_PRIORITY_UPDATE);
    else if (!limits->strict_responses)
        nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(to, 1);
    return to;
}

static int session_new(struct h2 *h2)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = option_new(&h2->limits, h2->server);
    int r = -1;
    if (option && nghttp2_session_callbacks_new(&callbacks) == 0) {
        h2_events_set(callbacks);
        r = h2->server ? nghttp2_session_server_new2(&h2->session, callbacks, h2, option)
                       : nghttp2_session_client_new2(&h2->session, callbacks, h2, option);
    }
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    return r;
}

static int first_settings(struct h2 *h2)
{
    nghttp2_settings_entry list[6];
    size_t n = 0;
    list[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, h2->limits.stream_window};
    list[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, h2->limits.max_header_list};
    list[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1};
    if (h2->server)
        list[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, h2->limits.max_concurrent_streams};
    else
        list[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
    if (h2->server && h2->limits.connect_protocol)
        list[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1};
    if (nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, list, n) != 0)
        return -1;
    return nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0, (int32_t)h2->limits.connection_window);
}

static struct h2 *h2_new(const struct h2_limits *limits, bool server)
{
    struct h2 *h2 = calloc(1, sizeof *h2);
    if (!h2)
        return NULL;
    h2->limits = *limits;
    h2->limits.stream_window = limits->stream_window ? limits->stream_window : STREAM_WINDOW;
    h2->limits.connection_window = limits->connection_window ? limits->connection_window : CONNECTION_WINDOW;
    h2->server = server;
    h2->reading = -1;
    h2->preface_left = server ? NGHTTP2_CLIENT_MAGIC_LEN : 0;
    h2->due_tail = &h2->due;
    h2_flood_init(h2);
    if (session_new(h2) != 0 || first_settings(h2) != 0) {
        h2_free(h2);
        return NULL;
    }
    return h2;
}

struct h2 *h2_new_server(const struct h2_limits *limits)
{
    return h2_new(limits, true);
}

struct h2 *h2_new_client(const struct h2_limits *limits)
{
    return h2_new(limits, false);
}

void h2_free(struct h2 *h2)
{
    if (!h2)
        return;
    while (h2->streams)
        h2_stream_free(h2, h2->streams);
    h2_hold(h2, -(int64_t)h2->held);
    nghttp2_session_del(h2->session);
    h2_pages_free(h2);
    free(h2->early);
    buffer_fini(&h2->block.text);
    buffer_fini(&h2->ready);
    free(h2);
}

/* ---- take ---- */

static int fatal(struct h2 *h2, ssize_t error)
{
    switch (error) {
    case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
        return h2_fail_saying(h2, -SOTH_EINVALID, "h2_preface", NGHTTP2_PROTOCOL_ERROR);
    case NGHTTP2_ERR_FLOODED: /* acknowledgements that nobody takes */
        return h2_fail_flood(h2, FLOOD_UNREAD);
    case -905: /* NGHTTP2_ERR_TOO_MANY_CONTINUATIONS (more than 8 for one head), which not all headers have */
        return h2_fail_flood(h2, FLOOD_CONTINUATION);
    case NGHTTP2_ERR_NOMEM:
    case NGHTTP2_ERR_CALLBACK_FAILURE:
        return h2_fail_saying(h2, -SOTH_ENOMEM, "memory", NGHTTP2_INTERNAL_ERROR);
    default:
        return h2_fail_saying(h2, -SOTH_EINVALID, h2_code_fault(NGHTTP2_PROTOCOL_ERROR), NGHTTP2_PROTOCOL_ERROR);
    }
}

/* Answers are serialised at once: what nghttp2 thinks of a frame shows in what it sends. */
static int settle(struct h2 *h2)
{
    if (!nghttp2_session_want_write(h2->session))
        return 0;
    size_t before = buffer_size(&h2->ready) - h2->page_bytes;
    int r = h2_pump(h2, &h2->ready);
    h2->answers += buffer_size(&h2->ready) - h2->page_bytes - before;
    return r == 0 && h2->answers > ANSWERS_MOST ? h2_fail_flood(h2, FLOOD_UNREAD) : r;
}

/* nghttp2 reads p[0..n), a part of one frame. */
static int read_part(struct h2 *h2, const uint8_t *p, size_t n)
{
    h2->reading = h2->head_have == FRAME_HEAD ? h2->head[3] : -1;
    ssize_t r = n ? nghttp2_session_mem_recv(h2->session, p, n) : 0;
    h2->reading = -1;
    return r < 0 ? fatal(h2, r) : 0;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* A frame's first bytes are held until there are nine: nghttp2 counts a CONTINUATION frame anew with each part of them. */
static ssize_t read_head(struct h2 *h2, const uint8_t *p, size_t n)
{
    size_t part = least(n, FRAME_HEAD - (size_t)h2->head_have);
    memcpy(h2->head + h2->head_have, p, part);
    h2->head_have += (uint8_t)part;
    if (h2->head_have < FRAME_HEAD)
        return (ssize_t)part;
    h2->frame_left = (uint32_t)h2->head[0] << 16 | (uint32_t)h2->head[1] << 8 | h2->head[2];
    if (h2_check_frame(h2) < 0 || h2_flood_frame(h2, h2->head[3], h2->head[4], h2->frame_left) < 0 || read_part(h2, h2->head, FRAME_HEAD) < 0)
        return h2->error;
    return (ssize_t)part;
}

/* The preface, or a frame as far as it is there. */
static ssize_t read_frame(struct h2 *h2, const uint8_t *p, size_t n)
{
    if (h2->preface_left) {
        size_t part = least(n, h2->preface_left);
        h2->preface_left -= (uint8_t)part;
        return read_part(h2, p, part) < 0 ? h2->error : (ssize_t)part;
    }
    ssize_t head = h2->head_have < FRAME_HEAD ? read_head(h2, p, n) : 0;
    if (head < 0 || h2->head_have < FRAME_HEAD)
        return head;
    size_t body = least(n - (size_t)head, h2->frame_left);
    h2->frame_left -= (uint32_t)body;
    h2_check_payload(h2, p + head, body);
    if (h2->error || read_part(h2, p + head, body) < 0)
        return h2->error;
    if (h2->frame_left == 0)
        h2->head_have = 0;
    return head + (ssize_t)body;
}

static ssize_t feed(struct h2 *h2, const uint8_t *p, size_t n)
{
    ssize_t r = read_frame(h2, p, n);
    return r < 0 || settle(h2) < 0 ? h2->error : r;
}

static void tell_due(struct h2 *h2, struct h2_event *event)
{
    struct h2_stream *stream = h2->due;
    *event = (struct h2_event){.stream = stream->id, .user = stream->user};
    if (stream->closed) {
        event->type = H2_CLOSED;
        event->cause = stream->cause;
        event->code = stream->code;
        event->fault = stream->cause == H2_BY_FAULT ? h2_fault_text(stream->fault) : stream->cause == H2_BY_LOSS ? h2->fault : NULL;
        event->unborn = !stream->announced;
        event->unprocessed = stream->cause == H2_BY_PEER && stream->code == NGHTTP2_REFUSED_STREAM;
        h2_stream_free(h2, stream);
        return;
    }
    event->type = H2_WRITABLE;
    h2_not_due(h2, stream);
    h2_stream_unblock(h2, stream);
}

bool h2_has_event(const struct h2 *h2)
{
    return h2->event.type != H2_NONE || h2->wish_of || h2->end_of || h2->due;
}

/* First what the last frame told, then its stream's end, then what follows from it. */
static bool next_event(struct h2 *h2, struct h2_event *event)
{
    if (h2->event.type != H2_NONE) {
        *event = h2->event;
        h2->event = (struct h2_event){.type = H2_NONE};
    } else if (h2->wish_of && h2_early_take(h2, event)) {
        return true;
    } else if (h2->end_of) {
        *event = (struct h2_event){.type = H2_END, .stream = h2->end_of, .user = h2->end_user};
        h2->end_of = 0;
    } else if (h2->due) {
        tell_due(h2, event);
    } else {
        return false;
    }
    return true;
}

ssize_t h2_take(struct h2 *h2, const uint8_t *p, size_t n, uint64_t now_ns, struct h2_event *event)
{
    size_t used = 0;
    *event = (struct h2_event){.type = H2_NONE};
    h2->now_ns = now_ns > h2->now_ns ? now_ns : h2->now_ns;
    h2_head_release(h2);
    while (!next_event(h2, event)) {
        if (h2->error)
            return h2->error;
        if (used == n || h2->lost)
            break;
        ssize_t r = feed(h2, p + used, n - used);
        if (r > 0)
            used += (size_t)r;
    }
    return (ssize_t)used;
}
