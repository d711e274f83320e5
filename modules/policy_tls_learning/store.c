/* SPDX-License-Identifier: MPL-2.0 */
/* See store.h. A hash table whose entries are in one of two lists, by when they were last heard of. */
#include "store.h"

#include <stdlib.h>

#define BUCKETS_FIRST 64u

int store_init(struct store *store)
{
    *store = (struct store){.bucket_count = BUCKETS_FIRST, .buckets = calloc(BUCKETS_FIRST, sizeof(struct store_entry *))};
    return store->buckets ? SOTH_OK : -SOTH_ENOMEM;
}

/* ---- the lists ---- */

static struct store_list *list_of(struct store *store, const struct store_entry *e)
{
    return e->expires_ns ? &store->active : &store->counting;
}

static void take_out(struct store_list *list, struct store_entry *e)
{
    *(e->newer ? &e->newer->older : &list->newest) = e->older;
    *(e->older ? &e->older->newer : &list->oldest) = e->newer;
    list->count--;
}

static void put_first(struct store_list *list, struct store_entry *e)
{
    e->newer = NULL;
    e->older = list->newest;
    *(e->older ? &e->older->newer : &list->oldest) = e;
    list->newest = e;
    list->count++;
}

static void touch(struct store *store, struct store_entry *e)
{
    take_out(list_of(store, e), e);
    put_first(list_of(store, e), e);
}

size_t store_size(const struct store *store)
{
    return store->counting.count + store->active.count;
}

/* ---- the table ---- */

static uint32_t hash_more(uint32_t hash, struct soth_span text)
{
    for (size_t i = 0; i < text.n; i++)
        hash = (hash ^ (uint8_t)text.p[i]) * 16777619u; /* FNV-1a */
    return hash;
}

static uint32_t hash_of(struct soth_span host, struct soth_span client)
{
    static const struct soth_span gap = {"\n", 1};
    return hash_more(hash_more(hash_more(2166136261u, host), gap), client);
}

static struct store_entry **bucket(struct store *store, uint32_t hash)
{
    return &store->buckets[hash & (store->bucket_count - 1)];
}

static int is(const struct store_entry *e, uint32_t hash, struct soth_span host, struct soth_span client)
{
    return e->hash == hash && e->host_len == host.n && e->client_len == client.n && memcmp(e->text, host.p, host.n) == 0 &&
           (client.n == 0 || memcmp(e->text + host.n, client.p, client.n) == 0);
}

static int fits(struct soth_span host, struct soth_span client)
{
    return host.n > 0 && host.n <= STORE_NAME_MOST && client.n <= STORE_CLIENT_MOST;
}

struct store_entry *store_find(struct store *store, struct soth_span host, struct soth_span client)
{
    if (!fits(host, client))
        return NULL;
    uint32_t hash = hash_of(host, client);
    for (struct store_entry *e = *bucket(store, hash); e; e = e->chain)
        if (is(e, hash, host, client))
            return e;
    return NULL;
}

static void grow(struct store *store)
{
    size_t count = store->bucket_count * 2;
    struct store_entry **buckets = calloc(count, sizeof(struct store_entry *));
    if (!buckets)
        return;
    for (size_t i = 0; i < store->bucket_count; i++)
        for (struct store_entry *e = store->buckets[i], *next; e; e = next) {
            next = e->chain;
            e->chain = buckets[e->hash & (count - 1)];
            buckets[e->hash & (count - 1)] = e;
        }
    free(store->buckets);
    store->buckets = buckets;
    store->bucket_count = count;
}

static struct store_entry *detach(struct store *store, struct store_entry *e)
{
    struct store_entry **at = bucket(store, e->hash);
    while (*at != e)
        at = &(*at)->chain;
    *at = e->chain;
    take_out(list_of(store, e), e);
    return e;
}

struct store_entry *store_get(struct store *store, struct soth_span host, struct soth_span client, size_t most, struct store_entry **evicted)
{
    struct store_entry *e = store_find(store, host, client);
    *evicted = NULL;
    if (e || !fits(host, client))
        return e;
    if (!(e = calloc(1, sizeof *e + host.n + client.n)))
        return NULL;
    if (store_size(store) >= most)
        *evicted = detach(store, store->counting.oldest ? store->counting.oldest : store->active.oldest);
    if (store_size(store) >= store->bucket_count)
        grow(store);
    e->hash = hash_of(host, client);
    e->host_len = (uint8_t)host.n;
    e->client_len = (uint8_t)client.n;
    memcpy(e->text, host.p, host.n);
    if (client.n)
        memcpy(e->text + host.n, client.p, client.n);
    e->chain = *bucket(store, e->hash);
    *bucket(store, e->hash) = e;
    put_first(&store->counting, e);
    return e;
}

void store_fini(struct store *store)
{
    while (store->counting.oldest)
        free(detach(store, store->counting.oldest));
    while (store->active.oldest)
        free(detach(store, store->active.oldest));
    free(store->buckets);
    store->buckets = NULL;
}

/* ---- what is known ---- */

uint64_t store_count(struct store *store, struct store_entry *e, uint64_t now_ns)
{
    if (e->failures > 0 && now_ns - e->last_ns > STORE_FORGET_NS)
        e->failures = 0;
    e->last_ns = now_ns;
    touch(store, e);
    return ++e->failures;
}

void store_activate(struct store *store, struct store_entry *e, uint64_t now_ns, uint64_t ttl_ms)
{
    take_out(list_of(store, e), e);
    e->expires_ns = now_ns + ttl_ms * 1000000u;
    e->ttl_ms = ttl_ms;
    e->failures = 0;
    put_first(&store->active, e);
}

int store_is_active(struct store *store, struct store_entry *e, uint64_t now_ns)
{
    if (!e->expires_ns || now_ns >= e->expires_ns)
        return 0;
    touch(store, e);
    return 1;
}

struct store_entry *store_expired(struct store *store, uint64_t now_ns)
{
    for (struct store_entry *e = store->active.oldest; e; e = e->newer)
        if (now_ns >= e->expires_ns)
            return detach(store, e);
    return NULL;
}

uint64_t store_next_expiry(const struct store *store)
{
    uint64_t next = 0;
    for (const struct store_entry *e = store->active.oldest; e; e = e->newer)
        if (next == 0 || e->expires_ns < next)
            next = e->expires_ns;
    return next;
}
