/* SPDX-License-Identifier: MPL-2.0 */
/* See metrics.h. */
#include "host/module/metrics.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/module/instance.h"

#define LINE 64 /* bytes of a cache line */
#define SHARDS_MOST 64u

/* ---- shards ---- */

/* One for each worker and some for the threads of sinks and modules; where threads share one they only get slower. */
static unsigned shards_wanted(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = 8;
    while (n < SHARDS_MOST && (long)n < 2 * cores)
        n *= 2;
    return n;
}

static unsigned thread_number(void)
{
    static atomic_uint next;
    static _Thread_local unsigned mine; /* 0: it has none yet */
    if (mine == 0)
        mine = 1 + atomic_fetch_add_explicit(&next, 1, memory_order_relaxed);
    return mine;
}

static atomic_uint_fast64_t *cells_of_thread(const struct metric *metric)
{
    return metric->cells + metric->stride * (thread_number() & (metric->shards - 1));
}

uint64_t metric_sum(const struct metric *metric, size_t cell)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < metric->shards; i++)
        sum += atomic_load_explicit(metric->cells + i * metric->stride + cell, memory_order_relaxed);
    return sum;
}

/* ---- making ---- */

static void metric_free(struct metric *metric)
{
    if (!metric)
        return;
    free(metric->name);
    free(metric->label);
    free(metric->help);
    free(metric->bounds);
    free(metric->cells);
    free(metric);
}

static bool make_cells(struct metric *metric)
{
    size_t per_line = LINE / sizeof *metric->cells, cells = metric->type == METRIC_HISTOGRAM ? metric->bound_count + 2 : 1;
    metric->shards = metric->type == METRIC_GAUGE ? 1 : shards_wanted();
    metric->stride = (cells + per_line - 1) / per_line * per_line;
    size_t size = metric->shards * metric->stride * sizeof *metric->cells;
    metric->cells = aligned_alloc(LINE, size);
    if (metric->cells)
        memset(metric->cells, 0, size);
    return metric->cells != NULL;
}

static struct metric *metric_new(enum metric_type type, const char *name, const char *label, const char *help, const uint64_t *bounds, size_t n)
{
    struct metric *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->type = type;
    m->name = strdup(name);
    m->label = label ? strdup(label) : NULL;
    m->help = strdup(help ? help : "");
    m->bounds = malloc((n ? n : 1) * sizeof *m->bounds);
    m->bound_count = n;
    m->is_first = true;
    if (m->name && (!label || m->label) && m->help && m->bounds && make_cells(m)) {
        memcpy(m->bounds, bounds ? bounds : m->bounds, n * sizeof *m->bounds);
        return m;
    }
    metric_free(m);
    return NULL;
}

static bool is_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_", more[] = "0123456789";
    if (!name || !*name || !strchr(letters, *name))
        return false;
    for (; *name; name++)
        if (!strchr(letters, *name) && !strchr(more, *name))
            return false;
    return true;
}

static bool same_text(const char *a, const char *b)
{
    return (!a && !b) || (a && b && strcmp(a, b) == 0);
}

static bool same_bounds(const struct metric *have, const uint64_t *bounds, size_t n)
{
    return have->bound_count == n && (n == 0 || memcmp(have->bounds, bounds, n * sizeof *bounds) == 0);
}

/* What one name means it means with every label. */
static int make(void *self, enum metric_type type, const char *name, const char *label, const char *help, const uint64_t *bounds, size_t n)
{
    struct instance *instance = instance_of(self);
    struct metrics *metrics = &instance->metrics;
    int count = atomic_load_explicit(&metrics->count, memory_order_relaxed);
    bool is_first = true;
    if (instance->created || !is_name(name))
        return instance->created ? -SOTH_EPERM : -SOTH_EINVALID;
    for (int i = 0; i < count; i++) {
        const struct metric *have = metrics->v[i];
        if (strcmp(have->name, name) != 0)
            continue;
        if (have->type != type || !same_bounds(have, bounds, n))
            return -SOTH_EINVALID;
        if (same_text(have->label, label))
            return i;
        is_first = false;
    }
    if (count == METRICS_MOST)
        return -SOTH_ELIMIT;
    struct metric *metric = metric_new(type, name, label, help, bounds, n);
    if (!metric)
        return -SOTH_ENOMEM;
    metric->is_first = is_first;
    metrics->v[count] = metric;
    atomic_store_explicit(&metrics->count, count + 1, memory_order_release); /* threads that create has started may count already */
    return count;
}

int metrics_counter(void *self, const char *name, const char *label, const char *help)
{
    return make(self, METRIC_COUNTER, name, label, help, NULL, 0);
}

int metrics_gauge(void *self, const char *name, const char *label, const char *help)
{
    return make(self, METRIC_GAUGE, name, label, help, NULL, 0);
}

int metrics_histogram(void *self, const char *name, const char *label, const char *help, const uint64_t *bounds, size_t n)
{
    if (n > METRIC_BOUNDS_MOST || (n > 0 && !bounds))
        return -SOTH_EINVALID;
    for (size_t i = 1; i < n; i++)
        if (bounds[i] <= bounds[i - 1])
            return -SOTH_EINVALID;
    return make(self, METRIC_HISTOGRAM, name, label, help, bounds, n);
}

void metrics_fini(struct metrics *metrics)
{
    for (int i = 0; i < metrics->count; i++)
        metric_free(metrics->v[i]);
    metrics->count = 0;
}

/* ---- counting ---- */

/* NULL: there is no such metric, or it is of another type. */
static struct metric *metric_of(void *self, int number, enum metric_type type)
{
    struct metrics *metrics = &instance_of(self)->metrics;
    if (number < 0 || number >= atomic_load_explicit(&metrics->count, memory_order_acquire))
        return NULL;
    struct metric *metric = metrics->v[number];
    return metric->type == type ? metric : NULL;
}

static void add(atomic_uint_fast64_t *cell, uint64_t amount)
{
    atomic_fetch_add_explicit(cell, amount, memory_order_relaxed);
}

void metrics_count(void *self, int metric, uint64_t amount)
{
    struct metric *m = metric_of(self, metric, METRIC_COUNTER);
    if (m)
        add(cells_of_thread(m), amount);
}

void metrics_set(void *self, int metric, uint64_t value)
{
    struct metric *m = metric_of(self, metric, METRIC_GAUGE);
    if (m)
        atomic_store_explicit(m->cells, value, memory_order_relaxed);
}

void metrics_observe(void *self, int metric, uint64_t value)
{
    struct metric *m = metric_of(self, metric, METRIC_HISTOGRAM);
    if (!m)
        return;
    size_t bucket = 0;
    while (bucket < m->bound_count && value > m->bounds[bucket])
        bucket++;
    atomic_uint_fast64_t *cells = cells_of_thread(m);
    add(&cells[bucket], 1);
    add(&cells[m->bound_count + 1], value);
}
