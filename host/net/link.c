/* SPDX-License-Identifier: MPL-2.0 */
/* See link.h. One send a step in the usual case; EV_WRITE is only asked for while something is pending. */
#include "host/net/link.h"

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

void link_init(struct link *link)
{
    memset(link, 0, sizeof *link);
    link->fd = -1;
}

void link_open(struct link *link, struct event_base *base, int fd, event_callback_fn on_read, event_callback_fn on_write, void *arg)
{
    link_init(link);
    link->fd = fd;
    event_assign(&link->in, base, fd, EV_READ | EV_PERSIST, on_read, arg);
    event_assign(&link->out, base, fd, EV_WRITE | EV_PERSIST, on_write, arg);
}

static void link_forget(struct link *link)
{
    link_read(link, false);
    if (link->writing)
        event_del(&link->out);
    buffer_fini(&link->pending);
}

void link_move(struct link *to, struct link *from, struct event_base *base, event_callback_fn on_read, event_callback_fn on_write, void *arg)
{
    uint64_t given = from->given, taken = from->taken;
    int fd = from->fd;
    link_forget(from);
    link_init(from);
    link_open(to, base, fd, on_read, on_write, arg);
    to->given = given;
    to->taken = taken;
}

void link_close(struct link *link)
{
    if (link->fd < 0)
        return;
    link_forget(link);
    close(link->fd);
    link_init(link);
}

void link_close_hard(struct link *link)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    if (link->fd >= 0)
        setsockopt(link->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    link_close(link);
}

void link_read(struct link *link, bool on)
{
    if (link->reading == on || link->fd < 0)
        return;
    link->reading = on;
    if (on)
        event_add(&link->in, NULL);
    else
        event_del(&link->in);
}

static int keep(struct link *link, const void *p, size_t n)
{
    if (n == 0)
        return 0;
    if (buffer_append(&link->pending, p, n) < 0)
        return ENOMEM;
    if (!link->writing) {
        link->writing = true;
        event_add(&link->out, NULL);
    }
    return 0;
}

static int keep_both(struct link *link, const void *head, size_t head_size, const void *tail, size_t tail_size)
{
    int error = keep(link, head, head_size);
    return error ? error : keep(link, tail, tail_size);
}

int link_send(struct link *link, const void *head, size_t head_size, const void *tail, size_t tail_size)
{
    if (link->fd < 0 || head_size + tail_size == 0)
        return 0;
    if (link->deaf)
        return link->ended ? EPIPE : 0;
    link->given += head_size + tail_size;
    if (link_blocked(link))
        return keep_both(link, head, head_size, tail, tail_size);
    ssize_t n;
    if (head_size && tail_size) {
        struct iovec parts[] = {{(void *)(uintptr_t)head, head_size}, {(void *)(uintptr_t)tail, tail_size}};
        struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};
        n = sendmsg(link->fd, &msg, MSG_NOSIGNAL);
    } else {
        n = send(link->fd, head_size ? head : tail, head_size + tail_size, MSG_NOSIGNAL);
    }
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
            return errno;
        n = 0;
    }
    size_t sent = (size_t)n;
    if (sent < head_size)
        return keep_both(link, (const uint8_t *)head + sent, head_size - sent, tail, tail_size);
    sent -= head_size;
    return keep(link, (const uint8_t *)tail + sent, tail_size - sent);
}

int link_flush(struct link *link)
{
    while (link_blocked(link)) {
        ssize_t n = send(link->fd, buffer_data(&link->pending), buffer_size(&link->pending), MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR || errno == ENOBUFS ? 0 : errno;
        buffer_consume(&link->pending, (size_t)n);
    }
    buffer_fini(&link->pending);
    if (link->writing) {
        link->writing = false;
        event_del(&link->out);
    }
    if (link->shut_after)
        shutdown(link->fd, SHUT_WR);
    return 0;
}

void link_shut(struct link *link)
{
    if (link->fd < 0)
        return;
    link->shut_after = true;
    if (!link_blocked(link))
        shutdown(link->fd, SHUT_WR);
}

void link_deafen(struct link *link, int error)
{
    link->deaf = true;
    /* a reset behind a FIN shows as EPIPE: what the peer had to say is complete */
    link->error = error == EPIPE ? 0 : error;
    buffer_fini(&link->pending);
    if (link->writing) {
        link->writing = false;
        event_del(&link->out);
    }
}

bool link_moved(struct link *link)
{
    int unsent = 0;
    if (link->fd < 0 || ioctl(link->fd, SIOCOUTQ, &unsent) < 0 || unsent < 0)
        return false;
    uint64_t waiting = (uint64_t)unsent + buffer_size(&link->pending), before = link->taken;
    link->taken = link->given > waiting ? link->given - waiting : 0;
    return waiting > 0 && link->taken > before;
}
