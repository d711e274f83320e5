/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Text put behind other text, where there is room for it: each returns the new end. A line of the log is short words and numbers nearly all of
 * it, so they are copied by moves that overlap and not by a call each.
 */
#ifndef SINK_FILE_PUT_H
#define SINK_FILE_PUT_H

#include <endian.h>
#include <string.h>

#include <soth/sdk.h>

#define PUT_NUMBER_MOST 20 /* digits of a uint64_t */
#define PUT_SLACK 32       /* put_number and put_padded may write so many bytes behind what they put */

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
    for (size_t i = 0; i < n; i += PUT_SLACK)
        memcpy(at + i, p + i, PUT_SLACK);
    return at + n;
}

/* ---- numbers ---- */

#define PUT_EIGHT UINT64_C(100000000)

/* The digits of a number below 10^8, a byte each, the first in the lowest: halves of four, of two, of one, all of them at a time. */
static inline uint64_t put_eight(uint64_t value)
{
    uint64_t halves = value / 10000 | value % 10000 << 32;
    uint64_t high = halves * 10486 >> 20 & UINT64_C(0x7f0000007f); /* hundreds of each */
    uint64_t pairs = high | (halves - high * 100) << 16;
    high = pairs * 103 >> 10 & UINT64_C(0x000f000f000f000f); /* tens of each */
    return high | (pairs - high * 10) << 8;
}

#define PUT_ZEROS UINT64_C(0x3030303030303030)

static inline char *put_short_number(char *at, uint64_t value)
{
    if (value < 10) {
        *at = (char)('0' + value);
        return at + 1;
    }
    const uint64_t digits = put_eight(value);
    const unsigned zeros = (unsigned)__builtin_ctzll(digits) / 8; /* in front */
    const uint64_t text = htole64((digits | PUT_ZEROS) >> 8 * zeros);
    memcpy(at, &text, 8);
    return at + 8 - zeros;
}

/* The rest of one whose first digits are put: eight, zeros and all. */
static inline char *put_rest(char *at, uint64_t value)
{
    const uint64_t text = htole64(put_eight(value % PUT_EIGHT) | PUT_ZEROS);
    memcpy(at, &text, 8);
    return at + 8;
}

static inline char *put_number(char *at, uint64_t value)
{
    if (value < PUT_EIGHT)
        return put_short_number(at, value);
    const uint64_t front = value / PUT_EIGHT;
    at = front < PUT_EIGHT ? put_short_number(at, front) : put_rest(put_short_number(at, front / PUT_EIGHT), front);
    return put_rest(at, value);
}

/* ---- what JSON has as it is ---- */

/* Of eight bytes: the high bits tell where one may be that JSON escapes (below 0x20, " and \) or that is not ASCII. */
static inline uint64_t put_found_in(uint64_t w)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t quote = w ^ (ones * '"'), slash = w ^ (ones * '\\');
    return w | (w - ones * 0x20) | (quote - ones) | (slash - ones);
}

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

/* Is none of those in here? The last eight are looked at whole, some of them a second time. */
static inline int put_is_plain(struct soth_span s)
{
    const uint64_t high = UINT64_C(0x8080808080808080);
    uint64_t found = 0;
    if (s.n >= 8) {
        for (size_t i = 0; i + 8 < s.n; i += 8)
            found |= put_found_in(put_load_eight(s.p + i));
        found |= put_found_in(put_load_eight(s.p + s.n - 8));
    } else if (s.n >= 4) {
        found = put_found_in(put_load_four(s.p) | put_load_four(s.p + s.n - 4) << 32);
    } else {
        for (size_t i = 0; i < s.n; i++)
            found |= put_found_in((unsigned char)s.p[i] | UINT64_C(0x2020202020202000));
    }
    return (found & high) == 0;
}

/* Are n bytes the same? Short ones nearly always. */
static inline int put_is_same(const char *a, const char *b, size_t n)
{
    if (n - 8 <= 8)
        return ((put_load_eight(a) ^ put_load_eight(b)) | (put_load_eight(a + n - 8) ^ put_load_eight(b + n - 8))) == 0;
    return memcmp(a, b, n) == 0;
}

#endif
