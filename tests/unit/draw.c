/* SPDX-License-Identifier: MPL-2.0 */
/* See draw.h. */
#include "draw.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define EACH_TIME_THE_SAME 20 /* a build that was good is good again */

static uint64_t state;

uint64_t draw_seed(unsigned long *cases)
{
    const char *given = getenv("PROP_SEED"), *many = getenv("PROP_CASES");
    uint64_t seed = given ? strtoull(given, NULL, 0) : many ? (uint64_t)time(NULL) * 1000003u : EACH_TIME_THE_SAME;
    *cases = many ? strtoul(many, NULL, 10) : given ? 1 : *cases;
    print_message("seed %llu\n", (unsigned long long)seed);
    return seed;
}

void draw_begin(uint64_t seed)
{
    state = seed;
}

uint64_t draw(void)
{
    uint64_t z = (state += 0x9e3779b97f4a7c15u); /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

unsigned draw_below(unsigned n)
{
    return (unsigned)(draw() % n);
}
