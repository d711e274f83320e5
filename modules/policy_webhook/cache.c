/* SPDX-License-Identifier: MPL-2.0 */
/* See cache.h. A balanced tree by key (tsearch): clients choose the keys, and could make a hash degenerate. */
#include "cache.h"

#include <search.h>
#include <stdlib.h>

struct kept {
    const char *key; /* behind the struct */
    struct kept *older, *newer;
    size_t bytes;
    uint64_t until_ns;
    struct answer answer;
};

struct cache {
    void *tree;
    struct kept *oldest, *newest; /* by the last time they were asked for */
    size_t count, bytes, most, most_bytes;
};

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct kept *)a)->key, ((const struct kept *)b)->key);
}

struct cache *cache_new(size_t most, size_t most_bytes)
{
    struct cache *cache = calloc(1, sizeof *cache);
    if (cache) {
        cache->most = most;
        cache->most_bytes = most_bytes;
    }
    return cache;
}

static void unlink_entry(struct cache *cache, struct kept *e)
{
    *(e->older ? &e->older->newer : &cache->oldest) = e->newer;
    *(e->newer ? &e->newer->older : &cache->newest) = e->older;
}

static void link_newest(struct cache *cache, struct kept *e)
{
    e->newer = NULL;
    e->older = cache->newest;
    *(e->older ? &e->older->newer : &cache->oldest) = e;
    cache->newest = e;
}

static void evict(struct cache *cache, struct kept *e)
{
    tdelete(e, &cache->tree, by_key);
    unlink_entry(cache, e);
    cache->count--;
    cache->bytes -= e->bytes;
    free(e);
}

void cache_free(struct cache *cache)
{
    while (cache && cache->oldest)
        evict(cache, cache->oldest);
    free(cache);
}

static struct kept *find(const struct cache *cache, const char *key)
{
    const struct kept wanted = {.key = key};
    struct kept *const *found = tfind(&wanted, &cache->tree, by_key);
    return found ? *found : NULL;
}

const struct answer *cache_get(struct cache *cache, const char *key, uint64_t now_ns)
{
    struct kept *e = find(cache, key);
    if (e && now_ns >= e->until_ns) {
        evict(cache, e);
        e = NULL;
    }
    if (!e)
        return NULL;
    unlink_entry(cache, e);
    link_newest(cache, e);
    return &e->answer;
}

void cache_put(struct cache *cache, const char *key, const struct answer *answer, uint64_t until_ns)
{
    const size_t n = strlen(key) + 1;
    struct kept *e = find(cache, key);
    if (e)
        evict(cache, e);
    e = sizeof *e + n <= cache->most_bytes ? calloc(1, sizeof *e + n) : NULL;
    if (!e)
        return;
    e->key = memcpy((char *)(e + 1), key, n);
    e->bytes = sizeof *e + n;
    e->until_ns = until_ns;
    e->answer = *answer;
    if (!tsearch(e, &cache->tree, by_key)) {
        free(e);
        return;
    }
    link_newest(cache, e);
    cache->count++;
    cache->bytes += e->bytes;
    while (cache->count > cache->most || cache->bytes > cache->most_bytes)
        evict(cache, cache->oldest);
}

size_t cache_count(const struct cache *cache)
{
    return cache->count;
}
