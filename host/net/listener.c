/* SPDX-License-Identifier: MPL-2.0 */
/* See listener.h. */
#include "host/net/listener.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/log.h"
#include "host/net/address.h"

#define BACKLOG 4096
#define ACCEPTS_PER_TURN 64
#define PAUSE_MS 100 /* no descriptors: wait for some to come back */

struct bound {
    const struct settings_listen *listen;
    struct sockaddr_storage addr;
    socklen_t addr_len;
    int *fds; /* one per worker; a unix socket is one and the same */
    bool is_unix;
    atomic_uint copies; /* of a unix socket, one per worker that accepts */
};

struct listener_set {
    struct bound *v;
    size_t n;
    unsigned workers;
    struct dialer_own *own;
};

/* One address of one worker. */
struct port {
    struct listener *listener;
    struct bound *bound;
    int fd;
    struct event *event, *resume;
    bool told, stopped;
};

struct listener {
    struct port *v;
    size_t n;
    listener_accepted *accepted;
    void *arg;
};

/* ---- binding ---- */

static bool make_address(const struct settings_listen *l, struct bound *b)
{
    struct soth_addr addr;
    if (strncmp(l->addr, "unix:", 5) == 0) {
        struct sockaddr_un *un = (struct sockaddr_un *)(void *)&b->addr;
        b->is_unix = true;
        un->sun_family = AF_UNIX;
        if (strlen(l->addr + 5) >= sizeof un->sun_path)
            return false;
        strcpy(un->sun_path, l->addr + 5);
        b->addr_len = sizeof *un;
        return true;
    }
    if (!address_parse(l->addr, &addr))
        return false;
    b->addr_len = address_make(&addr, (unsigned)l->port, &b->addr);
    return true;
}

/* A socket file that nobody serves any more is removed. 0, or EADDRINUSE. */
static int remove_stale(const struct sockaddr_un *un)
{
    struct stat st;
    if (lstat(un->sun_path, &st) < 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return EEXIST;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    bool stale = connect(fd, (const struct sockaddr *)un, sizeof *un) < 0 && errno == ECONNREFUSED; /* EAGAIN: served, and busy */
    close(fd);
    if (!stale)
        return EADDRINUSE;
    unlink(un->sun_path);
    return 0;
}

static int bind_one(struct bound *b)
{
    int one = 1, zero = 0, error = 0;
    int fd = socket(b->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (b->is_unix) {
        error = remove_stale((const struct sockaddr_un *)(const void *)&b->addr);
        if (fchmod(fd, S_IRUSR | S_IWUSR) < 0 && !error) /* before bind: the file is never open to others */
            error = errno;
    } else {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* accepted sockets inherit it */
        if (b->addr.ss_family == AF_INET6)
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    }
    if (!error && (bind(fd, (struct sockaddr *)&b->addr, b->addr_len) < 0 || listen(fd, BACKLOG) < 0))
        error = errno;
    if (error) {
        close(fd);
        return -error;
    }
    return fd;
}

/* Another process on the same address would share connections with us through SO_REUSEPORT: that is refused. */
static int probe(const struct bound *b)
{
    int one = 1, zero = 0, error = 0;
    if (b->is_unix || address_port(&b->addr) == 0)
        return 0;
    int fd = socket(b->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (b->addr.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    if (bind(fd, (const struct sockaddr *)&b->addr, b->addr_len) < 0)
        error = errno;
    close(fd);
    return error;
}

/* Has one of the entries before this one the same port? */
static bool is_taken_by_us(const struct listener_set *set, const struct bound *b)
{
    for (const struct bound *other = set->v; other < b; other++)
        if (!b->is_unix && !other->is_unix && address_port(&other->addr) == address_port(&b->addr))
            return true;
    return false;
}

static const char *advice(const struct listener_set *set, const struct bound *b, int error)
{
    switch (error) {
    case EADDRINUSE:
        return is_taken_by_us(set, b) ? "; another entry of listen: has this port already ([::] takes IPv4, too)"
               : b->is_unix           ? "; another process serves this socket: stop it, or choose another path in listen:"
                                      : "; something else listens there: stop it, or choose another port in listen:";
    case EACCES:
        return b->is_unix ? "; the directory must be writable" : "; ports below 1024 want root or CAP_NET_BIND_SERVICE";
    case EADDRNOTAVAIL:
        return "; this machine does not have that address";
    case EINVAL:
        return "; link-local addresses cannot be listened on";
    case ENOENT:
        return "; the directory must exist";
    case EEXIST:
        return "; what is there is no socket, it is left alone: choose another path in listen:";
    default:
        return "";
    }
}

static int open_bound(const struct listener_set *set, struct bound *b, char *err, size_t err_size)
{
    char text[ADDRESS_TEXT_MAX];
    unsigned workers = set->workers;
    int error = probe(b);
    for (unsigned w = 0; w < workers && !error; w++) {
        if (b->is_unix && w > 0) {
            b->fds[w] = b->fds[0];
            continue;
        }
        b->fds[w] = bind_one(b);
        if (b->fds[w] < 0)
            error = -b->fds[w];
        socklen_t size = sizeof b->addr;
        if (!error && !b->is_unix && w == 0) /* the port that 0 became */
            getsockname(b->fds[0], (struct sockaddr *)&b->addr, &size);
    }
    if (!error)
        return 0;
    address_text(&b->addr, text);
    snprintf(err, err_size, "cannot listen on %s: %s%s", text, strerror(error), advice(set, b, error));
    return -SOTH_EIO;
}

struct listener_set *listener_set_open(const struct settings *settings, unsigned workers, char *err, size_t err_size)
{
    struct listener_set *set = calloc(1, sizeof *set);
    const struct settings_listen *listen = settings->listen.items;
    size_t n = settings->listen.n;
    if (!set || !(set->v = calloc(n, sizeof *set->v)) || !(set->own = calloc(n, sizeof *set->own))) {
        snprintf(err, err_size, "out of memory");
        listener_set_free(set);
        return NULL;
    }
    set->workers = workers;
    for (size_t i = 0; i < n; i++) {
        struct bound *b = &set->v[i];
        b->listen = &listen[i];
        b->fds = malloc(workers * sizeof *b->fds);
        for (unsigned w = 0; b->fds && w < workers; w++)
            b->fds[w] = -1;
        set->n++;
        if (!b->fds || !make_address(b->listen, b)) {
            snprintf(err, err_size, "cannot listen on %s: %s", b->listen->addr, b->fds ? "no address, or too long a path" : "out of memory");
            listener_set_free(set);
            return NULL;
        }
        if (open_bound(set, b, err, err_size) < 0) {
            listener_set_free(set);
            return NULL;
        }
        set->own[i].addr = b->addr;
        set->own[i].addr_len = b->addr_len;
    }
    return set;
}

static void close_fd(struct listener_set *set, size_t i, unsigned w)
{
    struct bound *b = &set->v[i];
    if (b->fds[w] < 0)
        return;
    close(b->fds[w]);
    b->fds[w] = -1;
}

/* The file goes first: who finds it afterwards has made it. */
static void close_unix(struct bound *b)
{
    if (b->fds[0] < 0)
        return;
    unlink(((struct sockaddr_un *)(void *)&b->addr)->sun_path);
    close(b->fds[0]);
    b->fds[0] = -1;
}

void listener_set_free(struct listener_set *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->n; i++) {
        if (set->v[i].is_unix && set->v[i].fds)
            close_unix(&set->v[i]);
        for (unsigned w = set->workers; set->v[i].fds && !set->v[i].is_unix && w-- > 0;)
            close_fd(set, i, w);
        free(set->v[i].fds);
    }
    free(set->v);
    free(set->own);
    free(set);
}

char *listener_set_text(const struct listener_set *set)
{
    char *out = calloc(set->n + 1, ADDRESS_TEXT_MAX + 2);
    for (size_t i = 0; out && i < set->n; i++) {
        char text[ADDRESS_TEXT_MAX];
        address_text(&set->v[i].addr, text);
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

static void readable(evutil_socket_t fd, short what, void *arg)
{
    struct port *port = arg;
    (void)what;
    for (unsigned i = 0; i < ACCEPTS_PER_TURN && port->fd >= 0; i++) {
        struct sockaddr_storage sa = {0};
        socklen_t size = sizeof sa;
        char text[ADDRESS_TEXT_MAX];
        struct soth_addr addr;
        int client = accept4(fd, (struct sockaddr *)&sa, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client < 0) {
            if (errno == EAGAIN)
                port->told = false; /* the queue is empty: a shortage is over */
            else if (!benign(errno))
                out_of_descriptors(port, errno);
            return;
        }
        address_text(port->bound->is_unix ? &port->bound->addr : &sa, text);
        address_plain(&sa, &addr);
        port->listener->accepted(port->listener->arg, client, port->bound->listen, text, &addr);
    }
}

struct listener *listener_start(struct listener_set *set, unsigned worker, struct event_base *base, listener_accepted *accepted, void *arg)
{
    struct listener *listener = calloc(1, sizeof *listener);
    if (!listener || !(listener->v = calloc(set->n, sizeof *listener->v))) {
        free(listener);
        return NULL;
    }
    listener->accepted = accepted;
    listener->arg = arg;
    for (size_t i = 0; i < set->n; i++) {
        struct port *port = &listener->v[i];
        *port = (struct port){.listener = listener, .bound = &set->v[i], .fd = set->v[i].fds[worker]};
        if (port->bound->is_unix) { /* the set keeps the one descriptor, each worker has a copy to close */
            port->fd = fcntl(port->fd, F_DUPFD_CLOEXEC, 0);
            atomic_fetch_add(&port->bound->copies, 1);
        } else {
            set->v[i].fds[worker] = -1;
        }
        listener->n++;
        port->event = event_new(base, port->fd, EV_READ | EV_PERSIST, readable, port);
        port->resume = evtimer_new(base, resume, port);
        if (port->fd < 0 || !port->event || !port->resume || event_add(port->event, NULL) < 0) {
            listener_free(listener);
            return NULL;
        }
    }
    return listener;
}

void listener_stop(struct listener *listener)
{
    for (size_t i = 0; i < listener->n; i++) {
        struct port *port = &listener->v[i];
        if (port->event)
            event_free(port->event);
        if (port->resume)
            event_free(port->resume);
        if (port->fd >= 0)
            close(port->fd);
        if (port->bound->is_unix && !port->stopped && atomic_fetch_sub(&port->bound->copies, 1) == 1)
            close_unix(port->bound); /* the last worker: nobody waits in a queue that is not served */
        port->stopped = true;
        port->event = port->resume = NULL;
        port->fd = -1;
    }
}

void listener_free(struct listener *listener)
{
    if (!listener)
        return;
    listener_stop(listener);
    free(listener->v);
    free(listener);
}
