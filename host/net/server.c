/* SPDX-License-Identifier: MPL-2.0 */
/* See server.h. The control thread sleeps in its own event loop; workers report by a byte in a pipe. */
#include "host/net/server.h"

#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "host/event/bus.h"
#include "host/log.h"
#include "host/net/metrics.h"

struct server {
    struct shared *shared;
    struct worker **workers;
    unsigned count, idle;
    struct event_base *base;
    struct event *signals[5], *report, *deadline;
    int pipe[2];
    bool draining, cut;
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

unsigned server_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return (unsigned)CPU_COUNT(&set);
    return 1;
}

static void command_all(struct server *server, unsigned commands)
{
    for (unsigned i = 0; i < server->count; i++)
        worker_command(server->workers[i], commands);
}

/* On a worker's thread. */
static void worker_idle(void *arg)
{
    struct server *server = arg;
    if (write(server->pipe[1], "", 1) < 0)
        return; /* a full pipe: the control thread has enough to read */
}

static void reported(evutil_socket_t fd, short what, void *arg)
{
    struct server *server = arg;
    char bytes[64];
    ssize_t n = read(fd, bytes, sizeof bytes);
    (void)what;
    if (n > 0)
        server->idle += (unsigned)n;
    if (server->idle >= server->count)
        event_base_loopbreak(server->base);
}

static void drain_late(evutil_socket_t fd, short what, void *arg)
{
    struct server *server = arg;
    (void)fd;
    (void)what;
    if (server->cut) { /* what was cut has had its moment to linger */
        event_base_loopbreak(server->base);
        return;
    }
    server->cut = true;
    log_at(SOTH_LOG_WARN, "drain_timeout passed, ending the flows that are left");
    command_all(server, WORKER_ABORT);
    struct timeval moment = {1, 0};
    event_add(server->deadline, &moment);
}

static void drain(struct server *server)
{
    uint64_t ms = server->shared->settings->drain_timeout;
    struct timeval in = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
    if (server->draining) { /* asked twice: no more patience */
        event_active(server->deadline, EV_TIMEOUT, 0);
        return;
    }
    server->draining = true;
    log_at(SOTH_LOG_INFO, "draining: no new connections, flows may end");
    event_add(server->deadline, &in);
    command_all(server, WORKER_DRAIN);
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
        metrics_print(server->shared, server->workers, server->count, stderr);
        break;
    case SIGHUP:
        log_at(SOTH_LOG_WARN, "SIGHUP: this version reads its configuration at start only; restart to apply changes");
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
    return server->report && server->deadline && event_add(server->report, NULL) == 0;
}

struct server *server_start(struct shared *shared, unsigned workers, char *err, size_t err_size)
{
    struct server *server = calloc(1, sizeof *server);
    if (!server)
        return NULL;
    server->shared = shared;
    server->pipe[0] = server->pipe[1] = -1;
    server->workers = calloc(workers, sizeof *server->workers);
    if (!server->workers || !make_control(server)) {
        snprintf(err, err_size, "cannot make the control loop");
        server_free(server);
        return NULL;
    }
    for (unsigned i = 0; i < workers; i++) {
        server->workers[i] = worker_start(shared, i, worker_idle, server);
        if (!server->workers[i]) {
            snprintf(err, err_size, "cannot start worker %u", i);
            server_free(server);
            return NULL;
        }
        server->count++;
    }
    return server;
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

void server_free(struct server *server)
{
    if (!server)
        return;
    command_all(server, WORKER_STOP);
    for (unsigned i = 0; i < server->count; i++)
        worker_join(server->workers[i]);
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++)
        if (server->signals[i])
            event_free(server->signals[i]);
    if (server->report)
        event_free(server->report);
    if (server->deadline)
        event_free(server->deadline);
    if (server->base)
        event_base_free(server->base);
    for (unsigned i = 0; i < 2; i++)
        if (server->pipe[i] >= 0)
            close(server->pipe[i]);
    free(server->workers);
    free(server);
}
