/* SPDX-License-Identifier: MPL-2.0 */
/* See uncached.h. */
#include "uncached.h"

#include <errno.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef RWF_DONTCACHE
#define RWF_DONTCACHE 0x80 /* newer than the headers of many systems that have it */
#endif

#define PAGE 4096u
#define SLOW_NS UINT64_C(20000000)     /* that long for a piece: the disk is behind */
#define PAUSE_NS UINT64_C(5000000000)

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The system, the file system or whoever watches over calls does not know it. */
static int is_unknown(int error)
{
    return error == EOPNOTSUPP || error == ENOSYS || error == EINVAL || error == EPERM;
}

ssize_t uncached_append(struct uncached *how, int fd, uint64_t at, const char *p, size_t n)
{
    const uint64_t before = n >= UNCACHED_LEAST && how->from_ns != UINT64_MAX ? now_ns() : 0;
    if (before == 0 || before < how->from_ns)
        return write(fd, p, n);
    /* Of the last page the rest is written next, so it stays, and is not read from the disk for that. */
    const struct iovec pages = {(void *)(uintptr_t)p, n - (size_t)((at + n) % PAGE)};
    const ssize_t w = pwritev2(fd, &pages, 1, -1, RWF_DONTCACHE);
    if (w < 0 && is_unknown(errno)) {
        how->from_ns = UINT64_MAX;
        return write(fd, p, n);
    }
    const uint64_t now = now_ns();
    if (now - before > SLOW_NS)
        how->from_ns = now + PAUSE_NS;
    return w;
}
