/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The module instances of one configuration generation: loads what conf.d enables, makes instances, hands sinks to the bus and
 * asks policies. What a policy answers is combined here: block beats tunnel beats intercept, explicit beats default, a failing
 * policy counts as its on_error (closed = block with reason module_fault). Asking is thread-safe; everything else is the control thread's.
 */
#ifndef HOST_MODULE_REGISTRY_H
#define HOST_MODULE_REGISTRY_H

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

/* What went wrong decides the exit code: -SOTH_ECONFIG (20), -SOTH_ENOENT and -SOTH_EABI (module: 24, `check`: 20), -SOTH_EIO (create of a
 * sink failed: 21), else 22. `check_only` creates nothing. Messages go to `errors`, one line each. *config_name is soth-mitm.yaml's path. */
int registry_open(const char *config_file, const struct settings *settings, bool check_only, FILE *errors, struct registry **out);
int registry_add_sinks(struct registry *registry, struct bus *bus);
void registry_free(struct registry *registry); /* destroys the instances; after bus_stop */

bool registry_is_empty(const struct registry *registry); /* no instance */
/* True while some sink asked for it (soth_host.hold_flows). */
bool registry_flows_held(const struct registry *registry);
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

/* For `module check` and `module doc`: loads DIR/NAME.so with every check of a run and prints its description and options as Markdown.
 * 0, -SOTH_ENOENT or -SOTH_EABI with a sentence. */
int registry_describe(const char *file, FILE *out, char *err, size_t err_size);
/* For `module list`, `check` and SIGUSR2. */
void registry_print(const struct registry *registry, FILE *out);
void registry_print_metrics(const struct registry *registry, FILE *out); /* Prometheus text of the modules' counters */

#endif
