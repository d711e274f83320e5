/* SPDX-License-Identifier: MPL-2.0 */
/* See hangup.h. One event at a time is taken from the kernel: what it leads to may close the descriptors of others. */
#include "host/net/hangup.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define TURN_MOST 64u /* then the loop has its turn */

struct hangup {
    int fd;
    hangup_fn *told;
    struct event in;
};

static void ready(evutil_socket_t fd, short what, void *arg)
{
    struct hangup *hangup = arg;
    struct epoll_event e;
    (void)what;
    for (unsigned i = 0; i < TURN_MOST && epoll_wait(fd, &e, 1, 0) == 1; i++)
        hangup->told((void *)(uintptr_t)(e.data.u64 & ~UINT64_C(1)), e.data.u64 & 1, (e.events & (EPOLLERR | EPOLLHUP)) != 0);
}

struct hangup *hangup_new(struct event_base *base, hangup_fn *told)
{
    struct hangup *hangup = calloc(1, sizeof *hangup);
    if (!hangup || (hangup->fd = epoll_create1(EPOLL_CLOEXEC)) < 0) {
        free(hangup);
        return NULL;
    }
    hangup->told = told;
    event_assign(&hangup->in, base, hangup->fd, EV_READ | EV_PERSIST, ready, hangup);
    event_add(&hangup->in, NULL);
    return hangup;
}

void hangup_free(struct hangup *hangup)
{
    if (!hangup)
        return;
    event_del(&hangup->in);
    close(hangup->fd);
    free(hangup);
}

void hangup_watch(struct hangup *hangup, int fd, void *owner, unsigned number)
{
    struct epoll_event e = {.events = EPOLLRDHUP | EPOLLET, .data.u64 = (uintptr_t)owner | number};
    if (epoll_ctl(hangup->fd, EPOLL_CTL_MOD, fd, &e) < 0)
        (void)epoll_ctl(hangup->fd, EPOLL_CTL_ADD, fd, &e);
}
