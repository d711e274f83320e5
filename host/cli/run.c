/* SPDX-License-Identifier: MPL-2.0 */
/*
 * `soth-mitm run`: builds the proxy from its configuration in the order in which things can fail, says so in one status line a stage,
 * runs until it is told to stop, and takes everything down in the reverse order. Sinks are flushed last.
 */
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host/cli/cli.h"
#include "host/conf/load.h"
#include "host/event/bus.h"
#include "host/log.h"
#include "host/module/registry.h"
#include "host/net/server.h"
#include "host/status.h"

#define FLUSH_MS 10000        /* sinks may take this long at the end */
#define SESSION_CACHE 4096    /* resumable origin sessions */
#define FAILURE_HOSTS 4096    /* hosts with TLS failure counters */

struct run {
    struct settings_file *file;
    const struct settings *settings;
    struct shared shared;
    struct server *server;
    bool bus_started;
    char *ca_cert, *ca_key;
};

static int fail(enum exit_class class, const char *format, ...) SOTH_PRINTF(2, 3);

static int fail(enum exit_class class, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log_at(SOTH_LOG_ERROR, "%s", text);
    status_print("exit", "error", class, text);
    return exit_code(class);
}

static int open_tls(struct run *run)
{
    const struct settings *s = run->settings;
    struct shared *shared = &run->shared;
    char err[512] = "";
    int created = 0;
    if (tls_library_init() < 0)
        return fail(EXIT_CLASS_HOST_INIT_FAILED, "cannot initialise the TLS library");
    run->ca_cert = *s->ca.cert_path ? strdup(s->ca.cert_path) : settings_default_ca("ca.pem");
    run->ca_key = *s->ca.key_path ? strdup(s->ca.key_path) : settings_default_ca("ca-key.pem");
    struct authority_config authority = {
        .cert_path = run->ca_cert,
        .key_path = run->ca_key,
        .common_name = s->ca.common_name,
        .organization = s->ca.organization,
        .leaf_cache_capacity = (uint32_t)s->ca.leaf_cache_capacity,
        .leaf_days = (uint32_t)s->ca.leaf_days,
        .rsa_leaves = s->downstream_cert_profile == CERT_COMPAT,
    };
    shared->authority = authority_open(&authority, AUTHORITY_CREATE, &created, err, sizeof err);
    if (!shared->authority)
        return fail(EXIT_CLASS_HOST_INIT_FAILED, "%s", err);
    if (created)
        log_at(SOTH_LOG_INFO, "created a certificate authority: %s; clients must trust it (soth-mitm ca export)", run->ca_cert);
    struct trust_config trust = {
        .extra_ca_file = s->upstream_ca_file,
        .skip_verify = s->upstream_tls_insecure_skip_verify,
        .session_cache = SESSION_CACHE,
        .use_system_store = 1,
    };
    shared->trust = trust_new(&trust, err, sizeof err);
    struct trust_config any = {.skip_verify = 1, .session_cache = SESSION_CACHE};
    shared->trust_any = shared->trust ? trust_new(&any, err, sizeof err) : NULL;
    if (!shared->trust || !shared->trust_any)
        return fail(EXIT_CLASS_HOST_INIT_FAILED, "%s", err);
    if (s->upstream_tls_insecure_skip_verify)
        log_at(SOTH_LOG_WARN, "upstream_tls_insecure_skip_verify is on: certificates of origins are NOT verified");
    shared->tickets = session_tickets_new();
    shared->failures = tls_failure_stats_new(FAILURE_HOSTS);
    if (!shared->tickets || !shared->failures)
        return fail(EXIT_CLASS_HOST_INIT_FAILED, "out of memory");
    return 0;
}

static int open_fixed_leaves(struct run *run)
{
    const struct settings_listen *listen = run->settings->listen.items;
    size_t n = run->settings->listen.n;
    char err[512] = "";
    run->shared.fixed_leaves = calloc(n, sizeof *run->shared.fixed_leaves);
    if (!run->shared.fixed_leaves)
        return fail(EXIT_CLASS_HOST_INIT_FAILED, "out of memory");
    for (size_t i = 0; i < n; i++) {
        if (!*listen[i].cert_path)
            continue;
        run->shared.fixed_leaves[i] = leaf_from_files(listen[i].cert_path, listen[i].key_path, err, sizeof err);
        if (!run->shared.fixed_leaves[i])
            return fail(EXIT_CLASS_HOST_INIT_FAILED, "%s", err);
    }
    return 0;
}

static enum exit_class registry_class(int error)
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

static int open_modules(struct run *run)
{
    char *messages = NULL;
    size_t size = 0;
    FILE *errors = open_memstream(&messages, &size);
    if (!errors)
        return fail(EXIT_CLASS_HOST_INIT_FAILED, "out of memory");
    int r = registry_open(settings_path(run->file), run->settings, false, errors, &run->shared.registry);
    fclose(errors);
    if (r < 0) {
        fputs(messages, stderr);
        char *end = messages ? strchr(messages, '\n') : NULL;
        if (end)
            *end = 0;
        r = fail(registry_class(r), "%s", messages && *messages ? messages : "cannot load the modules");
    }
    free(messages);
    if (r)
        return r;
    if (registry_is_empty(run->shared.registry))
        log_at(SOTH_LOG_WARN, "no modules in %s: everything is intercepted, nothing is recorded", run->settings->conf_d);
    run->shared.bus = bus_new();
    if (!run->shared.bus || registry_add_sinks(run->shared.registry, run->shared.bus) < 0 || bus_start(run->shared.bus) < 0)
        return fail(EXIT_CLASS_EVENT_SINK_INIT_FAILED, "cannot start the event sinks");
    run->bus_started = true;
    return 0;
}

static int open_listeners(struct run *run, unsigned workers)
{
    char err[512] = "";
    run->shared.listeners = listener_set_open(run->settings, workers, err, sizeof err);
    if (!run->shared.listeners)
        return fail(EXIT_CLASS_HOST_INIT_FAILED, "%s", err);
    run->server = server_start(&run->shared, workers, err, sizeof err);
    if (!run->server)
        return fail(EXIT_CLASS_HOST_INIT_FAILED, "%s", err);
    return 0;
}

static int start(struct run *run, const struct cli *cli)
{
    status_print("startup", "in_progress", EXIT_CLASS_OK, "reading the configuration");
    run->file = settings_load(cli->config_path, stderr);
    if (!run->file)
        return fail(EXIT_CLASS_CONFIG_INVALID, "the configuration is not valid");
    run->settings = run->shared.settings = settings_get(run->file);
    run->shared.governor.max_flows = (uint64_t)run->settings->max_concurrent_flows;
    atomic_init(&run->shared.next_flow_id, 1);
    unsigned workers = run->settings->workers ? (unsigned)run->settings->workers : server_cores();
    int r = open_tls(run);
    if (r == 0)
        r = open_fixed_leaves(run);
    if (r == 0)
        r = open_modules(run);
    if (r == 0)
        r = open_listeners(run, workers);
    return r;
}

static void announce(const struct run *run)
{
    char *where = listener_set_text(run->shared.listeners);
    char detail[1024];
    snprintf(detail, sizeof detail, "listening on %s", where ? where : "");
    status_print("running", "ready", EXIT_CLASS_OK, detail);
    log_at(SOTH_LOG_INFO, "%s", detail);
    free(where);
}

/* Returns how many events no sink took. */
static uint64_t stop(struct run *run)
{
    struct shared *shared = &run->shared;
    uint64_t undelivered = 0;
    server_free(run->server);
    listener_set_free(shared->listeners);
    if (run->bus_started)
        undelivered = bus_stop(shared->bus, FLUSH_MS);
    registry_free(shared->registry);
    bus_free(shared->bus);
    if (run->settings && shared->fixed_leaves)
        for (size_t i = 0; i < run->settings->listen.n; i++)
            leaf_put(shared->fixed_leaves[i]);
    free(shared->fixed_leaves);
    trust_free(shared->trust);
    trust_free(shared->trust_any);
    authority_free(shared->authority);
    session_tickets_free(shared->tickets);
    tls_failure_stats_free(shared->failures);
    tls_library_fini();
    settings_free(run->file);
    free(run->ca_cert);
    free(run->ca_key);
    return undelivered;
}

int run_command(const struct cli *cli)
{
    struct run run;
    memset(&run, 0, sizeof run);
    /* memory of closed connections goes back to the system; big buffers are reused, not mapped each time */
    mallopt(M_MMAP_THRESHOLD, 4 * 1024 * 1024);
    mallopt(M_TRIM_THRESHOLD, 8 * 1024 * 1024);
    umask(umask(0) | 027);
    server_block_signals();
    server_raise_files();
    int r = start(&run, cli);
    if (r != 0) {
        stop(&run);
        return r;
    }
    announce(&run);
    bool clean = server_wait(run.server);
    uint64_t undelivered = stop(&run);
    if (undelivered)
        log_at(SOTH_LOG_WARN, "%llu events could not be delivered before the end", (unsigned long long)undelivered);
    if (!clean)
        return fail(EXIT_CLASS_DRAIN_TIMEOUT, "flows were cut when drain_timeout passed");
    status_print("exit", "ok", EXIT_CLASS_OK, "stopped");
    return 0;
}
