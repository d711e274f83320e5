/* SPDX-License-Identifier: MPL-2.0 */
/* See turns.h. */
#include "turns.h"

#define KNOWN(text_) {text_, sizeof(text_) - 1}

const struct soth_span *turn_end_word(enum turn_end end)
{
    static const struct soth_span words[] = {KNOWN(""), KNOWN("rollover"), KNOWN("idle_timeout"), KNOWN("close_frame"), KNOWN("error"), KNOWN("eof")};
    return &words[end];
}

static void goes_on(struct turn_step *step)
{
    step->end = TURN_GOES_ON;
    step->began = false;
}

static void finish(struct turns *t, struct turn_step *step, enum turn_end end)
{
    if (!t->open)
        return;
    step->end = end;
    step->ended = t->now;
    t->open = t->spoke[0] = t->spoke[1] = false;
}

static void begin(struct turns *t, struct turn_step *step, const struct turn_frame *f)
{
    t->now = (struct turn){.id = t->now.id + 1, .initiator = f->direction, .first = f->number, .started_ms = f->unix_ms};
    t->open = step->began = true;
}

static bool rolls_over(const struct turns *t, unsigned direction)
{
    return t->open && t->now.initiator == direction && t->spoke[!direction] && !t->message[0] && !t->message[1];
}

static void count(struct turns *t, const struct turn_frame *f)
{
    t->now.last = f->number;
    t->now.frames[f->direction]++;
    t->now.bytes[f->direction] += f->bytes;
    t->now.ended_ms = f->unix_ms;
}

void turns_frame(struct turns *t, const struct turn_frame *f, struct turn_step *step)
{
    goes_on(step);
    if (f->part == TURN_BEGIN && !t->over) {
        if (rolls_over(t, f->direction))
            finish(t, step, TURN_ROLLOVER);
        if (!t->open)
            begin(t, step, f);
        t->spoke[f->direction] = true;
    }
    if (f->part == TURN_BEGIN || f->part == TURN_MORE)
        t->message[f->direction] = !f->fin;
    if (t->open)
        count(t, f);
    if (f->part == TURN_CLOSING) {
        finish(t, step, TURN_CLOSE);
        t->over = true;
    }
}

void turns_end(struct turns *t, enum turn_end end, struct turn_step *step)
{
    goes_on(step);
    finish(t, step, end);
    t->over = t->over || end == TURN_ERROR || end == TURN_EOF;
}
