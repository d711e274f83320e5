/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Blocks of memory that events are carved from: counted by reference, since sinks give them back on threads of their own, and kept for
 * the next one, since a busy proxy uses thousands a second.
 */
#include <stdlib.h>

#include "host/event/private.h"

void slab_pool_init(struct slab_pool *pool)
{
    pthread_mutex_init(&pool->lock, NULL);
    pool->free = NULL;
    pool->count = 0;
}

void slab_pool_fini(struct slab_pool *pool)
{
    while (pool->free) {
        struct slab *slab = pool->free;
        pool->free = slab->next;
        free(slab);
    }
    pthread_mutex_destroy(&pool->lock);
}

static struct slab *from_pool(struct slab_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    struct slab *slab = pool->free;
    if (slab) {
        pool->free = slab->next;
        pool->count--;
    }
    pthread_mutex_unlock(&pool->lock);
    return slab;
}

struct slab *slab_get(struct slab_pool *pool, size_t size)
{
    struct slab *slab = size <= SLAB_SIZE ? from_pool(pool) : NULL;
    if (!slab) {
        size = size <= SLAB_SIZE ? SLAB_SIZE : size;
        if (size > UINT32_MAX / 2 || !(slab = malloc(sizeof *slab + size)))
            return NULL;
        slab->size = (uint32_t)size;
        slab->pool = pool;
    }
    atomic_init(&slab->refs, 1);
    slab->next = NULL;
    return slab;
}

void slab_put(struct slab *slab, unsigned refs)
{
    if (!slab || refs == 0 || atomic_fetch_sub_explicit(&slab->refs, refs, memory_order_acq_rel) != refs)
        return;
    struct slab_pool *pool = slab->pool;
    pthread_mutex_lock(&pool->lock);
    bool keep = slab->size == SLAB_SIZE && pool->count < SLAB_POOL;
    if (keep) {
        slab->next = pool->free;
        pool->free = slab;
        pool->count++;
    }
    pthread_mutex_unlock(&pool->lock);
    if (!keep)
        free(slab);
}
