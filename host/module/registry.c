/* SPDX-License-Identifier: MPL-2.0 */
/* Instances from conf.d (registry.h): load, keep or configure, check, create; and all of it back again. */
#include "host/module/registry.h"

#include <stdlib.h>
#include <string.h>

#include "host/event/bus.h"
#include "host/module/breaker.h"
#include "host/module/instance.h"
#include "host/module/outputs.h"

static int say(FILE *errors, const struct conf_module *conf, const char *key, const char *text, int error)
{
    options_error(conf->document, key, errors, text);
    return error;
}

/* ---- the end of an instance ---- */

/* Its configuration is kept for its instances, wherever they are listed. */
static void registry_unuse(struct registry *registry)
{
    if (--registry->users > 0)
        return;
    free(registry->v);
    free(registry->decoders);
    conf_modules_fini(&registry->conf);
    free(registry);
}

void instance_destroy(struct instance *instance)
{
    if (instance->created && instance->module.destroy) {
        site_enter(instance, "destroy");
        instance->module.destroy(instance->self);
        site_leave();
    }
    instance->created = false;
    instance_retire(instance);
}

void instance_put(struct instance *instance)
{
    struct registry *registry = instance->registry;
    if (--instance->users > 0)
        return;
    instance_destroy(instance);
    metrics_fini(&instance->metrics);
    options_fini(instance->owned);
    free(instance->forms);
    free(instance);
    registry_unuse(registry);
}

/* ---- making one ---- */

static int configure(struct instance *instance, FILE *errors)
{
    static const struct soth_opt nothing[] = {SOTH_OPT_END};
    const struct soth_opt *table = instance->module.options ? instance->module.options : nothing;
    if (options_fill(table, instance->conf->config, instance->self, &instance->owned, errors, "config.") != 0)
        return -SOTH_ECONFIG;
    if (!instance->module.check)
        return SOTH_OK;
    instance->errors = errors;
    site_enter(instance, "check");
    int r = instance->module.check(&hostapi, instance->self);
    site_leave();
    instance->errors = NULL;
    if (r < 0 && instance->told == 0)
        say(errors, instance->conf, "config", "the module does not accept this configuration", 0);
    return r < 0 ? -SOTH_ECONFIG : SOTH_OK;
}

static uint32_t hooks_of(struct instance *instance)
{
    const struct soth_module *m = &instance->module;
    uint32_t has = (m->connect ? SOTH_HOOK_CONNECT : 0) | (m->request ? SOTH_HOOK_REQUEST : 0) | (m->response ? SOTH_HOOK_RESPONSE : 0) |
                   (m->frame ? SOTH_HOOK_FRAME : 0) | (m->rewrite ? SOTH_HOOK_REWRITE : 0) | (m->signal ? SOTH_HOOK_SIGNAL : 0);
    if (m->kind != SOTH_KIND_POLICY)
        return 0;
    return has & (m->hooks ? m->hooks(instance->self) : has);
}

static int create(struct instance *instance, FILE *errors)
{
    int r = SOTH_OK;
    if (instance->module.create) {
        instance->errors = errors;
        site_enter(instance, "create");
        r = instance->module.create(&hostapi, instance->self);
        site_leave();
        instance->errors = NULL;
    }
    if (r < 0) {
        if (instance->told == 0)
            say(errors, instance->conf, "module", "the module could not be started", 0);
        return instance->module.kind == SOTH_KIND_SINK ? -SOTH_EIO : -SOTH_EINVALID;
    }
    instance->created = true;
    instance->hooks = hooks_of(instance);
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

static struct instance *instance_new(struct registry *registry, const struct conf_module *conf, const struct soth_module *code,
                                     const struct soth_module *copy)
{
    struct instance *instance = calloc(1, sizeof *instance + copy->self_size);
    if (!instance)
        return NULL;
    instance->module = *copy;
    instance->code = code;
    instance->conf = conf;
    instance->site = site_name(conf->name);
    instance->registry = registry;
    instance->users = 1;
    instance->closed_on_error = conf->on_error == 1 || (conf->on_error == 2 && copy->kind == SOTH_KIND_POLICY);
    registry->users++;
    return instance;
}

/* The sink or source that runs already with this document and this code. One that was switched off is not kept: that is how it is
 * switched on again. */
static struct instance *find_same(const struct registry *previous, const struct conf_module *conf, const struct soth_module *code)
{
    for (size_t i = 0; previous && i < previous->n; i++) {
        struct instance *old = previous->v[i];
        bool keeps = old->module.kind == SOTH_KIND_SINK || old->module.kind == SOTH_KIND_SOURCE;
        if (keeps && old->code == code && !breaker_is_open(old) && strcmp(old->conf->name, conf->name) == 0 && conf_same_document(old->conf->document, conf->document))
            return old;
    }
    return NULL;
}

/* Loads, configures and checks; nothing is opened yet. */
static int add(struct registry *registry, const struct conf_module *conf, const struct settings *settings, const struct registry *previous,
               FILE *errors)
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
    struct instance *instance = conf->enabled ? find_same(previous, conf, module) : NULL;
    if (instance) {
        instance->users++;
    } else {
        instance = instance_new(registry, conf, module, &copy);
        error = instance ? configure(instance, errors) : -SOTH_ENOMEM;
        if (error < 0 || !conf->enabled) {
            if (instance)
                instance_put(instance);
            return error;
        }
    }
    registry->v[registry->n++] = instance;
    return SOTH_OK;
}

/* ---- all of them ---- */

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

/* A key of soth-mitm.yaml that does nothing without its module. */
static int check_learning(const struct registry *registry, const struct settings *settings, FILE *errors)
{
    if (settings->tls_learning != LEARNING_BYPASS)
        return SOTH_OK;
    for (size_t i = 0; i < registry->n; i++)
        if (strcmp(registry->v[i]->conf->module, "policy_tls_learning") == 0)
            return SOTH_OK;
    options_error(settings->document, "tls_learning", errors,
                  "'bypass' needs the module policy_tls_learning: enable it in conf.d, with the hosts that may be bypassed");
    return -SOTH_ECONFIG;
}

static int load_all(struct registry *registry, const struct settings *settings, const struct registry *previous, FILE *errors)
{
    int r = conf_modules_load(settings->conf_d, settings->conf_d_given, &registry->conf, errors);
    if (r == 0 && !(registry->v = calloc(registry->conf.n + 1, sizeof *registry->v)))
        r = -SOTH_ENOMEM;
    for (size_t i = 0; registry->v && i < registry->conf.n; i++) { /* all of them: one run shows every mistake */
        int wrong = add(registry, &registry->conf.v[i], settings, previous, errors);
        r = r < 0 ? r : wrong;
    }
    if (r == 0)
        r = check_learning(registry, settings, errors);
    if (r == 0)
        r = outputs_check(registry, errors);
    if (registry->n > 1)
        qsort(registry->v, registry->n, sizeof *registry->v, by_order);
    return r == 0 ? decoders_make(registry) : r;
}

static int create_all(struct registry *registry, FILE *errors)
{
    for (size_t i = 0; i < registry->n; i++) {
        struct instance *instance = registry->v[i];
        int r = instance->created ? SOTH_OK : create(instance, errors);
        if (r < 0)
            return r;
        registry->hooks |= instance->hooks;
    }
    decoders_warn(registry);
    return SOTH_OK;
}

static struct registry *registry_new(const struct settings *settings, struct registry_shared *shared)
{
    struct registry *registry = calloc(1, sizeof *registry);
    if (!registry)
        return NULL;
    registry->users = 1;
    registry->settings = *settings;
    registry->shared = shared ? shared : &registry->own;
    registry->bus = shared ? shared->bus : NULL;
    return registry;
}

int registry_open(const char *config_file, const struct settings *settings, bool check_only, FILE *errors, struct registry **out)
{
    struct registry *registry = registry_new(settings, NULL);
    (void)config_file;
    *out = NULL;
    if (!registry)
        return -SOTH_ENOMEM;
    int r = load_all(registry, settings, NULL, errors);
    if (r == 0 && !check_only)
        r = create_all(registry, errors);
    if (r == 0)
        *out = registry;
    else
        registry_free(registry);
    return r;
}

int registry_open_next(const struct settings *settings, struct registry_shared *shared, struct registry *previous, FILE *errors,
                       struct registry **out)
{
    struct registry *registry = registry_new(settings, shared);
    *out = NULL;
    if (!registry)
        return -SOTH_ENOMEM;
    int r = load_all(registry, settings, previous, errors);
    if (r == 0)
        r = create_all(registry, errors);
    if (r == 0)
        *out = registry;
    else
        registry_free(registry);
    return r;
}

void registry_free(struct registry *registry)
{
    if (!registry)
        return;
    for (size_t i = 0; i < registry->n; i++)
        instance_put(registry->v[i]);
    registry->n = 0;
    registry_unuse(registry);
}

bool registry_is_empty(const struct registry *registry)
{
    return registry->n == 0;
}

bool registry_lists(const struct registry *registry, const struct instance *instance)
{
    for (size_t i = 0; registry && i < registry->n; i++)
        if (registry->v[i] == instance)
            return true;
    return false;
}

uint32_t registry_hooks(const struct registry *registry)
{
    return registry->hooks;
}
