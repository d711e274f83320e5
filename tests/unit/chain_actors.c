/* SPDX-License-Identifier: MPL-2.0 */
/* See chain_play.h: the decoders of a play, each of which does one thing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "chain_play.h"
#include "http_play.h"

/* What every data begins with. true: it ends here with a->data_result. */
static bool enter(struct actor *a, const struct soth_cursor *cur)
{
    a->calls++;
    a->flags = cur->flags & ~SOTH_CUR_UNSEEN;
    a->unseen = (cur->flags & SOTH_CUR_UNSEEN) != 0;
    a->all_flags |= cur->flags;
    assert_int_equal(cur->size, sizeof *cur);
    return a->fail_at && a->calls >= a->fail_at;
}

static void see(struct actor *a, const char *p, size_t n)
{
    assert_int_equal(buffer_append(&a->seen, p, n), 0);
}

int tap_watch(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct actor *a = self;
    (void)flow;
    bool over = enter(a, cur);
    see(a, cur->in.p, cur->in.n);
    return over ? a->data_result : SOTH_CONTINUE;
}

int tap_pass(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct actor *a = self;
    (void)flow;
    if (enter(a, cur))
        return a->data_result;
    const char *p = cur->in.p;
    see(a, p, cursor_pass(cur, cur->in.n));
    return SOTH_CONTINUE;
}

static void twice(struct actor *a, struct soth_cursor *cur)
{
    while (cur->in.n > 0 && cur->room >= 2) {
        char two[2] = {*cur->in.p, *cur->in.p};
        see(a, two, 1);
        assert_int_equal(cursor_put(cur, (struct soth_span){two, 2}), 2);
        assert_int_equal(cursor_drop(cur, 1), 1);
    }
}

/* Room for less than both: the first of them now. */
static void by_halves(struct actor *a, bool *half, struct soth_cursor *cur)
{
    while (cur->in.n > 0 && cur->room > 0) {
        assert_int_equal(cursor_put(cur, (struct soth_span){cur->in.p, 1}), 1);
        if (*half) {
            see(a, cur->in.p, 1);
            cursor_drop(cur, 1);
        }
        *half = !*half;
    }
}

int tap_double(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct actor *a = self;
    (void)flow;
    if (enter(a, cur))
        return a->data_result;
    twice(a, cur);
    return SOTH_CONTINUE;
}

int tap_odd(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct actor *a = self;
    (void)flow;
    if (enter(a, cur))
        return a->data_result;
    while (cur->in.n > 0 && cur->room > 0) {
        see(a, cur->in.p, 1);
        if (*cur->in.p == ' ')
            cursor_drop(cur, 1);
        else
            cursor_pass(cur, 1);
    }
    return SOTH_CONTINUE;
}

struct line {
    char text[4096];
    size_t n;
    bool between; /* frames */
};

static int line_over(struct actor *a, struct soth_flow *flow, struct line *line)
{
    struct soth_frame frame = {.size = sizeof frame, .kind = SOTH_EV_REQUEST_BODY_CHUNK, .payload = {line->text, line->n}};
    int r = line->between ? SOTH_CONTINUE : chain_frame(a, flow, &frame);
    memset(line->text, '?', line->n);
    line->n = 0;
    line->between = false;
    return r;
}

static int frames(struct actor *a, struct soth_flow *flow, struct soth_cursor *cur, bool drops)
{
    struct line *line = flow->state;
    while (cur->in.n > 0 && cur->room > 0) {
        char byte = *cur->in.p;
        line->between = line->between || (line->n == 0 && byte == '#');
        if ((line->between && drops ? cursor_drop(cur, 1) : cursor_pass(cur, 1)) == 0)
            return SOTH_CONTINUE;
        see(a, &byte, 1);
        if (byte != '\n' && !line->between && line->n < sizeof line->text)
            line->text[line->n++] = byte;
        int r = byte == '\n' ? line_over(a, flow, line) : SOTH_CONTINUE;
        if (r != SOTH_CONTINUE)
            return r;
    }
    return SOTH_CONTINUE;
}

int tap_frames(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct actor *a = self;
    return enter(a, cur) ? a->data_result : frames(a, flow, cur, true);
}

int transform_frames(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct actor *a = self;
    return enter(a, cur) ? a->data_result : frames(a, flow, cur, false);
}

int transform_replace(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct actor *a = self;
    (void)flow;
    if (enter(a, cur))
        return a->data_result;
    while (cur->in.n > 0 && cur->room >= 5) {
        size_t common = 0;
        while (common < 3 && common < cur->in.n && cur->in.p[common] == "cat"[common])
            common++;
        if (common == 3) {
            cursor_drop(cur, 3);
            cursor_put(cur, soth_span("tiger"));
        } else if (common == cur->in.n && !(cur->flags & SOTH_CUR_END)) {
            return SOTH_CONTINUE; /* it may become one */
        } else {
            cursor_pass(cur, 1);
        }
    }
    return SOTH_CONTINUE;
}

int transform_double(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct actor *a = self;
    if (enter(a, cur))
        return a->data_result;
    by_halves(a, flow->state, cur);
    return SOTH_CONTINUE;
}

int transform_pass(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    return tap_pass(self, flow, cur);
}

int transform_collect(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct actor *a = self;
    struct line *all = flow->state;
    if (enter(a, cur))
        return a->data_result;
    size_t n = cur->in.n < sizeof all->text - all->n ? cur->in.n : sizeof all->text - all->n;
    memcpy(all->text + all->n, cur->in.p, n);
    all->n += n;
    cursor_drop(cur, n);
    if (!(cur->flags & SOTH_CUR_END))
        return SOTH_CONTINUE;
    size_t done = cursor_put(cur, (struct soth_span){all->text, all->n});
    memmove(all->text, all->text + done, all->n - done);
    all->n -= done;
    return SOTH_CONTINUE;
}

int transform_wait(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct actor *a = self;
    (void)flow;
    if (enter(a, cur))
        return a->data_result;
    if (cur->flags & SOTH_CUR_END)
        cursor_pass(cur, cur->in.n);
    return SOTH_CONTINUE;
}

int transform_pause(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct actor *a = self;
    if (enter(a, cur))
        return a->data_result;
    cursor_pass(cur, a->number);
    if (cur->in.n == 0 || cur->room == 0)
        return SOTH_CONTINUE;
    a->token = play_token(flow, 100, 1);
    return SOTH_PAUSE;
}

int transform_busy(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct actor *a = self;
    (void)flow;
    if (enter(a, cur))
        return a->data_result;
    cursor_pass(cur, a->number);
    return cur->in.n == 0 || cur->room == 0 ? SOTH_CONTINUE : SOTH_BUSY;
}
