/* SPDX-License-Identifier: MPL-2.0 */
/* See h2_meter.h. */
#include "h2_meter.h"

#include <string.h>

#define PREFACE 24u
#define FIRST_WINDOW 65535u
#define SETTING_WINDOW 4u
enum { DATA = 0, SETTINGS = 4, WINDOW_UPDATE = 8 };

static uint32_t number(const uint8_t *p, unsigned n)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < n; i++)
        value = value << 8 | p[i];
    return value;
}

void h2_meter_init(struct h2_meter *m, bool is_client)
{
    memset(m, 0, sizeof *m);
    m->window = m->all_allowed = FIRST_WINDOW;
    *(is_client ? &m->said.preface : &m->got.preface) = PREFACE;
}

/* 0: one that is not looked at. */
static unsigned place(uint32_t id)
{
    return id % 2 && id / 2 + 1 < H2_METER_STREAMS ? id / 2 + 1 : 0;
}

static void count(struct h2_meter *m, uint32_t id, uint32_t n)
{
    unsigned at = place(id);
    m->came[at] += n;
    m->all_came += n;
    if (m->fault)
        return;
    if (m->all_came > m->all_allowed)
        m->fault = "more than the connection's window";
    else if (at && m->came[at] > m->window + m->allowed[at])
        m->fault = "more than a stream's window";
}

static void whole_head(struct h2_meter *m, struct h2_meter_reader *r)
{
    r->left = number(r->head, 3);
    r->small_have = 0;
    if (r == &m->got && r->head[3] == DATA)
        count(m, number(r->head + 5, 4) & INT32_MAX, r->left); /* its padding counts */
}

/* A setting or an increment that is whole. */
static void small(struct h2_meter *m, const struct h2_meter_reader *r)
{
    uint32_t id = number(r->head + 5, 4) & INT32_MAX;
    if (r->head[3] == SETTINGS && number(r->small, 2) == SETTING_WINDOW && number(r->small + 2, 4) > m->window)
        m->window = number(r->small + 2, 4);
    else if (r->head[3] == WINDOW_UPDATE)
        *(id ? &m->allowed[place(id)] : &m->all_allowed) += number(r->small, 4) & INT32_MAX;
}

static unsigned piece_of(const struct h2_meter_reader *r)
{
    return r->head[3] == SETTINGS ? 6 : r->head[3] == WINDOW_UPDATE ? 4 : 0;
}

static void payload(struct h2_meter *m, struct h2_meter_reader *r, const uint8_t *p, size_t n)
{
    unsigned piece = r == &m->said ? piece_of(r) : 0;
    r->left -= (uint32_t)n;
    for (size_t i = 0; piece && i < n; i++) {
        r->small[r->small_have++] = p[i];
        if (r->small_have < piece)
            continue;
        small(m, r);
        r->small_have = 0;
    }
}

static void take(struct h2_meter *m, struct h2_meter_reader *r, const uint8_t *p, size_t n)
{
    while (n > 0) {
        size_t some = r->preface ? r->preface : r->left ? r->left : 1;
        some = some < n ? some : n;
        if (r->preface) {
            r->preface -= (unsigned)some;
        } else if (r->left) {
            payload(m, r, p, some);
        } else {
            r->head[r->have++] = *p;
            if (r->have == sizeof r->head) {
                r->have = 0;
                whole_head(m, r);
            }
        }
        p += some;
        n -= some;
    }
}

void h2_meter_said(struct h2_meter *m, const uint8_t *p, size_t n)
{
    take(m, &m->said, p, n);
}

void h2_meter_got(struct h2_meter *m, const uint8_t *p, size_t n)
{
    take(m, &m->got, p, n);
}
