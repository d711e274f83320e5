/* SPDX-License-Identifier: MPL-2.0 */
/* See whole.h. */
#include "whole.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <soth/sdk.h>

#define MODE 0640
#define PATIENCE_MS 500 /* with a pipe that is full */

/* Where the last complete line ends. */
static off_t whole_until(int fd, off_t size)
{
    char block[4096];
    while (size > 0) {
        size_t n = size < (off_t)sizeof block ? (size_t)size : sizeof block;
        if (pread(fd, block, n, size - (off_t)n) != (ssize_t)n)
            return size;
        for (size_t i = n; i > 0; i--)
            if (block[i - 1] == '\n')
                return size - (off_t)(n - i);
        size -= (off_t)n;
    }
    return 0;
}

/* A pipe or a terminal may be full: its reader gets a moment. */
static int has_room_soon(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, PATIENCE_MS) == 1;
}

/* From p[*done] on; *done says how far it came. */
static int write_all(int fd, const char *p, size_t n, size_t *done)
{
    while (*done < n) {
        ssize_t w = write(fd, p + *done, n - *done);
        if (w < 0 && (errno == EINTR || (errno == EAGAIN && has_room_soon(fd))))
            continue;
        if (w < 0)
            return -SOTH_EIO;
        *done += (size_t)w;
    }
    return SOTH_OK;
}

/* Bytes [whole, end) of fd are appended to the file `aside`, as a line. */
static int put_aside(int fd, off_t whole, size_t torn, const char *aside)
{
    char *rest = malloc(torn + 1);
    int to = open(aside, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, MODE), r = -SOTH_EIO;
    size_t done = 0;
    if (rest && to >= 0 && pread(fd, rest, torn, whole) == (ssize_t)torn) {
        rest[torn] = '\n';
        r = write_all(to, rest, torn + 1, &done);
    }
    if (to >= 0)
        close(to);
    free(rest);
    return r;
}

int64_t whole_mend(const char *file, const char *aside)
{
    struct stat st;
    int fd = open(file, O_RDWR | O_CLOEXEC);
    int64_t torn = 0;
    int in_use = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK; /* another process is not done with its last line */
    if (fd >= 0 && !in_use && fstat(fd, &st) == 0) {
        off_t whole = whole_until(fd, st.st_size);
        torn = st.st_size - whole;
        if (torn > 0 && ((aside && put_aside(fd, whole, (size_t)torn, aside) < 0) || ftruncate(fd, whole) < 0))
            torn = -torn;
    }
    if (fd >= 0)
        close(fd);
    return torn;
}

/* A failed one is taken back. */
static int append(int fd, uint64_t size, size_t *begun, const char *p, size_t n)
{
    if (write_all(fd, p, n, begun) == SOTH_OK)
        return SOTH_OK;
    int error = errno;
    struct stat st;
    if (fstat(fd, &st) == 0 && (uint64_t)st.st_size == size + *begun && ftruncate(fd, (off_t)size) == 0)
        *begun = 0;
    errno = error;
    return -SOTH_EIO;
}

int whole_append(int fd, uint64_t *size, size_t *begun, const char *p, size_t n)
{
    if (append(fd, *size, begun, p, n) < 0)
        return -SOTH_EIO;
    *size += n;
    *begun = 0;
    return SOTH_OK;
}

int whole_append_until(int fd, uint64_t *size, size_t *begun, const char *p, size_t until, size_t *n)
{
    if (append(fd, *size, begun, p, until) < 0)
        return -SOTH_EIO;
    const char *end = memrchr(p, '\n', until);
    *n = end ? (size_t)(end + 1 - p) : 0;
    *size += *n;
    *begun = until - *n;
    return SOTH_OK;
}

int whole_open(const char *name, int flags, uint64_t *size)
{
    struct stat st;
    int fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | flags, MODE);
    if (fd >= 0 && fstat(fd, &st) == 0)
        *size = (uint64_t)st.st_size;
    if (fd >= 0)
        (void)!flock(fd, LOCK_EX | LOCK_NB); /* for whole_mend, of another process */
    return fd;
}

int whole_is_same(int a, int b)
{
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int whole_is_written(const char *name)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    int locked = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
    if (fd >= 0)
        close(fd);
    return locked;
}
