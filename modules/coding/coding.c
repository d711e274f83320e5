/* SPDX-License-Identifier: MPL-2.0 */
/* A stack of codings, and its bounds. */
#include "stage.h"

#include <stdlib.h>
#include <strings.h>

#define MB (UINT64_C(1) << 20)
#define BETWEEN 16384u /* bytes that wait between two of a stack */
#define NEAR 4096u     /* bytes of output: much more than comes out of what a library reads ahead */

struct coding {
    struct coding_limits limits;
    struct stage stages[CODINGS_MOST]; /* the one that was applied last comes first */
    uint32_t n;
    char *between[CODINGS_MOST];     /* what the i-th has made, for the next one */
    struct soth_span ready[CODINGS_MOST];
    uint64_t milestone;              /* of output, where the ratio is looked at next */
    const char *fault;
    uint8_t over_limit;
};

static const struct stage_ops *const known[] = {&stage_gzip, &stage_deflate, &stage_br, &stage_zstd};

/* ---- names ---- */

static int is_named(struct soth_span word, const char *name)
{
    return word.n == strlen(name) && strncasecmp(word.p, name, word.n) == 0;
}

static uint32_t id_of(struct soth_span word)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (is_named(word, known[i]->name))
            return known[i]->id;
    return is_named(word, "x-gzip") ? CODING_GZIP : 0;
}

static int is_space(char c)
{
    return c == ' ' || c == '\t';
}

static struct soth_span next_word(struct soth_span *list)
{
    const char *comma = memchr(list->p, ',', list->n);
    size_t n = comma ? (size_t)(comma - list->p) : list->n;
    struct soth_span word = {list->p, n};
    list->p += comma ? n + 1 : n;
    list->n -= comma ? n + 1 : n;
    while (word.n > 0 && is_space(*word.p)) {
        word.p++;
        word.n--;
    }
    while (word.n > 0 && is_space(word.p[word.n - 1]))
        word.n--;
    return word;
}

int coding_list_add(struct coding_list *list, struct soth_span value)
{
    while (value.n > 0) {
        struct soth_span word = next_word(&value);
        if (word.n == 0 || is_named(word, "identity"))
            continue;
        uint32_t id = id_of(word);
        if (id == 0 || list->n == CODINGS_MOST)
            return -SOTH_EUNSUPPORTED;
        list->ids[list->n++] = (uint8_t)id;
    }
    return SOTH_OK;
}

/* ---- life ---- */

struct coding *coding_new(const struct coding_list *list, const struct coding_limits *limits)
{
    struct coding *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->limits = *limits;
    c->n = list->n;
    c->milestone = MB;
    for (uint32_t i = 0; i < c->n; i++) {
        c->stages[i].max_window = limits->max_window;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            if (known[k]->id == list->ids[c->n - 1 - i])
                c->stages[i].ops = known[k];
    }
    return c;
}

void coding_free(struct coding *c)
{
    for (uint32_t i = 0; c && i < c->n; i++) {
        c->stages[i].ops->close(&c->stages[i]);
        free(c->between[i]);
    }
    free(c);
}

const char *coding_fault(const struct coding *c)
{
    return c->fault ? c->fault : "";
}

int coding_is_over_limit(const struct coding *c)
{
    return c->over_limit;
}

/* ---- bytes ---- */

static int failed(struct coding *c, const char *fault, int limit)
{
    c->fault = fault;
    c->over_limit = (uint8_t)limit;
    return limit ? -SOTH_ELIMIT : -SOTH_EINVALID;
}

static int stage_fault(struct coding *c, const struct stage *s)
{
    return failed(c, s->fault, strncmp(s->fault, "max_", 4) == 0);
}

/* The i-th once, into the buffer before the next one. When it fails, those behind it still read what it has made before that. */
static int run_between(struct coding *c, uint32_t i, struct soth_span *in)
{
    struct stage *s = &c->stages[i];
    size_t room = BETWEEN;
    if (!c->between[i] && !(c->between[i] = malloc(BETWEEN)))
        return failed(c, "nomem", 0);
    char *out = c->between[i];
    if (!s->fault)
        s->ops->run(s, in, &out, &room);
    c->ready[i] = (struct soth_span){c->between[i], BETWEEN - room};
    if (s->out > MB && s->out / c->limits.max_ratio > c->stages[0].in)
        return failed(c, "max_ratio", 1);
    return SOTH_OK;
}

/* Gives the last one something to read, if there is anything. */
static int fill(struct coding *c, struct soth_span *in)
{
    for (uint32_t i = c->n - 1; i-- > 0;) { /* from the back: what waits longest goes first */
        if (c->ready[i].n > 0)
            continue;
        struct soth_span *from = i == 0 ? in : &c->ready[i - 1];
        int r = from->n > 0 || c->stages[i].in > 0 ? run_between(c, i, from) : SOTH_OK;
        if (r < 0)
            return r;
    }
    return SOTH_OK;
}

static uint64_t waiting(const struct coding *c)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i + 1 < c->n; i++)
        n += c->stages[i].in + c->stages[i].out;
    return n;
}

/* Nothing moves any more: because one of them has failed? The one that comes last has failed first. */
static int stands(struct coding *c)
{
    for (uint32_t i = c->n - 1; i-- > 0;)
        if (c->stages[i].fault)
            return stage_fault(c, &c->stages[i]);
    return SOTH_OK;
}

/* Until the room is full or nothing moves any more. */
static int run(struct coding *c, struct soth_span *in, char *out, size_t room, size_t *made)
{
    struct stage *last = &c->stages[c->n - 1];
    size_t left = room;
    int r = SOTH_OK;
    for (;;) {
        uint64_t before = waiting(c) + last->in + last->out;
        r = fill(c, in);
        struct soth_span *from = c->n == 1 ? in : &c->ready[c->n - 2];
        if (last->ops->run(last, from, &out, &left) < 0 && r == SOTH_OK)
            r = stage_fault(c, last);
        int moved = waiting(c) + last->in + last->out != before;
        if (r == SOTH_OK && left > 0 && !moved)
            r = stands(c);
        if (r < 0 || left == 0 || !moved)
            break;
    }
    *made = room - left;
    return r;
}

/* The output has come to where it is looked at. */
static int check(struct coding *c, uint64_t out)
{
    if (c->limits.max_bytes && out > c->limits.max_bytes)
        return failed(c, "max_bytes", 1);
    if (out < c->milestone)
        return SOTH_OK;
    c->milestone += MB;
    return out / c->limits.max_ratio > c->stages[0].in ? failed(c, "max_ratio", 1) : SOTH_OK;
}

static size_t up_to(uint64_t from, uint64_t to, size_t room)
{
    return to > from && to - from < room ? (size_t)(to - from) : room;
}

/* Where the next limit may be found to be reached; UINT64_MAX: it will not be. */
static uint64_t next_limit(const struct coding *c)
{
    uint64_t bytes = c->limits.max_bytes ? c->limits.max_bytes + 1 : UINT64_MAX; /* one more than allowed tells that there is more */
    uint64_t ratio = c->milestone / c->limits.max_ratio > c->stages[0].in ? c->milestone : UINT64_MAX;
    return bytes < ratio ? bytes : ratio;
}

/* Once, up to where the output is looked at; 1: it may go on. The libraries read ahead when their room is full: shortly before a limit they get byte
 * by byte, so that it is found at the same one whatever came with it. */
static int step(struct coding *c, struct soth_span *in, char *out, size_t room, size_t *made)
{
    const struct stage *last = &c->stages[c->n - 1];
    uint64_t limit = next_limit(c);
    int near = limit != UINT64_MAX && last->out + NEAR >= limit;
    struct soth_span piece = {in->p, near && in->n > 1 ? 1 : in->n};
    room = up_to(last->out, near ? limit : limit - NEAR, up_to(last->out, c->milestone, room));
    int r = run(c, &piece, out, room, made);
    in->n -= (size_t)(piece.p - in->p);
    in->p = piece.p;
    return r < 0 ? r : *made == room || (piece.n == 0 && in->n > 0);
}

int coding_take(struct coding *c, struct soth_span *in, char *out, size_t room, size_t *made)
{
    const struct stage *last = &c->stages[c->n - 1];
    int r = c->fault ? -SOTH_EINVALID : 1;
    *made = 0;
    while (r > 0 && *made < room) {
        size_t n;
        r = step(c, in, out + *made, room - *made, &n);
        *made += n;
        if (c->limits.max_bytes && last->out > c->limits.max_bytes)
            (*made)--;
        if (r >= 0 && check(c, last->out) < 0)
            r = -SOTH_ELIMIT;
    }
    return r < 0 ? r : SOTH_OK;
}

int coding_end(struct coding *c)
{
    if (c->fault)
        return -SOTH_EINVALID;
    for (uint32_t i = 0; i < c->n; i++)
        if (c->stages[i].in > 0 && !c->stages[i].over)
            return failed(c, "truncated", 0);
    return SOTH_OK;
}
