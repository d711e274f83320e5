/* SPDX-License-Identifier: MPL-2.0 */
/* See worker.h. The loop runs one turn at a time: events, then what they emitted is published, then commands. */
#include "host/net/worker.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "host/module/mailbox.h"
#include "host/module/registry.h"
#include "host/net/conn.h"
#include "host/net/dial.h"

#define PLAIN_SIZE 16384u   /* one TLS record's plaintext */
#define TRIM_AFTER 128u     /* closed connections that make it worth giving memory back */
#define TRIM_DELAY_S 2
#define RESERVE_BLOCK 1024
#define MAIL_MOST 256u      /* in one turn: a module that resumes inside its own hook must not stop the worker */

struct worker {
    struct worker_io io; /* first: conn.c only knows this part */
    pthread_t thread;
    unsigned number;
    int wake_fd;
    atomic_uint commands;
    struct listener *listener;
    struct event wake, trim;
    bool stale_clock, stop, trim_pending, idle_told;
    void (*idle)(void *arg);
    void *arg;
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
    io->env.bus->monotonic_ns = clock_ns(CLOCK_MONOTONIC);
    io->env.bus->unix_ms = clock_ns(CLOCK_REALTIME) / 1000000u;
}

/* glibc keeps what many closed connections used; a moment after they went it is given back. */
static void trim_fired(evutil_socket_t fd, short what, void *arg)
{
    struct worker *worker = arg;
    (void)fd;
    (void)what;
    worker->trim_pending = false;
    worker->io.closed_count = 0;
    for (unsigned i = 0; i < 2; i++) {
        buffer_fini(&worker->io.out[i]);
        buffer_fini(&worker->io.env.staged[i]);
    }
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
        bus_port_woken(io->env.bus);
        io->stopped_reading = io->env.bus->congested;
        conn_resume_all(io);
    }
    if ((commands & WORKER_DRAIN) && !io->draining) {
        io->draining = true;
        listener_stop(worker->listener);
        conn_drain_all(io);
    }
    if (commands & WORKER_MAIL)
        take_mail(worker);
    if (commands & WORKER_ABORT)
        conn_abort_all(io);
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
    snprintf(name, sizeof name, "worker-%u", worker->number);
    pthread_setname_np(pthread_self(), name);
    while (!worker->stop) {
        worker->stale_clock = true;
        event_base_loop(io->base, EVLOOP_ONCE);
        if (io->env.bus->pending)
            bus_flush(io->env.bus);
        io->stopped_reading |= io->env.bus->congested;
        if (io->draining && io->conn_count == 0 && !worker->idle_told) {
            worker->idle_told = true;
            worker->idle(worker->arg);
        }
    }
    conn_free_all(io);
    bus_flush(io->env.bus);
    return NULL;
}

static enum ask_result ask(void *policy, struct soth_flow *flow, struct ask *ask, const struct question *q)
{
    return registry_ask(policy, flow, ask, q);
}

static void flow_ends(void *policy, struct soth_flow *flow, struct ask *ask)
{
    registry_forget(policy, flow, ask);
    if (flow->generation)
        mailbox_leave(flow->mailbox, flow->slot);
    flow->generation = 0;
}

static void rewrite(void *policy, struct soth_flow *flow, const struct soth_message *message, struct verdict *out)
{
    registry_rewrite(policy, flow, message, out);
}

static bool ask_own(void *dialer, const struct soth_addr *addr, uint16_t port)
{
    return dialer_is_own(dialer, addr, port);
}

static bool make_env(struct worker *worker, struct shared *shared)
{
    struct worker_io *io = &worker->io;
    struct flow_env *env = &io->env;
    io->shared = shared;
    io->slab = malloc(WORKER_SLAB);
    env->plain = malloc(PLAIN_SIZE);
    env->plain_size = PLAIN_SIZE;
    env->settings = shared->settings;
    env->authority = shared->authority;
    env->trust = shared->trust;
    env->trust_any = shared->trust_any;
    env->tickets = shared->tickets;
    env->failures = shared->failures;
    env->counters = &io->counters;
    env->hooks = registry_hooks(shared->registry);
    env->policy = shared->registry;
    registry_chain_env(shared->registry, &io->chains);
    env->chains = io->chains.count > 0 ? &io->chains : NULL;
    env->ask = ask;
    env->forget = flow_ends;
    env->rewrite = rewrite;
    env->bus = bus_port_new(shared->bus, bus_ready, worker);
    env->mailbox = io->mailbox = mailbox_new(mail_ready, worker);
    return io->slab && env->plain && env->bus && io->mailbox;
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

static bool make_loop(struct worker *worker, struct shared *shared)
{
    size_t own_count;
    const struct dialer_own *own = listener_set_own(shared->listeners, &own_count);
    struct worker_io *io = &worker->io;
    io->base = make_base();
    worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (!io->base || worker->wake_fd < 0)
        return false;
    event_assign(&worker->wake, io->base, worker->wake_fd, EV_READ | EV_PERSIST, woken, worker);
    event_add(&worker->wake, NULL);
    evtimer_assign(&worker->trim, io->base, trim_fired, worker);
    io->dialer = dialer_new(io->base, shared->settings, own, own_count);
    io->env.dialer = io->dialer;
    io->env.is_own = ask_own;
    worker->listener = listener_start(shared->listeners, worker->number, io->base, accepted, worker);
    return io->dialer && worker->listener;
}

static void worker_free(struct worker *worker)
{
    struct worker_io *io = &worker->io;
    listener_free(worker->listener);
    dialer_free(io->dialer);
    bus_port_free(io->env.bus);
    mailbox_free(io->mailbox);
    if (io->base) {
        event_del(&worker->wake);
        event_del(&worker->trim);
        event_base_free(io->base);
    }
    if (worker->wake_fd >= 0)
        close(worker->wake_fd);
    for (unsigned i = 0; i < 2; i++) {
        buffer_fini(&io->out[i]);
        buffer_fini(&io->env.staged[i]);
    }
    free(io->env.plain);
    free(io->slab);
    free(worker);
}

struct worker *worker_start(struct shared *shared, unsigned number, void (*idle)(void *arg), void *arg)
{
    struct worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return NULL;
    worker->number = number;
    worker->wake_fd = -1;
    worker->idle = idle;
    worker->arg = arg;
    worker->stale_clock = true;
    if (!make_env(worker, shared) || !make_loop(worker, shared) || pthread_create(&worker->thread, NULL, run, worker) != 0) {
        worker_free(worker);
        return NULL;
    }
    return worker;
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

void worker_counters(const struct worker *worker, struct flow_counters *out)
{
    *out = worker->io.counters;
}
