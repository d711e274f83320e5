/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Text put behind other text, where there is room for it: each returns the new end. A line of the log is short words and numbers nearly all of
 * it, so they are copied by moves that overlap and not by a call each.
 */
#ifndef SINK_FILE_PUT_H
#define SINK_FILE_PUT_H

#include <string.h>

#include <soth/sdk.h>

#define PUT_NUMBER_MOST 20 /* digits of a uint64_t */
#define PUT_SLACK 32       /* put_padded may write so many bytes behind what it puts */

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

/* Of a text that has PUT_SLACK more bytes behind it, whatever they are. */
static inline char *put_padded(char *at, const char *p, size_t n)
{
    memcpy(at, p, PUT_SLACK);
    for (size_t i = PUT_SLACK; i < n; i += PUT_SLACK)
        memcpy(at + i, p + i, PUT_SLACK);
    return at + n;
}

/* ---- numbers: of 32 bits where they have room, whose divisions are one multiplication ---- */

static inline char *put_pair(char *at, uint32_t value)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051"
                                "52535455565758596061626364656667686970717273747576777879808182838485868788899091929394959697989"
                                "9";
    memcpy(at, pairs + 2 * (size_t)value, 2);
    return at + 2;
}

static inline char *put_two_most(char *at, uint32_t value)
{
    if (value >= 10)
        return put_pair(at, value);
    *at = (char)('0' + value);
    return at + 1;
}

static inline char *put_four(char *at, uint32_t value)
{
    return put_pair(put_pair(at, value / 100), value % 100);
}

static inline char *put_four_most(char *at, uint32_t value)
{
    return value < 100 ? put_two_most(at, value) : put_pair(put_two_most(at, value / 100), value % 100);
}

#define PUT_EIGHT 100000000u

static inline char *put_eight_most(char *at, uint32_t value)
{
    return value < 10000 ? put_four_most(at, value) : put_four(put_four_most(at, value / 10000), value % 10000);
}

static inline char *put_eight(char *at, uint32_t value)
{
    return put_four(put_four(at, value / 10000), value % 10000);
}

static __attribute__((unused)) char *put_longer_number(char *at, uint64_t value);

static inline char *put_number(char *at, uint64_t value)
{
    if (value >= 10)
        return put_longer_number(at, value);
    *at = (char)('0' + value);
    return at + 1;
}

static __attribute__((noinline)) char *put_longest_number(char *at, uint64_t value)
{
    return put_eight(put_number(at, value / PUT_EIGHT), (uint32_t)(value % PUT_EIGHT));
}

static __attribute__((noinline)) char *put_longer_number(char *at, uint64_t value)
{
    return value < PUT_EIGHT ? put_eight_most(at, (uint32_t)value) : put_longest_number(at, value);
}

/* ---- what JSON has as it is ---- */

typedef signed char put_bytes __attribute__((vector_size(16)));
typedef uint64_t put_halves __attribute__((vector_size(16)));

static inline uint64_t put_load_eight(const char *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

static inline uint64_t put_load_four(const char *p)
{
    uint32_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

/* Where in sixteen bytes one is that JSON escapes (below 0x20, " and \) or that is not ASCII, which is negative here. */
static inline put_halves put_found_in(uint64_t front, uint64_t back)
{
    const put_bytes bytes = (put_bytes)(put_halves){front, back};
    return (put_halves)((bytes < 0x20) | (bytes == '"') | (bytes == '\\'));
}

/* Is none of those in here? The last ones are looked at whole, some of them a second time. */
static inline int put_is_plain(struct soth_span s)
{
    const uint64_t spaces = UINT64_C(0x2020202020202020);
    put_halves found = {0, 0};
    if (s.n >= 8) {
        for (size_t i = 0; i + 16 < s.n; i += 16)
            found |= put_found_in(put_load_eight(s.p + i), put_load_eight(s.p + i + 8));
        found |= put_found_in(put_load_eight(s.p + (s.n > 16 ? s.n - 16 : 0)), put_load_eight(s.p + s.n - 8));
    } else if (s.n >= 4) {
        found = put_found_in(put_load_four(s.p) | put_load_four(s.p + s.n - 4) << 32, spaces);
    } else {
        for (size_t i = 0; i < s.n; i++)
            found |= put_found_in((unsigned char)s.p[i] | spaces << 8, spaces);
    }
    return (found[0] | found[1]) == 0;
}

/* Are n bytes the same? Short ones nearly always. */
static inline int put_is_same(const char *a, const char *b, size_t n)
{
    if (n - 8 <= 8)
        return ((put_load_eight(a) ^ put_load_eight(b)) | (put_load_eight(a + n - 8) ^ put_load_eight(b + n - 8))) == 0;
    return memcmp(a, b, n) == 0;
}

#endif
