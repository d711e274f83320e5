/* SPDX-License-Identifier: MPL-2.0 */
/* See records.h. Lines and strings are passed over by memchr. */
#include "records.h"

#include <stdlib.h>

#define KEPT_MOST 16384u
#define SEPARATOR '\x1e'

enum where { BETWEEN, MARKED, BLANK, IN_LINE, IN_BRACKETS, IN_STRING, IN_WORD }; /* MARKED: behind the separator of a sequence's next one */

static int is_white(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* ---- what a record has ---- */

static int keep(struct records *r, const char *p, size_t n)
{
    n = n < r->keeping - r->size ? n : (size_t)(r->keeping - r->size);
    if (n == 0)
        return 0;
    if (r->room - r->size < n) {
        size_t room = r->room ? r->room : 256;
        while (room - r->size < n)
            room *= 2;
        char *bigger = realloc(r->data, room);
        if (!bigger) {
            r->fault = "nomem";
            return -1;
        }
        r->data = bigger;
        r->room = room;
    }
    memcpy(r->data + r->size, p, n);
    r->size += n;
    return 0;
}

static void skip(struct soth_span *in, size_t n)
{
    in->p += n;
    in->n -= n;
}

/* The next n bytes belong to the record. */
static int take(struct records *r, struct soth_span *in, size_t n)
{
    if (n == 0)
        return 0;
    if (keep(r, in->p, n) < 0)
        return -1;
    r->len += n;
    skip(in, n);
    return 0;
}

/* The byte behind the next n is beyond the limit. */
static int too_long(struct records *r, struct soth_span *in, size_t n)
{
    skip(in, n);
    r->fault = "max_record_bytes";
    return -1;
}

static int grow(struct records *r, struct soth_span *in, size_t n)
{
    return r->len + n > r->max_record_bytes ? too_long(r, in, (size_t)(r->max_record_bytes - r->len)) : take(r, in, n);
}

static void begin(struct records *r, enum where where)
{
    r->where = (uint8_t)where;
    r->keeping = r->keep_most;
}

static void forget(struct records *r)
{
    r->where = BETWEEN;
    r->len = r->depth = r->size = 0;
    r->escaped = r->told = 0;
    r->trailing = 0;
    if (r->room > KEPT_MOST) {
        free(r->data);
        r->data = NULL;
        r->room = 0;
    }
}

static int tell(struct records *r, struct record *out)
{
    *out = (struct record){.sequence_no = ++r->sequence_no, .len = r->len};
    if (r->keeping)
        out->data = (struct soth_span){r->data ? r->data : "", r->len < r->size ? (size_t)r->len : r->size};
    r->told = 1;
    return 1;
}

/* What has come of one that is none. */
static int cut(struct records *r, struct record *out)
{
    tell(r, out);
    r->sequence_no--;
    return RECORDS_CUT;
}

void records_fini(struct records *r)
{
    free(r->data);
    r->data = NULL;
}

/* ---- lines ---- */

static int line_ends(struct records *r, struct record *out)
{
    if (r->where != IN_LINE) {
        forget(r);
        return 0;
    }
    r->len -= r->trailing;
    return tell(r, out);
}

/* White space at the end of what has come of a line. */
static void note_trailing(struct records *r, const char *p, size_t n)
{
    size_t white = 0;
    while (white < n && is_white(p[n - 1 - white]))
        white++;
    r->trailing = white + (white == n ? r->trailing : 0);
}

/* How many of the bytes come before the first one beyond the limit, which is among them. */
static size_t line_fits(const struct records *r, const char *p, uint64_t trailing)
{
    for (size_t i = 0;; i++) {
        trailing = is_white(p[i]) ? trailing + 1 : 0;
        if (trailing > r->max_record_bytes || (trailing == 0 && r->len + i >= r->max_record_bytes))
            return i;
    }
}

/* White space behind what a line has does not count, as far as anybody knows; as much of it as a record may have is too long as well. */
static int line_goes_on(struct records *r, struct soth_span *in, size_t n)
{
    const uint64_t before = r->trailing;
    note_trailing(r, in->p, n);
    if (r->trailing > r->max_record_bytes || r->len + n - r->trailing > r->max_record_bytes)
        return too_long(r, in, line_fits(r, in->p, before));
    return take(r, in, n);
}

/* In front of what a line has: up to there, or to the line's end, which is n bytes away. */
static int blank_goes_on(struct records *r, struct soth_span *in, size_t n)
{
    size_t white = 0;
    while (white < n && is_white(in->p[white])) {
        if (r->trailing == r->max_record_bytes)
            return too_long(r, in, white);
        white++;
        r->trailing++;
    }
    skip(in, white);
    if (white > 0 && r->gaps)
        return RECORDS_BETWEEN;
    if (white == n)
        return 0;
    r->where = IN_LINE;
    r->trailing = 0;
    return 0;
}

static int lines_next(struct records *r, struct soth_span *in, struct record *out)
{
    while (in->n > 0) {
        const char *over = memchr(in->p, '\n', in->n);
        const char *end = over ? over : in->p + in->n;
        if (r->where == BETWEEN)
            begin(r, BLANK);
        int found = r->where == BLANK ? blank_goes_on(r, in, (size_t)(end - in->p)) : 0;
        if (found == 0 && r->where == IN_LINE)
            found = line_goes_on(r, in, (size_t)(end - in->p));
        if (found != 0)
            return found;
        if (!over)
            return 0;
        skip(in, 1);
        if (line_ends(r, out))
            return 1;
        if (r->gaps)
            return RECORDS_BETWEEN;
    }
    return 0;
}

/* ---- JSON texts ---- */

static int is_open(char c) { return c == '{' || c == '['; }
static int is_close(char c) { return c == '}' || c == ']'; }

/* Within a string: up to its end, or as far as the input goes. 1: it has ended. */
static int string_goes_on(struct records *r, struct soth_span *in)
{
    while (in->n > 0) {
        if (r->escaped) {
            r->escaped = 0;
            if (grow(r, in, 1) < 0)
                return -1;
            continue;
        }
        const char *quote = memchr(in->p, '"', in->n);
        size_t n = quote ? (size_t)(quote - in->p) : in->n;
        const char *slash = memchr(in->p, '\\', n);
        const char *cut = r->kind == RECORDS_SEQUENCE ? memchr(in->p, SEPARATOR, slash ? (size_t)(slash - in->p) : n) : NULL;
        if (cut)
            return grow(r, in, (size_t)(cut - in->p));
        r->escaped = slash != NULL;
        n = slash ? (size_t)(slash - in->p) + 1 : n;
        if (grow(r, in, n) < 0)
            return -1;
        if (!slash && quote)
            return grow(r, in, 1) < 0 ? -1 : 1;
    }
    return 0;
}

/* Within brackets: up to the next string or the end of the record. 1: the record has ended. */
static int brackets_go_on(struct records *r, struct soth_span *in)
{
    size_t i = 0;
    for (; i < in->n; i++) {
        char c = in->p[i];
        if (c == '"' || (c == SEPARATOR && r->kind == RECORDS_SEQUENCE))
            break;
        r->depth += (uint64_t)is_open(c);
        if (is_close(c) && --r->depth == 0)
            return grow(r, in, i + 1) < 0 ? -1 : 1;
    }
    if (grow(r, in, i) < 0)
        return -1;
    if (in->n > 0 && *in->p == '"') {
        r->where = IN_STRING;
        return grow(r, in, 1);
    }
    return 0;
}

/* A number, true, false, null, or whatever it is: up to white space or what begins another text. 1: it has ended. In a sequence a separator
 * does not end it (RFC 7464 2.4): nobody knows whether it was cut. */
static int word_goes_on(struct records *r, struct soth_span *in)
{
    size_t i = 0;
    while (i < in->n && !is_white(in->p[i]) && !is_open(in->p[i]) && in->p[i] != '"' && in->p[i] != SEPARATOR)
        i++;
    int over = i < in->n && (in->p[i] != SEPARATOR || r->kind != RECORDS_SEQUENCE);
    return grow(r, in, i) < 0 ? -1 : over;
}

/* A separator belongs to the record that it begins; all else in front of a text to none. */
static int text_begins(struct records *r, struct soth_span *in)
{
    const char *from = in->p;
    while (in->n > 0 && (is_white(*in->p) || (*in->p == SEPARATOR && r->kind != RECORDS_SEQUENCE)))
        skip(in, 1);
    int gap = r->gaps && r->where == BETWEEN && in->p > from;
    if (gap || in->n == 0)
        return gap ? RECORDS_BETWEEN : 0;
    if (*in->p == SEPARATOR && r->where == MARKED) { /* nothing is between the two */
        r->where = BETWEEN;
        return r->gaps ? RECORDS_BETWEEN : 0;
    }
    if (*in->p == SEPARATOR && r->kind == RECORDS_SEQUENCE) {
        r->where = MARKED;
        skip(in, 1);
        return 0;
    }
    begin(r, is_open(*in->p) ? IN_BRACKETS : *in->p == '"' ? IN_STRING : IN_WORD);
    return r->where == IN_STRING ? grow(r, in, 1) : 0;
}

static int text_goes_on(struct records *r, struct soth_span *in)
{
    if (r->where == IN_WORD)
        return word_goes_on(r, in);
    if (r->where == IN_BRACKETS)
        return brackets_go_on(r, in);
    int ended = string_goes_on(r, in);
    if (ended <= 0)
        return ended;
    r->where = IN_BRACKETS;
    return r->depth == 0;
}

static int texts_next(struct records *r, struct soth_span *in, struct record *out)
{
    while (in->n > 0) {
        if (r->where == BETWEEN || r->where == MARKED) {
            int found = text_begins(r, in);
            if (found != 0)
                return found;
            continue;
        }
        int ended = text_goes_on(r, in);
        if (ended < 0)
            return -1;
        if (ended)
            return tell(r, out);
        if (in->n > 0 && *in->p == SEPARATOR && r->kind == RECORDS_SEQUENCE) { /* the next one begins before this one has ended */
            r->truncated++;
            if (r->gaps)
                return cut(r, out);
            forget(r);
        }
    }
    return 0;
}

/* ---- all ---- */

int records_next(struct records *r, struct soth_span *in, struct record *out)
{
    if (r->told)
        forget(r);
    return r->kind == RECORDS_LINES ? lines_next(r, in, out) : texts_next(r, in, out);
}

int records_finish(struct records *r, struct record *out)
{
    if (r->told)
        forget(r);
    if (r->kind == RECORDS_LINES)
        return line_ends(r, out);
    if (r->kind == RECORDS_CONCATENATED && r->where == IN_WORD) /* a sequence's would need white space behind it */
        return tell(r, out);
    return r->gaps && r->len > 0 ? cut(r, out) : 0;
}
