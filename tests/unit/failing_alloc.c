/* SPDX-License-Identifier: MPL-2.0 */
/* See failing_alloc.h. */
#include "failing_alloc.h"

#include <stdlib.h>

static long countdown; /* the allocation that fails; 0 = none */
static bool inside = true;

void failing_arm(long which)
{
    countdown = which;
}

bool failing_disarm(void)
{
    bool failed = countdown == 0;
    countdown = 0;
    return failed;
}

void failing_counts(bool counts)
{
    inside = counts;
}

#ifndef FAILING_SKIPPED
static bool fails(void)
{
    return inside && countdown > 0 && --countdown == 0;
}

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t count, size_t n);
void *__libc_realloc(void *p, size_t n);

void *malloc(size_t n)
{
    return fails() ? NULL : __libc_malloc(n);
}

void *calloc(size_t count, size_t n)
{
    return fails() ? NULL : __libc_calloc(count, n);
}

void *realloc(void *p, size_t n)
{
    return fails() ? NULL : __libc_realloc(p, n);
}
#endif
