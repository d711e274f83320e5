/* SPDX-License-Identifier: MPL-2.0 */
/* See web.h. */
#include "web.h"

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

/* One character: 0, or it has no place here. */
static int add(struct web_base64 *b, char c)
{
    int value = value_of(c);
    if (c == '=' ? b->have < 2 : value < 0 || b->padding)
        return -SOTH_EINVALID;
    b->padding += c == '=';
    b->bits[b->have++] = c == '=' ? 0 : (uint8_t)value;
    return SOTH_OK;
}

int web_base64_take(struct web_base64 *b, const char *p, size_t n, size_t *used, char out[3])
{
    size_t at = 0;
    while (at < n && b->have < 4) {
        char c = p[at++];
        if (c == '\r' || c == '\n')
            continue;
        if (add(b, c) < 0)
            return -SOTH_EINVALID;
    }
    *used = at;
    if (b->have < 4)
        return 0;
    int made = 3 - b->padding;
    out[0] = (char)(b->bits[0] << 2 | b->bits[1] >> 4);
    out[1] = (char)(b->bits[1] << 4 | b->bits[2] >> 2);
    out[2] = (char)(b->bits[2] << 6 | b->bits[3]);
    *b = (struct web_base64){.have = 0};
    return made;
}

static struct soth_span trimmed(struct soth_span s)
{
    while (s.n > 0 && (*s.p == ' ' || *s.p == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t' || s.p[s.n - 1] == '\r'))
        s.n--;
    return s;
}

int web_trailer(struct soth_span text, uint32_t nth, struct soth_field *out)
{
    while (text.n > 0) {
        const char *lf = memchr(text.p, '\n', text.n), *end = lf ? lf : text.p + text.n;
        const char *colon = memchr(text.p, ':', (size_t)(end - text.p));
        if (colon && colon > text.p && nth-- == 0) {
            *out = (struct soth_field){{text.p, (size_t)(colon - text.p)}, trimmed((struct soth_span){colon + 1, (size_t)(end - colon - 1)})};
            return 1;
        }
        size_t line = (size_t)(end - text.p) + (lf != NULL);
        text.p += line;
        text.n -= line;
    }
    return 0;
}
