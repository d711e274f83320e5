/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a module counts: counters, gauges and histograms of one instance, made while its create runs. Counting takes no lock: each thread
 * adds to a shard of its own, whole cache lines apart from the others', and who reads sums them up. Inside this room only.
 */
#ifndef HOST_MODULE_METRICS_H
#define HOST_MODULE_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define METRICS_MOST 1024 /* of an instance */
#define METRIC_BOUNDS_MOST 64u

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric {
    enum metric_type type;
    char *name, *label, *help; /* label may be NULL */
    bool is_first;             /* of its name in this instance */
    uint64_t *bounds;          /* of a histogram's buckets, ascending */
    size_t bound_count;
    unsigned shards;           /* a power of two; 1 for a gauge */
    size_t stride;             /* cells from one shard to the next */
    atomic_uint_fast64_t *cells; /* counter, gauge: the value; histogram: each bucket, that of +Inf, the sum of what was observed */
};
struct metrics {
    atomic_int count;
    struct metric *v[METRICS_MOST];
};

/* The sum of a cell over all shards. */
uint64_t metric_sum(const struct metric *metric, size_t cell);
void metrics_fini(struct metrics *metrics);

/* struct soth_host's functions of these names; `self` leads to the instance. */
int metrics_counter(void *self, const char *name, const char *label, const char *help);
int metrics_gauge(void *self, const char *name, const char *label, const char *help);
int metrics_histogram(void *self, const char *name, const char *label, const char *help, const uint64_t *bounds, size_t n);
void metrics_count(void *self, int metric, uint64_t amount);
void metrics_set(void *self, int metric, uint64_t value);
void metrics_observe(void *self, int metric, uint64_t value);

#endif
