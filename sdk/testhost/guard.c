/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Borrowed memory: every piece lies at the end of a page behind which nothing may be read, and when it is given back it is filled with rubbish
 * and made inaccessible. The same pages are lent again only after many others, so that a pointer that was kept is found out.
 */
#include "parts.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOANS 128    /* at once, by one thread */
#define PLACES 1024  /* pages in turn */

struct place {
    char *p;
    size_t size; /* without the page behind it */
    bool lent;
};

struct lender {
    struct place places[PLACES];
    unsigned next, loans[LOANS], count;
};

static _Thread_local struct lender lender;

static size_t page(void)
{
    static size_t size;
    if (size == 0)
        size = (size_t)sysconf(_SC_PAGESIZE);
    return size;
}

static void make(struct place *place, size_t n)
{
    size_t size = (n + page()) / page() * page();
    if (place->size >= size)
        return;
    if (place->p)
        munmap(place->p, place->size + page());
    place->p = mmap(NULL, size + page(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (place->p == MAP_FAILED)
        abort();
    place->size = size;
}

static void *lend(const void *p, size_t n, size_t align)
{
    struct lender *l = &lender;
    while (l->places[l->next % PLACES].lent)
        l->next++;
    if (l->count == LOANS)
        abort();
    struct place *place = &l->places[l->next % PLACES];
    l->loans[l->count++] = l->next++ % PLACES;
    make(place, n);
    if (mprotect(place->p, place->size, PROT_READ | PROT_WRITE) < 0)
        abort();
    place->lent = true;
    char *at = place->p + place->size - n;
    at -= (uintptr_t)at % align;
    if (n > 0 && p)
        memcpy(at, p, n);
    else if (n > 0)
        memset(at, 0, n);
    return at;
}

void th_guard_end(void)
{
    for (unsigned i = 0; i < PLACES; i++)
        if (lender.places[i].p)
            munmap(lender.places[i].p, lender.places[i].size + page());
    memset(&lender, 0, sizeof lender);
}

unsigned th_guard_mark(void)
{
    return lender.count;
}

void *th_guard_lend(const void *p, size_t n)
{
    return lend(p, n, 1);
}

void *th_guard_lend_aligned(const void *p, size_t n)
{
    return lend(p, n, 16);
}

struct soth_span th_guard_span(struct soth_span span)
{
    return span.p ? (struct soth_span){th_guard_lend(span.p, span.n), span.n} : span;
}

void th_guard_return(unsigned mark)
{
    struct lender *l = &lender;
    while (l->count > mark) {
        struct place *place = &l->places[l->loans[--l->count]];
        memset(place->p, 0xa5, place->size);
        if (mprotect(place->p, place->size, PROT_NONE) < 0)
            abort();
        place->lent = false;
    }
}
