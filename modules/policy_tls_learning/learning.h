/* SPDX-License-Identifier: MPL-2.0 */
/* The inside of policy_tls_learning: an instance, what instances of one name share, and the thread that watches the clock. */
#ifndef POLICY_TLS_LEARNING_LEARNING_H
#define POLICY_TLS_LEARNING_LEARNING_H

#include <pthread.h>
#include <stdatomic.h>

#include "../match/pattern.h"
#include "state.h"
#include "store.h"

enum mode { MODE_OFF, MODE_OBSERVE, MODE_BYPASS }; /* the words of tls_learning */

/* What is learnt outlives a reload: instances that follow each other under one name have the same. */
struct memory {
    struct memory *next;
    char *name;
    unsigned users;
    pthread_mutex_t lock;
    pthread_cond_t changed;  /* monotonic clock */
    struct store store;      /* (lock) */
    uint64_t version;        /* (lock) of the store */
    atomic_size_t active;    /* hosts that are tunnelled, for who only looks */
    atomic_uint_fast64_t last_flow; /* the highest flow that was asked about */
};

enum reason {
#define LESSON(NAME, text, applied, meaning) REASON_##NAME,
#include "reason.def"
#undef LESSON
    REASON_COUNT
};

struct learning {
    /* options */
    struct soth_strings hosts;
    int64_t threshold, max_hosts;
    uint8_t per_client;
    const char *state_path;
    /* */
    const struct soth_host *host;
    uint64_t mode, ttl_ms;
    struct pattern_set *listed;
    struct memory *memory;
    pthread_t keeper;
    uint8_t keeper_runs;
    uint8_t stop;           /* (memory->lock) */
    uint64_t saved;         /* the version in the state file; the keeper's own */
    uint8_t save_failed;    /* said already */
    atomic_uint restored;   /* bypasses of the state file that are not told yet */
    int count[REASON_COUNT], count_tunnelled, count_state_errors, gauge_entries, gauge_active;
};

/* memory.c: by name, made when there is none (*fresh); NULL without memory. */
struct memory *memory_get(const char *name, int *fresh);
void memory_put(struct memory *memory);
/* With the lock: the store has changed. */
void memory_changed(struct memory *memory);

/* keeper.c: reads the state file into a fresh memory, makes sure that it can be written, and starts the thread that ends bypasses in time and
 * writes the file. 0, or negative after saying why. */
int keeper_start(struct learning *self, int fresh);
void keeper_stop(struct learning *self);
struct state_clock keeper_now(const struct learning *self);
/* Ends what is over at that time, and tells so. */
void keeper_expire(struct learning *self, uint64_t now_ns);
/* Tells that a host is tunnelled from here on, or is not any more. kind: SOTH_EV_TLS_BYPASS_... */
void keeper_tell(struct learning *self, uint32_t kind, const struct store_entry *entry, const char *reason);
/* With the lock: the numbers that metrics show. */
void keeper_gauges(struct learning *self);

#endif
