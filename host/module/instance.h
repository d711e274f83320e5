/* SPDX-License-Identifier: MPL-2.0 */
/* Loaded modules and their instances. Inside this room only. */
#ifndef HOST_MODULE_INSTANCE_H
#define HOST_MODULE_INSTANCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#include <soth/sdk.h>

#include "host/conf/load.h"
#include "host/module/metrics.h"

#define INSTANCE_MAX_FAILURES 16 /* of a policy, in a row; then it is not asked any more and counts as its on_error */

/* The module behind a name, looked for in the directories. NULL with a sentence in err; *error is -SOTH_ENOENT or -SOTH_EABI. */
const struct soth_module *loader_get(const struct soth_strings *directories, const char *name, int *error, char *err, size_t err_size);
/* Checks a module's prefix and what it must have. 0 or -SOTH_EABI with a sentence. `path` is for the sentence. */
int loader_check(const struct soth_module *module, const char *path, char *err, size_t err_size);

struct instance {
    struct soth_module module; /* the operations, copied once; an absent slot is NULL */
    const struct conf_module *conf;
    struct registry *registry;
    struct options_owned *owned;
    FILE *errors;    /* while check and create run */
    unsigned told;   /* errors that the module has named there itself */
    bool created, closed_on_error;
    bool holds_flows, failed_closed; /* a sink's own wish; a sink with on_error closed that cannot write */
    uint32_t hooks;
    atomic_uint failures;
    atomic_uint_fast64_t attrs_left_out; /* of its events, see event_attrs_check */
    struct metrics metrics;
    _Alignas(16) char self[]; /* what the module sees */
};

struct registry {
    struct conf_modules conf;
    struct instance **v; /* in order */
    size_t n;
    uint32_t hooks;
    struct bus *_Atomic bus; /* NULL until there is one; threads of modules look here for it */
    struct decoder *decoders; /* those of v, in order */
    size_t decoder_count;
    atomic_int held; /* reasons of sinks to hold flows */
};

/* decoders.c: what chains see of the decoders among v. 0 or -SOTH_ENOMEM. */
int decoders_make(struct registry *registry);

/* Changes one reason of a sink to hold flows. */
void instance_hold(struct instance *instance, bool *reason, bool on);

static inline struct instance *instance_of(const void *self)
{
    return (struct instance *)(void *)((char *)(uintptr_t)self - offsetof(struct instance, self));
}

extern const struct soth_host hostapi;

#endif
