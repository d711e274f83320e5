/* SPDX-License-Identifier: MPL-2.0 */
/* The streams of an HTTP/2 connection: who has something to tell, how they and the connection end, the windows that are promised to the peer. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "host/http/h2_state.h"

struct h2_stream *h2_stream_of(const struct h2 *h2, int32_t id)
{
    return id > 0 ? nghttp2_session_get_stream_user_data(h2->session, id) : NULL;
}

static void link_last(struct h2 *h2, struct h2_stream *stream)
{
    stream->prev = h2->last_stream;
    stream->next = NULL;
    if (stream->prev)
        stream->prev->next = stream;
    else
        h2->streams = stream;
    h2->last_stream = stream;
}

static void unlink_stream(struct h2 *h2, struct h2_stream *stream)
{
    if (stream->prev)
        stream->prev->next = stream->next;
    else
        h2->streams = stream->next;
    if (stream->next)
        stream->next->prev = stream->prev;
    else
        h2->last_stream = stream->prev;
}

struct h2_stream *h2_stream_new(struct h2 *h2, int32_t id)
{
    struct h2_stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        return NULL;
    stream->id = id;
    link_last(h2, stream);
    return stream;
}

void h2_stream_announce(struct h2 *h2, struct h2_stream *stream)
{
    if (!stream->announced)
        h2->stream_count++;
    stream->announced = true;
    h2_dwell(h2, false);
}

void h2_not_due(struct h2 *h2, struct h2_stream *stream)
{
    struct h2_stream **at = &h2->due;
    if (!stream->due)
        return;
    while (*at != stream)
        at = &(*at)->due_next;
    *at = stream->due_next;
    if (!stream->due_next)
        h2->due_tail = at;
    stream->due = false;
}

void h2_stream_free(struct h2 *h2, struct h2_stream *stream)
{
    h2_not_due(h2, stream);
    h2_stream_unblock(h2, stream);
    unlink_stream(h2, stream);
    if (stream->announced)
        h2->stream_count--;
    if (h2->block.stream == stream)
        h2->block.stream = NULL;
    if (h2->event.stream == stream->id)
        h2->event.type = H2_NONE;
    if (h2->end_of == stream->id)
        h2->end_of = 0;
    free(stream);
    h2_dwell(h2, false);
}

void h2_due(struct h2 *h2, struct h2_stream *stream)
{
    if (stream->due)
        return;
    stream->due = true;
    stream->due_next = NULL;
    *h2->due_tail = stream;
    h2->due_tail = &stream->due_next;
}

void h2_stream_block(struct h2 *h2, struct h2_stream *stream)
{
    unlink_stream(h2, stream); /* whoever had its turn is woken last */
    link_last(h2, stream);
    h2->blocked += !stream->blocked;
    stream->blocked = true;
    h2_dwell(h2, false);
}

void h2_stream_unblock(struct h2 *h2, struct h2_stream *stream)
{
    h2->blocked -= stream->blocked;
    stream->blocked = false;
    h2_dwell(h2, false);
}

/* The owner's stream by that id, closed or not. */
struct h2_stream *h2_stream_find(const struct h2 *h2, int32_t id)
{
    struct h2_stream *stream = h2_stream_of(h2, id);
    for (struct h2_stream *at = h2->due; !stream && at; at = at->due_next)
        if (at->id == id)
            stream = at;
    return stream;
}

int h2_set_user(struct h2 *h2, int32_t id, void *user)
{
    struct h2_stream *stream = h2_stream_find(h2, id);
    if (!stream)
        return -SOTH_ENOENT;
    stream->user = user;
    if (h2->end_of == id)
        h2->end_user = user;
    if (h2->event.stream == id)
        h2->event.user = user;
    return SOTH_OK;
}

void *h2_user(const struct h2 *h2, int32_t id)
{
    struct h2_stream *stream = h2_stream_find(h2, id);
    return stream ? stream->user : NULL;
}

uint32_t h2_stream_count(const struct h2 *h2)
{
    return h2->stream_count;
}

/* ---- ends ---- */

static _Thread_local const char *faults[UINT8_MAX + 1u] = {""}; /* in the order of their coming; codecs belong to one thread */

uint8_t h2_fault_number(const char *fault)
{
    unsigned i = 1;
    while (i < UINT8_MAX && faults[i] && strcmp(faults[i], fault) != 0)
        i++;
    if (!faults[i])
        faults[i] = fault;
    return (uint8_t)i;
}

const char *h2_fault_text(uint8_t number)
{
    return faults[number];
}

void h2_close_due(struct h2 *h2, struct h2_stream *stream, enum h2_cause cause, uint32_t code)
{
    h2_stream_unblock(h2, stream);
    stream->closed = true;
    stream->cause = cause;
    stream->code = code;
    h2_due(h2, stream);
}

static void lose_stream(struct h2 *h2, struct h2_stream *stream)
{
    bool at_fault = stream->fault && stream->code; /* it would have been reset */
    nghttp2_session_set_stream_user_data(h2->session, stream->id, NULL);
    if (at_fault)
        h2_close_due(h2, stream, H2_BY_FAULT, stream->code);
    else if (stream->announced)
        h2_close_due(h2, stream, H2_BY_LOSS, H2_CANCEL);
    else
        h2_stream_free(h2, stream);
}

/* First those that a fault has ended already: so it is told however the frames were cut. */
static void lose_streams(struct h2 *h2)
{
    for (int pass = 0; pass < 2; pass++)
        for (struct h2_stream *stream = h2->streams, *next; stream; stream = next) {
            next = stream->next;
            if (!stream->closed && (pass == 1 || (stream->fault && stream->code)))
                lose_stream(h2, stream);
        }
}

int h2_fail(struct h2 *h2, int error, const char *fault)
{
    if (h2->error)
        return h2->error;
    h2->error = error;
    h2->fault = fault;
    lose_streams(h2);
    return error;
}

int h2_fail_saying(struct h2 *h2, int error, const char *fault, uint32_t code)
{
    if (!h2->error && !h2->lost) {
        h2->said_goodbye = true;
        nghttp2_session_terminate_session(h2->session, code);
    }
    return h2_fail(h2, error, fault);
}

int h2_fail_flood(struct h2 *h2, enum h2_flood kind)
{
    return h2_fail_saying(h2, -SOTH_ELIMIT, h2_flood_name(kind), NGHTTP2_ENHANCE_YOUR_CALM);
}

void h2_lost(struct h2 *h2)
{
    if (h2->lost)
        return;
    h2->lost = true;
    lose_streams(h2);
    buffer_fini(&h2->ready);
}

const char *h2_fault(const struct h2 *h2)
{
    return h2->fault ? h2->fault : "";
}

void h2_stream_fault(struct h2 *h2, int32_t id, const char *fault, uint32_t code)
{
    struct h2_stream *stream = h2_stream_of(h2, id);
    if (stream && !stream->fault) {
        stream->fault = h2_fault_number(fault);
        stream->code = code;
    }
    nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, id, code);
}

/* ---- windows of ours ---- */

bool h2_is_used_up(const struct h2 *h2, int32_t id)
{
    return nghttp2_session_get_stream_local_window_size(h2->session, id) < 16384; /* a frame of the usual size */
}

void h2_hold(struct h2 *h2, int64_t n)
{
    h2->held += (uint64_t)n;
    if (h2->limits.held_in_all)
        *h2->limits.held_in_all += (uint64_t)n;
}

void h2_consume(struct h2 *h2, int32_t id, size_t n)
{
    assert(n <= h2->held);
    h2_hold(h2, -(int64_t)n);
    if (n == 0 || h2->lost)
        return;
    int r = id > 0 ? nghttp2_session_consume(h2->session, id, n) : nghttp2_session_consume_connection(h2->session, n);
    if (r != 0)
        h2_fail_saying(h2, -SOTH_ENOMEM, "memory", NGHTTP2_INTERNAL_ERROR);
}

uint64_t h2_unconsumed(const struct h2 *h2)
{
    return h2->held;
}

int h2_set_windows(struct h2 *h2, uint32_t stream_window, uint32_t connection_window)
{
    nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, stream_window};
    if (stream_window > INT32_MAX || connection_window > INT32_MAX)
        return -SOTH_EINVALID;
    if (stream_window != h2->limits.stream_window && nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, &entry, 1) != 0)
        return -SOTH_ENOMEM;
    h2->limits.stream_window = stream_window;
    return nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0, (int32_t)connection_window) == 0 ? SOTH_OK : -SOTH_ENOMEM;
}

/* ---- the connection ---- */

uint64_t h2_deadline_ns(const struct h2 *h2)
{
    return h2->stalled_ns && h2->limits.zero_window_ns ? h2->stalled_ns + h2->limits.zero_window_ns : 0;
}

int h2_check(struct h2 *h2, uint64_t now_ns)
{
    h2->now_ns = now_ns > h2->now_ns ? now_ns : h2->now_ns;
    uint64_t deadline = h2_deadline_ns(h2);
    if (deadline && h2->now_ns >= deadline)
        h2_fail_flood(h2, FLOOD_ZERO_WINDOW);
    return h2->error;
}

uint32_t h2_peer_max_streams(const struct h2 *h2)
{
    return nghttp2_session_get_remote_settings(h2->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

bool h2_peer_connect_protocol(const struct h2 *h2)
{
    return nghttp2_session_get_remote_settings(h2->session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}

bool h2_peer_settled(const struct h2 *h2)
{
    return h2->settled;
}
