/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A bounded store of sessions to resume: taken out to be offered, put back when a connection has earned a new one. The newest for a key
 * is taken first, the oldest of all is dropped. Thread-safe.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "host/tls/session_state.h"
#include "host/tls/trust.h"

struct kept {
    struct kept *chain;         /* same bucket, newest first */
    struct kept *newer, *older; /* by age */
    WOLFSSL_SESSION *resumable;
    uint8_t key[SESSION_KEY_SIZE];
};

struct resume_store {
    pthread_mutex_t lock; /* of all below */
    struct kept **buckets;
    size_t bucket_count; /* a power of two */
    struct kept *newest, *oldest;
    size_t count, capacity;
};

struct resume_store *resume_store_new(uint32_t capacity)
{
    struct resume_store *store = calloc(1, sizeof *store);
    if (!store)
        return NULL;
    store->capacity = capacity;
    store->bucket_count = 16;
    while (store->bucket_count < store->capacity && store->bucket_count < 65536)
        store->bucket_count *= 2;
    store->buckets = calloc(store->bucket_count, sizeof(struct kept *));
    if (!store->buckets) {
        free(store);
        return NULL;
    }
    pthread_mutex_init(&store->lock, NULL);
    return store;
}

static struct kept **bucket_of(struct resume_store *store, const uint8_t *key)
{
    return &store->buckets[(key[0] | (size_t)key[1] << 8) & (store->bucket_count - 1)];
}

/* Out of all lists; the caller frees it. */
static void unlink_kept(struct resume_store *store, struct kept *k)
{
    struct kept **at = bucket_of(store, k->key);
    while (*at != k)
        at = &(*at)->chain;
    *at = k->chain;
    *(k->newer ? &k->newer->older : &store->newest) = k->older;
    *(k->older ? &k->older->newer : &store->oldest) = k->newer;
    store->count--;
}

void resume_store_free(struct resume_store *store)
{
    if (!store)
        return;
    while (store->newest) {
        struct kept *k = store->newest;
        unlink_kept(store, k);
        wolfSSL_SESSION_free(k->resumable);
        free(k);
    }
    free(store->buckets);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

WOLFSSL_SESSION *resume_store_take(struct resume_store *store, const uint8_t *key)
{
    WOLFSSL_SESSION *resumable = NULL;
    pthread_mutex_lock(&store->lock);
    struct kept *k = *bucket_of(store, key);
    while (k && memcmp(k->key, key, SESSION_KEY_SIZE) != 0)
        k = k->chain;
    if (k) {
        unlink_kept(store, k);
        resumable = k->resumable;
    }
    pthread_mutex_unlock(&store->lock);
    free(k);
    return resumable;
}

void resume_store_keep(struct resume_store *store, const uint8_t *key, WOLFSSL_SESSION *resumable)
{
    struct kept *dropped = NULL;
    struct kept *k = store->capacity > 0 ? malloc(sizeof *k) : NULL;
    if (!k) {
        wolfSSL_SESSION_free(resumable);
        return;
    }
    *k = (struct kept){.resumable = resumable};
    memcpy(k->key, key, SESSION_KEY_SIZE);
    pthread_mutex_lock(&store->lock);
    if (store->count == store->capacity) {
        dropped = store->oldest;
        unlink_kept(store, dropped);
    }
    struct kept **bucket = bucket_of(store, key);
    k->chain = *bucket;
    *bucket = k;
    k->older = store->newest;
    *(k->older ? &k->older->newer : &store->oldest) = k;
    store->newest = k;
    store->count++;
    pthread_mutex_unlock(&store->lock);
    if (dropped) {
        wolfSSL_SESSION_free(dropped->resumable);
        free(dropped);
    }
}
