/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A listening address with its sockets, one per worker (SO_REUSEPORT), one for all where it is a unix socket. Listener sets of several
 * generations may have it in common. Inside this room only.
 */
#ifndef HOST_NET_BOUND_H
#define HOST_NET_BOUND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "host/conf/settings.h"

struct bound {
    int64_t wanted_port; /* as configured, 0 = any */
    struct sockaddr_storage addr;
    socklen_t addr_len;
    unsigned workers;
    int *fds; /* one per worker, -1 when the worker has taken it; a unix socket is one and the same */
    bool is_unix;
    atomic_uint copies; /* of a unix socket, one per worker that accepts */
    unsigned sets;      /* that have it; control thread */
};

/* NULL with a sentence. ours: its end where this process listens on that port already, on another address; NULL: it does not. */
struct bound *bound_open(const struct settings_listen *listen, unsigned workers, const char *ours, char *err, size_t err_size);
/* Is that the address that it has? Port 0 is what was configured as 0, a number also what 0 became. */
bool bound_is(const struct bound *bound, const struct settings_listen *listen);
/* One set less; without any it is closed and freed. NULL is fine. */
void bound_put(struct bound *bound);
/* The worker's descriptor, the worker's to close from then on; -errno. */
int bound_take(struct bound *bound, unsigned worker);
/* The worker has closed its descriptor: the last one takes a unix socket's file away. */
void bound_left(struct bound *bound);

#endif
