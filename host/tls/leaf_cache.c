/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A host comes in, a leaf for it goes out: from the cache while it has more than a third of its life left, else newly signed. The cache
 * lock is never held while signing; two threads may sign the same host at once, the later one's leaf stays. Bounded, least recently
 * used goes first.
 */
#include <stdlib.h>
#include <string.h>

#include "host/mem/aged.h"
#include "host/tls/issuer.h"
#include "host/tls/leaf.h"

#define DAY INT64_C(86400)
#define HOST_MAX 253u

struct entry {
    struct aged_entry aged; /* by their last use */
    struct leaf *leaf;
    int64_t good_from, reissue_at;
    uint8_t host_len;
    char host[];
};

struct leaf_cache {
    pthread_mutex_t lock;
    struct aged entries;
};

struct leaf_cache *leaf_cache_new(uint32_t capacity)
{
    struct leaf_cache *cache = calloc(1, sizeof *cache);
    if (!cache || aged_init(&cache->entries, capacity) < 0) {
        free(cache);
        return NULL;
    }
    pthread_mutex_init(&cache->lock, NULL);
    return cache;
}

static void drop(struct leaf_cache *cache, struct aged_entry *aged)
{
    struct entry *e = (struct entry *)aged;
    aged_remove(&cache->entries, aged);
    leaf_put(e->leaf);
    free(e);
}

void leaf_cache_free(struct leaf_cache *cache)
{
    if (!cache)
        return;
    while (cache->entries.newest)
        drop(cache, cache->entries.newest);
    aged_fini(&cache->entries);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

static struct entry *find(struct leaf_cache *cache, struct soth_span host, uint32_t hash)
{
    for (struct aged_entry *at = aged_first(&cache->entries, hash); at; at = aged_next(at)) {
        struct entry *e = (struct entry *)at;
        if (e->host_len == host.n && memcmp(e->host, host.p, host.n) == 0)
            return e;
    }
    return NULL;
}

static struct leaf *look_up(struct leaf_cache *cache, struct soth_span host, uint32_t hash, int64_t now)
{
    struct leaf *leaf = NULL;
    pthread_mutex_lock(&cache->lock);
    struct entry *e = find(cache, host, hash);
    if (e && now >= e->good_from && now < e->reissue_at) {
        aged_touch(&cache->entries, &e->aged);
        leaf = leaf_ref(e->leaf);
    }
    pthread_mutex_unlock(&cache->lock);
    return leaf;
}

static void keep(struct leaf_cache *cache, struct soth_span host, uint32_t hash, struct leaf *leaf, const struct cert_terms *terms,
                 int64_t now)
{
    if (cache->entries.capacity == 0)
        return;
    struct entry *e = malloc(sizeof *e + host.n);
    if (!e)
        return;
    *e = (struct entry){.leaf = leaf_ref(leaf), .good_from = terms->not_before, .aged = {.hash = hash}, .host_len = (uint8_t)host.n};
    e->reissue_at = now + (terms->not_after - now) * 2 / 3;
    memcpy(e->host, host.p, host.n);
    pthread_mutex_lock(&cache->lock);
    struct entry *old = find(cache, host, hash);
    if (old)
        drop(cache, &old->aged);
    else if (cache->entries.count == cache->entries.capacity)
        drop(cache, cache->entries.oldest);
    aged_add(&cache->entries, &e->aged);
    pthread_mutex_unlock(&cache->lock);
}

static void set_terms(const struct issuer *a, int64_t now, struct cert_terms *terms)
{
    int64_t life = (int64_t)a->leaf_days * DAY;
    int64_t back = life / 2 < 2 * DAY ? life / 2 : 2 * DAY; /* clocks of clients that are behind */
    terms->not_before = now - back;
    terms->not_after = now - back + life;
    if (terms->not_before < a->cert.not_before)
        terms->not_before = a->cert.not_before;
    if (terms->not_after > a->cert.not_after)
        terms->not_after = a->cert.not_after;
}

/* The certificates that a client needs besides the leaf: all of ours but a root, which it has or does not trust. */
static int append_chain(const struct issuer *a, struct der *chain)
{
    size_t at = 0, header, length;
    uint8_t tag;
    while (at < a->chain_size && der_parse_head(a->chain + at, a->chain_size - at, &tag, &header, &length) == 0) {
        struct cert_view view;
        const uint8_t *cert = a->chain + at;
        at += header + length;
        if (cert_parse(cert, header + length, &view) < 0)
            return -SOTH_EINVALID;
        if (view.subject.n != view.issuer.n || memcmp(view.subject.p, view.issuer.p, view.subject.n) != 0)
            der_raw(chain, cert, header + length);
    }
    return chain->failed ? -SOTH_ELIMIT : SOTH_OK;
}

static struct leaf *issue(struct issuer *a, struct soth_span host, struct cert_terms *terms)
{
    size_t cap = CERT_DER_MAX + a->chain_size, key_size, cert_size;
    struct der chain = {.p = malloc(cap), .cap = cap};
    struct leaf *leaf = NULL;
    if (!chain.p)
        return NULL;
    pthread_mutex_lock(&a->signing);
    int r = wc_RNG_GenerateBlock(&a->rng, terms->serial, sizeof terms->serial);
    terms->serial[0] = (uint8_t)((terms->serial[0] & 0x3f) | 0x40); /* positive, always 16 bytes */
    if (r == 0)
        r = cert_make_leaf(a->key, &a->cert, a->leaf_key, host, terms, &chain);
    pthread_mutex_unlock(&a->signing);
    cert_size = chain.len;
    if (r == 0 && append_chain(a, &chain) == 0) {
        const uint8_t *key = private_key_traditional(a->leaf_key, &key_size);
        leaf = leaf_new(chain.p, chain.len, cert_size, key, key_size);
    }
    free(chain.p);
    return leaf;
}

static int host_is_printable(struct soth_span host)
{
    for (size_t i = 0; i < host.n; i++)
        if (host.p[i] <= 0x20 || host.p[i] >= 0x7f)
            return 0;
    return host.n > 0 && host.n <= HOST_MAX;
}

static struct leaf *get(struct issuer *a, struct soth_span host, int64_t now, int *hit)
{
    struct cert_terms terms;
    uint32_t hash = aged_hash(host.p, host.n);
    struct leaf *leaf = look_up(a->cache, host, hash, now);
    if (leaf) {
        *hit = 1;
        return leaf;
    }
    set_terms(a, now, &terms);
    leaf = issue(a, host, &terms);
    if (leaf)
        keep(a->cache, host, hash, leaf, &terms, now);
    return leaf;
}

struct leaf *leaf_get(struct authority *authority, struct soth_span host, int64_t now, int *hit)
{
    *hit = 0;
    if (!host_is_printable(host))
        return NULL;
    struct issuer *issuer = authority_issuer(authority); /* another one may take its place meanwhile */
    struct leaf *leaf = get(issuer, host, now, hit);
    issuer_put(issuer);
    return leaf;
}
