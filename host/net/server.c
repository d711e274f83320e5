/* SPDX-License-Identifier: MPL-2.0 */
/* See server.h. The control thread sleeps in its own event loop; workers report by a byte in a pipe. */
#include "host/net/server.h"

#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "host/event/bus.h"
#include "host/log.h"
#include "host/module/registry.h"
#include "host/module/watchdog.h"
#include "host/net/metrics.h"
#include "host/net/reload.h"
#include "host/net/rotation.h"

struct server {
    struct shared *shared;
    const char *path;
    struct workers *workers;
    struct generation *current, *old; /* old: some connections still have them */
    uint64_t reloads, refused_reloads, ca_rotations;
    unsigned idle;
    struct event_base *base;
    struct event *signals[5], *report, *deadline, *tending;
    int pipe[2];
    bool draining, late, cut; /* late: drain_timeout has passed; cut: and somebody was not done */
};

static const int handled[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};

void server_block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++)
        sigaddset(&set, handled[i]);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is a failed write, not a death */
}

unsigned long server_raise_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 0;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    return limit.rlim_cur;
}

/* ---- reports of other threads, a byte each ---- */

#define REPORT_IDLE 'i'
#define REPORT_CUT 'c'
#define REPORT_DONE 'd' /* somebody is done with a generation or a sink: look what can go */

static void report(struct server *server, char what)
{
    if (write(server->pipe[1], &what, 1) < 0)
        return; /* a full pipe: the control thread has enough to read */
}

static void worker_idle(void *arg)
{
    report(arg, REPORT_IDLE);
}

static void worker_cut(void *arg)
{
    report(arg, REPORT_CUT);
}

static void something_done(void *arg)
{
    report(arg, REPORT_DONE);
}

/* Generations that nobody has any more, and sinks that have written what they had. */
static void reap(struct server *server)
{
    bus_reap(server->shared->bus, registry_sink_ended);
    for (struct generation **at = &server->old; *at;) {
        struct generation *g = *at;
        if (atomic_load(&g->users) > 0) {
            at = &g->next;
            continue;
        }
        *at = g->next;
        generation_free(g);
    }
}

static void cut_short(struct server *server)
{
    if (!server->cut)
        log_at(SOTH_LOG_WARN, "drain_timeout passed, the flows that were left were cut");
    server->cut = true;
}

static void reported(evutil_socket_t fd, short what, void *arg)
{
    struct server *server = arg;
    char bytes[64];
    ssize_t n = read(fd, bytes, sizeof bytes);
    (void)what;
    for (ssize_t i = 0; i < n; i++) {
        server->idle += bytes[i] == REPORT_IDLE;
        if (bytes[i] == REPORT_CUT)
            cut_short(server);
    }
    reap(server);
    if (server->idle >= server->shared->workers)
        event_base_loopbreak(server->base);
}

/* ---- what is told of reloads ---- */

static void tell(struct server *server, const char *outcome, uint64_t number, const char *detail)
{
    struct soth_attr attrs[] = {ATTR_WORD("detail", *detail ? detail : NULL), ATTR_NUMBER("generation", number), ATTR_WORD("outcome", outcome)};
    bus_emit_system(server->shared->bus, SOTH_EV_CONFIG_RELOADED, attrs, 3);
}

static void refused(struct server *server, const char *err)
{
    server->refused_reloads++;
    log_at(SOTH_LOG_ERROR, "SIGHUP: nothing was changed: %s", err);
    tell(server, "refused", server->current->number, err);
}

static void applied(struct server *server)
{
    char text[512], *where = server_addresses(server);
    server->reloads++;
    reload_leftovers(server->shared, server->current, text, sizeof text);
    log_at(SOTH_LOG_INFO, "SIGHUP: configuration %llu is in effect for new connections, listening on %s",
           (unsigned long long)server->current->number, where ? where : "");
    if (*text)
        log_at(SOTH_LOG_WARN, "%s", text);
    tell(server, "applied", server->current->number, text);
    free(where);
}

/* ---- the CA's age ---- */

static void tend_in(struct server *server, int64_t seconds)
{
    struct timeval in = {(time_t)seconds, 0};
    event_add(server->tending, &in);
}

/* The authority is looked after when its age asks for it, and at least once a day. */
static void tend(evutil_socket_t fd, short what, void *arg)
{
    struct server *server = arg;
    char text[512];
    (void)fd;
    (void)what;
    enum rotation r = rotation_tend(server->current, text, sizeof text);
    if (r == ROTATION_DONE) {
        server->ca_rotations++;
        tell(server, "applied", server->current->number, text);
    }
    tend_in(server, rotation_next(server->current, r));
}

/* ---- SIGHUP ---- */

static void reload(struct server *server)
{
    enum exit_class class;
    char err[1024] = "";
    if (server->draining) {
        log_at(SOTH_LOG_WARN, "SIGHUP: draining, the configuration is not read any more");
        return;
    }
    struct generation *previous = server->current;
    struct generation *next = generation_open(server->shared, server->path, previous, &class, err, sizeof err);
    if (!next || reload_take_over(server->shared, server->workers, next, previous, &class, err, sizeof err) < 0) {
        generation_free(next);
        refused(server, err);
        return;
    }
    server->current = next;
    previous->next = server->old;
    server->old = previous;
    applied(server);
    tend_in(server, 0); /* another CA, or another age */
    reap(server);
}

/* ---- drain ---- */

static void drain_late(evutil_socket_t fd, short what, void *arg)
{
    struct server *server = arg;
    (void)fd;
    (void)what;
    if (server->late) { /* a hook keeps its worker: it is not waited for */
        cut_short(server);
        event_base_loopbreak(server->base);
        return;
    }
    server->late = true;
    workers_command(server->workers, WORKER_ABORT);
    struct timeval moment = {1, 0};
    event_add(server->deadline, &moment);
}

static void drain(struct server *server)
{
    uint64_t ms = server->current->settings->drain_timeout;
    struct timeval in = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
    if (server->draining) { /* asked twice: no more patience */
        event_active(server->deadline, EV_TIMEOUT, 0);
        return;
    }
    server->draining = true;
    log_at(SOTH_LOG_INFO, "draining: no new connections, flows may end");
    event_add(server->deadline, &in);
    workers_command(server->workers, WORKER_DRAIN);
}

/* ---- signals ---- */

static void print_metrics(struct server *server)
{
    struct server_state state = {server->shared, server->workers, server->current, 1, server->reloads, server->refused_reloads,
                                 server->ca_rotations};
    char *text = NULL;
    size_t n = 0;
    for (const struct generation *g = server->old; g; g = g->next)
        state.generations++;
    FILE *out = open_memstream(&text, &n);
    if (!out)
        return;
    metrics_print(&state, out);
    if (fclose(out) == 0)
        log_verbatim(text, n);
    free(text);
}

static void signalled(evutil_socket_t number, short what, void *arg)
{
    struct server *server = arg;
    (void)what;
    switch ((int)number) {
    case SIGUSR1:
        bus_reopen(server->shared->bus);
        break;
    case SIGUSR2:
        print_metrics(server);
        break;
    case SIGHUP:
        reload(server);
        break;
    default:
        drain(server);
        break;
    }
}

static bool make_control(struct server *server)
{
    server->base = event_base_new();
    if (!server->base || pipe2(server->pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        return false;
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++) {
        server->signals[i] = evsignal_new(server->base, handled[i], signalled, server);
        if (!server->signals[i] || event_add(server->signals[i], NULL) < 0)
            return false;
    }
    server->report = event_new(server->base, server->pipe[0], EV_READ | EV_PERSIST, reported, server);
    server->deadline = evtimer_new(server->base, drain_late, server);
    server->tending = evtimer_new(server->base, tend, server);
    return server->report && server->deadline && server->tending && event_add(server->report, NULL) == 0;
}

/* ---- life ---- */

static bool start(struct server *server, enum exit_class *class, char *err, size_t err_size)
{
    struct shared *shared = server->shared;
    *class = EXIT_CLASS_HOST_INIT_FAILED;
    snprintf(err, err_size, "cannot make the control loop");
    if (!make_control(server))
        return false;
    bus_on_gone(shared->bus, something_done, server);
    struct generation *first = generation_open(shared, server->path, NULL, class, err, err_size);
    if (!first)
        return false;
    *class = EXIT_CLASS_HOST_INIT_FAILED;
    const struct workers_reports reports = {worker_idle, worker_cut, something_done, server};
    server->workers = workers_start(shared, &reports, err, err_size);
    if (!server->workers || reload_take_over(shared, server->workers, first, NULL, class, err, err_size) < 0) {
        workers_free(server->workers);
        server->workers = NULL;
        generation_free(first);
        return false;
    }
    server->current = first;
    tend_in(server, 0);
    return true;
}

struct server *server_start(struct shared *shared, const char *path, enum exit_class *class, char *err, size_t err_size)
{
    struct server *server = calloc(1, sizeof *server);
    snprintf(err, err_size, "out of memory");
    *class = EXIT_CLASS_HOST_INIT_FAILED;
    if (!server)
        return NULL;
    server->shared = shared;
    server->path = path;
    server->pipe[0] = server->pipe[1] = -1;
    if (start(server, class, err, err_size))
        return server;
    server_free(server, 0);
    return NULL;
}

char *server_addresses(const struct server *server)
{
    return listener_set_text(server->current->listeners);
}

bool server_wait(struct server *server)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++)
        sigaddset(&set, handled[i]);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    event_base_dispatch(server->base);
    return !server->cut;
}

static void free_control(struct server *server)
{
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++)
        if (server->signals[i])
            event_free(server->signals[i]);
    if (server->report)
        event_free(server->report);
    if (server->deadline)
        event_free(server->deadline);
    if (server->tending)
        event_free(server->tending);
    if (server->base)
        event_base_free(server->base);
    for (unsigned i = 0; i < 2; i++)
        if (server->pipe[i] >= 0)
            close(server->pipe[i]);
}

/* Workers, sources, sinks, instances: whoever may still call the next ones goes first. */
uint64_t server_free(struct server *server, uint32_t flush_ms)
{
    if (!server)
        return 0;
    struct shared *shared = server->shared;
    workers_free(server->workers);
    if (server->current)
        registry_stop_sources(server->current->registry);
    uint64_t undelivered = bus_stop(shared->bus, flush_ms);
    bus_on_gone(shared->bus, NULL, NULL);
    reap(server);
    registry_make_current(&shared->modules, NULL);
    generation_free(server->current);
    free_control(server);
    free(server);
    return undelivered;
}
