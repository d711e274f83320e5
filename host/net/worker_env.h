/* SPDX-License-Identifier: MPL-2.0 */
/* A worker's part of one generation: what the flows that began with it share on this worker. The worker's thread. */
#ifndef HOST_NET_WORKER_ENV_H
#define HOST_NET_WORKER_ENV_H

#include "host/net/worker.h"

struct worker_env {
    struct flow_env flow;
    struct chain_env chains;
    struct generation *generation;
    struct dialer *dialer;
    unsigned conns; /* that have it */
    struct worker_env *next; /* of those that are no longer current */
};

/* Modules get their worker_init here. NULL with a sentence. */
struct worker_env *worker_env_new(struct worker_io *io, struct generation *generation, char *err, size_t err_size);
/* No connection has it any more. Modules get their worker_fini; the generation has one user less. NULL is fine. */
void worker_env_free(struct worker_io *io, struct worker_env *env);

#endif
