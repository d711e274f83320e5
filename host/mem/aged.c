/* SPDX-License-Identifier: MPL-2.0 */
/* See aged.h. */
#include "host/mem/aged.h"

#include <assert.h>
#include <stdlib.h>

#include <soth/sdk.h>

#define BUCKETS_LEAST 16u
#define BUCKETS_MOST 65536u

int aged_init(struct aged *t, size_t capacity)
{
    *t = (struct aged){.capacity = capacity, .bucket_count = BUCKETS_LEAST};
    while (t->bucket_count < capacity && t->bucket_count < BUCKETS_MOST)
        t->bucket_count *= 2;
    t->buckets = calloc(t->bucket_count, sizeof(struct aged_entry *));
    return t->buckets ? SOTH_OK : -SOTH_ENOMEM;
}

void aged_fini(struct aged *t)
{
    free(t->buckets);
    t->buckets = NULL;
}

static struct aged_entry **bucket_of(const struct aged *t, uint32_t hash)
{
    return &t->buckets[hash & (t->bucket_count - 1)];
}

static struct aged_entry *with(struct aged_entry *e, uint32_t hash)
{
    while (e && e->hash != hash)
        e = e->chain;
    return e;
}

struct aged_entry *aged_first(const struct aged *t, uint32_t hash)
{
    return with(*bucket_of(t, hash), hash);
}

struct aged_entry *aged_next(const struct aged_entry *e)
{
    return with(e->chain, e->hash);
}

static void grow_young(struct aged *t, struct aged_entry *e)
{
    e->newer = NULL;
    e->older = t->newest;
    *(e->older ? &e->older->newer : &t->oldest) = e;
    t->newest = e;
}

static void leave_age(struct aged *t, struct aged_entry *e)
{
    *(e->newer ? &e->newer->older : &t->newest) = e->older;
    *(e->older ? &e->older->newer : &t->oldest) = e->newer;
}

void aged_add(struct aged *t, struct aged_entry *e)
{
    struct aged_entry **bucket = bucket_of(t, e->hash);
    assert(t->count < t->capacity);
    e->chain = *bucket;
    *bucket = e;
    grow_young(t, e);
    t->count++;
}

void aged_touch(struct aged *t, struct aged_entry *e)
{
    leave_age(t, e);
    grow_young(t, e);
}

void aged_remove(struct aged *t, struct aged_entry *e)
{
    struct aged_entry **at = bucket_of(t, e->hash);
    while (*at != e)
        at = &(*at)->chain;
    *at = e->chain;
    leave_age(t, e);
    t->count--;
}

uint32_t aged_hash(const char *p, size_t n)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (uint8_t)p[i]) * 16777619u;
    return hash;
}
