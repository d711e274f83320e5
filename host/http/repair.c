/* SPDX-License-Identifier: MPL-2.0 */
/* The repairs of RFC 9112 for responses when heads need not be strict (head.h): a head in, a clean one out, or one that is refused. */
#include <stdlib.h>
#include <string.h>

#include "host/http/head.h"

struct repair {
    char *out;
    size_t n;
    const char *length; /* the first Content-Length, inside out's source */
    size_t length_size;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void put(struct repair *r, const char *p, size_t n)
{
    memcpy(r->out + r->n, p, n);
    r->n += n;
}

static bool same_length(struct repair *r, struct soth_span item)
{
    if (!r->length) {
        r->length = item.p;
        r->length_size = item.n;
        return true;
    }
    return item.n == r->length_size && memcmp(item.p, r->length, item.n) == 0;
}

/* "5, 5" and a second "5" say one thing (RFC 9110 8.6). 1: the field goes; 0: it is written; *value is its only item then. */
static bool collapse_length(struct repair *r, struct soth_span *value)
{
    bool again = r->length != NULL;
    struct soth_span first = {NULL, 0};
    const char *at = value->p, *end = value->p + value->n;
    for (;;) {
        const char *comma = at < end ? memchr(at, ',', (size_t)(end - at)) : NULL;
        struct soth_span item = message_trimmed((struct soth_span){at, (size_t)((comma ? comma : end) - at)});
        if (!same_length(r, item))
            return false; /* as it is: the guard refuses it */
        if (!first.p)
            first = item;
        if (!comma)
            break;
        at = comma + 1;
    }
    *value = first;
    return again;
}

/* One unfolded line: the space before the colon goes, identical Content-Lengths become one. */
static void field_line(struct repair *r, const char *p, size_t n)
{
    const char *colon = memchr(p, ':', n);
    const char *name_end = colon;
    if (!colon) {
        put(r, p, n);
        put(r, "\r\n", 2);
        return;
    }
    while (name_end > p && is_blank(name_end[-1]))
        name_end--;
    struct soth_span value = message_trimmed((struct soth_span){colon + 1, (size_t)(p + n - colon - 1)});
    if (message_field_id((struct soth_span){p, (size_t)(name_end - p)}) == FIELD_CONTENT_LENGTH && collapse_length(r, &value))
        return;
    put(r, p, (size_t)(name_end - p));
    put(r, ": ", 2);
    put(r, value.p, value.n);
    put(r, "\r\n", 2);
}

/* Joins what is folded, in place: the line ends before a fold become spaces. Returns the end of the line that begins at p. */
static char *unfold(char *p, char *end)
{
    for (;;) {
        char *lf = memchr(p, '\n', (size_t)(end - p));
        if (!lf)
            return end;
        if (lf + 1 == end || !is_blank(lf[1]))
            return lf;
        *lf = ' ';
        if (lf > p && lf[-1] == '\r')
            lf[-1] = ' ';
        p = lf + 1;
    }
}

static size_t without_cr(const char *p, const char *lf)
{
    return (size_t)(lf - p) - (lf > p && lf[-1] == '\r');
}

char *repair_head(const char *p, size_t *size)
{
    /* a line grows by two bytes at most: its LF becomes CRLF, "a:b" becomes "a: b" */
    size_t lines = 0;
    for (size_t i = 0; i < *size; i++)
        lines += p[i] == '\n';
    char *copy = malloc(*size);
    struct repair r = {.out = malloc(*size + 2 * lines + 2)};
    if (!copy || !r.out) {
        free(copy);
        free(r.out);
        return NULL;
    }
    memcpy(copy, p, *size);
    char *at = copy, *end = copy + *size, *lf = memchr(at, '\n', *size);
    put(&r, at, without_cr(at, lf));
    put(&r, "\r\n", 2);
    /* a fold right behind the status line has nothing to be joined to: field_line passes it on, and it is refused */
    for (at = lf + 1; at < end; at = lf + 1) {
        lf = unfold(at, end);
        size_t n = without_cr(at, lf);
        if (n == 0)
            break;
        field_line(&r, at, n);
    }
    put(&r, "\r\n", 2);
    free(copy);
    *size = r.n;
    return r.out;
}
