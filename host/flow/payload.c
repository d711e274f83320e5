/* SPDX-License-Identifier: MPL-2.0 */
/* See payload.h. */
#include "host/flow/payload.h"

#include <stdlib.h>
#include <string.h>

#include "host/flow/stage.h"
#include "host/http/mask.h"
#include "host/http/redact.h"

#define PIECE_MOST 16384u /* of an event: fits into the smallest queue that can be configured */

/* A piece as it may be seen: keys of redact_keys have no values. false: nothing of it, for want of memory. */
static bool masked(struct flow *flow, enum side side, struct soth_span *piece, char copy[PIECE_MOST])
{
    const struct soth_strings *keys = &flow->env->settings->redact_keys;
    struct exchange *ex = &flow->exchange;
    if (keys->n == 0)
        return true;
    if (!ex->masks && !(ex->masks = calloc(2, sizeof *ex->masks)))
        return false;
    memcpy(copy, piece->p, piece->n);
    mask_values(&ex->masks[side], keys, copy, piece->n);
    piece->p = copy;
    return true;
}

static void capture(struct flow *flow, enum side side, struct soth_span data)
{
    char copy[PIECE_MOST];
    uint64_t wanted = bus_payload(flow->env->bus, side == SIDE_CLIENT ? SOTH_EV_REQUEST_BODY_CHUNK : SOTH_EV_RESPONSE_BODY_CHUNK);
    struct exchange *ex = &flow->exchange;
    uint64_t *chunk = side == SIDE_CLIENT ? &ex->request_chunk : &ex->response_chunk;
    uint64_t *offset = side == SIDE_CLIENT ? &ex->request_offset : &ex->response_offset;
    while (data.n > 0 && *offset + *chunk < wanted) {
        struct soth_span piece = {data.p, data.n < PIECE_MOST ? data.n : PIECE_MOST};
        size_t n = piece.n;
        emit_body(flow, side); /* what came before nobody wanted to see */
        if (!masked(flow, side, &piece, copy))
            break;
        emit_body_payload(flow, side, piece);
        data.p += n;
        data.n -= n;
    }
    *chunk += data.n;
}

void payload_capture(struct flow *flow, struct effects *fx, enum side side, struct soth_span data)
{
    uint64_t exchange_no = flow->exchange_no;
    if (side == SIDE_ORIGIN || !flow->exchange.discard)
        chained_data(flow, fx, side, data);
    if (!flow->closing && flow->exchange_no == exchange_no)
        capture(flow, side, data);
}

void payload_late(struct flow *flow, struct effects *fx, enum side side, struct soth_span data)
{
    struct exchange *ex = &flow->exchange;
    if (side == SIDE_CLIENT && ex->discard)
        return;
    ex->late_begun = ex->late_begun || side == SIDE_CLIENT;
    chained_data(flow, fx, side, data);
}

void payload_relayed(struct flow *flow, enum side side, struct soth_span data)
{
    if (bus_captures(flow->env->bus, side == SIDE_CLIENT ? SOTH_EV_REQUEST_BODY_CHUNK : SOTH_EV_RESPONSE_BODY_CHUNK))
        capture(flow, side, data);
    else
        *(side == SIDE_CLIENT ? &flow->exchange.request_chunk : &flow->exchange.response_chunk) += data.n;
}

void payload_mask(const struct flow *flow, char *p, size_t n)
{
    struct mask mask = {.where = 0};
    if (flow->env->settings->redact_keys.n > 0)
        mask_values(&mask, &flow->env->settings->redact_keys, p, n);
}

/* Each value for itself: what one field begins hides nothing of the next one, and names and line ends stay. */
static bool fields_as_seen(const struct flow *flow, const struct message *msg, bool queries, struct buffer *out)
{
    bool any = false;
    for (uint32_t i = 0; i < msg->field_count; i++) {
        size_t value = buffer_size(out) + msg->fields[i].name.n + 2;
        any |= redact_fields(out, &(struct message){.fields = &msg->fields[i], .field_count = 1}, &flow->env->settings->redact_headers, queries);
        if (!out->failed)
            payload_mask(flow, (char *)buffer_data(out) + value, buffer_size(out) - 1 - value);
    }
    return any;
}

static struct soth_span span_of(const struct buffer *b)
{
    return buffer_size(b) > 0 && !b->failed ? (struct soth_span){(const char *)buffer_data(b), buffer_size(b)} : (struct soth_span){NULL, 0};
}

static struct soth_attr head_attr(const char *name, const struct buffer *text, uint32_t flag)
{
    return (struct soth_attr){name, span_of(text), 0, SOTH_ATTR_BYTES | EVENT_ATTR_WHOLE | flag, (uint32_t)strlen(name)};
}

static const char *query_of(struct soth_span target)
{
    return target.n ? memchr(target.p, '?', target.n) : NULL;
}

void payload_head(const struct flow *flow, unsigned kind, const struct message *msg, struct soth_span target, struct payload_head *text,
                  struct soth_attr attrs[PAYLOAD_HEAD_ATTRS])
{
    if (!bus_captures(flow->env->bus, kind))
        return;
    bool full = bus_payload(flow->env->bus, kind) == BUS_PAYLOAD_FULL;
    const char *query = full ? query_of(target) : NULL;
    bool queries = fields_as_seen(flow, msg, false, &text->fields);
    if (full && queries)
        fields_as_seen(flow, msg, true, &text->all_fields);
    if (query)
        redact_userinfo(&text->query, (struct soth_span){query + 1, target.n - (size_t)(query + 1 - target.p)});
    if (buffer_size(&text->query) > 0 && !text->query.failed)
        payload_mask(flow, (char *)buffer_data(&text->query), buffer_size(&text->query));
    attrs[0] = head_attr("headers", &text->fields, SOTH_ATTR_PAYLOAD);
    attrs[1] = head_attr("headers", &text->all_fields, SOTH_ATTR_FULL);
    attrs[2] = head_attr("query", &text->query, SOTH_ATTR_FULL);
}

struct soth_span payload_target(struct soth_span target, struct payload_head *text)
{
    const char *query = query_of(target);
    if (query)
        target.n = (size_t)(query - target.p);
    if (!redact_has_userinfo(target))
        return target;
    redact_userinfo(&text->target, target);
    return span_of(&text->target);
}

void payload_head_fini(struct payload_head *text)
{
    buffer_fini(&text->target);
    buffer_fini(&text->query);
    buffer_fini(&text->fields);
    buffer_fini(&text->all_fields);
}
