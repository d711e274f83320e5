/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Connections to origins: names through c-ares (hosts file, resolv.conf or `resolvers`; never a blocking getaddrinfo), a bounded cache,
 * then Happy Eyeballs (RFC 8305). Addresses in deny_upstreams and our own listeners are refused before any packet. One dialer per
 * worker; nothing here is shared between threads. The callback never runs inside dial_open or dial_cancel.
 */
#ifndef HOST_NET_DIAL_H
#define HOST_NET_DIAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "host/conf/settings.h"

struct event_base;
struct dialer;
struct dial;

enum dial_status {
    DIAL_OK,
    DIAL_DNS_ERROR,    /* detail "dns:NXDOMAIN", "dns:SERVFAIL", "dns:NODATA", ... */
    DIAL_DNS_TIMEOUT,  /* "dns:timeout" */
    DIAL_DENIED,       /* every address is in deny_upstreams; "denied_upstream" */
    DIAL_LOOP,         /* the address is one of our own listeners; "loop" */
    DIAL_REFUSED,      /* "ECONNREFUSED" */
    DIAL_UNREACHABLE,  /* "EHOSTUNREACH", "ENETUNREACH", "EADDRNOTAVAIL", ... */
    DIAL_TIMEOUT,      /* "ETIMEDOUT": upstream_connect_timeout passed */
    DIAL_FAILED        /* anything else, e.g. "EMFILE" */
};

struct dial_result {
    enum dial_status status;
    int fd;             /* DIAL_OK: connected, non-blocking, close-on-exec, TCP_NODELAY; the receiver's to close. Else -1 */
    const char *detail; /* static text */
};

typedef void dial_done(void *arg, const struct dial_result *result);

struct dialer_own { /* one of our listening addresses */
    struct sockaddr_storage addr;
    socklen_t addr_len;
};

/* settings: resolvers, resolver_timeout, resolver_cache_ttl, deny, upstream_connect_timeout. `own` is copied. NULL on failure. */
struct dialer *dialer_new(struct event_base *base, const struct settings *settings, const struct dialer_own *own, size_t own_count);
void dialer_free(struct dialer *dialer); /* no dial may be open */

/* Is that one of our own listeners? (Also asked by dial_open for every address.) */
bool dialer_is_own(const struct dialer *dialer, const struct soth_addr *addr, uint16_t port);

/* host: name or address in text form, NUL-terminated, copied. addr: the address when host is one (family 0 otherwise). NULL = no memory. */
struct dial *dial_open(struct dialer *dialer, const char *host, const struct soth_addr *addr, uint16_t port, dial_done *done, void *arg);
/* No callback will come. The dial is freed by itself after its callback, or here. */
void dial_cancel(struct dial *dial);

#endif
