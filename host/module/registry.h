/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The module instances of one configuration generation: loads what conf.d enables, makes instances, hands sinks to the bus and
 * asks policies. What a policy answers is combined here: block beats tunnel beats intercept, explicit beats default, a failing
 * policy counts as its on_error (closed = block with reason module_fault). Asking is thread-safe; everything else is the control thread's.
 *
 * A sink or source whose document has not changed since the previous generation (same file, same text, same code) is not made anew: both
 * generations list the one that runs. Policies and decoders are always made anew; flows keep those that they began with.
 */
#ifndef HOST_MODULE_REGISTRY_H
#define HOST_MODULE_REGISTRY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <soth/sdk.h>

#include "host/chain/chain.h"
#include "host/conf/settings.h"
#include "host/flow/ask.h"

struct registry;
struct bus;
struct bus_change;

/* What the registries of all generations share; outlives them. */
struct registry_shared {
    struct bus *bus;
    atomic_int held;          /* sinks that hold flows */
    pthread_rwlock_t lock;    /* of current */
    struct registry *current; /* whose policies get the signals of sources */
    /* Then it is told of them, on the source's thread. May be NULL. */
    void (*heard)(void *arg, const struct soth_signal *signal);
    void *heard_arg;
};
void registry_shared_init(struct registry_shared *shared, struct bus *bus);
void registry_shared_fini(struct registry_shared *shared);

/* What went wrong decides the exit code: -SOTH_ECONFIG (20), -SOTH_ENOENT and -SOTH_EABI (module: 24, `check`: 20), -SOTH_EIO (create of a
 * sink failed: 21), else 22. `check_only` creates nothing. Messages go to `errors`, one line each. *config_name is soth-mitm.yaml's path. */
int registry_open(const char *config_file, const struct settings *settings, bool check_only, FILE *errors, struct registry **out);
/* The same for a generation that follows `previous` (NULL: the first). Sources are not started yet, sinks get nothing yet. */
int registry_open_next(const struct settings *settings, struct registry_shared *shared, struct registry *previous, FILE *errors,
                       struct registry **out);
/* Puts the sinks that are new into the change and takes those that are not listed any more out. 0 or -SOTH_EIO. */
int registry_change_sinks(struct registry *registry, struct registry *previous, struct bus_change *change);
/* For bus_reap: the sink's thread has ended, it is destroyed. */
void registry_sink_ended(void *instance);
/* Stops the sources of `previous` that are not listed any more and starts the new ones. On failure all is as it was: -SOTH_EIO with a
 * sentence. */
int registry_start_sources(struct registry *registry, struct registry *previous, char *err, size_t err_size);
void registry_stop_sources(struct registry *registry);
/* After the change was committed: from here on the sources' signals go to this one's policies (NULL: to nobody), and sinks that were taken
 * out hold no flows any more. */
void registry_make_current(struct registry_shared *shared, struct registry *registry);
/* Destroys the instances that no other registry lists and no sink's thread uses; after the last flow of its generation. */
void registry_free(struct registry *registry);

/* On the worker's thread: before its first hook of this registry, and after its last. 0, or negative with a sentence; then fini is not called. */
int registry_worker_init(struct registry *registry, uint32_t worker, char *err, size_t err_size);
void registry_worker_fini(struct registry *registry, uint32_t worker);

bool registry_is_empty(const struct registry *registry); /* no instance */
/* True while some sink asked for it (soth_host.hold_flows). */
bool registry_flows_held(const struct registry_shared *shared);
/* Which hooks any policy takes part in: SOTH_HOOK_... */
uint32_t registry_hooks(const struct registry *registry);

/* Asks the policies (flow/ask.h). When none has an opinion: SOTH_INTERCEPT resp. SOTH_ALLOW, reason "default_intercept", policy_module "". */
enum ask_result registry_ask(struct registry *registry, struct soth_flow *flow, struct ask *ask, const struct question *q);
/* The question is not asked any more: a policy that paused in it hears of it. */
void registry_forget(struct registry *registry, struct soth_flow *flow, struct ask *ask);
/* Lets the rewrite hooks change target and fields. A hook that failed and is closed on error makes it a block, like a policy. */
void registry_rewrite(struct registry *registry, struct soth_flow *flow, const struct soth_message *message, struct verdict *out);

/* The decoders for a flow's chains; borrowed, live as long as the registry. */
void registry_chain_env(struct registry *registry, struct chain_env *out);
/* Prometheus text of what went through the decoders. */
void registry_print_decoders(const struct registry *registry, FILE *out);

/* Gives a TLS failure to the policies with a signal hook; signal->lesson is what the first with an opinion has made of it. Any thread. */
void registry_signal(struct registry *registry, const struct soth_signal *signal);

/* For `module check` and `module doc`: loads DIR/NAME.so with every check of a run and prints its description and options as Markdown.
 * 0, -SOTH_ENOENT or -SOTH_EABI with a sentence. */
int registry_describe(const char *file, FILE *out, char *err, size_t err_size);
/* For `module list`, `check` and SIGUSR2. */
void registry_print(const struct registry *registry, FILE *out);
void registry_print_metrics(const struct registry *registry, FILE *out); /* Prometheus text of the modules' counters */
void registry_print_states(const struct registry *registry, FILE *out);  /* of their circuit breakers, and of files replaced on disk */
/* How many modules' files are not what was loaded from them: that code goes on until the process starts anew. */
unsigned registry_replaced_files(void);

#endif
