/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Frames that nghttp2 would let through, or judge by how they were cut: on streams that are closed (it forgets them at once, which keeps
 * connections small), beyond windows and lengths, priorities that make no sense (RFC 9113 5.1, 6.1, 6.3, 6.9).
 */
#include "host/http/h2_state.h"

void h2_gone(struct h2 *h2, int32_t id, bool reset_by_us)
{
    if (h2->server)
        h2->gone[h2->gone_count++ % GONE_MOST] = reset_by_us ? -id : id;
}

static int32_t stream_id(const struct h2 *h2)
{
    return (int32_t)((uint32_t)(h2->head[5] & 0x7f) << 24 | (uint32_t)h2->head[6] << 16 | (uint32_t)h2->head[7] << 8 | h2->head[8]);
}

static int connection_error(struct h2 *h2, uint32_t code)
{
    return h2_fail_saying(h2, -SOTH_EINVALID, h2_code_fault(code), code);
}

/*
 * A DATA frame that goes beyond a window or the length that was declared gives none of its bytes, however it is cut. (The length of a padded
 * one only nghttp2 knows.)
 */
static void check_data(struct h2 *h2, int32_t id)
{
    struct h2_stream *stream = h2_stream_of(h2, id);
    if (h2->frame_left > (uint32_t)nghttp2_session_get_local_window_size(h2->session))
        h2_fail_saying(h2, -SOTH_EINVALID, h2_code_fault(NGHTTP2_FLOW_CONTROL_ERROR), NGHTTP2_FLOW_CONTROL_ERROR);
    else if (!stream || !stream->head_done || stream->heard_end)
        return;
    else if ((int32_t)h2->frame_left > nghttp2_session_get_stream_local_window_size(h2->session, id))
        h2_stream_fault(h2, id, h2_code_fault(NGHTTP2_FLOW_CONTROL_ERROR), NGHTTP2_FLOW_CONTROL_ERROR);
    else if (h2->frame_left > stream->left && !(h2->head[4] & NGHTTP2_FLAG_PADDED))
        h2_stream_fault(h2, id, "content_length_mismatch", NGHTTP2_PROTOCOL_ERROR);
}

/*
 * A client's frame on a stream that is over. What may still come after our reset is ignored; who goes on after its own end, or opens what it has
 * passed over, breaks the protocol. What is not remembered any more is let go.
 */
static int check_closed(struct h2 *h2, int32_t id)
{
    for (uint32_t i = 0; i < h2->gone_count && i < GONE_MOST; i++) {
        if (h2->gone[i] == -id)
            return 0;
        if (h2->gone[i] == id)
            return connection_error(h2, NGHTTP2_STREAM_CLOSED);
    }
    if (h2->head[3] == NGHTTP2_HEADERS && h2->gone_count < GONE_MOST)
        return connection_error(h2, NGHTTP2_PROTOCOL_ERROR);
    return 0;
}

/* Only what nghttp2 is to see as its next frame is asked about: inside a head it refuses all but CONTINUATION itself. */
int h2_check_frame(struct h2 *h2)
{
    uint8_t type = h2->head[3];
    int32_t id = stream_id(h2);
    h2->depends = h2->depends_have = 0;
    if (type == NGHTTP2_PRIORITY && id == 0)
        return connection_error(h2, NGHTTP2_PROTOCOL_ERROR);
    if (type == NGHTTP2_DATA)
        check_data(h2, id);
    if (h2->error || !h2->server || h2->said_goodbye || id % 2 == 0 || (type != NGHTTP2_DATA && type != NGHTTP2_HEADERS))
        return h2->error;
    if (id <= h2->last_heard && !nghttp2_session_find_stream(h2->session, id))
        return check_closed(h2, id);
    if (type == NGHTTP2_HEADERS && id > h2->last_heard)
        h2->last_heard = id;
    return 0;
}

/* A stream that depends on itself; nghttp2 does not look at priorities any more, but at their length: one of another size is its to refuse. */
void h2_check_payload(struct h2 *h2, const uint8_t *p, size_t n)
{
    if (h2->head[3] != NGHTTP2_PRIORITY || h2->head[0] || h2->head[1] || h2->head[2] != 5)
        return;
    for (size_t i = 0; i < n && h2->depends_have < 4; i++, h2->depends_have++)
        h2->depends = h2->depends << 8 | p[i];
    if (h2->depends_have == 4 && (int32_t)(h2->depends & 0x7fffffff) == stream_id(h2))
        connection_error(h2, NGHTTP2_PROTOCOL_ERROR);
}
