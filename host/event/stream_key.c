/* SPDX-License-Identifier: MPL-2.0 */
/* The stream key of an event (contract section 5): what a reader groups by. The first form that applies. */
#include <endian.h>
#include <string.h>

#include "host/event/private.h"

#define IS(attr, literal) (memcmp((attr)->name, literal, sizeof(literal) - 1) == 0) /* of that length; no call */

#define BIT(literal) (1u << (sizeof(literal) - 1))
#define LENGTHS (BIT("turn_id") | BIT("sequence_no") | BIT("http2_stream_id") | BIT("grpc_event_sequence"))

/* What the forms are made of, found in one pass; by length and first letter most attributes are told apart from these. */
struct parts {
    const struct soth_attr *stream, *turn, *sequence, *path, *grpc;
};

static void find(const struct soth_attr *attrs, size_t n, struct parts *parts)
{
    for (const struct soth_attr *a = attrs; a < attrs + n; a++) {
        if (a->name_len > 19 || !(LENGTHS >> a->name_len & 1))
            continue;
        switch (a->name_len << 8 | (unsigned char)a->name[0]) {
        case 7 << 8 | 't':
            parts->turn = IS(a, "turn_id") ? a : parts->turn;
            break;
        case 11 << 8 | 's':
            parts->sequence = IS(a, "sequence_no") ? a : parts->sequence;
            break;
        case 11 << 8 | 'g':
            parts->path = IS(a, "grpc_method") ? a : parts->path;
            break;
        case 15 << 8 | 'h':
            parts->stream = IS(a, "http2_stream_id") ? a : parts->stream;
            break;
        case 19 << 8 | 'g':
            parts->grpc = IS(a, "grpc_event_sequence") ? a : parts->grpc;
            break;
        default:
            break;
        }
    }
}

struct event_key event_key_of(const struct soth_attr *attrs, size_t n)
{
    struct parts parts = {0};
    find(attrs, n, &parts);
    if (parts.stream)
        return (struct event_key){EVENT_KEY_STREAM, (uint8_t)(parts.stream - attrs), 0};
    if (parts.turn)
        return (struct event_key){EVENT_KEY_TURN, (uint8_t)(parts.turn - attrs), 0};
    if (parts.sequence)
        return (struct event_key){EVENT_KEY_SEQUENCE, (uint8_t)(parts.sequence - attrs), 0};
    if (parts.path && parts.grpc)
        return (struct event_key){EVENT_KEY_GRPC, (uint8_t)(parts.grpc - attrs), (uint8_t)(parts.path - attrs)};
    return (struct event_key){EVENT_KEY_FLOW, 0, 0};
}

/* A shape has it at hand. A sink may have made an event of its own from one of ours. */
static inline struct event_key key_of(const struct soth_event *event)
{
    const struct shape *shape = event->size >= sizeof *event ? event->shape : NULL;
    if (shape && event->attr_count == shape->count && (shape->count == 0 || event->attrs[shape->key.number].name == shape->attrs[shape->key.number].name))
        return shape->key;
    return event_key_of(event->attrs, event->attr_count);
}

/* ---- numbers ---- */

#define DIGITS 20u /* of a uint64_t */
#define EIGHT 100000000u

/* The eight digits of a value below EIGHT, the first in the lowest byte: both halves of a word are divided by 100, then all quarters by 10. */
static inline uint64_t eight_digits(uint32_t value)
{
    const uint64_t fours = value / 10000 | (uint64_t)(value % 10000) << 32;
    const uint64_t hundreds = (fours * 10486 >> 20) & UINT64_C(0x0000007f0000007f);
    const uint64_t twos = hundreds | (fours - hundreds * 100) << 16;
    const uint64_t tens = (twos * 103 >> 10) & UINT64_C(0x000f000f000f000f);
    return tens | (twos - tens * 10) << 8;
}

/* In one store, though bytes behind them get something too: a sink reads the key at once, and would wait for many small ones. */
static inline char *put_digits(char *at, uint64_t digits, unsigned skip)
{
    const uint64_t word = htole64((digits | UINT64_C(0x3030303030303030)) >> 8 * skip);
    memcpy(at, &word, sizeof word);
    return at + 8 - skip;
}

static __attribute__((noinline)) char *put_longer_number(char *at, uint64_t value);

static inline char *put_number(char *at, uint64_t value)
{
    if (value >= EIGHT)
        return put_longer_number(at, value);
    const uint64_t digits = eight_digits((uint32_t)value);
    return put_digits(at, digits, (unsigned)__builtin_ctzll(digits | UINT64_C(1) << 56) / 8);
}

static char *put_longer_number(char *at, uint64_t value)
{
    return put_digits(put_number(at, value / EIGHT), eight_digits((uint32_t)(value % EIGHT)), 0);
}

/* ---- keys ---- */

static const struct {
    char text[15];
    uint8_t n;
} words[] = {
#define WORD(text) {text, sizeof(text) - 1}
    [EVENT_KEY_FLOW] = WORD("flow:"), [EVENT_KEY_STREAM] = WORD("h2:"), [EVENT_KEY_TURN] = WORD("ws_turn:"),
    [EVENT_KEY_SEQUENCE] = WORD("sequence:"), [EVENT_KEY_GRPC] = WORD("grpc:"),
#undef WORD
};

static inline char *put_colon(char *at)
{
    *at = ':';
    return at + 1;
}

#define PATH_MOST 400u
_Static_assert(sizeof words[0] + PATH_MOST + 1 + DIGITS + 8 < SOTH_STREAM_KEY_MAX, "the longest key has room");

static __attribute__((noinline)) char *put_path(char *at, struct soth_span path)
{
    const size_t n = path.n < PATH_MOST ? path.n : PATH_MOST;
    memcpy(at, path.p, n);
    return put_colon(at + n);
}

size_t event_stream_key(const struct soth_event *event, char buf[SOTH_STREAM_KEY_MAX])
{
    const struct event_key key = key_of(event);
    memcpy(buf, &words[key.form], sizeof *words);
    char *at = buf + words[key.form].n;
    if (key.form == EVENT_KEY_FLOW)
        at = put_colon(put_number(at, event->flow_id));
    else if (key.form == EVENT_KEY_GRPC)
        at = put_path(at, event->attrs[key.path].text);
    at = put_number(at, key.form == EVENT_KEY_FLOW ? event->flow_sequence_id : event->attrs[key.number].number);
    *at = 0;
    return (size_t)(at - buf);
}
