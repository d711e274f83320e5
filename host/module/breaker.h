/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The circuit breaker of an instance: INSTANCE_MAX_FAILURES failures in a row switch it off for as long as it lives. The first failure of a
 * row and the last are told, in the log and as module_fault. What becomes of what it should judge is the caller's: on_error says. Any thread.
 */
#ifndef HOST_MODULE_BREAKER_H
#define HOST_MODULE_BREAKER_H

#include <stdbool.h>

#include "host/module/instance.h"

/* The hook failed or broke its contract. code: what was wrong, where that is known; NULL. */
void breaker_failed(struct instance *instance, const char *hook, const char *code);
/* A module_fault of it, where there is a bus. */
void breaker_tell(struct instance *instance, const char *hook, const char *what);

/* A success ends the row. Nothing is written when there was none: the line is shared by all workers. */
static inline void breaker_good(struct instance *instance)
{
    unsigned failures = atomic_load_explicit(&instance->failures, memory_order_relaxed);
    if (failures > 0 && failures < INSTANCE_MAX_FAILURES)
        atomic_compare_exchange_strong(&instance->failures, &failures, 0);
}

static inline bool breaker_is_open(const struct instance *instance)
{
    return atomic_load_explicit(&instance->failures, memory_order_relaxed) >= INSTANCE_MAX_FAILURES;
}

#endif
