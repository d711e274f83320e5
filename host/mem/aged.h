/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A bounded hash table whose entries have an age: whoever adds one to a full table takes the oldest out. The owner's struct begins with a
 * `struct aged_entry`, and the owner makes, frees and locks.
 */
#ifndef HOST_MEM_AGED_H
#define HOST_MEM_AGED_H

#include <stddef.h>
#include <stdint.h>

struct aged_entry {
    struct aged_entry *chain;         /* same bucket */
    struct aged_entry *newer, *older;
    uint32_t hash;
};

struct aged {
    struct aged_entry **buckets;
    size_t bucket_count; /* a power of two */
    struct aged_entry *newest, *oldest;
    size_t count, capacity;
};

int aged_init(struct aged *table, size_t capacity); /* SOTH_OK, -SOTH_ENOMEM */
void aged_fini(struct aged *table);                 /* the owner has taken out what is to be freed */

/* Entries that have this hash, the last that was added first; NULL: no further one. */
struct aged_entry *aged_first(const struct aged *table, uint32_t hash);
struct aged_entry *aged_next(const struct aged_entry *entry);

void aged_add(struct aged *table, struct aged_entry *entry); /* as the newest, its hash is set; there must be room */
void aged_touch(struct aged *table, struct aged_entry *entry); /* is the newest now */
void aged_remove(struct aged *table, struct aged_entry *entry);

uint32_t aged_hash(const char *p, size_t n); /* FNV-1a */

#endif
