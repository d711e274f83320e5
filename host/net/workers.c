/* SPDX-License-Identifier: MPL-2.0 */
/* See workers.h. The control thread sleeps while it waits for answers: each takes its worker one turn of its loop. */
#include "host/net/workers.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COUNT_MS 200

struct workers {
    struct worker **v;
    unsigned count;
    struct workers_reports reports;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t all;
    unsigned answers;
    char fault[256]; /* the first one, "" = none */
    uint64_t round;  /* of counting */
    struct {
        struct flow_counters counters;
        uint64_t round; /* in which it was given */
    } *counted;
};

/* ---- on a worker's thread ---- */

static void is_idle(void *arg)
{
    struct workers *workers = arg;
    workers->reports.idle(workers->reports.arg);
}

static void has_cut(void *arg)
{
    struct workers *workers = arg;
    workers->reports.cut(workers->reports.arg);
}

static void has_released(void *arg)
{
    struct workers *workers = arg;
    workers->reports.released(workers->reports.arg);
}

static void has_answered(void *arg, const char *fault)
{
    struct workers *workers = arg;
    pthread_mutex_lock(&workers->lock);
    if (fault && !*workers->fault)
        snprintf(workers->fault, sizeof workers->fault, "%s", fault);
    workers->answers++;
    pthread_cond_signal(&workers->all);
    pthread_mutex_unlock(&workers->lock);
}

static void has_counted(void *arg, unsigned number, const struct flow_counters *counters)
{
    struct workers *workers = arg;
    pthread_mutex_lock(&workers->lock);
    workers->counted[number].counters = *counters;
    workers->counted[number].round = workers->round;
    pthread_cond_signal(&workers->all);
    pthread_mutex_unlock(&workers->lock);
}

/* ---- on the control thread ---- */

void workers_command(struct workers *workers, unsigned commands)
{
    for (unsigned i = 0; i < workers->count; i++)
        worker_command(workers->v[i], commands);
}

static void ask(struct workers *workers, unsigned command)
{
    pthread_mutex_lock(&workers->lock);
    workers->answers = 0;
    *workers->fault = 0;
    pthread_mutex_unlock(&workers->lock);
    workers_command(workers, command);
    pthread_mutex_lock(&workers->lock);
    while (workers->answers < workers->count)
        pthread_cond_wait(&workers->all, &workers->lock);
    pthread_mutex_unlock(&workers->lock);
}

int workers_prepare(struct workers *workers, struct generation *generation, char *err, size_t err_size)
{
    for (unsigned i = 0; i < workers->count; i++)
        worker_offer(workers->v[i], generation);
    ask(workers, WORKER_PREPARE);
    if (!*workers->fault)
        return SOTH_OK;
    snprintf(err, err_size, "%s", workers->fault);
    ask(workers, WORKER_DISCARD);
    return -SOTH_EIO;
}

void workers_adopt(struct workers *workers)
{
    ask(workers, WORKER_ADOPT);
}

void workers_discard(struct workers *workers)
{
    ask(workers, WORKER_DISCARD);
}

static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

struct workers *workers_start(struct shared *shared, const struct workers_reports *told, char *err, size_t err_size)
{
    struct workers *workers = calloc(1, sizeof *workers);
    struct worker_reports reports = {is_idle, has_cut, has_released, has_answered, has_counted, workers};
    snprintf(err, err_size, "out of memory");
    if (!workers)
        return NULL;
    workers->reports = *told;
    pthread_mutex_init(&workers->lock, NULL);
    init_condition(&workers->all);
    workers->v = calloc(shared->workers, sizeof *workers->v);
    workers->counted = calloc(shared->workers, sizeof *workers->counted);
    for (unsigned i = 0; workers->v && workers->counted && i < shared->workers; i++) {
        workers->v[i] = worker_start(shared, i, &reports);
        if (!workers->v[i]) {
            snprintf(err, err_size, "cannot start worker %u", i);
            break;
        }
        workers->count++;
    }
    if (workers->count == shared->workers)
        return workers;
    workers_free(workers);
    return NULL;
}

/* (lock held) */
static bool all_counted(const struct workers *workers)
{
    for (unsigned i = 0; i < workers->count; i++)
        if (workers->counted[i].round != workers->round)
            return false;
    return true;
}

void workers_counters(struct workers *workers, struct flow_counters *sum)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += COUNT_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    memset(sum, 0, sizeof *sum);
    pthread_mutex_lock(&workers->lock);
    workers->round++;
    workers_command(workers, WORKER_COUNT);
    while (!all_counted(workers) && pthread_cond_timedwait(&workers->all, &workers->lock, &until) == 0)
        continue;
    for (unsigned i = 0; i < workers->count; i++) {
        const uint64_t *from = (const uint64_t *)(const void *)&workers->counted[i].counters;
        uint64_t *to = (uint64_t *)(void *)sum;
        for (size_t k = 0; k < sizeof *sum / sizeof *to; k++)
            to[k] += from[k];
    }
    pthread_mutex_unlock(&workers->lock);
}

void workers_free(struct workers *workers)
{
    if (!workers)
        return;
    workers_command(workers, WORKER_STOP);
    for (unsigned i = 0; i < workers->count; i++)
        worker_join(workers->v[i]);
    pthread_cond_destroy(&workers->all);
    pthread_mutex_destroy(&workers->lock);
    free(workers->counted);
    free(workers->v);
    free(workers);
}
