/* SPDX-License-Identifier: MPL-2.0 */
/* See json.h. */
#include "json.h"

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

int json_is_utf8(struct soth_span s)
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

char *json_put_string(char *at, struct soth_span s)
{
    *at++ = '"';
    at = put_is_plain(s) ? put_word(at, s.p, s.n) : put_careful(at, s);
    *at++ = '"';
    return at;
}

char *json_put_base64(char *at, struct soth_span s)
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
