/* SPDX-License-Identifier: MPL-2.0 */
/* What nghttp2 reports while it reads a frame (and while it writes: streams close then), as events of h2.h. */
#include <assert.h>
#include <string.h>

#include "host/http/h2_state.h"

void h2_tell(struct h2 *h2, const struct h2_event *event)
{
    assert(h2->event.type == H2_NONE); /* one frame tells one thing, and perhaps its stream's end */
    h2->event = *event;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t n, void *user)
{
    struct h2 *h2 = user;
    struct h2_stream *stream = h2_stream_of(h2, id);
    (void)flags;
    if (!stream) { /* its owner has reset or left it */
        nghttp2_session_consume_connection(session, n);
        if (h2->server && h2_is_used_up(h2, id) && !h2_page_waits(h2, id))
            nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
        return 0;
    }
    stream->left -= n <= stream->left ? n : stream->left;
    h2_hold(h2, (int64_t)n);
    h2_tell(h2, &(struct h2_event){.type = H2_BODY, .stream = id, .user = stream->user, .data = {(const char *)data, n}});
    return 0;
}

static void end_of_stream(struct h2 *h2, const nghttp2_frame *frame)
{
    struct h2_stream *stream = h2_stream_of(h2, frame->hd.stream_id);
    if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) || !stream || stream->fault)
        return;
    stream->heard_end = true;
    h2->end_of = stream->id;
    h2->end_user = stream->user;
}

static void wake(struct h2 *h2, struct h2_stream *stream)
{
    if (stream->blocked && h2_room(h2, stream->id) > 0)
        h2_due(h2, stream);
}

static void wake_all(struct h2 *h2)
{
    for (struct h2_stream *stream = h2->streams; stream; stream = stream->next)
        wake(h2, stream);
}

static void on_window(struct h2 *h2, int32_t id)
{
    struct h2_stream *stream = h2_stream_of(h2, id);
    if (id == 0) {
        wake_all(h2);
        h2_dwell(h2, false);
    } else if (stream) {
        wake(h2, stream);
    }
}

static void on_settings(struct h2 *h2, const nghttp2_frame *frame)
{
    if (frame->hd.flags & NGHTTP2_FLAG_ACK)
        return;
    h2->settled = true;
    h2_tell(h2, &(struct h2_event){.type = H2_SETTINGS});
    wake_all(h2); /* the initial window counts for open streams */
}

static void on_ping(struct h2 *h2, const nghttp2_frame *frame)
{
    uint64_t number = 0;
    if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
        return;
    for (int i = 0; i < 8; i++)
        number = number << 8 | frame->ping.opaque_data[i];
    h2_tell(h2, &(struct h2_event){.type = H2_PONG, .number = number});
}

static void on_priority(struct h2 *h2, const nghttp2_frame *frame)
{
    static _Thread_local char text[256];
    const nghttp2_ext_priority_update *update = frame->ext.payload;
    struct h2_stream *stream = h2_stream_of(h2, update->stream_id);
    if (!stream && update->stream_id > h2->last_heard)
        h2_early_keep(h2, update->stream_id, update->field_value, update->field_value_len);
    if (!stream || update->field_value_len > sizeof text)
        return;
    memcpy(text, update->field_value, update->field_value_len);
    h2_tell(h2, &(struct h2_event){
                 .type = H2_PRIORITY, .stream = stream->id, .user = stream->user, .data = {text, update->field_value_len}});
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h2 = user;
    (void)session;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        h2_head_complete(h2, frame);
        end_of_stream(h2, frame);
        break;
    case NGHTTP2_DATA:
        if (frame->hd.flags & NGHTTP2_FLAG_PADDED)
            h2_flood_data(h2, frame->hd.flags, frame->hd.length - frame->data.padlen);
        end_of_stream(h2, frame);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        on_window(h2, frame->hd.stream_id);
        break;
    case NGHTTP2_SETTINGS:
        on_settings(h2, frame);
        break;
    case NGHTTP2_PING:
        on_ping(h2, frame);
        break;
    case NGHTTP2_GOAWAY:
        h2->heard_goodbye = true;
        h2_tell(h2, &(struct h2_event){.type = H2_GOAWAY, .last_id = frame->goaway.last_stream_id, .code = frame->goaway.error_code});
        break;
    case NGHTTP2_PRIORITY_UPDATE:
        on_priority(h2, frame);
        break;
    default:
        break;
    }
    return 0;
}

/* Streams whose frames nghttp2 found wrong: the class, where h2_head.c has not given one. */
static int on_invalid(nghttp2_session *session, const nghttp2_frame *frame, int error, void *user)
{
    struct h2 *h2 = user;
    struct h2_stream *stream = h2_stream_of(h2, frame->hd.stream_id);
    (void)session;
    if (error == NGHTTP2_ERR_REFUSED_STREAM)
        h2_gone(h2, frame->hd.stream_id, true);
    if (!stream || stream->fault)
        return 0;
    if (error == NGHTTP2_ERR_HTTP_HEADER || error == NGHTTP2_ERR_HTTP_MESSAGING) { /* never the connection's */
        stream->fault = h2_fault_number("malformed_head");
        stream->code = NGHTTP2_PROTOCOL_ERROR;
    } else {
        const uint32_t code = error == NGHTTP2_ERR_FLOW_CONTROL    ? NGHTTP2_FLOW_CONTROL_ERROR
                              : error == NGHTTP2_ERR_STREAM_CLOSED ? NGHTTP2_STREAM_CLOSED
                                                                   : NGHTTP2_PROTOCOL_ERROR;
        stream->fault = h2_fault_number(h2_code_fault(code));
    }
    return 0;
}

static enum h2_cause cause_of(const struct h2 *h2, struct h2_stream *stream, uint32_t code)
{
    if (h2->reading == NGHTTP2_RST_STREAM || h2->reading == NGHTTP2_GOAWAY)
        return H2_BY_PEER;
    if (code == NGHTTP2_NO_ERROR && !stream->fault)
        return H2_BY_END;
    if (!stream->fault) /* nghttp2 says no more about bodies than that they are wrong */
        stream->fault = h2_fault_number(code == NGHTTP2_PROTOCOL_ERROR ? "content_length_mismatch" : h2_code_fault(code));
    return H2_BY_FAULT;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct h2 *h2 = user;
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(session, id);
    h2_page_drop(h2, id);
    if (!stream) {
        h2_gone(h2, id, true);
        return 0;
    }
    enum h2_cause cause = cause_of(h2, stream, code);
    h2_gone(h2, id, cause == H2_BY_FAULT);
    nghttp2_session_set_stream_user_data(session, id, NULL);
    if (cause == H2_BY_END)
        h2_flood_earn_reset(h2);
    if (!stream->announced && !stream->fault) { /* it went before its head was complete */
        h2_stream_free(h2, stream);
        return 0;
    }
    h2_close_due(h2, stream, cause, cause == H2_BY_FAULT && code == NGHTTP2_NO_ERROR ? stream->code : code);
    if (cause == H2_BY_FAULT && h2->server && !h2->error)
        h2_flood_count(h2, FLOOD_RAPID_RESET);
    return 0;
}

/* A head that cannot be sent (it is too large for the library) must not leave its stream waiting. */
static int on_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int error, void *user)
{
    struct h2 *h2 = user;
    (void)session;
    (void)error;
    if (frame->hd.type == NGHTTP2_HEADERS && h2_stream_of(h2, frame->hd.stream_id))
        h2_stream_fault(h2, frame->hd.stream_id, "head_not_sent", NGHTTP2_INTERNAL_ERROR);
    return 0;
}

/* A GOAWAY that is not ours: nghttp2 gives the connection up. */
static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h2 = user;
    (void)session;
    if (frame->hd.type == NGHTTP2_GOAWAY && !h2->saying && !h2->error)
        h2_fail(h2, -SOTH_EINVALID, h2_code_fault(frame->goaway.error_code));
    return 0;
}

void h2_events_set(nghttp2_session_callbacks *to)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(to, h2_head_begin);
    nghttp2_session_callbacks_set_on_header_callback(to, h2_head_field);
    nghttp2_session_callbacks_set_on_invalid_header_callback(to, h2_head_invalid);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(to, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(to, on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(to, on_invalid);
    nghttp2_session_callbacks_set_on_stream_close_callback(to, on_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(to, on_sent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(to, on_not_sent);
    nghttp2_session_callbacks_set_send_data_callback(to, h2_send_data);
}
