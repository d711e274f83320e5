/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Who has refused our certificates how often, and which hosts are tunnelled for it. One entry for each (host, client), at most as many as the
 * caller says: the one that counts and was not heard of for the longest time goes first, one that is tunnelled only when all are. Pure: time is
 * a parameter (monotonic ns), nothing is locked, nothing is told.
 */
#ifndef POLICY_TLS_LEARNING_STORE_H
#define POLICY_TLS_LEARNING_STORE_H

#include <soth/sdk.h>

#define STORE_NAME_MOST 253u   /* of a host, RFC 1035 2.3.4 */
#define STORE_CLIENT_MOST 128u /* of a client's address, a unix socket's path included */
#define STORE_FORGET_NS (UINT64_C(3600) * 1000000000u) /* refusals further apart do not add up */

struct store_entry {
    struct store_entry *chain;         /* same bucket */
    struct store_entry *newer, *older; /* of its list: those that count, those that are tunnelled */
    uint64_t failures;
    uint64_t last_ns;    /* of the last refusal */
    uint64_t expires_ns; /* 0 = it is not tunnelled */
    uint64_t ttl_ms;     /* as it was when it began */
    uint64_t bar;        /* flows up to this one began before the last refusal that counted */
    uint32_t hash;
    uint8_t host_len, client_len;
    char text[]; /* host, client */
};

struct store_list {
    struct store_entry *newest, *oldest;
    size_t count;
};

struct store {
    struct store_entry **buckets;
    size_t bucket_count;
    struct store_list counting, active;
};

int store_init(struct store *store); /* 0 or -SOTH_ENOMEM */
void store_fini(struct store *store);

static inline struct soth_span store_host(const struct store_entry *e) { return (struct soth_span){e->text, e->host_len}; }
static inline struct soth_span store_client(const struct store_entry *e) { return (struct soth_span){e->text + e->host_len, e->client_len}; }

/* NULL: there is none. Names that are too long have none. */
struct store_entry *store_find(struct store *store, struct soth_span host, struct soth_span client);
/* Finds or adds. *evicted: an entry that had to go for it, the caller's to free; it was tunnelled when its expires_ns says so. NULL without memory
 * or with names that are too long. */
struct store_entry *store_get(struct store *store, struct soth_span host, struct soth_span client, size_t most, struct store_entry **evicted);
/* Another refusal; returns how many there are. */
uint64_t store_count(struct store *store, struct store_entry *entry, uint64_t now_ns);
void store_activate(struct store *store, struct store_entry *entry, uint64_t now_ns, uint64_t ttl_ms);
/* Is it tunnelled now? Asking keeps it from being evicted. */
int store_is_active(struct store *store, struct store_entry *entry, uint64_t now_ns);
/* One whose time is over, taken out, the caller's to free; NULL: there is none. */
struct store_entry *store_expired(struct store *store, uint64_t now_ns);
/* When the next one is over; 0 = none is tunnelled. */
uint64_t store_next_expiry(const struct store *store);
size_t store_size(const struct store *store);

#endif
