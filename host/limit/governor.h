/* SPDX-License-Identifier: MPL-2.0 */
/* Process-wide budgets, counted atomically: what is over a limit is refused by whoever asked, never queued. Any thread. */
#ifndef HOST_LIMIT_GOVERNOR_H
#define HOST_LIMIT_GOVERNOR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct governor {
    atomic_uint_fast64_t flows;  /* client connections that have a flow */
    atomic_uint_fast64_t max_flows; /* changes with the configuration */
    atomic_uint_fast64_t denied; /* flows that were answered 503 */
};

/* Counts a flow in; false when it is one too many (it is counted all the same: every flow is given back). */
static inline bool governor_take_flow(struct governor *g)
{
    bool fits = atomic_fetch_add_explicit(&g->flows, 1, memory_order_relaxed) < atomic_load_explicit(&g->max_flows, memory_order_relaxed);
    if (!fits)
        atomic_fetch_add_explicit(&g->denied, 1, memory_order_relaxed);
    return fits;
}

static inline void governor_put_flow(struct governor *g)
{
    atomic_fetch_sub_explicit(&g->flows, 1, memory_order_relaxed);
}

#endif
