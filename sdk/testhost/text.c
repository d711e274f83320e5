/* SPDX-License-Identifier: MPL-2.0 */
/* Bytes that grow. Without memory a test cannot go on. */
#include "parts.h"

#include <stdarg.h>
#include <stdlib.h>

void th_text_add(struct text *t, const void *p, size_t n)
{
    if (t->room - t->n < n + 1) {
        size_t room = (t->n + n + 1) * 2;
        char *bigger = realloc(t->p, room);
        if (!bigger)
            abort();
        t->p = bigger;
        t->room = room;
    }
    if (n)
        memcpy(t->p + t->n, p, n);
    t->n += n;
    t->p[t->n] = 0;
}

void th_text_say(struct text *t, const char *format, ...)
{
    char line[2048];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (n > 0)
        th_text_add(t, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

void th_text_escape(struct text *t, struct soth_span bytes)
{
    for (size_t i = 0; i < bytes.n; i++) {
        unsigned char c = (unsigned char)bytes.p[i];
        if (c == '\n')
            th_text_add(t, "\\n", 2);
        else if (c == '\\')
            th_text_add(t, "\\\\", 2);
        else if (c < 0x20 || c == 0x7f)
            th_text_say(t, "\\x%02x", c);
        else
            th_text_add(t, &c, 1);
    }
}

void th_text_drop(struct text *t, size_t n)
{
    if (n == 0)
        return;
    memmove(t->p, t->p + n, t->n - n + 1);
    t->n -= n;
}

void th_text_clear(struct text *t)
{
    t->n = 0;
    if (t->p)
        *t->p = 0;
}

void th_text_free(struct text *t)
{
    free(t->p);
    *t = (struct text){NULL, 0, 0};
}

const char *th_text_of(const struct text *t)
{
    return t->p ? t->p : "";
}
