/* SPDX-License-Identifier: MPL-2.0 */
/* A stack of codings, and its bounds. */
#include "stage.h"

#include <stdlib.h>
#include <strings.h>

#define MB (UINT64_C(1) << 20)
#define BETWEEN 16384u /* bytes that wait between two of a stack */
#define SLICE 4096u    /* most of a slice, see below */
#define MUCH 2048u     /* bytes out of one: more than deflate can make */

struct coding {
    struct coding_limits limits;
    struct stage stages[CODINGS_MOST]; /* the one that was applied last comes first */
    uint32_t n;
    char *between[CODINGS_MOST];     /* what the i-th has made, for the next one */
    struct soth_span ready[CODINGS_MOST];
    uint64_t end;                    /* of the slice that is being fed, in bytes from the beginning */
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

/*
 * How far the libraries read before they give something depends on how much they get at once. So the input is fed in slices that lie at places of the
 * stream, wherever it was cut: the next one begins when the stages have made all that they can of those before. Output is compared with the end of the
 * slice, not with what was read of it: whether it comes to a limit within a slice is then the stream's own. The nearer a limit is, the smaller they
 * are: unless a byte makes more than MUCH, it is reached in a slice of one byte, and the place is exact.
 */

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

/* Of its output, where it is looked at next. */
static uint64_t milestone(const struct stage *s)
{
    return (s->out / MB + 1) * MB;
}

static int is_bomb(const struct coding *c, const struct stage *s)
{
    return s->out % MB == 0 && s->out / c->limits.max_ratio > c->end;
}

static size_t up_to(uint64_t from, uint64_t to, size_t room)
{
    return to - from < room ? (size_t)(to - from) : room;
}

/* The i-th once, into the buffer before the next one. When it fails, those behind it still read what it has made before that. */
static int run_between(struct coding *c, uint32_t i, struct soth_span *in)
{
    struct stage *s = &c->stages[i];
    size_t most = up_to(s->out, milestone(s), BETWEEN), room = most;
    if (!c->between[i] && !(c->between[i] = malloc(BETWEEN)))
        return failed(c, "nomem", 0);
    char *out = c->between[i];
    if (!s->fault)
        s->ops->run(s, in, &out, &room);
    c->ready[i] = (struct soth_span){c->between[i], most - room};
    if (is_bomb(c, s))
        s->fault = "max_ratio";
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

/* What the last one has made so far may be too much. What it found behind that does not count. */
static int check(struct coding *c)
{
    const struct stage *last = &c->stages[c->n - 1];
    if (c->limits.max_bytes && last->out > c->limits.max_bytes)
        return failed(c, "max_bytes", 1);
    return is_bomb(c, last) ? failed(c, "max_ratio", 1) : SOTH_OK;
}

/* Bytes of output until a limit may be reached. */
static uint64_t distance(const struct coding *c)
{
    const struct stage *last = &c->stages[c->n - 1];
    uint64_t allowed = c->end > UINT64_MAX / c->limits.max_ratio ? UINT64_MAX : c->end * c->limits.max_ratio;
    uint64_t least = c->limits.max_bytes ? c->limits.max_bytes + 1 - last->out : UINT64_MAX;
    for (const struct stage *s = c->stages; s <= last; s++) {
        uint64_t to = milestone(s) > allowed ? milestone(s) : allowed;
        least = to - s->out < least ? to - s->out : least;
    }
    return least;
}

/* Everything has come out of what was fed: the next slice. It depends on nothing but the stream so far. */
static void next_slice(struct coding *c)
{
    uint64_t n = distance(c) / MUCH;
    c->end += n < 1 ? 1 : n < SLICE ? n : SLICE;
}

/* Once, up to where the output is looked at or the slice is out; 1: it may go on. */
static int step(struct coding *c, struct soth_span *in, char *out, size_t room, size_t *made)
{
    const struct stage *last = &c->stages[c->n - 1];
    struct soth_span piece = {in->p, up_to(c->stages[0].in, c->end, in->n)};
    room = up_to(last->out, milestone(last), room);
    if (c->limits.max_bytes) /* one more than allowed tells that there is more */
        room = up_to(last->out, c->limits.max_bytes + 1, room);
    int r = run(c, &piece, out, room, made);
    in->n -= (size_t)(piece.p - in->p);
    in->p = piece.p;
    if (r < 0 || *made == room)
        return r < 0 ? r : 1;
    if (in->n == 0 || c->stages[0].in < c->end)
        return SOTH_OK;
    next_slice(c);
    return 1;
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
        if (check(c) < 0)
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
