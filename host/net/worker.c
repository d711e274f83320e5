/* SPDX-License-Identifier: MPL-2.0 */
/* See worker.h. The loop runs one turn at a time: events, then what they emitted is published, then commands. */
#include "host/net/worker.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "host/module/crash.h"
#include "host/module/mailbox.h"
#include "host/module/watchdog.h"
#include "host/net/conn.h"
#include "host/net/generation.h"
#include "host/net/hangup.h"
#include "host/net/worker_env.h"

#define TRIM_AFTER 64u      /* closed connections, or streams put to rest, that make it worth giving memory back */
#define TRIM_DELAY_S 2
#define RESERVE_BLOCK 1024
#define MAIL_MOST 256u      /* in one turn: a module that resumes inside its own hook must not stop the worker */

struct worker {
    struct worker_io io; /* first: conn.c only knows this part */
    pthread_t thread;
    int wake_fd;
    atomic_uint commands;
    struct generation *offer;
    struct listener *listener;
    struct worker_env *next, *old; /* next: prepared; old: with flows that are not over */
    struct event wake, trim;
    bool stale_clock, stop, trim_pending, idle_told;
    struct worker_reports reports;
};

static uint64_t clock_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

void worker_clock(struct worker_io *io)
{
    struct worker *worker = (struct worker *)io;
    if (!worker->stale_clock)
        return;
    worker->stale_clock = false;
    io->bus->monotonic_ns = clock_ns(CLOCK_MONOTONIC);
    io->bus->unix_ms = clock_ns(CLOCK_REALTIME) / 1000000u;
}

static void give_back(struct worker_env *env)
{
    for (unsigned i = 0; env && i < 2; i++)
        buffer_fini(&env->flow.staged[i]);
}

/* glibc keeps what many closed connections used; a moment after they went it is given back. */
static void trim_fired(evutil_socket_t fd, short what, void *arg)
{
    struct worker *worker = arg;
    (void)fd;
    (void)what;
    worker->trim_pending = false;
    worker->io.closed_count = 0;
    for (unsigned i = 0; i < 2; i++)
        buffer_fini(&worker->io.out[i]);
    give_back(worker->io.env);
    for (struct worker_env *env = worker->old; env; env = env->next)
        give_back(env);
    malloc_trim(0);
}

void worker_conn_gone(struct worker_io *io)
{
    struct worker *worker = (struct worker *)io;
    if (++io->closed_count < TRIM_AFTER || worker->trim_pending)
        return;
    struct timeval delay = {TRIM_DELAY_S, 0};
    worker->trim_pending = true;
    evtimer_add(&worker->trim, &delay);
}

static void nothing(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

void worker_reserve(struct worker_io *io, int fd)
{
    if (fd < io->reserved_fds)
        return;
    int end = (fd / RESERVE_BLOCK + 1) * RESERVE_BLOCK;
    for (; io->reserved_fds < end; io->reserved_fds++) {
        struct event probe; /* added and removed before the loop looks: no system call */
        event_assign(&probe, io->base, io->reserved_fds, EV_READ, nothing, NULL);
        if (event_add(&probe, NULL) == 0)
            event_del(&probe);
    }
}

/* ---- generations ---- */

static void prepare(struct worker *worker)
{
    char err[256] = "out of memory";
    worker->next = worker_env_new(&worker->io, worker->offer, err, sizeof err);
    if (worker->next && listener_prepare(worker->listener, worker->offer->listeners) < 0) {
        snprintf(err, sizeof err, "worker %u cannot listen: no memory, or no descriptors", worker->io.number);
        worker_env_free(&worker->io, worker->next);
        worker->next = NULL;
    }
    worker->reports.answered(worker->reports.arg, worker->next ? NULL : err);
}

static void discard(struct worker *worker)
{
    listener_discard(worker->listener);
    worker_env_free(&worker->io, worker->next);
    worker->next = NULL;
    worker->reports.answered(worker->reports.arg, NULL);
}

static void adopt(struct worker *worker)
{
    struct worker_io *io = &worker->io;
    listener_accept_last(worker->listener);
    if (io->env) {
        io->env->next = worker->old;
        worker->old = io->env;
    }
    io->env = worker->next;
    worker->next = NULL;
    listener_commit(worker->listener, io->env->generation->listeners);
    bus_port_woken(io->bus);
    worker->reports.answered(worker->reports.arg, NULL);
}

/* Those that no connection has any more. */
static void release(struct worker *worker)
{
    for (struct worker_env **at = &worker->old; *at;) {
        struct worker_env *env = *at;
        if (env->conns > 0) {
            at = &env->next;
            continue;
        }
        *at = env->next;
        worker_env_free(&worker->io, env);
        worker->reports.released(worker->reports.arg);
    }
}

/* ---- commands ---- */

static void take_mail(struct worker *worker)
{
    struct mail mail;
    unsigned n = 0;
    for (; n < MAIL_MOST && mailbox_take(worker->io.mailbox, &mail); n++)
        conn_resumed(mail.owner, mail.pause, mail.arg);
    if (n == MAIL_MOST)
        worker_command(worker, WORKER_MAIL);
}

static void take_commands(struct worker *worker)
{
    struct worker_io *io = &worker->io;
    unsigned commands = atomic_exchange(&worker->commands, 0);
    worker_clock(io);
    if (commands & WORKER_WAKE) {
        bus_port_woken(io->bus);
        io->stopped_reading = io->bus->congested;
        conn_resume_all(io);
    }
    if (commands & WORKER_COUNT)
        worker->reports.counted(worker->reports.arg, io->number, &io->counters);
    if (commands & WORKER_PREPARE)
        prepare(worker);
    if (commands & WORKER_ADOPT)
        adopt(worker);
    if (commands & WORKER_DISCARD)
        discard(worker);
    if ((commands & WORKER_DRAIN) && !io->draining) {
        io->draining = true;
        listener_stop(worker->listener);
        conn_drain_all(io);
    }
    if (commands & WORKER_MAIL)
        take_mail(worker);
    if ((commands & WORKER_ABORT) && conn_abort_all(io) > 0)
        worker->reports.cut(worker->reports.arg);
    if (commands & WORKER_STOP)
        worker->stop = true;
}

static void woken(evutil_socket_t fd, short what, void *arg)
{
    uint64_t count;
    (void)what;
    if (read(fd, &count, sizeof count) > 0)
        take_commands(arg);
}

static void mail_ready(void *arg)
{
    worker_command(arg, WORKER_MAIL);
}

static void bus_ready(void *arg)
{
    worker_command(arg, WORKER_WAKE);
}

static void accepted(void *arg, int fd, const struct settings_listen *listen, const char *client, const struct soth_addr *addr)
{
    struct worker *worker = arg;
    conn_open(&worker->io, fd, listen, client, addr);
}

static void *run(void *arg)
{
    struct worker *worker = arg;
    struct worker_io *io = &worker->io;
    char name[16];
    snprintf(name, sizeof name, "worker-%u", io->number);
    pthread_setname_np(pthread_self(), name);
    crash_thread_begin();
    (void)!watchdog_enter(io->shared->watchdog);
    while (!worker->stop) {
        worker->stale_clock = true;
        event_base_loop(io->base, EVLOOP_ONCE);
        if (io->bus->pending)
            bus_flush(io->bus);
        io->stopped_reading |= io->bus->congested;
        if (worker->old)
            release(worker);
        if (io->draining && io->conn_count == 0 && !worker->idle_told) {
            worker->idle_told = true;
            worker->reports.idle(worker->reports.arg);
        }
    }
    conn_free_all(io);
    bus_flush(io->bus);
    release(worker);
    worker_env_free(io, io->env);
    watchdog_leave(io->shared->watchdog);
    crash_thread_end();
    return NULL;
}

static struct event_base *make_base(void)
{
    struct event_config *config = event_config_new();
    if (!config)
        return NULL;
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

static bool make_loop(struct worker *worker)
{
    struct worker_io *io = &worker->io;
    io->base = make_base();
    worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (!io->base || worker->wake_fd < 0)
        return false;
    event_assign(&worker->wake, io->base, worker->wake_fd, EV_READ | EV_PERSIST, woken, worker);
    event_add(&worker->wake, NULL);
    evtimer_assign(&worker->trim, io->base, trim_fired, worker);
    worker->listener = listener_new(io->number, io->base, accepted, worker);
    io->hangup = hangup_new(io->base, conn_hung_up);
    io->slab = malloc(WORKER_SLAB);
    io->plain = malloc(WORKER_PLAIN);
    io->bus = bus_port_new(io->shared->bus, bus_ready, worker);
    io->mailbox = mailbox_new(mail_ready, worker);
    return worker->listener && io->hangup && io->slab && io->plain && io->bus && io->mailbox;
}

static void worker_free(struct worker *worker)
{
    struct worker_io *io = &worker->io;
    listener_free(worker->listener);
    bus_port_free(io->bus);
    mailbox_free(io->mailbox);
    hangup_free(io->hangup);
    if (io->base) {
        event_del(&worker->wake);
        event_del(&worker->trim);
        event_base_free(io->base);
    }
    if (worker->wake_fd >= 0)
        close(worker->wake_fd);
    for (unsigned i = 0; i < 2; i++)
        buffer_fini(&io->out[i]);
    free(io->plain);
    free(io->slab);
    free(worker);
}

struct worker *worker_start(struct shared *shared, unsigned number, const struct worker_reports *reports)
{
    struct worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return NULL;
    worker->io.shared = shared;
    worker->io.number = number;
    worker->wake_fd = -1;
    worker->reports = *reports;
    worker->stale_clock = true;
    if (!make_loop(worker) || pthread_create(&worker->thread, NULL, run, worker) != 0) {
        worker_free(worker);
        return NULL;
    }
    return worker;
}

void worker_offer(struct worker *worker, struct generation *generation)
{
    worker->offer = generation;
}

void worker_command(struct worker *worker, unsigned commands)
{
    uint64_t one = 1;
    atomic_fetch_or(&worker->commands, commands);
    if (write(worker->wake_fd, &one, sizeof one) < 0)
        return; /* the counter is full: the worker is awake already */
}

void worker_join(struct worker *worker)
{
    if (!worker)
        return;
    pthread_join(worker->thread, NULL);
    worker_free(worker);
}

unsigned worker_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return (unsigned)CPU_COUNT(&set);
    return 1;
}
