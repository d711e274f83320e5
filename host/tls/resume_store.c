/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A bounded store of sessions to resume: taken out to be offered, put back when a connection has earned a new one. The newest for a key
 * is taken first, the oldest of all is dropped. Thread-safe.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "host/mem/aged.h"
#include "host/tls/session_state.h"
#include "host/tls/trust.h"

struct kept {
    struct aged_entry aged; /* since they were kept */
    WOLFSSL_SESSION *resumable;
    uint8_t key[SESSION_KEY_SIZE];
};

struct resume_store {
    pthread_mutex_t lock; /* of all below */
    struct aged kept;
};

struct resume_store *resume_store_new(uint32_t capacity)
{
    struct resume_store *store = calloc(1, sizeof *store);
    if (!store || aged_init(&store->kept, capacity) < 0) {
        free(store);
        return NULL;
    }
    pthread_mutex_init(&store->lock, NULL);
    return store;
}

static void free_kept(struct kept *k)
{
    if (!k)
        return;
    wolfSSL_SESSION_free(k->resumable);
    free(k);
}

void resume_store_free(struct resume_store *store)
{
    if (!store)
        return;
    while (store->kept.newest) {
        struct kept *k = (struct kept *)store->kept.newest;
        aged_remove(&store->kept, &k->aged);
        free_kept(k);
    }
    aged_fini(&store->kept);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

static uint32_t hash_of(const uint8_t *key)
{
    return (uint32_t)key[0] | (uint32_t)key[1] << 8 | (uint32_t)key[2] << 16 | (uint32_t)key[3] << 24; /* it is one already */
}

/* The newest of that key. */
static struct kept *find(struct resume_store *store, const uint8_t *key)
{
    struct aged_entry *at = aged_first(&store->kept, hash_of(key));
    while (at && memcmp(((struct kept *)at)->key, key, SESSION_KEY_SIZE) != 0)
        at = aged_next(at);
    return (struct kept *)at;
}

WOLFSSL_SESSION *resume_store_take(struct resume_store *store, const uint8_t *key)
{
    WOLFSSL_SESSION *resumable = NULL;
    pthread_mutex_lock(&store->lock);
    struct kept *k = find(store, key);
    if (k) {
        aged_remove(&store->kept, &k->aged);
        resumable = k->resumable;
    }
    pthread_mutex_unlock(&store->lock);
    free(k);
    return resumable;
}

void resume_store_keep(struct resume_store *store, const uint8_t *key, WOLFSSL_SESSION *resumable)
{
    struct kept *dropped = NULL;
    struct kept *k = store->kept.capacity > 0 ? malloc(sizeof *k) : NULL;
    if (!k) {
        wolfSSL_SESSION_free(resumable);
        return;
    }
    *k = (struct kept){.aged = {.hash = hash_of(key)}, .resumable = resumable};
    memcpy(k->key, key, SESSION_KEY_SIZE);
    pthread_mutex_lock(&store->lock);
    if (store->kept.count == store->kept.capacity) {
        dropped = (struct kept *)store->kept.oldest;
        aged_remove(&store->kept, &dropped->aged);
    }
    aged_add(&store->kept, &k->aged);
    pthread_mutex_unlock(&store->lock);
    free_kept(dropped);
}
