/* SPDX-License-Identifier: MPL-2.0 */
/* See path.h. */
#include "path.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static char upper(char c)
{
    return c >= 'a' && c <= 'f' ? (char)(c - 32) : c;
}

static int unreserved(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

/* First step: decode, fold slashes, stop at the query. What stays encoded has upper-case digits, or two spellings would pass for two paths. */
static size_t decode(struct soth_span target, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < target.n && target.p[i] != '?' && target.p[i] != '#'; i++) {
        char c = target.p[i];
        if (c == '%' && i + 2 < target.n && hex(target.p[i + 1]) >= 0 && hex(target.p[i + 2]) >= 0) {
            int value = hex(target.p[i + 1]) << 4 | hex(target.p[i + 2]);
            if (unreserved(value)) {
                out[n++] = (char)value;
                i += 2;
                continue;
            }
            out[n++] = '%';
            out[n++] = upper(target.p[++i]);
            out[n++] = upper(target.p[++i]);
            continue;
        }
        if (c == '/' && n > 0 && out[n - 1] == '/')
            continue;
        out[n++] = c;
    }
    return n;
}

/* Second step: "." and ".." segments, in place. */
static size_t remove_dots(char *p, size_t n)
{
    size_t to = 0, at = 0;
    while (at < n) {
        size_t end = at + 1;
        while (end < n && p[end] != '/')
            end++;
        size_t size = end - at; /* "/segment" */
        if (p[at] == '/' && size == 2 && p[at + 1] == '.') {
            if (end == n)
                p[to++] = '/';
        } else if (p[at] == '/' && size == 3 && p[at + 1] == '.' && p[at + 2] == '.') {
            while (to > 0 && p[--to] != '/')
                ;
            if (end == n)
                p[to++] = '/';
        } else {
            memmove(p + to, p + at, size);
            to += size;
        }
        at = end;
    }
    return to;
}

size_t path_normalize(struct soth_span target, char *out)
{
    return remove_dots(out, decode(target, out));
}

int path_match(const char *pattern, const char *path, size_t n)
{
    const char *star = NULL;
    size_t at = 0, mark = 0;
    while (at < n) {
        if (*pattern == '*') {
            star = pattern++;
            mark = at;
        } else if (*pattern && *pattern == path[at]) {
            pattern++;
            at++;
        } else if (star) {
            pattern = star + 1;
            at = ++mark;
        } else {
            return 0;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == 0;
}

/* ---- gRPC ---- */

static const char *slash_before(const char *from, const char *at)
{
    while (at > from && at[-1] != '/')
        at--;
    return at > from ? at - 1 : NULL;
}

void path_call(struct soth_span target, struct soth_span *service, struct soth_span *method)
{
    const char *query = target.n ? memchr(target.p, '?', target.n) : NULL, *end = query ? query : target.p + target.n;
    const char *last = slash_before(target.p, end), *first = last ? slash_before(target.p, last) : NULL;
    *service = *method = (struct soth_span){NULL, 0};
    if (!last)
        return;
    if (end > last + 1)
        *method = (struct soth_span){last + 1, (size_t)(end - last - 1)};
    if (first && last > first + 1)
        *service = (struct soth_span){first + 1, (size_t)(last - first - 1)};
}
