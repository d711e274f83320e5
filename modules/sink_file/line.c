/* SPDX-License-Identifier: MPL-2.0 */
/* See line.h. Written by hand: this runs three times a request. */
#include "line.h"

#include <stdlib.h>

const char line_index_header[] =
    "sequence_id\tflow_id\tflow_sequence_id\tkind\tprotocol\tstream_key\tsegment_id\tbyte_offset\tline_bytes\n";

int text_room(struct text *t, size_t more)
{
    if (t->room - t->n >= more)
        return SOTH_OK;
    size_t room = t->room ? t->room * 2 : 65536;
    while (room - t->n < more)
        room *= 2;
    char *p = realloc(t->p, room);
    if (!p) {
        t->failed = 1;
        return -SOTH_ENOMEM;
    }
    t->p = p;
    t->room = room;
    return SOTH_OK;
}

void text_add(struct text *t, const char *p, size_t n)
{
    if (text_room(t, n) < 0)
        return;
    memcpy(t->p + t->n, p, n);
    t->n += n;
}

#define LITERAL(t, s) text_add(t, s, sizeof(s) - 1)

void text_number(struct text *t, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + value % 10);
    while (value /= 10);
    text_add(t, digits + at, sizeof digits - at);
}

/* ---- strings ---- */

static size_t utf8_size(const unsigned char *p, const unsigned char *end)
{
    size_t n = *p >= 0xc2 && *p < 0xe0 ? 2 : (*p & 0xf0) == 0xe0 ? 3 : *p >= 0xf0 && *p < 0xf5 ? 4 : 0;
    if (n == 0 || (size_t)(end - p) < n)
        return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

static int is_utf8(struct soth_span s)
{
    const unsigned char *p = (const unsigned char *)s.p, *end = p + s.n;
    while (p < end) {
        size_t n = *p < 0x80 ? 1 : utf8_size(p, end);
        if (n == 0)
            return 0;
        p += n;
    }
    return 1;
}

static void escape(struct text *t, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char u[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    switch (c) {
    case '"':
        LITERAL(t, "\\\"");
        break;
    case '\\':
        LITERAL(t, "\\\\");
        break;
    case '\n':
        LITERAL(t, "\\n");
        break;
    case '\r':
        LITERAL(t, "\\r");
        break;
    case '\t':
        LITERAL(t, "\\t");
        break;
    default:
        text_add(t, u, sizeof u);
        break;
    }
}

/* A JSON string; runs without anything to escape are copied whole. */
static void string(struct text *t, struct soth_span s)
{
    size_t from = 0;
    LITERAL(t, "\"");
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        text_add(t, s.p + from, i - from);
        escape(t, c);
        from = i + 1;
    }
    text_add(t, s.p + from, s.n - from);
    LITERAL(t, "\"");
}

static void base64(struct text *t, struct soth_span s)
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)s.p;
    LITERAL(t, "\"");
    for (size_t i = 0; i < s.n; i += 3) {
        size_t left = s.n - i;
        uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0);
        char four[4] = {set[v >> 18], set[v >> 12 & 63], left > 1 ? set[v >> 6 & 63] : '=', left > 2 ? set[v & 63] : '='};
        text_add(t, four, 4);
    }
    LITERAL(t, "\"");
}

/* ---- the line ---- */

static int is_time(const struct soth_attr *a)
{
    struct soth_span name = {a->name, a->name_len};
    return soth_span_is(name, "duration_ms") || soth_span_is(name, "started_at_unix_ms") || soth_span_is(name, "ended_at_unix_ms");
}

static void attribute(struct text *t, const struct soth_attr *a, int first)
{
    int text = a->type == SOTH_ATTR_TEXT || a->type == SOTH_ATTR_BYTES;
    int raw = text && !is_utf8(a->text);
    if (first)
        LITERAL(t, "\"");
    else
        LITERAL(t, ",\"");
    text_add(t, a->name, a->name_len);
    if (raw)
        LITERAL(t, "_b64");
    LITERAL(t, "\":");
    if (raw) {
        base64(t, a->text);
    } else if (text) {
        string(t, a->text);
    } else if (a->type == SOTH_ATTR_BOOL) {
        if (a->number)
            LITERAL(t, "\"true\"");
        else
            LITERAL(t, "\"false\"");
    } else {
        LITERAL(t, "\"");
        text_number(t, a->number);
        LITERAL(t, "\"");
    }
}

static void attributes(struct text *t, const struct soth_event *e, int with_timestamps)
{
    int first = 1;
    LITERAL(t, ",\"attributes\":{");
    for (uint32_t i = 0; i < e->attr_count; i++) {
        if (!with_timestamps && is_time(&e->attrs[i]))
            continue;
        attribute(t, &e->attrs[i], first);
        first = 0;
    }
    LITERAL(t, "}");
}

static void number_key(struct text *t, const char *key, size_t n, uint64_t value)
{
    text_add(t, key, n);
    text_number(t, value);
}
#define NUMBER(t, key, value) number_key(t, key, sizeof(key) - 1, value)

void line_event(struct text *t, const struct soth_event *e, const char *stream_key, size_t stream_key_size, int with_timestamps)
{
    NUMBER(t, "{\"schema\":\"soth-mitm-event-log-v2\",\"sequence_id\":", e->sequence_id);
    NUMBER(t, ",\"flow_id\":", e->flow_id);
    NUMBER(t, ",\"flow_sequence_id\":", e->flow_sequence_id);
    if (e->parent_flow_id)
        NUMBER(t, ",\"parent_flow_id\":", e->parent_flow_id);
    LITERAL(t, ",\"kind\":\"");
    text_add(t, e->kind_name, strlen(e->kind_name));
    LITERAL(t, "\",\"protocol\":\"");
    text_add(t, e->protocol_name, strlen(e->protocol_name));
    LITERAL(t, "\",\"stream_key\":");
    string(t, (struct soth_span){stream_key, stream_key_size});
    if (e->client_addr.p) {
        LITERAL(t, ",\"client_addr\":");
        string(t, e->client_addr);
    }
    if (e->server_host.p) {
        LITERAL(t, ",\"server_host\":");
        string(t, e->server_host);
    }
    if (e->server_port)
        NUMBER(t, ",\"server_port\":", e->server_port);
    attributes(t, e, with_timestamps);
    if (with_timestamps) {
        NUMBER(t, ",\"monotonic_ns\":", e->monotonic_ns);
        NUMBER(t, ",\"unix_ms\":", e->unix_ms);
        LITERAL(t, ",\"run_id\":");
        string(t, e->run_id);
    }
    LITERAL(t, "}\n");
}

void line_index(struct text *t, const struct soth_event *e, const char *stream_key, size_t stream_key_size, uint64_t segment, uint64_t offset,
                uint64_t bytes)
{
    text_number(t, e->sequence_id);
    NUMBER(t, "\t", e->flow_id);
    NUMBER(t, "\t", e->flow_sequence_id);
    LITERAL(t, "\t");
    text_add(t, e->kind_name, strlen(e->kind_name));
    LITERAL(t, "\t");
    text_add(t, e->protocol_name, strlen(e->protocol_name));
    LITERAL(t, "\t");
    text_add(t, stream_key, stream_key_size);
    NUMBER(t, "\t", segment);
    NUMBER(t, "\t", offset);
    NUMBER(t, "\t", bytes);
    LITERAL(t, "\n");
}
