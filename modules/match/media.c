/* SPDX-License-Identifier: MPL-2.0 */
/* See media.h. */
#include "media.h"

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
