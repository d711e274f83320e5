/* SPDX-License-Identifier: MPL-2.0 */
/*
 * See line.h. Written by hand, since this runs three times a request and six times an echo of a WebSocket: room for the longest possible line
 * is made once, then everything is put behind `at` without a further look at it. A line is short words nearly all of it, so they are copied
 * by moves that overlap and not by a call each.
 */
#include "line.h"

#include <stdlib.h>

const char line_index_header[] =
    "sequence_id\tflow_id\tflow_sequence_id\tkind\tprotocol\tstream_key\tsegment_id\tbyte_offset\tline_bytes\n";

#define NUMBER_MOST 20 /* digits of a uint64_t */
#define ESCAPE_MOST 6  /* bytes that one byte may become: \u00xx */
#define FIXED_MOST 512 /* keys and punctuation of the envelope, its numbers, the run_id */

static char *text_room(struct text *t, size_t more)
{
    if (t->room - t->n >= more)
        return t->p + t->n;
    size_t room = t->room ? t->room * 2 : 65536;
    while (room - t->n < more)
        room *= 2;
    char *p = realloc(t->p, room);
    if (!p)
        return NULL;
    t->p = p;
    t->room = room;
    return p + t->n;
}

static inline char *put(char *at, const char *p, size_t n)
{
    memcpy(at, p, n);
    return at + n;
}
#define PUT(at, literal) put(at, literal, sizeof(literal) - 1)

/* The same of a length that is known only now, and small nearly always. */
static inline char *put_word(char *at, const char *p, size_t n)
{
    if (n - 8 <= 8) {
        memcpy(at, p, 8);
        memcpy(at + n - 8, p + n - 8, 8);
    } else if (n - 16 <= 16) {
        memcpy(at, p, 16);
        memcpy(at + n - 16, p + n - 16, 16);
    } else if (n - 4 <= 4) {
        memcpy(at, p, 4);
        memcpy(at + n - 4, p + n - 4, 4);
    } else if (n < 4) {
        for (size_t i = 0; i < n; i++)
            at[i] = p[i];
    } else {
        memcpy(at, p, n);
    }
    return at + n;
}

static unsigned digits_of(uint64_t value)
{
#define E(n) UINT64_C(1##n)
    static const uint64_t powers[] = {
        E(), E(0), E(00), E(000), E(0000), E(00000), E(000000), E(0000000), E(00000000), E(000000000), E(0000000000), E(00000000000),
        E(000000000000), E(0000000000000), E(00000000000000), E(000000000000000), E(0000000000000000), E(00000000000000000),
        E(000000000000000000), E(0000000000000000000),
    };
#undef E
    unsigned most = (unsigned)(64 - __builtin_clzll(value | 1)) * 1233 >> 12; /* bits times log10(2) */
    return most + (value >= powers[most]) + (value == 0);
}

/* Two digits a division. */
static inline char *put_number(char *at, uint64_t value)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051"
                                "52535455565758596061626364656667686970717273747576777879808182838485868788899091929394959697989"
                                "9";
    char *end = at + digits_of(value);
    for (at = end; value >= 100; value /= 100)
        memcpy(at -= 2, pairs + 2 * (value % 100), 2);
    if (value >= 10)
        memcpy(at - 2, pairs + 2 * value, 2);
    else
        at[-1] = (char)('0' + value);
    return end;
}

/* ---- strings ---- */

/* Is a byte in here that JSON escapes (below 0x20, " and \) or that is not ASCII? Eight at once: the high bits of `found` tell. */
static int is_plain(struct soth_span s)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), high = UINT64_C(0x8080808080808080);
    size_t i = 0;
    for (; i + 8 <= s.n; i += 8) {
        uint64_t w, quote, slash;
        memcpy(&w, s.p + i, 8);
        quote = w ^ (ones * '"');
        slash = w ^ (ones * '\\');
        uint64_t found = w | (w - ones * 0x20) | (quote - ones) | (slash - ones);
        if (found & high)
            return 0;
    }
    for (; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
            return 0;
    }
    return 1;
}

/* Bytes of the UTF-8 sequence at p, 0 when it is none. */
static size_t utf8_size(const unsigned char *p, const unsigned char *end)
{
    if (*p < 0x80)
        return 1;
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
        size_t n = utf8_size(p, end);
        if (n == 0)
            return 0;
        p += n;
    }
    return 1;
}

static char *put_escaped(char *at, unsigned char c)
{
    static const char hex[] = "0123456789abcdef", short_forms[] = "\"\"\\\\\nn\rr\tt";
    for (const char *form = short_forms; *form; form += 2)
        if (c == (unsigned char)form[0]) {
            *at++ = '\\';
            *at++ = form[1];
            return at;
        }
    at = PUT(at, "\\u00");
    *at++ = hex[c >> 4];
    *at++ = hex[c & 15];
    return at;
}

/* What is no UTF-8 in text that ought to be becomes U+FFFD. */
static char *put_careful(char *at, struct soth_span s)
{
    const unsigned char *p = (const unsigned char *)s.p, *end = p + s.n;
    while (p < end) {
        size_t n = utf8_size(p, end);
        if (n == 0) {
            at = PUT(at, "\xef\xbf\xbd");
            p++;
        } else if (n == 1 && (*p < 0x20 || *p == '"' || *p == '\\')) {
            at = put_escaped(at, *p++);
        } else {
            at = put(at, (const char *)p, n);
            p += n;
        }
    }
    return at;
}

static char *put_string(char *at, struct soth_span s)
{
    *at++ = '"';
    at = is_plain(s) ? put_word(at, s.p, s.n) : put_careful(at, s);
    *at++ = '"';
    return at;
}

static char *put_base64(char *at, struct soth_span s)
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)s.p;
    *at++ = '"';
    for (size_t i = 0; i < s.n; i += 3) {
        size_t left = s.n - i;
        uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0);
        *at++ = set[v >> 18];
        *at++ = set[v >> 12 & 63];
        *at++ = left > 1 ? set[v >> 6 & 63] : '=';
        *at++ = left > 2 ? set[v & 63] : '=';
    }
    *at++ = '"';
    return at;
}

/* ---- attributes ---- */

static int has_text(const struct soth_attr *a)
{
    return a->type == SOTH_ATTR_TEXT || a->type == SOTH_ATTR_BYTES;
}

static int is_time(const struct soth_attr *a)
{
#define IS(literal) (memcmp(a->name, literal, sizeof(literal) - 1) == 0)
    switch (a->name_len) {
    case sizeof "duration_ms" - 1:
        return IS("duration_ms");
    case sizeof "ended_at_unix_ms" - 1:
        return IS("ended_at_unix_ms");
    case sizeof "started_at_unix_ms" - 1:
        return IS("started_at_unix_ms");
    default:
        return 0;
    }
#undef IS
}

static char *put_text_attribute(char *at, const struct soth_attr *a)
{
    if (is_plain(a->text)) {
        at = put_word(PUT(at, "\":\""), a->text.p, a->text.n);
        *at++ = '"';
        return at;
    }
    if (!is_utf8(a->text))
        return put_base64(PUT(at, "_b64\":"), a->text);
    return put_string(PUT(at, "\":"), a->text);
}

static char *put_attribute(char *at, const struct soth_attr *a)
{
    *at++ = '"';
    at = put_word(at, a->name, a->name_len);
    if (has_text(a))
        return put_text_attribute(at, a);
    at = PUT(at, "\":\"");
    if (a->type == SOTH_ATTR_BOOL)
        at = a->number ? PUT(at, "true") : PUT(at, "false");
    else
        at = put_number(at, a->number);
    *at++ = '"';
    return at;
}

static char *put_attributes(char *at, const struct soth_event *e, int with_timestamps)
{
    at = PUT(at, ",\"attributes\":{");
    for (uint32_t i = 0, written = 0; i < e->attr_count; i++) {
        const struct soth_attr *a = &e->attrs[i];
        if (!with_timestamps && a->type == SOTH_ATTR_U64 && is_time(a))
            continue;
        if (written++)
            *at++ = ',';
        at = put_attribute(at, a);
    }
    *at++ = '}';
    return at;
}

/* ---- the line ---- */

static size_t longest(const struct soth_event *e, struct soth_span stream_key)
{
    size_t text = stream_key.n + e->client_addr.n + e->server_host.n, names = strlen(e->kind_name) + strlen(e->protocol_name);
    for (uint32_t i = 0; i < e->attr_count; i++) {
        names += e->attrs[i].name_len + sizeof "\"_b64\":\"\"," + NUMBER_MOST;
        text += has_text(&e->attrs[i]) ? e->attrs[i].text.n : 0;
    }
    return FIXED_MOST + names + ESCAPE_MOST * text;
}

static char *put_envelope(char *at, const struct soth_event *e, struct soth_span stream_key)
{
    at = put_number(PUT(at, "{\"schema\":\"soth-mitm-event-log-v2\",\"sequence_id\":"), e->sequence_id);
    at = put_number(PUT(at, ",\"flow_id\":"), e->flow_id);
    at = put_number(PUT(at, ",\"flow_sequence_id\":"), e->flow_sequence_id);
    if (e->parent_flow_id)
        at = put_number(PUT(at, ",\"parent_flow_id\":"), e->parent_flow_id);
    at = PUT(at, ",\"kind\":\"");
    at = put_word(at, e->kind_name, strlen(e->kind_name));
    at = PUT(at, "\",\"protocol\":\"");
    at = put_word(at, e->protocol_name, strlen(e->protocol_name));
    at = put_string(PUT(at, "\",\"stream_key\":"), stream_key);
    if (e->client_addr.p)
        at = put_string(PUT(at, ",\"client_addr\":"), e->client_addr);
    if (e->server_host.p)
        at = put_string(PUT(at, ",\"server_host\":"), e->server_host);
    if (e->server_port)
        at = put_number(PUT(at, ",\"server_port\":"), e->server_port);
    return at;
}

int line_event(struct text *t, const struct soth_event *e, struct soth_span stream_key, int with_timestamps)
{
    char *at = text_room(t, longest(e, stream_key));
    if (!at)
        return -SOTH_ENOMEM;
    at = put_envelope(at, e, stream_key);
    at = put_attributes(at, e, with_timestamps);
    if (with_timestamps) {
        at = put_number(PUT(at, ",\"monotonic_ns\":"), e->monotonic_ns);
        at = put_number(PUT(at, ",\"unix_ms\":"), e->unix_ms);
        at = put(PUT(at, ",\"run_id\":\""), e->run_id.p, e->run_id.n < 64 ? e->run_id.n : 64);
        *at++ = '"';
    }
    at = PUT(at, "}\n");
    t->n = (size_t)(at - t->p);
    return SOTH_OK;
}

/* A tab or a line end in a stream key would be a column or a row. */
static char *put_cell(char *at, struct soth_span s)
{
    for (size_t i = 0; i < s.n; i++)
        *at++ = (unsigned char)s.p[i] < 0x20 ? '?' : s.p[i];
    return at;
}

int line_index(struct text *t, const struct soth_event *e, struct soth_span stream_key, uint64_t segment, uint64_t offset, uint64_t bytes)
{
    size_t kind = strlen(e->kind_name), protocol = strlen(e->protocol_name);
    char *at = text_room(t, 6 * NUMBER_MOST + 16 + kind + protocol + stream_key.n);
    if (!at)
        return -SOTH_ENOMEM;
    at = put_number(at, e->sequence_id);
    at = put_number(PUT(at, "\t"), e->flow_id);
    at = put_number(PUT(at, "\t"), e->flow_sequence_id);
    at = put_word(PUT(at, "\t"), e->kind_name, kind);
    at = put_word(PUT(at, "\t"), e->protocol_name, protocol);
    at = put_cell(PUT(at, "\t"), stream_key);
    at = put_number(PUT(at, "\t"), segment);
    at = put_number(PUT(at, "\t"), offset);
    at = put_number(PUT(at, "\t"), bytes);
    *at++ = '\n';
    t->n = (size_t)(at - t->p);
    return SOTH_OK;
}
