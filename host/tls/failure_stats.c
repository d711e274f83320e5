/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Failures come in one by one, the counters after each go out. Hosts are kept in a bounded table, the least recently failing one goes
 * first; the last 300 s are counted in slices of 10 s. One lock: failures are rare.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "host/mem/aged.h"
#include "host/tls/failure.h"

#define SLICE_NS UINT64_C(10000000000)
#define SLICES 30u /* 300 s */
#define HOST_MAX 255u

struct host_count {
    struct aged_entry aged; /* by their last failure */
    uint64_t count;
    uint64_t slice; /* number of the newest slice */
    uint32_t slices[SLICES];
    uint8_t name_len;
    char name[];
};

struct tls_failure_stats {
    pthread_mutex_t lock;
    struct aged hosts;
    uint64_t reasons[TLS_REASON_OTHER + 1], sources[TLS_SOURCE_COUNT];
    uint64_t global;
};

struct tls_failure_stats *tls_failure_stats_new(size_t max_hosts)
{
    struct tls_failure_stats *stats = calloc(1, sizeof *stats);
    if (!stats || aged_init(&stats->hosts, max_hosts > 0 ? max_hosts : 1) < 0) {
        free(stats);
        return NULL;
    }
    pthread_mutex_init(&stats->lock, NULL);
    return stats;
}

static void drop_oldest(struct tls_failure_stats *stats)
{
    struct aged_entry *oldest = stats->hosts.oldest;
    aged_remove(&stats->hosts, oldest);
    free(oldest); /* its first member */
}

void tls_failure_stats_free(struct tls_failure_stats *stats)
{
    if (!stats)
        return;
    while (stats->hosts.oldest)
        drop_oldest(stats);
    aged_fini(&stats->hosts);
    pthread_mutex_destroy(&stats->lock);
    free(stats);
}

static struct host_count *find(struct tls_failure_stats *stats, const char *name, size_t n, uint32_t hash)
{
    for (struct aged_entry *at = aged_first(&stats->hosts, hash); at; at = aged_next(at)) {
        struct host_count *h = (struct host_count *)at;
        if (h->name_len == n && memcmp(h->name, name, n) == 0)
            return h;
    }
    return NULL;
}

static struct host_count *host_of(struct tls_failure_stats *stats, struct soth_span host)
{
    size_t n = host.n < HOST_MAX ? host.n : HOST_MAX;
    const uint32_t hash = aged_hash(host.p, n);
    struct host_count *h = find(stats, host.p, n, hash);
    if (h) {
        aged_touch(&stats->hosts, &h->aged);
        return h;
    }
    h = calloc(1, sizeof *h + n);
    if (!h)
        return NULL;
    if (stats->hosts.count == stats->hosts.capacity)
        drop_oldest(stats);
    h->aged.hash = hash;
    h->name_len = (uint8_t)n;
    if (n > 0)
        memcpy(h->name, host.p, n);
    aged_add(&stats->hosts, &h->aged);
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
