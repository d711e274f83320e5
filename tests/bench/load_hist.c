/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Latencies arrive in nanoseconds; quantiles leave in microseconds. Buckets are 128 a power of two, so that an answer
 * is at most 1 % off. Never allocates.
 */
#include "load.h"

static unsigned bucket_of(uint64_t ns)
{
    unsigned shift = 0;

    while ((ns >> shift) >= 256)
        shift++;
    return shift * 128 + (unsigned)(ns >> shift);
}

static double middle_of(unsigned bucket)
{
    unsigned shift = bucket < 256 ? 0 : bucket / 128 - 1;
    uint64_t low = (uint64_t)(bucket - shift * 128) << shift;

    return (double)low + (double)(1ULL << shift) / 2;
}

void load_hist_add(struct load_hist *h, uint64_t ns)
{
    unsigned bucket = bucket_of(ns);
    unsigned last = sizeof h->count / sizeof h->count[0] - 1;

    h->count[bucket < last ? bucket : last]++;
    h->total++;
}

double load_hist_at(const struct load_hist *h, double part)
{
    uint64_t wanted = (uint64_t)(part * (double)h->total), seen = 0;

    for (unsigned i = 0; i < sizeof h->count / sizeof h->count[0]; i++) {
        seen += h->count[i];
        if (h->count[i] && seen > wanted)
            return middle_of(i) / 1000.0;
    }
    return 0;
}
