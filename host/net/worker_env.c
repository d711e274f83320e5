/* SPDX-License-Identifier: MPL-2.0 */
/* See worker_env.h. */
#include "host/net/worker_env.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/module/mailbox.h"
#include "host/module/registry.h"
#include "host/net/dial.h"
#include "host/net/generation.h"

/* Streams of one connection that stay flows while they wait: to put them to rest and wake them costs 3 % of a short request. */
#define STREAMS_AWAKE 12u

/* Of HTTP/2 bodies, in the whole process: windows get smaller long before that. */
#define BODY_BYTES_MOST (64u << 20)

static enum ask_result ask(void *policy, struct soth_flow *flow, struct ask *ask, const struct question *q)
{
    return registry_ask(policy, flow, ask, q);
}

static void flow_ends(void *policy, struct soth_flow *flow, struct ask *ask)
{
    registry_forget(policy, flow, ask);
    if (flow->generation)
        mailbox_leave(flow->mailbox, flow->slot);
    flow->generation = 0;
}

static void rewrite(void *policy, struct soth_flow *flow, const struct soth_message *message, struct verdict *out)
{
    registry_rewrite(policy, flow, message, out);
}

static void tell(void *policy, const struct soth_signal *signal)
{
    registry_signal(policy, signal);
}

static bool ask_own(void *dialer, const struct soth_addr *addr, uint16_t port)
{
    return dialer_is_own(dialer, addr, port);
}

static void fill(struct worker_env *worker_env, struct worker_io *io, struct generation *generation)
{
    struct shared *shared = io->shared;
    struct flow_env *env = &worker_env->flow;
    env->settings = generation->settings;
    env->bus = io->bus;
    env->authority = generation->authority;
    env->trust = generation->trust;
    env->trust_any = generation->trust_any;
    env->keylog = generation->keylog;
    env->tickets = shared->tickets;
    env->failures = shared->failures;
    env->counters = &io->counters;
    env->plain = io->plain;
    env->plain_size = WORKER_PLAIN;
    env->awake = STREAMS_AWAKE;
    env->body_bytes_most = BODY_BYTES_MOST / shared->workers;
    env->is_own = ask_own;
    env->hooks = registry_hooks(generation->registry);
    env->policy = generation->registry;
    env->ask = ask;
    env->forget = flow_ends;
    env->rewrite = rewrite;
    env->signal = tell;
    env->mailbox = io->mailbox;
    registry_chain_env(generation->registry, &worker_env->chains);
    env->chains = worker_env->chains.count > 0 ? &worker_env->chains : NULL;
}

struct worker_env *worker_env_new(struct worker_io *io, struct generation *generation, char *err, size_t err_size)
{
    size_t own_count;
    const struct dialer_own *own = listener_set_own(generation->listeners, &own_count);
    struct worker_env *env = calloc(1, sizeof *env);
    if (!env)
        return NULL;
    fill(env, io, generation);
    env->dialer = dialer_new(io->base, generation->settings, own, own_count);
    env->flow.dialer = env->dialer;
    if (!env->dialer)
        snprintf(err, err_size, "worker %u: no name resolver: no memory, or no descriptors", io->number);
    if (!env->dialer || registry_worker_init(generation->registry, io->number, err, err_size) < 0) {
        dialer_free(env->dialer);
        free(env);
        return NULL;
    }
    env->generation = generation;
    atomic_fetch_add(&generation->users, 1);
    return env;
}

void worker_env_free(struct worker_io *io, struct worker_env *env)
{
    if (!env)
        return;
    registry_worker_fini(env->generation->registry, io->number);
    dialer_free(env->dialer);
    buffer_fini(&env->flow.staged[0]);
    buffer_fini(&env->flow.staged[1]);
    atomic_fetch_sub(&env->generation->users, 1);
    free(env);
}
