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
#include "host/module/registry.h"
#include "host/module/site.h"

#define INSTANCE_MAX_FAILURES 16 /* in a row; then it is switched off and counts as its on_error (breaker.h) */

/* The module behind a name, looked for in the directories. NULL with a sentence in err; *error is -SOTH_ENOENT or -SOTH_EABI. */
const struct soth_module *loader_get(const struct soth_strings *directories, const char *name, int *error, char *err, size_t err_size);
/* Checks a module's prefix and what it must have. 0 or -SOTH_EABI with a sentence. `path` is for the sentence. */
int loader_check(const struct soth_module *module, const char *path, char *err, size_t err_size);

/* Why a sink holds flows, ored in instance.holds. */
#define HOLD_WISH 1u    /* soth_host.hold_flows */
#define HOLD_FAILED 2u  /* on_error is closed and it cannot write */
#define HOLD_RETIRED 4u /* it has been taken out: it holds no more */

struct instance {
    struct soth_module module; /* the operations, copied once; an absent slot is NULL */
    const struct soth_module *code; /* where they were copied from: whether it is the same code */
    const struct conf_module *conf; /* of the registry that has made it */
    const char *site; /* its name, for whoever may read it after the instance has gone (site.h) */
    struct registry *registry; /* that has made it; lives as long as the instance */
    unsigned users; /* registries that list it, and the bus */
    struct options_owned *owned;
    FILE *errors;    /* while check and create run */
    unsigned told;   /* errors that the module has named there itself */
    bool created, started, closed_on_error;
    atomic_uint holds;
    uint32_t hooks;
    atomic_uint failures;
    atomic_uint_fast64_t attrs_left_out; /* of its events, see event_attrs_check */
    struct metrics metrics;
    const struct form **forms; /* of its events, by number */
    size_t form_count;
    _Alignas(16) char self[]; /* what the module sees */
};

struct registry {
    struct conf_modules conf;
    struct instance **v; /* in order; some may be of an earlier registry */
    size_t n;
    uint32_t hooks;
    struct bus *bus; /* NULL: there is none, of one that is alone */
    struct decoder *decoders; /* those of v, in order */
    size_t decoder_count;
    struct settings settings; /* for soth_host.setting: the numbers are good, pointers may not be any more */
    struct registry_shared *shared, own; /* own: of one that is alone */
    unsigned users; /* whoever opened it, and the instances it has made */
};

/* decoders.c: what chains see of the decoders among v. 0 or -SOTH_ENOMEM. */
int decoders_make(struct registry *registry);
void decoders_warn(const struct registry *registry); /* of policies that do not get to see everything */
bool registry_lists(const struct registry *registry, const struct instance *instance); /* registry NULL: false */
/* After the bus has changed. */
void registry_sinks_changed(struct registry *registry, struct registry *previous);
/* Changes one reason of a sink to hold flows (HOLD_...). */
void instance_hold(struct instance *instance, unsigned reason, bool on);
void instance_retire(struct instance *instance); /* it holds no flows from here on */
/* One user less; without any it is destroyed and freed. Control thread. */
void instance_put(struct instance *instance);
/* Calls destroy now; the instance stays in memory until nobody lists it. */
void instance_destroy(struct instance *instance);

static inline struct instance *instance_of(const void *self)
{
    return (struct instance *)(void *)((char *)(uintptr_t)self - offsetof(struct instance, self));
}

/* A hook of it is called (site.h). hook: a literal. */
static inline void site_enter(const struct instance *instance, const char *hook)
{
    site_enter_module(instance->site, hook);
}

extern const struct soth_host hostapi;

#endif
