/* SPDX-License-Identifier: MPL-2.0 */
/* One coding of a stack, on top of its library. */
#ifndef CODING_STAGE_H
#define CODING_STAGE_H

#include "coding.h"

struct stage {
    const struct stage_ops *ops;
    void *lib;          /* of the library; NULL: nothing came yet */
    const char *fault;  /* a word of coding_fault */
    uint64_t in, out;   /* bytes */
    uint64_t max_window;
    uint8_t over;       /* a complete stream was read: more may follow or not */
    uint8_t state;      /* the file's own */
    uint8_t full;       /* there was no room for all of the output: more may come without input */
    uint8_t held;
    uint8_t held_byte;
};

struct stage_ops {
    const char *name;
    uint32_t id;
    /* Takes off `in`, puts behind *out; returns when either is used up or nothing more can be made. 0, or -1 with fault set. */
    int (*run)(struct stage *s, struct soth_span *in, char **out, size_t *room);
    void (*close)(struct stage *s);
};

extern const struct stage_ops stage_gzip, stage_deflate, stage_br, stage_zstd;

static inline int stage_failed(struct stage *s, const char *fault)
{
    s->fault = fault;
    return -1;
}

/* n bytes of `in` were taken. */
static inline void stage_took(struct stage *s, struct soth_span *in, size_t n)
{
    in->p += n;
    in->n -= n;
    s->in += n;
}

static inline void stage_made(struct stage *s, char **out, size_t *room, size_t n)
{
    *out += n;
    *room -= n;
    s->out += n;
}

#endif
