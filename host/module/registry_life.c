/* SPDX-License-Identifier: MPL-2.0 */
/* Registries that follow each other: state of the workers, sources, and to whom signals go. */
#include <stdlib.h>
#include <string.h>

#include "host/module/breaker.h"
#include "host/module/hostapi.h"
#include "host/module/registry.h"

void registry_shared_init(struct registry_shared *shared, struct bus *bus)
{
    *shared = (struct registry_shared){.bus = bus};
    pthread_rwlock_init(&shared->lock, NULL);
}

void registry_shared_fini(struct registry_shared *shared)
{
    pthread_rwlock_destroy(&shared->lock);
}

void registry_make_current(struct registry_shared *shared, struct registry *registry)
{
    struct registry *previous = shared->current;
    pthread_rwlock_wrlock(&shared->lock); /* whoever gives signals to the previous one is done with it */
    shared->current = registry;
    pthread_rwlock_unlock(&shared->lock);
    registry_sinks_changed(registry, previous);
}

/* ---- workers ---- */

/* Sinks and sources have threads of their own. */
static bool runs_on_workers(const struct instance *instance)
{
    return instance->module.kind == SOTH_KIND_POLICY || instance->module.kind == SOTH_KIND_DECODER;
}

static void fini_first(struct registry *registry, size_t n, uint32_t worker)
{
    while (n-- > 0) {
        struct instance *instance = registry->v[n];
        if (!runs_on_workers(instance) || !instance->module.worker_fini)
            continue;
        site_enter(instance, "worker_fini");
        instance->module.worker_fini(instance->self, worker);
        site_leave();
    }
}

int registry_worker_init(struct registry *registry, uint32_t worker, char *err, size_t err_size)
{
    for (size_t i = 0; i < registry->n; i++) {
        struct instance *instance = registry->v[i];
        if (!runs_on_workers(instance) || !instance->module.worker_init)
            continue;
        site_enter(instance, "worker_init");
        int r = instance->module.worker_init(instance->self, worker);
        site_leave();
        if (r < 0) {
            snprintf(err, err_size, "%s: its worker_init failed on worker %u", instance->conf->name, worker);
            fini_first(registry, i, worker);
            return r;
        }
    }
    return SOTH_OK;
}

void registry_worker_fini(struct registry *registry, uint32_t worker)
{
    fini_first(registry, registry->n, worker);
}

/* ---- sources ---- */

static void source_stop(struct instance *instance)
{
    site_enter(instance, "stop");
    instance->module.stop(instance->self);
    site_leave();
    instance->started = false;
}

static int source_start(struct instance *instance)
{
    site_enter(instance, "start");
    int r = instance->module.start(instance->self);
    site_leave();
    instance->started = r >= 0;
    return r;
}

/* Those of the one that the other does not list: all of them started, or all stopped. */
static int set_sources(struct registry *of, const struct registry *other, bool on, const struct instance **failed)
{
    for (size_t i = 0; of && i < of->n; i++) {
        struct instance *instance = of->v[i];
        if (instance->module.kind != SOTH_KIND_SOURCE || registry_lists(other, instance) || instance->started == on)
            continue;
        if (!on)
            source_stop(instance);
        else if (source_start(instance) < 0) {
            *failed = instance;
            return -SOTH_EIO;
        }
    }
    return SOTH_OK;
}

int registry_start_sources(struct registry *registry, struct registry *previous, char *err, size_t err_size)
{
    const struct instance *failed = NULL, *lost = NULL;
    set_sources(previous, registry, false, &failed); /* first: the new ones may need what these have */
    if (set_sources(registry, previous, true, &failed) == SOTH_OK)
        return SOTH_OK;
    set_sources(registry, previous, false, &lost);
    set_sources(previous, registry, true, &lost);
    snprintf(err, err_size, "%s: the source could not be started%s%s%s", failed->conf->name, lost ? "; and of those that ran, " : "",
             lost ? lost->conf->name : "", lost ? " could not be started again" : "");
    return -SOTH_EIO;
}

void registry_stop_sources(struct registry *registry)
{
    const struct instance *failed;
    set_sources(registry, NULL, false, &failed);
}

/* ---- signals ---- */

void registry_signal(struct registry *registry, const struct soth_signal *signal)
{
    for (size_t i = 0; i < registry->n; i++) {
        struct instance *instance = registry->v[i];
        if (!(instance->hooks & SOTH_HOOK_SIGNAL) || breaker_is_open(instance))
            continue;
        struct soth_lesson lesson = {.size = sizeof lesson};
        struct soth_signal for_it = *signal;
        for_it.lesson = &lesson;
        site_enter(instance, "signal");
        instance->module.signal(instance->self, &for_it);
        site_leave();
        if (signal->lesson && !signal->lesson->reason_code)
            *signal->lesson = lesson;
    }
}

/* The word of the list that it is, as static text; NULL: none of them. */
static const char *word_of(const char *const *words, const char *text)
{
    for (; text && *words; words++)
        if (strcmp(*words, text) == 0)
            return *words;
    return NULL;
}

/* What comes from outside is normalised here, whatever its module thinks of it. Inferred is what hudsucker says, always. */
static bool normalize(struct soth_signal *signal)
{
    static const char *const peers[] = {"downstream", "upstream", NULL}, *const rejected[] = {"no", "likely", "certain", NULL};
    static const char *const sources[] = {"mitmproxy_authoritative", "hudsucker_inferred", NULL};
    static const char *const reasons[] = {
#define TLS_REASON(NAME, text) text,
#include "host/tls/reason.def"
#undef TLS_REASON
        NULL};
    signal->size = sizeof *signal;
    signal->flow_id = 0;
    signal->peer = word_of(peers, signal->peer);
    signal->reason = signal->phase == SOTH_TLS_FAILED ? word_of(reasons, signal->reason) : "";
    signal->source = word_of(sources, signal->source);
    signal->rejected_ca = word_of(rejected, signal->rejected_ca);
    if (!signal->peer || !signal->reason || !signal->source || signal->phase > SOTH_TLS_SUCCEEDED)
        return false;
    bool mitmproxy = signal->source == sources[0];
    signal->provider = mitmproxy ? "mitmproxy" : "hudsucker";
    signal->authoritative = mitmproxy && signal->authoritative;
    if (!signal->rejected_ca || signal->peer == peers[1])
        signal->rejected_ca = "no";
    return true;
}

/* What a module gives is copied: it may be of an older minor, and shorter. */
int api_signal(void *self, const struct soth_signal *given)
{
    struct registry_shared *shared = instance_of(self)->registry->shared;
    struct soth_signal signal = {0};
    if (instance_of(self)->module.kind != SOTH_KIND_SOURCE)
        return -SOTH_EPERM;
    if (given->size < offsetof(struct soth_signal, host))
        return -SOTH_EINVALID;
    memcpy(&signal, given, given->size < sizeof signal ? given->size : sizeof signal);
    struct soth_lesson lesson = {.size = sizeof lesson};
    signal.lesson = &lesson;
    if (!normalize(&signal))
        return -SOTH_EINVALID;
    pthread_rwlock_rdlock(&shared->lock);
    if (shared->current && signal.phase == SOTH_TLS_FAILED)
        registry_signal(shared->current, &signal);
    pthread_rwlock_unlock(&shared->lock);
    if (shared->heard)
        shared->heard(shared->heard_arg, &signal);
    return SOTH_OK;
}
