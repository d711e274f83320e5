/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Blocks of memory that events are carved from: counted by reference, since sinks give them back on threads of their own, and kept for
 * the next one, since a busy proxy uses thousands a second. In a quiet moment the system gets them back: what a burst of events has taken is
 * not the proxy's for ever.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "host/event/private.h"

#define SLAB_SIZE (SLAB_MAPPED - (uint32_t)sizeof(struct slab))

static struct slab *slab_new(uint32_t size)
{
    if (size != SLAB_SIZE)
        return malloc(sizeof(struct slab) + size);
    void *p = mmap(NULL, SLAB_MAPPED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void slab_free(struct slab *slab)
{
    if (slab->size == SLAB_SIZE)
        munmap(slab, SLAB_MAPPED);
    else
        free(slab);
}

void slab_pool_init(struct slab_pool *pool)
{
    pthread_mutex_init(&pool->lock, NULL);
    pool->free = NULL;
    pool->count = 0;
}

void slab_pool_trim(struct slab_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    struct slab *list = pool->free;
    pool->free = NULL;
    pool->count = 0;
    pthread_mutex_unlock(&pool->lock);
    while (list) {
        struct slab *slab = list;
        list = slab->next;
        slab_free(slab);
    }
}

void slab_pool_fini(struct slab_pool *pool)
{
    slab_pool_trim(pool);
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
        if (size > UINT32_MAX / 2 || !(slab = slab_new((uint32_t)size)))
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
        slab_free(slab);
}
