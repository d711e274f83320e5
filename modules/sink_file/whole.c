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

/* From p[begun] on; `begun` says how far it came. */
static int write_all(struct whole *file, const char *p, size_t n)
{
    while (file->begun < n) {
        ssize_t w = uncached_append(&file->uncached, file->fd, file->size + file->begun, p + file->begun, n - file->begun);
        if (w < 0 && (errno == EINTR || (errno == EAGAIN && has_room_soon(file->fd))))
            continue;
        if (w < 0)
            return -SOTH_EIO;
        file->begun += (size_t)w;
    }
    return SOTH_OK;
}

/* Bytes [whole, end) of fd are appended to the file `aside`, as a line. */
static int put_aside(int fd, off_t whole, size_t torn, const char *aside)
{
    char *rest = malloc(torn + 1);
    struct whole to = {.fd = open(aside, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, MODE)};
    int r = -SOTH_EIO;
    if (rest && to.fd >= 0 && pread(fd, rest, torn, whole) == (ssize_t)torn) {
        rest[torn] = '\n';
        r = write_all(&to, rest, torn + 1);
    }
    if (to.fd >= 0)
        close(to.fd);
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
static int append(struct whole *file, const char *p, size_t n)
{
    if (write_all(file, p, n) == SOTH_OK)
        return SOTH_OK;
    int error = errno;
    struct stat st;
    if (fstat(file->fd, &st) == 0 && (uint64_t)st.st_size == file->size + file->begun && ftruncate(file->fd, (off_t)file->size) == 0)
        file->begun = 0;
    errno = error;
    return -SOTH_EIO;
}

int whole_append(struct whole *file, const char *p, size_t n)
{
    if (append(file, p, n) < 0)
        return -SOTH_EIO;
    file->size += n;
    file->begun = 0;
    return SOTH_OK;
}

int whole_append_until(struct whole *file, const char *p, size_t until, size_t *n)
{
    if (append(file, p, until) < 0)
        return -SOTH_EIO;
    const char *end = memrchr(p, '\n', until);
    *n = end ? (size_t)(end + 1 - p) : 0;
    file->size += *n;
    file->begun = until - *n;
    return SOTH_OK;
}

int whole_open(struct whole *file, const char *name, int flags)
{
    struct stat st;
    *file = (struct whole){.fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | flags, MODE)};
    if (file->fd < 0)
        return -SOTH_EIO;
    if (fstat(file->fd, &st) == 0)
        file->size = (uint64_t)st.st_size;
    (void)!flock(file->fd, LOCK_EX | LOCK_NB); /* for whole_mend, of another process */
    return SOTH_OK;
}

static int is_file(int fd, const struct stat *file)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_dev == file->st_dev && st.st_ino == file->st_ino;
}

int whole_is_same(int a, int b)
{
    struct stat st;
    return fstat(b, &st) == 0 && is_file(a, &st);
}

int whole_is_at(int fd, const char *name)
{
    struct stat st;
    return stat(name, &st) == 0 && is_file(fd, &st);
}

void whole_release(const struct whole *file)
{
    if (file->fd >= 0)
        (void)!flock(file->fd, LOCK_UN);
}

int whole_is_written(const char *name)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    int locked = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
    if (fd >= 0)
        close(fd);
    return locked;
}
