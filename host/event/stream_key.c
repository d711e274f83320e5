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
static struct event_key key_of(const struct soth_event *event)
{
    const struct shape *shape = event->size >= sizeof *event ? event->shape : NULL;
    if (shape && event->attr_count == shape->count && (shape->count == 0 || event->attrs[shape->key.number].name == shape->attrs[shape->key.number].name))
        return shape->key;
    return event_key_of(event->attrs, event->attr_count);
}

static inline __attribute__((always_inline)) char *put_text(char *at, const char *p, size_t n)
{
    memcpy(at, p, n);
    return at + n;
}

/* ---- numbers ---- */

#define DIGITS 20u /* of a uint64_t */
#define EIGHT UINT64_C(100000000)

/* The eight digits of a value below EIGHT, the first in the lowest byte: both halves of a word are divided by 100, then all quarters by 10. */
static inline uint64_t eight_digits(uint64_t value)
{
    const uint64_t fours = value / 10000 | value % 10000 << 32;
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
    const uint64_t digits = eight_digits(value);
    return put_digits(at, digits, (unsigned)__builtin_ctzll(digits | UINT64_C(1) << 56) / 8);
}

static char *put_longer_number(char *at, uint64_t value)
{
    return put_digits(put_number(at, value / EIGHT), eight_digits(value % EIGHT), 0);
}

/* ---- keys ---- */

#define PATH_MOST 400u
_Static_assert(sizeof "grpc:" + PATH_MOST + 2 * sizeof ":" + 2 * DIGITS < SOTH_STREAM_KEY_MAX, "the longest key has room");

size_t event_stream_key(const struct soth_event *event, char buf[SOTH_STREAM_KEY_MAX])
{
    const struct event_key key = key_of(event);
    const struct soth_attr *attrs = event->attrs;
    char *at = buf;
    switch (key.form) {
    case EVENT_KEY_STREAM:
        at = put_number(put_text(at, "h2:", 3), attrs[key.number].number);
        break;
    case EVENT_KEY_TURN:
        at = put_number(put_text(at, "ws_turn:", 8), attrs[key.number].number);
        break;
    case EVENT_KEY_SEQUENCE:
        at = put_number(put_text(at, "sequence:", 9), attrs[key.number].number);
        break;
    case EVENT_KEY_GRPC: {
        const struct soth_span path = attrs[key.path].text;
        at = put_text(put_text(at, "grpc:", 5), path.p, path.n < PATH_MOST ? path.n : PATH_MOST);
        at = put_number(put_text(at, ":", 1), attrs[key.number].number);
        break;
    }
    default:
        at = put_number(put_text(at, "flow:", 5), event->flow_id);
        at = put_number(put_text(at, ":", 1), event->flow_sequence_id);
    }
    *at = 0;
    return (size_t)(at - buf);
}
