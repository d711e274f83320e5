/* SPDX-License-Identifier: MPL-2.0 */
/* Answers that still hold, by their question. Bounded by number and bytes: what was not asked for the longest goes first. Not locked. */
#ifndef POLICY_WEBHOOK_CACHE_H
#define POLICY_WEBHOOK_CACHE_H

#include "question.h"

struct cache;

struct cache *cache_new(size_t most, size_t most_bytes); /* NULL without memory */
void cache_free(struct cache *cache);
/* NULL, or the answer to this question, good until the next call. */
const struct answer *cache_get(struct cache *cache, const char *key, uint64_t now_ns);
/* Keeps a copy, not of the reason; not when there is no memory, or when it alone is too big. */
void cache_put(struct cache *cache, const char *key, const struct answer *answer, uint64_t until_ns);
size_t cache_count(const struct cache *cache);

#endif
