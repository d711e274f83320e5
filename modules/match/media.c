/* SPDX-License-Identifier: MPL-2.0 */
/* See media.h. */
#include "media.h"

#include <stdio.h>
#include <strings.h>

static int is_space(char c)
{
    return c == ' ' || c == '\t';
}

struct soth_span media_type(struct soth_span field)
{
    const char *over = field.n ? memchr(field.p, ';', field.n) : NULL;
    size_t n = over ? (size_t)(over - field.p) : field.n;
    while (n > 0 && is_space(field.p[n - 1]))
        n--;
    while (n > 0 && is_space(*field.p)) {
        field.p++;
        n--;
    }
    return (struct soth_span){field.p, n};
}

int media_is(struct soth_span type, const char *pattern)
{
    size_t n = strlen(pattern);
    if (type.n == 0)
        return 0;
    if (n > 0 && pattern[0] == '*')
        return type.n >= n - 1 && strncasecmp(type.p + type.n - (n - 1), pattern + 1, n - 1) == 0;
    if (n > 0 && pattern[n - 1] == '*')
        return type.n >= n - 1 && strncasecmp(type.p, pattern, n - 1) == 0;
    return type.n == n && strncasecmp(type.p, pattern, n) == 0;
}

int media_is_any(struct soth_span type, const struct soth_strings *patterns)
{
    for (size_t i = 0; i < patterns->n; i++)
        if (media_is(type, patterns->v[i]))
            return 1;
    return 0;
}

static int is_pattern(const char *pattern)
{
    size_t n = strlen(pattern), body = n;
    if (n > 0 && pattern[0] == '*') {
        pattern++;
        body--;
    } else if (n > 0 && pattern[n - 1] == '*') {
        body--;
    }
    for (size_t i = 0; i < body; i++)
        if (strchr("*;, \t", pattern[i]))
            return 0;
    return n > 0 && (body < n || memchr(pattern, '/', body));
}

int media_check(const struct soth_host *host, void *self, const char *key, const struct soth_strings *patterns)
{
    char place[64];
    for (size_t i = 0; i < patterns->n; i++) {
        snprintf(place, sizeof place, "%s[%zu]", key, i);
        if (!is_pattern(patterns->v[i]))
            return host->cfg_err(self, place, "'%s' matches nothing, expected is a media type without parameters, as application/x-ndjson; * at one end "
                                              "stands for anything", patterns->v[i]);
    }
    return SOTH_OK;
}

int media_may_have_body(const struct soth_message *message)
{
    if (message->direction != SOTH_TO_CLIENT)
        return 1;
    return message->status != 204 && message->status != 304 && !soth_span_is(message->method, "HEAD");
}
