/* SPDX-License-Identifier: MPL-2.0 */
/* The stream key of an event (contract section 5): what a reader groups by. The first form that applies. */
#include <string.h>

#include "host/event/bus.h"

/* What the forms are made of, found in one pass; by its length most attributes are told apart from these. */
struct parts {
    const struct soth_attr *stream, *turn, *sequence, *path, *grpc;
};

#define IS(attr, literal) (memcmp((attr)->name, literal, sizeof(literal) - 1) == 0) /* of that length; no call */

static void find(const struct soth_event *event, struct parts *parts)
{
    for (uint32_t i = 0; i < event->attr_count; i++) {
        const struct soth_attr *a = &event->attrs[i];
        switch (a->name_len) {
        case sizeof "turn_id" - 1:
            parts->turn = IS(a, "turn_id") ? a : parts->turn;
            break;
        case sizeof "sequence_no" - 1: /* as long as "grpc_method" */
            parts->sequence = IS(a, "sequence_no") ? a : parts->sequence;
            parts->path = IS(a, "grpc_method") ? a : parts->path;
            break;
        case sizeof "http2_stream_id" - 1:
            parts->stream = IS(a, "http2_stream_id") ? a : parts->stream;
            break;
        case sizeof "grpc_event_sequence" - 1:
            parts->grpc = IS(a, "grpc_event_sequence") ? a : parts->grpc;
            break;
        default:
            break;
        }
    }
}

static char *put_text(char *at, const char *p, size_t n)
{
    memcpy(at, p, n);
    return at + n;
}

static char *put_number(char *at, uint64_t value)
{
    char digits[20];
    size_t d = sizeof digits;
    do
        digits[--d] = (char)('0' + value % 10);
    while (value /= 10);
    *at++ = ':';
    return put_text(at, digits + d, sizeof digits - d);
}

size_t event_stream_key(const struct soth_event *event, char buf[SOTH_STREAM_KEY_MAX])
{
    struct parts parts = {0};
    char *at = buf;
    find(event, &parts);
    if (parts.stream) {
        at = put_number(put_text(at, "h2", 2), parts.stream->number);
    } else if (parts.turn) {
        at = put_number(put_text(at, "ws_turn", 7), parts.turn->number);
    } else if (parts.sequence) {
        at = put_number(put_text(at, "sequence", 8), parts.sequence->number);
    } else if (parts.path && parts.grpc) {
        size_t n = parts.path->text.n < 400 ? parts.path->text.n : 400;
        at = put_text(put_text(at, "grpc:", 5), parts.path->text.p, n);
        at = put_number(at, parts.grpc->number);
    } else {
        at = put_number(put_text(at, "flow", 4), event->flow_id);
        at = put_number(at, event->flow_sequence_id);
    }
    *at = 0;
    return (size_t)(at - buf);
}
