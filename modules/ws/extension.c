/* SPDX-License-Identifier: MPL-2.0 */
/* See extension.h. */
#include "extension.h"

#include <strings.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct soth_span trim(struct soth_span s)
{
    while (s.n > 0 && is_blank(*s.p))
        s.p++, s.n--;
    while (s.n > 0 && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* What stands before the next mark outside of quotes; takes it away from *rest, with the mark. */
static struct soth_span next(struct soth_span *rest, char mark)
{
    size_t i = 0;
    bool quoted = false;
    for (; i < rest->n && (quoted || rest->p[i] != mark); i++)
        if (rest->p[i] == '"')
            quoted = !quoted;
    struct soth_span part = {rest->p, i};
    size_t used = i < rest->n ? i + 1 : i;
    rest->p += used;
    rest->n -= used;
    return trim(part);
}

static bool is(struct soth_span s, const char *word)
{
    return s.n == strlen(word) && strncasecmp(s.p, word, s.n) == 0;
}

/* 8 to 15, quoted or not; 0: it is no window. */
static uint8_t bits(struct soth_span value)
{
    unsigned n = 0;
    if (value.n >= 2 && *value.p == '"' && value.p[value.n - 1] == '"')
        value = (struct soth_span){value.p + 1, value.n - 2};
    for (size_t i = 0; i < value.n && i < 3; i++)
        n = value.p[i] >= '0' && value.p[i] <= '9' ? n * 10 + (unsigned)(value.p[i] - '0') : 1000;
    return n >= 8 && n <= 15 ? (uint8_t)n : 0;
}

static bool window(struct extension *out, unsigned direction, struct soth_span value)
{
    out->window[direction] = bits(value);
    return out->window[direction] != 0;
}

/* false: a response must not say that. */
static bool parameter(struct extension *out, struct soth_span text)
{
    struct soth_span value = text, name = next(&value, '=');
    value = trim(value);
    if (is(name, "client_no_context_takeover"))
        return out->fresh[SOTH_TO_SERVER] = value.n == 0;
    if (is(name, "server_no_context_takeover"))
        return out->fresh[SOTH_TO_CLIENT] = value.n == 0;
    if (is(name, "client_max_window_bits"))
        return window(out, SOTH_TO_SERVER, value);
    if (is(name, "server_max_window_bits"))
        return window(out, SOTH_TO_CLIENT, value);
    return false;
}

static void one(struct extension *out, struct soth_span text)
{
    struct soth_span name = next(&text, ';');
    if (name.n == 0)
        return;
    if (!is(name, "permessage-deflate") || out->deflate) {
        out->unknown = true;
        return;
    }
    out->deflate = true;
    out->window[0] = out->window[1] = 15;
    while (text.n > 0)
        if (!parameter(out, next(&text, ';'))) {
            out->deflate = false; /* the client will not go on; whatever comes is not what it seems */
            out->unknown = true;
            return;
        }
}

void extension_read(struct extension *out, struct soth_span value)
{
    while (value.n > 0)
        one(out, next(&value, ','));
}
