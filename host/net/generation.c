/* SPDX-License-Identifier: MPL-2.0 */
/* See generation.h: in the order in which things can fail, and back in the reverse order. */
#include "host/net/generation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/log.h"
#include "host/module/registry.h"
#include "host/net/ca_config.h"
#include "host/net/worker.h"
#include "host/tls/session.h"

#define SESSION_CACHE 4096 /* resumable origin sessions */

/* One that is being opened. */
struct opening {
    struct shared *shared;
    struct generation *generation, *previous;
    enum exit_class *class;
    char *err;
    size_t err_size;
};

static bool failed(const struct opening *o, enum exit_class class)
{
    *o->class = class;
    return false;
}

/* Messages of the configuration, one line each: all of them to stderr, the first one is the error. */
struct messages {
    FILE *out;
    char *text;
    size_t size;
};

static bool messages_begin(struct messages *m)
{
    *m = (struct messages){0};
    m->out = open_memstream(&m->text, &m->size);
    return m->out != NULL;
}

static void messages_end(struct messages *m, const struct opening *o, bool wrong, const char *otherwise)
{
    fclose(m->out);
    if (wrong) {
        fputs(m->text ? m->text : "", stderr);
        size_t n = m->text ? strcspn(m->text, "\n") : 0;
        snprintf(o->err, o->err_size, "%.*s", n ? (int)n : (int)strlen(otherwise), n ? m->text : otherwise);
    }
    free(m->text);
}

static bool read_settings(struct opening *o, const char *path)
{
    struct messages m;
    if (!messages_begin(&m))
        return failed(o, EXIT_CLASS_HOST_INIT_FAILED);
    o->generation->file = settings_load(path, m.out);
    messages_end(&m, o, !o->generation->file, "the configuration is not valid");
    if (!o->generation->file)
        return failed(o, EXIT_CLASS_CONFIG_INVALID);
    o->generation->settings = settings_get(o->generation->file);
    return true;
}

static bool open_authority(struct opening *o)
{
    const struct settings *s = o->generation->settings;
    int created = 0;
    struct ca_config config;
    if (ca_config_init(&config, s) == SOTH_OK && o->previous)
        o->generation->authority = authority_renew(o->previous->authority, &config.authority, o->err, o->err_size);
    else if (config.cert_path && config.key_path)
        o->generation->authority = authority_open(&config.authority, AUTHORITY_CREATE, &created, o->err, o->err_size);
    if (created)
        log_at(SOTH_LOG_INFO, "created a certificate authority: %s; clients must trust it (soth-mitm ca install, soth-mitm ca env)", config.cert_path);
    ca_config_fini(&config);
    return o->generation->authority ? true : failed(o, EXIT_CLASS_HOST_INIT_FAILED);
}

static bool open_keylog(struct opening *o)
{
    const char *path = getenv("SSLKEYLOGFILE");
    if (!o->generation->settings->allow_keylog || !path || !*path) {
        if (o->generation->settings->allow_keylog)
            log_at(SOTH_LOG_WARN, "allow_keylog is on, but SSLKEYLOGFILE names no file: no keys are logged");
        return true;
    }
    if (!keylog_available()) {
        snprintf(o->err, o->err_size, "allow_keylog: the TLS library was built without key logging: use the one that scripts/setup builds");
        return failed(o, EXIT_CLASS_HOST_INIT_FAILED);
    }
    o->generation->keylog = keylog_open(path, o->err, o->err_size);
    if (!o->generation->keylog)
        return failed(o, EXIT_CLASS_HOST_INIT_FAILED);
    log_at(SOTH_LOG_WARN, "allow_keylog is on: the keys of ALL connections, of both sides, are written to %s", path);
    return true;
}

/* Always from the files as they are now. */
static bool open_trust(struct opening *o)
{
    const struct settings *s = o->generation->settings;
    const struct settings_client_cert *certs = s->upstream_client_certs.items;
    struct identity_config *identities = calloc(s->upstream_client_certs.n + 1, sizeof *identities);
    if (!identities)
        return failed(o, EXIT_CLASS_HOST_INIT_FAILED);
    for (size_t i = 0; i < s->upstream_client_certs.n; i++)
        identities[i] = (struct identity_config){certs[i].host_pattern, certs[i].cert_path, certs[i].key_path};
    struct trust_config config = {
        .extra_ca_file = s->upstream_ca_file,
        .skip_verify = s->upstream_tls_insecure_skip_verify,
        .session_cache = SESSION_CACHE,
        .use_system_store = 1,
        .profile = s->tls_profile,
        .min_rsa_bits = (uint32_t)s->min_rsa_bits,
        .lanes = o->shared->workers,
        .revocation = s->revocation_policy_mode,
        .client_auth = s->upstream_client_auth_mode,
        .identities = identities,
        .identity_count = s->upstream_client_certs.n,
        .crl_files = s->crl_files.v,
        .crl_count = s->crl_files.n,
        .keylog = o->generation->keylog,
    };
    struct trust_config any = config;
    any.skip_verify = 1;
    any.use_system_store = 0; /* nobody is asked */
    any.extra_ca_file = NULL;
    any.crl_count = 0;
    any.revocation = REVOCATION_OFF;
    o->generation->trust = trust_new(&config, o->err, o->err_size);
    o->generation->trust_any = o->generation->trust ? trust_new(&any, o->err, o->err_size) : NULL;
    free(identities);
    if (!o->generation->trust || !o->generation->trust_any)
        return failed(o, EXIT_CLASS_HOST_INIT_FAILED);
    if (s->upstream_tls_insecure_skip_verify)
        log_at(SOTH_LOG_WARN, "upstream_tls_insecure_skip_verify is on: certificates of origins are NOT verified");
    return true;
}

static bool open_fixed_leaves(struct opening *o)
{
    const struct settings_listen *listen = o->generation->settings->listen.items;
    size_t n = o->generation->settings->listen.n;
    struct leaf **leaves = o->generation->fixed_leaves = calloc(n, sizeof *leaves);
    if (!leaves)
        return failed(o, EXIT_CLASS_HOST_INIT_FAILED);
    for (size_t i = 0; i < n; i++) {
        if (!*listen[i].cert_path)
            continue;
        leaves[i] = leaf_from_files(listen[i].cert_path, listen[i].key_path, o->err, o->err_size);
        if (!leaves[i])
            return failed(o, EXIT_CLASS_HOST_INIT_FAILED);
    }
    return true;
}

static enum exit_class class_of(int error)
{
    switch (-error) {
    case SOTH_ECONFIG:
        return EXIT_CLASS_CONFIG_INVALID;
    case SOTH_ENOENT:
    case SOTH_EABI:
        return EXIT_CLASS_MODULE_LOAD_FAILED;
    case SOTH_EIO:
        return EXIT_CLASS_EVENT_SINK_INIT_FAILED;
    default:
        return EXIT_CLASS_HOST_INIT_FAILED;
    }
}

static bool open_modules(struct opening *o)
{
    struct messages m;
    if (!messages_begin(&m))
        return failed(o, EXIT_CLASS_HOST_INIT_FAILED);
    struct registry *previous = o->previous ? o->previous->registry : NULL;
    int r = registry_open_next(o->generation->settings, &o->shared->modules, previous, m.out, &o->generation->registry);
    messages_end(&m, o, r < 0, "cannot load the modules");
    if (r < 0)
        return failed(o, class_of(r));
    if (registry_is_empty(o->generation->registry))
        log_at(SOTH_LOG_WARN, "no modules in %s: everything is intercepted, nothing is recorded", o->generation->settings->conf_d);
    return true;
}

static bool open_listeners(struct opening *o)
{
    const struct listener_set *previous = o->previous ? o->previous->listeners : NULL;
    o->generation->listeners = listener_set_open(o->generation->settings, o->shared->workers, previous, o->err, o->err_size);
    return o->generation->listeners ? true : failed(o, EXIT_CLASS_HOST_INIT_FAILED);
}

static unsigned wanted_workers(const struct settings *settings)
{
    return settings->workers ? (unsigned)settings->workers : worker_cores();
}

struct generation *generation_open(struct shared *shared, const char *path, struct generation *previous, enum exit_class *class, char *err,
                                   size_t err_size)
{
    struct opening o = {shared, calloc(1, sizeof *o.generation), previous, class, err, err_size};
    snprintf(err, err_size, "out of memory");
    *class = EXIT_CLASS_HOST_INIT_FAILED;
    if (!o.generation)
        return NULL;
    o.generation->number = previous ? previous->number + 1 : 1;
    if (read_settings(&o, path)) {
        if (!previous)
            shared->workers = wanted_workers(o.generation->settings);
        if (open_authority(&o) && open_keylog(&o) && open_trust(&o) && open_fixed_leaves(&o) && open_modules(&o) && open_listeners(&o))
            return o.generation;
    }
    generation_free(o.generation);
    return NULL;
}

void generation_free(struct generation *g)
{
    if (!g)
        return;
    listener_set_free(g->listeners);
    registry_free(g->registry);
    for (size_t i = 0; g->fixed_leaves && i < g->settings->listen.n; i++)
        leaf_put(g->fixed_leaves[i]);
    free(g->fixed_leaves);
    trust_free(g->trust_any);
    trust_free(g->trust);
    keylog_close(g->keylog);
    authority_free(g->authority);
    settings_free(g->file);
    free(g);
}
