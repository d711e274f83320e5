/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Failures come in one by one, the counters after each go out. Hosts are kept in a bounded table, the least recently failing one goes
 * first; the last 300 s are counted in slices of 10 s. One lock: failures are rare.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "host/tls/failure.h"

#define SLICE_NS UINT64_C(10000000000)
#define SLICES 30u /* 300 s */
#define HOST_MAX 255u

struct host_count {
    struct host_count *chain;         /* same bucket */
    struct host_count *newer, *older; /* LRU */
    uint64_t count;
    uint64_t slice; /* number of the newest slice */
    uint32_t slices[SLICES];
    uint32_t hash;
    uint8_t name_len;
    char name[];
};

struct tls_failure_stats {
    pthread_mutex_t lock;
    struct host_count **buckets;
    size_t bucket_count, count, capacity;
    struct host_count *newest, *oldest;
    uint64_t reasons[TLS_REASON_OTHER + 1], sources[TLS_SOURCE_COUNT];
    uint64_t global;
};

struct tls_failure_stats *tls_failure_stats_new(size_t max_hosts)
{
    struct tls_failure_stats *stats = calloc(1, sizeof *stats);
    if (!stats)
        return NULL;
    stats->capacity = max_hosts > 0 ? max_hosts : 1;
    stats->bucket_count = 16;
    while (stats->bucket_count < stats->capacity && stats->bucket_count < 65536)
        stats->bucket_count *= 2;
    stats->buckets = calloc(stats->bucket_count, sizeof(struct host_count *));
    if (!stats->buckets) {
        free(stats);
        return NULL;
    }
    pthread_mutex_init(&stats->lock, NULL);
    return stats;
}

static void unlink_lru(struct tls_failure_stats *stats, struct host_count *h)
{
    *(h->newer ? &h->newer->older : &stats->newest) = h->older;
    *(h->older ? &h->older->newer : &stats->oldest) = h->newer;
}

static void push_newest(struct tls_failure_stats *stats, struct host_count *h)
{
    h->newer = NULL;
    h->older = stats->newest;
    *(h->older ? &h->older->newer : &stats->oldest) = h;
    stats->newest = h;
}

static void drop_oldest(struct tls_failure_stats *stats)
{
    struct host_count *h = stats->oldest;
    struct host_count **at = &stats->buckets[h->hash & (stats->bucket_count - 1)];
    while (*at != h)
        at = &(*at)->chain;
    *at = h->chain;
    unlink_lru(stats, h);
    stats->count--;
    free(h);
}

void tls_failure_stats_free(struct tls_failure_stats *stats)
{
    if (!stats)
        return;
    while (stats->oldest)
        drop_oldest(stats);
    free(stats->buckets);
    pthread_mutex_destroy(&stats->lock);
    free(stats);
}

static struct host_count *host_of(struct tls_failure_stats *stats, struct soth_span host)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    size_t n = host.n < HOST_MAX ? host.n : HOST_MAX;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (uint8_t)host.p[i]) * 16777619u;
    struct host_count **bucket = &stats->buckets[hash & (stats->bucket_count - 1)];
    for (struct host_count *h = *bucket; h; h = h->chain)
        if (h->hash == hash && h->name_len == n && memcmp(h->name, host.p, n) == 0) {
            unlink_lru(stats, h);
            push_newest(stats, h);
            return h;
        }
    struct host_count *h = calloc(1, sizeof *h + n);
    if (!h)
        return NULL;
    if (stats->count == stats->capacity)
        drop_oldest(stats);
    h->hash = hash;
    h->name_len = (uint8_t)n;
    if (n > 0)
        memcpy(h->name, host.p, n);
    h->chain = *bucket;
    *bucket = h;
    push_newest(stats, h);
    stats->count++;
    return h;
}

static uint64_t count_rolling(struct host_count *h, uint64_t slice)
{
    uint64_t sum = 0;
    if (slice >= h->slice + SLICES)
        memset(h->slices, 0, sizeof h->slices);
    else
        for (uint64_t s = h->slice + 1; s <= slice; s++)
            h->slices[s % SLICES] = 0;
    if (slice > h->slice)
        h->slice = slice;
    h->slices[h->slice % SLICES]++;
    for (size_t i = 0; i < SLICES; i++)
        sum += h->slices[i];
    return sum;
}

void tls_failure_stats_add(struct tls_failure_stats *stats, struct soth_span host, enum tls_reason reason, uint64_t monotonic_ns,
                           struct tls_failure_counts *out)
{
    tls_failure_stats_add_from(stats, TLS_SOURCE_NATIVE, host, reason, monotonic_ns, out);
}

void tls_failure_stats_add_from(struct tls_failure_stats *stats, enum tls_source source, struct soth_span host, enum tls_reason reason,
                                uint64_t monotonic_ns, struct tls_failure_counts *out)
{
    if (reason > TLS_REASON_OTHER)
        reason = TLS_REASON_OTHER;
    pthread_mutex_lock(&stats->lock);
    struct host_count *h = host_of(stats, host);
    out->global = ++stats->global;
    out->source = ++stats->sources[source < TLS_SOURCE_COUNT ? source : TLS_SOURCE_HUDSUCKER];
    out->reason = ++stats->reasons[reason];
    out->host = h ? ++h->count : 0;
    out->host_rolling = h ? count_rolling(h, monotonic_ns / SLICE_NS) : 0;
    pthread_mutex_unlock(&stats->lock);
}
