/* SPDX-License-Identifier: MPL-2.0 */
/* See text.h. */
#include "text.h"

#include <stdio.h>

/* The character at p, its size in *size; what begins no character of UTF-8 (RFC 3629) is one byte and UINT32_MAX. */
static uint32_t decode(const unsigned char *p, size_t left, size_t *size)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = *p < 0x80 ? 1 : (*p & 0xe0) == 0xc0 ? 2 : (*p & 0xf0) == 0xe0 ? 3 : (*p & 0xf8) == 0xf0 ? 4 : 0;
    uint32_t c = n == 1 ? *p : *p & (0x7fu >> n);
    *size = 1;
    if (n == 0 || n > left)
        return UINT32_MAX;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return UINT32_MAX;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return UINT32_MAX;
    *size = n;
    return c;
}

static int is_shown(uint32_t c)
{
    static const uint32_t ranges[][2] = {
        {0, 0x1f},           {0x7f, 0x9f},                                         /* controls */
        {0x61c, 0x61c},      {0x200e, 0x200f}, {0x202a, 0x202e}, {0x2066, 0x2069}, /* direction */
        {0x2028, 0x2029},                                                          /* line ends */
        {0xe0000, 0xe007f},                                                        /* tags, which nobody sees */
        {UINT32_MAX, UINT32_MAX},                                                  /* no character */
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i][0] && c <= ranges[i][1])
            return 0;
    return 1;
}

void text_clean(char *out, size_t size, struct soth_span text)
{
    size_t n = 0, fits = 0; /* fits: how much stays when it has to be cut */
    for (size_t at = 0, used; at < text.n; at += used) {
        const char *from = text.p + at;
        int shown = is_shown(decode((const unsigned char *)from, text.n - at, &used));
        size_t width = shown ? used : 1;
        if (n + width >= size) {
            memcpy(out + fits, "...", 4);
            return;
        }
        memcpy(out + n, shown ? from : "?", width);
        n += width;
        if (n + 4 <= size)
            fits = n;
    }
    out[n] = 0;
}

void text_bytes(char out[16], uint64_t bytes)
{
    static const char units[] = " kMGTPE";
    double value = (double)bytes;
    unsigned u = 0;
    while (value >= 999.95 && u + 2 < sizeof units) {
        value /= 1024;
        u++;
    }
    if (u)
        snprintf(out, 16, "%.1f%c", value, units[u]);
    else
        snprintf(out, 16, "%uB", (unsigned)bytes);
}
