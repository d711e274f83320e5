/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Names to addresses with c-ares on a worker's loop. Look-ups of one name share a query; answers are kept for min(TTL,
 * resolver_cache_ttl) in a bounded table. The callback may run inside resolve_open (cache): the caller defers. One thread.
 */
#ifndef HOST_NET_RESOLVE_H
#define HOST_NET_RESOLVE_H

#include <stddef.h>

#include "host/conf/settings.h"

#define RESOLVE_MAX_ADDRS 16

struct event_base;
struct resolver;
struct lookup;

enum resolve_status { RESOLVE_OK, RESOLVE_ERROR, RESOLVE_TIMEOUT };
struct resolve_result {
    enum resolve_status status;
    const char *detail; /* static: "dns:NXDOMAIN", "dns:timeout", ... */
    struct soth_addr addrs[RESOLVE_MAX_ADDRS];
    size_t count;
};
typedef void resolve_done(void *arg, const struct resolve_result *result);

struct resolver *resolver_new(struct event_base *base, const struct settings *settings);
void resolver_free(struct resolver *resolver);
/* NULL: the callback has already run, or there was no memory (then *failed is 1 and it did not). */
struct lookup *resolve_open(struct resolver *resolver, const char *host, resolve_done *done, void *arg, int *failed);
void resolve_cancel(struct lookup *lookup);
/* c-ares, as linked: "1.18.1". */
const char *resolve_library_version(void);

#endif
