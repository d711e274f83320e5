/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A request's path becomes another: a `*` at the end of the new one stands for what the pattern's `*` took, the query stays unless the new
 * one has its own. What comes from the client is written so that it is a path wherever it is read.
 */
#include <stdlib.h>

#include "rules.h"

static size_t encode(char *out, const char *p, size_t n)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t to = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c > ' ' && c < 0x7f && c != '#') {
            out[to++] = (char)c;
            continue;
        }
        out[to++] = '%';
        out[to++] = digits[c >> 4];
        out[to++] = digits[c & 15];
    }
    return to;
}

char *target_map(const char *map, const char *pattern, const char *path, size_t path_n, struct soth_span target)
{
    size_t n = strlen(map), taken = pattern ? strlen(pattern) - 1 : 0;
    const char *query = strchr(map, '?') || !target.n ? NULL : memchr(target.p, '?', target.n);
    const size_t query_n = query ? (size_t)(target.p + target.n - query) : 0;
    char *out = malloc(n + 3 * (path_n + query_n) + 1);
    if (!out)
        return NULL;
    memcpy(out, map, n);
    if (out[n - 1] == '*') {
        n--;
        if (n > 0 && out[n - 1] == '/' && taken < path_n && path[taken] == '/')
            taken++; /* one slash where two meet */
        n += encode(out + n, path + taken, path_n - taken);
    }
    if (query)
        n += encode(out + n, query, query_n);
    out[n] = 0;
    return out;
}
