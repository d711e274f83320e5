/* SPDX-License-Identifier: MPL-2.0 */
/* See bound.h. */
#include "host/net/bound.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/net/address.h"

#define BACKLOG 4096

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

static int open_sockets(struct bound *b)
{
    int error = probe(b);
    for (unsigned w = 0; w < b->workers && !error; w++) {
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
    return error;
}

static const char *advice(const struct bound *b, int error, const char *ours)
{
    switch (error) {
    case EADDRINUSE:
        return b->is_unix ? "; another process serves this socket: stop it, or choose another path in listen:"
               : ours     ? ours
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

static struct bound *bound_new(const struct settings_listen *listen, unsigned workers)
{
    struct bound *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->workers = workers;
    b->sets = 1;
    b->wanted_port = listen->port;
    b->fds = malloc(workers * sizeof *b->fds);
    for (unsigned w = 0; b->fds && w < workers; w++)
        b->fds[w] = -1;
    if (b->fds)
        return b;
    bound_put(b);
    return NULL;
}

struct bound *bound_open(const struct settings_listen *listen, unsigned workers, const char *ours, char *err, size_t err_size)
{
    char text[ADDRESS_TEXT_MAX];
    struct bound *b = bound_new(listen, workers);
    if (!b || !make_address(listen, b)) {
        snprintf(err, err_size, "cannot listen on %s: %s", listen->addr, b ? "no address, or too long a path" : "out of memory");
        bound_put(b);
        return NULL;
    }
    int error = open_sockets(b);
    if (!error)
        return b;
    address_text(&b->addr, text);
    snprintf(err, err_size, "cannot listen on %s: %s%s", text, strerror(error), advice(b, error, ours));
    bound_put(b);
    return NULL;
}

bool bound_is(const struct bound *bound, const struct settings_listen *listen)
{
    struct bound other = {0};
    struct soth_addr a, b;
    if (!make_address(listen, &other) || bound->is_unix != other.is_unix)
        return false;
    if (bound->is_unix)
        return memcmp(&bound->addr, &other.addr, sizeof other.addr) == 0;
    address_plain(&bound->addr, &a);
    address_plain(&other.addr, &b);
    return a.family == b.family && memcmp(a.bytes, b.bytes, sizeof a.bytes) == 0 && bound->addr.ss_family == other.addr.ss_family &&
           (listen->port == bound->wanted_port || (listen->port && listen->port == address_port(&bound->addr)));
}

/* ---- closing ---- */

/* The file goes first: who finds it afterwards has made it. */
static void close_unix(struct bound *b)
{
    if (b->fds[0] < 0)
        return;
    unlink(((struct sockaddr_un *)(void *)&b->addr)->sun_path);
    close(b->fds[0]);
    b->fds[0] = -1;
}

void bound_put(struct bound *b)
{
    if (!b || --b->sets > 0)
        return;
    if (b->is_unix && b->fds)
        close_unix(b);
    for (unsigned w = 0; b->fds && !b->is_unix && w < b->workers; w++)
        if (b->fds[w] >= 0)
            close(b->fds[w]);
    free(b->fds);
    free(b);
}

int bound_take(struct bound *b, unsigned worker)
{
    int fd = b->fds[worker];
    if (!b->is_unix) {
        b->fds[worker] = -1;
        return fd;
    }
    fd = fcntl(b->fds[0], F_DUPFD_CLOEXEC, 0); /* the set keeps the one descriptor, each worker has a copy to close */
    if (fd < 0)
        return -errno;
    atomic_fetch_add(&b->copies, 1);
    return fd;
}

void bound_left(struct bound *b)
{
    if (b->is_unix && atomic_fetch_sub(&b->copies, 1) == 1)
        close_unix(b); /* nobody waits in a queue that is not served */
}
