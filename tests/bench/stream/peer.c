/* SPDX-License-Identifier: MPL-2.0 */
/* What both ends of a stream have in common: a TLS connection and WebSocket framing (RFC 6455 5.2). */
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

uint64_t moment(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

size_t frame_head(uint8_t *out, unsigned opcode, size_t n, const uint8_t *mask)
{
    size_t at = 2;

    out[0] = (uint8_t)(0x80 | opcode);
    if (n < 126) {
        out[1] = (uint8_t)n;
    } else {
        out[1] = 126;
        out[2] = (uint8_t)(n >> 8);
        out[3] = (uint8_t)n;
        at = 4;
    }
    if (mask) {
        out[1] |= 0x80;
        memcpy(out + at, mask, 4);
        at += 4;
    }
    return at;
}

size_t frame_whole(const uint8_t *p, size_t n, size_t *head)
{
    if (n < 2)
        return 0;
    size_t size = p[1] & 0x7f, at = 2;
    if (size == 126) {
        if (n < 4)
            return 0;
        size = (size_t)p[2] << 8 | p[3];
        at = 4;
    }
    if (p[1] & 0x80)
        at += 4;
    *head = at;
    return n >= at + size ? at + size : 0;
}

bool peer_send(struct peer *p, const void *bytes, size_t n)
{
    return SSL_write(p->ssl, bytes, (int)n) == (int)n;
}

int peer_read(struct peer *p)
{
    if (p->have == sizeof p->bytes)
        return -1;
    int n = SSL_read(p->ssl, p->bytes + p->have, (int)(sizeof p->bytes - p->have));
    if (n > 0) {
        p->have += (size_t)n;
        return n;
    }
    return SSL_get_error(p->ssl, n) == SSL_ERROR_WANT_READ ? 0 : -1;
}

void peer_take(struct peer *p, size_t n)
{
    memmove(p->bytes, p->bytes + n, p->have - n);
    p->have -= n;
}

void peer_watch(struct peer *p, int epoll)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = p};

    fcntl(p->fd, F_SETFL, O_NONBLOCK);
    epoll_ctl(epoll, EPOLL_CTL_ADD, p->fd, &e);
}
