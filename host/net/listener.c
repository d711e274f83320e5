/* SPDX-License-Identifier: MPL-2.0 */
/* See listener.h. Sets are the control thread's; what accepts is a worker's own. */
#include "host/net/listener.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/log.h"
#include "host/net/address.h"
#include "host/net/bound.h"

#define ACCEPTS_PER_TURN 64
#define LAST_ACCEPTS 4096 /* before an address is given up */
#define PAUSE_MS 100      /* no descriptors: wait for some to come back */

struct listener_set {
    struct {
        struct bound *bound;
        const struct settings_listen *listen;
    } *v;
    size_t n;
    struct dialer_own *own;
};

/* One address of one worker. */
struct port {
    struct listener *listener;
    struct bound *bound;
    const struct settings_listen *listen;
    int fd;
    struct event *event, *resume;
    bool told, kept;
};

struct ports {
    struct port **v;
    size_t n;
};

struct listener {
    unsigned worker;
    struct event_base *base;
    struct ports now, next; /* next: between prepare and commit */
    listener_accepted *accepted;
    void *arg;
};

/* ---- sets ---- */

static bool has(const struct listener_set *set, const struct bound *bound)
{
    for (size_t i = 0; i < set->n; i++)
        if (set->v[i].bound == bound)
            return true;
    return false;
}

static struct bound *find(const struct listener_set *previous, const struct listener_set *set, const struct settings_listen *listen)
{
    for (size_t i = 0; previous && i < previous->n; i++) {
        struct bound *b = previous->v[i].bound;
        if (bound_is(b, listen) && !has(set, b))
            return b;
    }
    return NULL;
}

static bool has_port(const struct listener_set *set, int64_t port)
{
    for (size_t i = 0; set && i < set->n; i++)
        if (!set->v[i].bound->is_unix && address_port(&set->v[i].bound->addr) == port)
            return true;
    return false;
}

/* What to say where this process has the port that is wanted; NULL: it has not. */
static const char *ours(const struct listener_set *previous, const struct listener_set *set, const struct settings_listen *listen)
{
    if (has_port(set, listen->port))
        return "; another entry of listen: has this port already ([::] takes IPv4, too)";
    if (has_port(previous, listen->port))
        return "; soth-mitm itself has this port, on an overlapping address: name one of them, and restart to change from one to the other";
    return NULL;
}

static struct bound *get(const struct listener_set *previous, const struct listener_set *set, const struct settings_listen *listen,
                         unsigned workers, char *err, size_t err_size)
{
    struct bound *b = find(previous, set, listen);
    if (!b)
        return bound_open(listen, workers, ours(previous, set, listen), err, err_size);
    b->sets++;
    return b;
}

struct listener_set *listener_set_open(const struct settings *settings, unsigned workers, const struct listener_set *previous, char *err,
                                       size_t err_size)
{
    struct listener_set *set = calloc(1, sizeof *set);
    const struct settings_listen *listen = settings->listen.items;
    size_t n = settings->listen.n;
    if (!set || !(set->v = calloc(n, sizeof *set->v)) || !(set->own = calloc(n, sizeof *set->own))) {
        snprintf(err, err_size, "out of memory");
        listener_set_free(set);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        struct bound *b = get(previous, set, &listen[i], workers, err, err_size);
        if (!b) {
            listener_set_free(set);
            return NULL;
        }
        set->v[i].bound = b;
        set->v[i].listen = &listen[i];
        set->own[i] = (struct dialer_own){b->addr, b->addr_len};
        set->n++;
    }
    return set;
}

void listener_set_free(struct listener_set *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->n; i++)
        bound_put(set->v[i].bound);
    free(set->v);
    free(set->own);
    free(set);
}

char *listener_set_text(const struct listener_set *set)
{
    char *out = calloc(set->n + 1, ADDRESS_TEXT_MAX + 2);
    for (size_t i = 0; out && i < set->n; i++) {
        char text[ADDRESS_TEXT_MAX];
        address_text(&set->v[i].bound->addr, text);
        if (i)
            strcat(out, ", ");
        strcat(out, text);
    }
    return out;
}

const struct dialer_own *listener_set_own(const struct listener_set *set, size_t *count)
{
    *count = set->n;
    return set->own;
}

/* ---- accepting ---- */

static bool benign(int error)
{
    return error == EAGAIN || error == EINTR || error == ECONNABORTED || error == EPROTO || error == ENETDOWN || error == EHOSTUNREACH ||
           error == ENETUNREACH || error == EPERM;
}

static void out_of_descriptors(struct port *port, int error)
{
    struct timeval pause = {0, PAUSE_MS * 1000};
    if (!port->told)
        log_at(SOTH_LOG_WARN, "cannot accept: %s; new connections wait until descriptors are free (raise the limit of open files)",
               strerror(error));
    port->told = true;
    event_del(port->event);
    event_add(port->resume, &pause);
}

static void resume(evutil_socket_t fd, short what, void *arg)
{
    struct port *port = arg;
    (void)fd;
    (void)what;
    event_add(port->event, NULL);
}

/* False when nobody waits any more. */
static bool accept_one(struct port *port)
{
    struct sockaddr_storage sa = {0};
    socklen_t size = sizeof sa;
    char text[ADDRESS_TEXT_MAX];
    struct soth_addr addr;
    int client = accept4(port->fd, (struct sockaddr *)&sa, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client < 0) {
        if (errno == EAGAIN)
            port->told = false; /* the queue is empty: a shortage is over */
        else if (!benign(errno))
            out_of_descriptors(port, errno);
        return false;
    }
    address_text(port->bound->is_unix ? &port->bound->addr : &sa, text);
    address_plain(&sa, &addr);
    port->listener->accepted(port->listener->arg, client, port->listen, text, &addr);
    return true;
}

static void readable(evutil_socket_t fd, short what, void *arg)
{
    struct port *port = arg;
    (void)fd;
    (void)what;
    for (unsigned i = 0; i < ACCEPTS_PER_TURN && accept_one(port); i++)
        continue;
}

/* ---- the ports of a worker ---- */

static void port_free(struct port *port)
{
    if (port->event)
        event_free(port->event);
    if (port->resume)
        event_free(port->resume);
    if (port->fd >= 0) {
        close(port->fd);
        bound_left(port->bound);
    }
    free(port);
}

static struct port *port_new(struct listener *listener, struct bound *bound)
{
    struct port *port = calloc(1, sizeof *port);
    if (!port)
        return NULL;
    port->listener = listener;
    port->bound = bound;
    port->fd = bound_take(bound, listener->worker);
    if (port->fd >= 0) {
        port->event = event_new(listener->base, port->fd, EV_READ | EV_PERSIST, readable, port);
        port->resume = evtimer_new(listener->base, resume, port);
    }
    if (port->event && port->resume)
        return port;
    port_free(port);
    return NULL;
}

static struct port *port_of(const struct listener *listener, const struct bound *bound)
{
    for (size_t i = 0; i < listener->now.n; i++)
        if (listener->now.v[i]->bound == bound)
            return listener->now.v[i];
    return NULL;
}

struct listener *listener_new(unsigned worker, struct event_base *base, listener_accepted *accepted, void *arg)
{
    struct listener *listener = calloc(1, sizeof *listener);
    if (!listener)
        return NULL;
    listener->worker = worker;
    listener->base = base;
    listener->accepted = accepted;
    listener->arg = arg;
    return listener;
}

int listener_prepare(struct listener *listener, const struct listener_set *set)
{
    struct ports *next = &listener->next;
    next->v = calloc(set->n + 1, sizeof *next->v);
    for (size_t i = 0; next->v && i < set->n; i++) {
        struct port *port = port_of(listener, set->v[i].bound);
        if (!port && !(port = port_new(listener, set->v[i].bound)))
            break;
        next->v[next->n++] = port;
    }
    if (next->v && next->n == set->n)
        return SOTH_OK;
    listener_discard(listener);
    return -SOTH_ENOMEM;
}

void listener_discard(struct listener *listener)
{
    struct ports *next = &listener->next;
    for (size_t i = 0; i < next->n; i++)
        if (port_of(listener, next->v[i]->bound) != next->v[i])
            port_free(next->v[i]);
    free(next->v);
    *next = (struct ports){NULL, 0};
}

void listener_accept_last(struct listener *listener)
{
    for (size_t i = 0; i < listener->next.n; i++)
        listener->next.v[i]->kept = true;
    for (size_t i = 0; i < listener->now.n; i++) {
        struct port *port = listener->now.v[i];
        if (port->kept)
            continue;
        for (unsigned count = 0; count < LAST_ACCEPTS && accept_one(port); count++)
            continue;
        port_free(port);
    }
    free(listener->now.v);
    listener->now = (struct ports){NULL, 0};
}

void listener_commit(struct listener *listener, const struct listener_set *set)
{
    listener_accept_last(listener);
    listener->now = listener->next;
    listener->next = (struct ports){NULL, 0};
    for (size_t i = 0; i < listener->now.n; i++) {
        struct port *port = listener->now.v[i];
        port->kept = false;
        port->listen = set->v[i].listen;
        if (!event_pending(port->event, EV_READ, NULL) && !event_pending(port->resume, EV_TIMEOUT, NULL))
            event_add(port->event, NULL);
    }
}

void listener_stop(struct listener *listener)
{
    for (size_t i = 0; i < listener->now.n; i++)
        port_free(listener->now.v[i]);
    free(listener->now.v);
    listener->now = (struct ports){NULL, 0};
}

void listener_free(struct listener *listener)
{
    if (!listener)
        return;
    listener_discard(listener);
    listener_stop(listener);
    free(listener);
}
