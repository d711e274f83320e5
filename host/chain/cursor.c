/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The cursor: what a decoder does with its input becomes output. As long as it passes one piece, the output is that piece; only when it
 * changes something, bytes are copied. What the module writes into the struct that it sees changes nothing.
 */
#include "host/chain/call.h"

void cursor_limit(struct cursor *c, size_t room)
{
    if (room < c->room)
        c->open.room = c->room = room;
}

/* The output is copied from here on. */
static bool copied(struct cursor *c)
{
    if (c->lent_size == 0)
        return true;
    c->no_memory = c->no_memory || buffer_append(&c->lane->made, c->lent, c->lent_size) < 0;
    c->lent_size = 0;
    return !c->no_memory;
}

static void lend(struct cursor *c, size_t n)
{
    bool follows = c->lent_size > 0 && c->lent + c->lent_size == c->in;
    if (c->blind || n == 0)
        return;
    if (buffer_size(&c->lane->made) == 0 && (c->lent_size == 0 || follows)) {
        c->lent = follows ? c->lent : c->in;
        c->lent_size += n;
        return;
    }
    if (copied(c) && buffer_append(&c->lane->made, c->in, n) < 0)
        c->no_memory = true;
}

static void take(struct cursor *c, size_t n)
{
    c->in += n;
    c->left -= n;
    c->taken += n;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t cursor_pass(struct soth_cursor *cursor, size_t n)
{
    struct cursor *c = (struct cursor *)(void *)cursor;
    n = c->stopped ? 0 : least(n, least(c->left, c->room));
    lend(c, n);
    take(c, n);
    c->room -= n;
    c->made += n;
    cursor_show(c);
    return n;
}

size_t cursor_drop(struct soth_cursor *cursor, size_t n)
{
    struct cursor *c = (struct cursor *)(void *)cursor;
    struct lane *lane = c->lane;
    n = c->stopped ? 0 : least(n, c->left);
    /* bytes between frames need no verdict */
    if (c->gated_tap && lane->judged == lane->in + c->taken)
        lane->judged += n;
    lane->changed = lane->changed || n > 0;
    take(c, n);
    cursor_show(c);
    return n;
}

size_t cursor_put(struct soth_cursor *cursor, struct soth_span bytes)
{
    struct cursor *c = (struct cursor *)(void *)cursor;
    size_t n = c->stopped || !bytes.p ? 0 : least(bytes.n, c->room);
    c->lane->changed = c->lane->changed || n > 0;
    if (!c->blind && n > 0 && copied(c) && buffer_append(&c->lane->made, bytes.p, n) < 0)
        c->no_memory = true;
    c->room -= n;
    c->made += n;
    cursor_show(c);
    return n;
}

void cursor_pass_all(struct cursor *c)
{
    size_t n = c->left;
    lend(c, n);
    take(c, n);
    c->made += n;
}

struct soth_span cursor_output(const struct cursor *c)
{
    const struct buffer *made = &c->lane->made;
    if (buffer_size(made) > 0)
        return (struct soth_span){(const char *)buffer_data(made), buffer_size(made)};
    return (struct soth_span){(const char *)c->lent, c->lent_size};
}
