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
#include "host/cli/version.h"
#include "host/event/bus.h"
#include "host/log.h"
#include "host/module/crash.h"
#include "host/module/watchdog.h"
#include "host/net/server.h"
#include "host/net/signals.h"
#include "host/status.h"

#define FLUSH_MS 10000     /* sinks may take this long at the end */
#define FAILURE_HOSTS 4096 /* hosts with TLS failure counters */
#define HANG_MS 10000      /* of the watchdog, until a configuration says it */

struct run {
    struct shared shared;
    struct server *server;
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

/* What a crash report says of this program; kept until the end. */
static void install_crash_report(void)
{
    static char about[512];
    char text[256] = "";
    size_t n = 0;
    FILE *out = fmemopen(text, sizeof text, "w");
    if (out) {
        version_print(out);
        fclose(out);
    }
    for (const char *c = text; *c && n + 2 < sizeof about; c++) { /* one line */
        about[n++] = *c == '\n' ? ',' : *c;
        if (*c == '\n')
            about[n++] = ' ';
    }
    about[n > 1 ? n - 2 : 0] = 0;
    crash_install(about);
    crash_thread_begin();
}

static bool open_shared(struct shared *shared)
{
    atomic_init(&shared->next_flow_id, 1);
    shared->bus = bus_new();
    if (shared->bus)
        bus_on_thread(shared->bus, crash_thread_begin, crash_thread_end);
    registry_shared_init(&shared->modules, shared->bus);
    shared->tickets = session_tickets_new();
    shared->failures = tls_failure_stats_new(FAILURE_HOSTS);
    shared->modules.heard = signals_heard;
    shared->modules.heard_arg = shared;
    shared->watchdog = shared->bus ? watchdog_new(shared->bus, HANG_MS) : NULL;
    return shared->tickets && shared->failures && shared->watchdog;
}

static void close_shared(struct shared *shared)
{
    watchdog_free(shared->watchdog);
    bus_free(shared->bus);
    registry_shared_fini(&shared->modules);
    session_tickets_free(shared->tickets);
    tls_failure_stats_free(shared->failures);
    tls_library_fini();
}

static int start(struct run *run, const struct cli *cli)
{
    enum exit_class class;
    char err[1024];
    status_print("startup", "in_progress", EXIT_CLASS_OK, "reading the configuration");
    if (tls_library_init() < 0)
        return fail(EXIT_CLASS_HOST_INIT_FAILED, "cannot initialise the TLS library");
    if (!open_shared(&run->shared))
        return fail(EXIT_CLASS_HOST_INIT_FAILED, "out of memory");
    run->server = server_start(&run->shared, cli->config_path, &class, err, sizeof err);
    return run->server ? 0 : fail(class, "%s", err);
}

static void announce(const struct run *run)
{
    char *where = server_addresses(run->server);
    char detail[1024];
    snprintf(detail, sizeof detail, "listening on %s", where ? where : "");
    status_print("running", "ready", EXIT_CLASS_OK, detail);
    log_at(SOTH_LOG_INFO, "%s", detail);
    free(where);
}

/* Returns how many events no sink took. */
static uint64_t stop(struct run *run)
{
    uint64_t undelivered = server_free(run->server, FLUSH_MS);
    close_shared(&run->shared);
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
    install_crash_report();
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
