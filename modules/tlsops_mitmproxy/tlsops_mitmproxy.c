/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A source: serves a Unix socket, takes the lines of the add-on in addon/ and gives what they say about TLS handshakes to the host. One thread,
 * some clients, a buffer of one line for each: who sends too much waits, who sends nonsense is told of and then cut off.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "line.h"

#define CLIENTS_MOST 32
#define NONSENSE_MOST 100 /* malformed lines in a connection */

struct client {
    int fd; /* -1: free */
    unsigned malformed;
    uint8_t skipping; /* the rest of a line that was too long */
    size_t n;
    char *buffer; /* LINE_MOST bytes */
};

struct tlsops {
    const char *socket_path, *mode;
    const struct soth_host *host;
    int listener, wake;
    struct client clients[CLIENTS_MOST];
    pthread_t thread;
    int count_started, count_established, count_failed, count_malformed, count_too_long, count_refused;
    uint8_t refusing; /* said already */
};

static const struct soth_opt options[] = {
    SOTH_OPT_PATH(struct tlsops, socket_path, SOTH_REQUIRED, "Unix socket that the add-on of mitmproxy connects to"),
    SOTH_OPT_STRING_DEF(struct tlsops, mode, "\"0600\"", "permissions of the socket, octal"),
    SOTH_OPT_END,
};

/* ---- instances ---- */

static int read_mode(const char *text, mode_t *out)
{
    char *end;
    long mode = strtol(text, &end, 8);
    *out = (mode_t)mode;
    return *text >= '0' && *text <= '7' && *end == 0 && mode <= 0777 && (mode & 0600) == 0600;
}

static int check(const struct soth_host *host, void *arg)
{
    struct tlsops *self = arg;
    struct sockaddr_un un;
    mode_t mode;
    if (strlen(self->socket_path) >= sizeof un.sun_path)
        return host->cfg_err(self, "socket_path", "'%s' is longer than the %zu bytes that a socket's path may have", self->socket_path,
                             sizeof un.sun_path - 1);
    if (!read_mode(self->mode, &mode))
        return host->cfg_err(self, "mode", "'%s' is no octal number of permissions that lets the owner read and write, as \"0600\"", self->mode);
    return SOTH_OK;
}

static int create(const struct soth_host *host, void *arg)
{
    static const char lines[] = "lines of the add-on, by what became of them";
    struct tlsops *self = arg;
    self->host = host;
    self->listener = self->wake = -1;
    for (size_t i = 0; i < CLIENTS_MOST; i++)
        self->clients[i].fd = -1;
    self->count_started = host->counter(self, "lines", "started", lines);
    self->count_established = host->counter(self, "lines", "established", lines);
    self->count_failed = host->counter(self, "lines", "failed", lines);
    self->count_malformed = host->counter(self, "lines", "malformed", lines);
    self->count_too_long = host->counter(self, "lines", "too_long", lines);
    self->count_refused = host->counter(self, "refused_clients", NULL, "connections beyond those that are served at once");
    return SOTH_OK;
}

/* ---- lines ---- */

static void drop_client(struct client *c)
{
    close(c->fd);
    free(c->buffer);
    *c = (struct client){.fd = -1};
}

/* 0: this client is not listened to any more. */
static int nonsense(struct tlsops *self, struct client *c, int counter, const char *fault)
{
    self->host->count(self, counter, 1);
    if (c->malformed++ == 0)
        self->host->log(self, SOTH_LOG_WARN, "a line on %s is ignored: %s (told once a connection)", self->socket_path, fault);
    if (c->malformed < NONSENSE_MOST)
        return 1;
    self->host->log(self, SOTH_LOG_WARN, "a client on %s is cut off after %d lines that made no sense", self->socket_path, NONSENSE_MOST);
    return 0;
}

static int take_line(struct tlsops *self, struct client *c, const char *text, size_t n)
{
    struct line line;
    if (n > 0 && text[n - 1] == '\r')
        n--;
    if (n == 0)
        return 1;
    if (line_read(text, n, &line) < 0)
        return nonsense(self, c, self->count_malformed, line.fault);
    self->host->count(self, line.signal.phase == SOTH_TLS_STARTED     ? self->count_started
                            : line.signal.phase == SOTH_TLS_SUCCEEDED ? self->count_established
                                                                      : self->count_failed, 1);
    self->host->signal(self, &line.signal);
    return 1;
}

/* What is in the buffer, line by line. 0: the client is to go. */
static int take_lines(struct tlsops *self, struct client *c)
{
    size_t at = 0;
    for (char *end; (end = memchr(c->buffer + at, '\n', c->n - at)); at = (size_t)(end - c->buffer) + 1) {
        if (c->skipping)
            c->skipping = 0;
        else if (!take_line(self, c, c->buffer + at, (size_t)(end - c->buffer) - at))
            return 0;
    }
    memmove(c->buffer, c->buffer + at, c->n -= at);
    if (c->n < LINE_MOST)
        return 1;
    c->n = 0;
    if (c->skipping)
        return 1;
    c->skipping = 1;
    return nonsense(self, c, self->count_too_long, "it is longer than 16384 bytes");
}

/* One read of one client a turn: none of them keeps the others waiting. */
static void read_client(struct tlsops *self, struct client *c)
{
    ssize_t got = read(c->fd, c->buffer + c->n, LINE_MOST - c->n);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got > 0) {
        c->n += (size_t)got;
        if (take_lines(self, c))
            return;
    }
    drop_client(c);
}

/* ---- connections ---- */

static void accept_client(struct tlsops *self)
{
    int fd = accept4(self->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    size_t i = 0;
    if (fd < 0 && errno != EAGAIN && errno != ECONNABORTED)
        poll(NULL, 0, 50); /* no descriptor is free: not again at once */
    if (fd < 0)
        return;
    while (i < CLIENTS_MOST && self->clients[i].fd >= 0)
        i++;
    char *buffer = i < CLIENTS_MOST ? malloc(LINE_MOST) : NULL;
    if (buffer) {
        self->clients[i] = (struct client){.fd = fd, .buffer = buffer};
        self->refusing = 0;
        return;
    }
    close(fd);
    self->host->count(self, self->count_refused, 1);
    if (!self->refusing)
        self->host->log(self, SOTH_LOG_WARN, "%s serves %d clients already, further ones are refused", self->socket_path, CLIENTS_MOST);
    self->refusing = 1;
}

static void *serve(void *arg)
{
    struct tlsops *self = arg;
    for (;;) {
        struct pollfd fds[CLIENTS_MOST + 2] = {{.fd = self->wake, .events = POLLIN}, {.fd = self->listener, .events = POLLIN}};
        for (size_t i = 0; i < CLIENTS_MOST; i++)
            fds[i + 2] = (struct pollfd){.fd = self->clients[i].fd, .events = POLLIN};
        if (poll(fds, CLIENTS_MOST + 2, -1) < 0)
            continue;
        if (fds[0].revents)
            return NULL;
        for (size_t i = 0; i < CLIENTS_MOST; i++)
            if (fds[i + 2].revents)
                read_client(self, &self->clients[i]);
        if (fds[1].revents)
            accept_client(self);
    }
}

static int trouble(struct tlsops *self, const char *what)
{
    self->host->log(self, SOTH_LOG_ERROR, "%s: %s: %s", self->socket_path, what, strerror(errno));
    return -SOTH_EIO;
}

/* A socket that nobody serves any more is removed; anything else stays. */
static int remove_stale(struct tlsops *self, const struct sockaddr_un *un)
{
    struct stat st;
    if (lstat(un->sun_path, &st) < 0)
        return SOTH_OK;
    errno = EEXIST;
    if (!S_ISSOCK(st.st_mode))
        return trouble(self, "there is something that is no socket");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int stale = fd >= 0 && connect(fd, (const struct sockaddr *)un, sizeof *un) < 0 && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    errno = EADDRINUSE;
    if (!stale)
        return trouble(self, "another process serves it");
    unlink(un->sun_path);
    return SOTH_OK;
}

static int listen_on(struct tlsops *self)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    mode_t mode;
    strcpy(un.sun_path, self->socket_path); /* check has measured it */
    read_mode(self->mode, &mode);
    if (remove_stale(self, &un) < 0)
        return -SOTH_EIO;
    self->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (self->listener < 0 || fchmod(self->listener, 0600) < 0 || bind(self->listener, (struct sockaddr *)&un, sizeof un) < 0)
        return trouble(self, "cannot make the socket");
    if (chmod(un.sun_path, mode) < 0 || listen(self->listener, 128) < 0) { /* nobody connects before it listens */
        trouble(self, "cannot serve the socket");
        unlink(un.sun_path);
        return -SOTH_EIO;
    }
    return SOTH_OK;
}

static void close_all(struct tlsops *self)
{
    if (self->listener >= 0)
        close(self->listener);
    if (self->wake >= 0)
        close(self->wake);
    self->listener = self->wake = -1;
    for (size_t i = 0; i < CLIENTS_MOST; i++)
        if (self->clients[i].fd >= 0)
            drop_client(&self->clients[i]);
}

static int start(void *arg)
{
    struct tlsops *self = arg;
    sigset_t every, before;
    self->wake = eventfd(0, EFD_CLOEXEC);
    int r = self->wake < 0 ? trouble(self, "cannot make a signal for it") : listen_on(self);
    if (r < 0) {
        close_all(self);
        return r;
    }
    sigfillset(&every); /* signals are the host's */
    pthread_sigmask(SIG_SETMASK, &every, &before);
    errno = pthread_create(&self->thread, NULL, serve, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (errno == 0)
        return SOTH_OK;
    r = trouble(self, "cannot start its thread");
    unlink(self->socket_path);
    close_all(self);
    return r;
}

static void stop(void *arg)
{
    struct tlsops *self = arg;
    const uint64_t one = 1;
    if (write(self->wake, &one, sizeof one) != sizeof one)
        abort();
    pthread_join(self->thread, NULL);
    unlink(self->socket_path);
    close_all(self);
}

SOTH_SOURCE_MODULE(tlsops_mitmproxy, "0.1.0", "MPL-2.0",
    .doc = "takes what mitmproxy has seen of TLS handshakes, through an add-on of its own",
    .options = options, .self_size = sizeof(struct tlsops),
    .check = check, .create = create, .start = start, .stop = stop);
