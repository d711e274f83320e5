/* SPDX-License-Identifier: MPL-2.0 */
/* See guard.h. */
#include "guard.h"

static const char mark_bytes[] = "\xef\xbb\xbf"; /* the byte order mark */

static int is_white(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static size_t skip_white(const char *p, size_t n, size_t at)
{
    while (at < n && is_white(p[at]))
        at++;
    return at;
}

/* How many bytes of text stand at p. */
static size_t common(const char *text, size_t size, const char *p, size_t n)
{
    size_t i = 0;
    while (i < n && i < size && p[i] == text[i])
        i++;
    return i;
}

/* Does nothing but this word follow? */
static enum guard is_word(const char *word, const char *p, size_t n, int end)
{
    size_t size = strlen(word), same = common(word, size, p, n);
    if (same < size)
        return same == n && !end ? GUARD_MORE : GUARD_NONE;
    if (skip_white(p, n, size) < n)
        return GUARD_NONE;
    return end ? GUARD_FOUND : GUARD_MORE;
}

/* Does p begin JSON? */
static enum guard is_json(const char *p, size_t n, int end)
{
    static const char *const words[] = {"true", "false", "null"};
    if (n == 0)
        return end ? GUARD_NONE : GUARD_MORE;
    if (*p == '{' || *p == '[' || *p == '"' || *p == '-' || (*p >= '0' && *p <= '9'))
        return GUARD_FOUND;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (*p == *words[i])
            return is_word(words[i], p, n, end);
    return GUARD_NONE;
}

static enum guard try_prefix(const char *prefix, const char *p, size_t n, size_t at, int end, size_t *strip)
{
    size_t size = strlen(prefix), same = common(prefix, size, p + at, n - at);
    if (size == 0 || same < size)
        return size > 0 && at + same == n && !end ? GUARD_MORE : GUARD_NONE;
    *strip = skip_white(p, n, at + size);
    return is_json(p + *strip, n - *strip, end);
}

enum guard guard_look(const struct soth_strings *prefixes, const char *p, size_t n, int end, size_t *strip, const char **prefix)
{
    size_t mark = common(mark_bytes, 3, p, n), longest = 0, found_strip = 0;
    enum guard result = GUARD_NONE;
    if (mark == n && mark < 3 && !end)
        return GUARD_MORE;
    size_t at = skip_white(p, n, mark == 3 ? 3 : 0);
    for (size_t i = 0; i < prefixes->n; i++) {
        size_t size = strlen(prefixes->v[i]);
        enum guard one = try_prefix(prefixes->v[i], p, n, at, end, &found_strip);
        if (one == GUARD_MORE) /* a longer one may still be coming */
            return GUARD_MORE;
        if (one != GUARD_FOUND || size <= longest)
            continue;
        result = GUARD_FOUND;
        longest = size;
        *strip = found_strip;
        *prefix = prefixes->v[i];
    }
    return result;
}

int guard_skips(const char *prefix)
{
    return is_white(*prefix) || strncmp(prefix, mark_bytes, 3) == 0;
}
