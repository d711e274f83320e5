/* SPDX-License-Identifier: MPL-2.0 */
/* Instances from conf.d (registry.h): load, configure, check, create; and all of it back again. */
#include "host/module/registry.h"

#include <stdlib.h>
#include <string.h>

#include "host/event/bus.h"
#include "host/module/instance.h"

static int say(FILE *errors, const struct conf_module *conf, const char *key, const char *text, int error)
{
    options_error(conf->document, key, errors, text);
    return error;
}

static void instance_free(struct instance *instance)
{
    if (!instance)
        return;
    if (instance->created && instance->module.destroy)
        instance->module.destroy(instance->self);
    metrics_fini(&instance->metrics);
    options_fini(instance->owned);
    free(instance);
}

static int configure(struct instance *instance, FILE *errors)
{
    static const struct soth_opt nothing[] = {SOTH_OPT_END};
    const struct soth_opt *table = instance->module.options ? instance->module.options : nothing;
    if (options_fill(table, instance->conf->config, instance->self, &instance->owned, errors, "config.") != 0)
        return -SOTH_ECONFIG;
    instance->errors = errors;
    int r = instance->module.check ? instance->module.check(&hostapi, instance->self) : SOTH_OK;
    instance->errors = NULL;
    if (r < 0 && instance->told == 0)
        say(errors, instance->conf, "config", "the module does not accept this configuration", 0);
    return r < 0 ? -SOTH_ECONFIG : SOTH_OK;
}

static int create(struct instance *instance, FILE *errors)
{
    instance->errors = errors;
    int r = instance->module.create ? instance->module.create(&hostapi, instance->self) : SOTH_OK;
    instance->errors = NULL;
    if (r < 0) {
        if (instance->told == 0)
            say(errors, instance->conf, "module", "the module could not be started", 0);
        return instance->module.kind == SOTH_KIND_SINK ? -SOTH_EIO : -SOTH_EINVALID;
    }
    instance->created = true;
    if (instance->module.kind == SOTH_KIND_POLICY) {
        const struct soth_module *m = &instance->module;
        uint32_t has = (m->connect ? SOTH_HOOK_CONNECT : 0) | (m->request ? SOTH_HOOK_REQUEST : 0) | (m->response ? SOTH_HOOK_RESPONSE : 0) |
                       (m->frame ? SOTH_HOOK_FRAME : 0) | (m->signal ? SOTH_HOOK_SIGNAL : 0) | (m->rewrite ? SOTH_HOOK_REWRITE : 0);
        instance->hooks = has & (instance->module.hooks ? instance->module.hooks(instance->self) : has);
    }
    instance->registry->hooks |= instance->hooks;
    return SOTH_OK;
}

static int check_events(const struct conf_module *conf, const struct soth_module *module, FILE *errors)
{
    if (conf->events.n > 0 && module->kind != SOTH_KIND_SINK)
        return say(errors, conf, "events", "only sinks take events", -SOTH_ECONFIG);
    if (conf->payload_bytes > 0 && module->kind != SOTH_KIND_SINK)
        return say(errors, conf, "payload", "only sinks take events", -SOTH_ECONFIG);
    for (size_t i = 0; i < conf->events.n; i++)
        if (event_kinds_by_name(soth_span(conf->events.v[i])) == 0) {
            char text[256], key[32];
            snprintf(key, sizeof key, "events[%zu]", i);
            snprintf(text, sizeof text, "'%s' is neither an event kind nor a group (all, connect, tls, http, body, stream, grpc, decoder, system)",
                     conf->events.v[i]);
            return say(errors, conf, key, text, -SOTH_ECONFIG);
        }
    return SOTH_OK;
}

/* Loads, configures and checks; nothing is opened yet. */
static int add(struct registry *registry, const struct conf_module *conf, const struct settings *settings, FILE *errors)
{
    char err[1024] = "";
    int error = 0;
    const struct soth_module *module = loader_get(&settings->modules_dir, conf->module, &error, err, sizeof err);
    if (!module)
        return say(errors, conf, "module", err, error);
    struct soth_module copy = {0};
    memcpy(&copy, module, module->size < sizeof copy ? module->size : sizeof copy);
    if ((error = check_events(conf, &copy, errors)) < 0)
        return error;
    struct instance *instance = calloc(1, sizeof *instance + copy.self_size);
    if (!instance)
        return -SOTH_ENOMEM;
    instance->module = copy;
    instance->conf = conf;
    instance->registry = registry;
    instance->closed_on_error = conf->on_error == 1 || (conf->on_error == 2 && copy.kind == SOTH_KIND_POLICY);
    error = configure(instance, errors);
    if (error < 0 || !conf->enabled) {
        instance_free(instance);
        return error;
    }
    registry->v[registry->n++] = instance;
    return SOTH_OK;
}

/* Policies, decoders by their stage, sources, sinks. */
static unsigned phase(const struct soth_module *module)
{
    switch (module->kind) {
    case SOTH_KIND_POLICY:
        return 0;
    case SOTH_KIND_DECODER:
        return module->stage;
    case SOTH_KIND_SOURCE:
        return SOTH_STAGE_SANITIZE + 1;
    default:
        return SOTH_STAGE_SANITIZE + 2;
    }
}

/* Phase, order, name. */
static int by_order(const void *a, const void *b)
{
    const struct instance *x = *(struct instance *const *)a, *y = *(struct instance *const *)b;
    if (phase(&x->module) != phase(&y->module))
        return phase(&x->module) < phase(&y->module) ? -1 : 1;
    if (x->conf->order != y->conf->order)
        return x->conf->order < y->conf->order ? -1 : 1;
    return strcmp(x->conf->name, y->conf->name);
}

int registry_open(const char *config_file, const struct settings *settings, bool check_only, FILE *errors, struct registry **out)
{
    struct registry *registry = calloc(1, sizeof *registry);
    (void)config_file;
    *out = NULL;
    if (!registry)
        return -SOTH_ENOMEM;
    int r = conf_modules_load(settings->conf_d, settings->conf_d_given, &registry->conf, errors);
    if (r == 0 && !(registry->v = calloc(registry->conf.n + 1, sizeof *registry->v)))
        r = -SOTH_ENOMEM;
    for (size_t i = 0; registry->v && i < registry->conf.n; i++) { /* all of them: one run shows every mistake */
        int wrong = add(registry, &registry->conf.v[i], settings, errors);
        r = r < 0 ? r : wrong;
    }
    if (registry->n > 1)
        qsort(registry->v, registry->n, sizeof *registry->v, by_order);
    for (size_t i = 0; r == 0 && !check_only && i < registry->n; i++)
        r = create(registry->v[i], errors);
    if (r == 0)
        r = decoders_make(registry);
    if (r < 0) {
        registry_free(registry);
        return r;
    }
    *out = registry;
    return SOTH_OK;
}

void registry_free(struct registry *registry)
{
    if (!registry)
        return;
    for (size_t i = 0; i < registry->n; i++)
        instance_free(registry->v[i]);
    free(registry->v);
    free(registry->decoders);
    conf_modules_fini(&registry->conf);
    free(registry);
}

bool registry_is_empty(const struct registry *registry)
{
    return registry->n == 0;
}

/* ---- sinks ---- */

static int sink_write(void *arg, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    struct instance *instance = arg;
    int r = instance->module.write(instance->self, batch, done, retry_ms);
    if (instance->closed_on_error) /* what it should record does not happen while it cannot */
        instance_hold(instance, &instance->failed_closed, r < 0 || r == SOTH_DEAD);
    return r;
}

static int sink_flush(void *arg, uint32_t deadline_ms)
{
    struct instance *instance = arg;
    return instance->module.flush ? instance->module.flush(instance->self, deadline_ms) : SOTH_OK;
}

static int sink_reopen(void *arg)
{
    struct instance *instance = arg;
    return instance->module.reopen ? instance->module.reopen(instance->self) : SOTH_OK;
}

static uint64_t subscription(const struct instance *instance)
{
    uint64_t kinds = 0;
    for (size_t i = 0; i < instance->conf->events.n; i++)
        kinds |= event_kinds_by_name(soth_span(instance->conf->events.v[i]));
    if (instance->conf->events.n == 0)
        kinds = event_group_kinds(instance->module.events ? instance->module.events : SOTH_GROUP_ALL);
    return kinds & ~UINT64_C(1);
}

int registry_add_sinks(struct registry *registry, struct bus *bus)
{
    static const struct bus_sink_ops ops = {sink_write, sink_flush, sink_reopen};
    registry->bus = bus;
    for (size_t i = 0; i < registry->n; i++) {
        struct instance *instance = registry->v[i];
        if (instance->module.kind != SOTH_KIND_SINK)
            continue;
        const struct conf_module *conf = instance->conf;
        struct bus_queue_config queue = {.max_events = conf->queue.max_events, .max_bytes = conf->queue.max_bytes,
                                         .on_full = conf->queue.on_full, .payload = conf->payload_bytes,
                                         .acks = (instance->module.flags & SOTH_SINK_ASYNC_ACK) != 0};
        int r = bus_add_sink(bus, conf->name, instance, &ops, subscription(instance), &queue);
        if (r < 0)
            return r;
    }
    return SOTH_OK;
}

bool registry_flows_held(const struct registry *registry)
{
    return atomic_load_explicit(&registry->held, memory_order_relaxed) > 0;
}

uint32_t registry_hooks(const struct registry *registry)
{
    return registry->hooks;
}
