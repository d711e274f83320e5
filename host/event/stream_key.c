/* SPDX-License-Identifier: MPL-2.0 */
/* The stream key of an event (contract section 5): what a reader groups by. The first form that applies. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "host/event/bus.h"

static const struct soth_attr *attr(const struct soth_event *event, const char *name)
{
    size_t n = strlen(name);
    for (uint32_t i = 0; i < event->attr_count; i++)
        if (event->attrs[i].name_len == n && memcmp(event->attrs[i].name, name, n) == 0)
            return &event->attrs[i];
    return NULL;
}

size_t event_stream_key(const struct soth_event *event, char buf[SOTH_STREAM_KEY_MAX])
{
    static const struct {
        const char *name, *prefix;
    } numbered[] = {{"http2_stream_id", "h2"}, {"turn_id", "ws_turn"}, {"sequence_no", "sequence"}};
    int n;
    for (size_t i = 0; i < sizeof numbered / sizeof *numbered; i++) {
        const struct soth_attr *a = attr(event, numbered[i].name);
        if (a) {
            n = snprintf(buf, SOTH_STREAM_KEY_MAX, "%s:%" PRIu64, numbered[i].prefix, a->number);
            return (size_t)n;
        }
    }
    const struct soth_attr *path = attr(event, "grpc_method"), *no = attr(event, "grpc_event_sequence");
    if (path && no) {
        n = snprintf(buf, SOTH_STREAM_KEY_MAX, "grpc:%.*s:%" PRIu64, (int)(path->text.n < 400 ? path->text.n : 400), path->text.p, no->number);
        return (size_t)n;
    }
    /* by far the most common: no printf */
    uint64_t numbers[2] = {event->flow_id, event->flow_sequence_id};
    char *at = buf;
    memcpy(at, "flow", 4);
    at += 4;
    for (unsigned i = 0; i < 2; i++) {
        char digits[20];
        size_t d = sizeof digits;
        do
            digits[--d] = (char)('0' + numbers[i] % 10);
        while (numbers[i] /= 10);
        *at++ = ':';
        memcpy(at, digits + d, sizeof digits - d);
        at += sizeof digits - d;
    }
    *at = 0;
    return (size_t)(at - buf);
}
