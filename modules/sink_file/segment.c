/* SPDX-License-Identifier: MPL-2.0 */
/* See segment.h. */
#include "segment.h"

#include "line.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODE 0640
#define PATIENCE_MS 500 /* with a pipe that is full */

static char *concat(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b) + 1;
    char *out = malloc(n + m);
    if (out) {
        memcpy(out, a, n);
        memcpy(out + n, b, m);
    }
    return out;
}

static char *name_of(const char *path, uint64_t number)
{
    char part[32];
    snprintf(part, sizeof part, ".part%05llu", (unsigned long long)number);
    return concat(path, number ? part : "");
}

/* ---- which segments are there? ---- */

struct listing {
    uint64_t *numbers;
    size_t n;
};

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int is_part(const char *file, const char *base, uint64_t *number)
{
    size_t n = strlen(base);
    char *end;
    if (strncmp(file, base, n) != 0)
        return 0;
    if (file[n] == 0) {
        *number = 0;
        return 1;
    }
    if (strncmp(file + n, ".part", 5) != 0 || file[n + 5] < '0' || file[n + 5] > '9')
        return 0;
    *number = strtoull(file + n + 5, &end, 10);
    return *end == 0 && *number > 0;
}

static struct listing list(const char *path)
{
    struct listing l = {NULL, 0};
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    char *dir = slash ? concat(path, "") : concat(".", "");
    if (dir && slash)
        dir[slash == path ? 1 : slash - path] = 0;
    DIR *d = dir ? opendir(dir) : NULL;
    for (struct dirent *entry; d && (entry = readdir(d));) {
        uint64_t number;
        if (!is_part(entry->d_name, base, &number))
            continue;
        uint64_t *bigger = realloc(l.numbers, (l.n + 1) * sizeof *bigger);
        if (!bigger)
            break;
        l.numbers = bigger;
        bigger[l.n++] = number;
    }
    if (d)
        closedir(d);
    free(dir);
    if (l.n)
        qsort(l.numbers, l.n, sizeof *l.numbers, by_number);
    return l;
}

/* ---- bytes and lines ---- */

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

/* What a crash left behind its last line goes to `aside` (NULL: is dropped). Returns how many bytes that were; negative: it stays where it
 * is, since nothing is thrown away that was not kept. */
static int64_t mend(const char *file, const char *aside)
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

/* A failed write leaves no half line: what it wrote is taken back. Where that is not possible - a pipe, a file that only grows, one that
 * somebody else has written to - *begun remembers it, and the next attempt goes on behind it. */
static int append(int fd, uint64_t *size, size_t *begun, const char *p, size_t n)
{
    if (write_all(fd, p, n, begun) < 0) {
        int error = errno;
        struct stat st;
        if (fstat(fd, &st) == 0 && (uint64_t)st.st_size == *size + *begun && ftruncate(fd, (off_t)*size) == 0)
            *begun = 0;
        errno = error;
        return -SOTH_EIO;
    }
    *size += n;
    *begun = 0;
    return SOTH_OK;
}

/* ---- opening ---- */

static int make_parent(const char *path)
{
    char *dir = concat(path, "");
    int r = SOTH_OK;
    for (char *at = dir ? strchr(dir + 1, '/') : NULL; at && r == SOTH_OK; at = strchr(at + 1, '/')) {
        *at = 0;
        if (mkdir(dir, 0750) < 0 && errno != EEXIST)
            r = -SOTH_EIO;
        *at = '/';
    }
    free(dir);
    return r;
}

static int open_append(const char *name, int flags, uint64_t *size)
{
    struct stat st;
    int fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | flags, MODE);
    if (fd >= 0 && fstat(fd, &st) == 0)
        *size = (uint64_t)st.st_size;
    if (fd >= 0)
        (void)!flock(fd, LOCK_EX | LOCK_NB); /* for mend, of another process */
    return fd;
}

/* The first segment from `number` on that does not exist yet. What is open is changed only when that worked. */
static int open_fresh(struct segment *s, uint64_t number)
{
    for (unsigned tries = 0; tries < 1000; tries++, number++) {
        uint64_t size = 0;
        char *name = name_of(s->path, number);
        int fd = name ? open_append(name, O_EXCL, &size) : -1;
        if (fd < 0) {
            int error = name ? errno : ENOMEM;
            free(name);
            errno = error;
            if (error == EEXIST)
                continue;
            return -SOTH_EIO;
        }
        if (s->fd >= 0)
            close(s->fd);
        free(s->name);
        s->name = name;
        s->fd = fd;
        s->size = size;
        s->begun = 0;
        s->number = number;
        return SOTH_OK;
    }
    return -SOTH_EIO;
}

static int is_same_file(int a, int b)
{
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* What is open is changed only when that worked, and stays when it is the right one still: it has the lock. */
static int open_index(struct segment *s)
{
    char *name = concat(s->path, SEGMENT_INDEX);
    uint64_t size = 0;
    size_t begun = 0;
    if (name)
        mend(name, NULL);
    int fd = name ? open_append(name, 0, &size) : -1;
    free(name);
    if (fd < 0)
        return -SOTH_EIO;
    int is_open = s->index_fd >= 0 && is_same_file(fd, s->index_fd);
    int r = is_open || size > 0 ? SOTH_OK : append(fd, &size, &begun, line_index_header, strlen(line_index_header));
    if (is_open || r < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return r;
    }
    if (s->index_fd >= 0)
        close(s->index_fd);
    s->index_fd = fd;
    s->index_size = size;
    s->index_begun = 0;
    s->index_locked = 0;
    return SOTH_OK;
}

/* Nothing here waits for a reader: neither opening a pipe nor, for longer than a moment, writing to it. */
static int open_stream(struct segment *s)
{
    s->is_stream = 1;
    s->name = concat(s->path, "");
    s->fd = s->name ? open(s->name, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) : -1;
    return s->fd < 0 ? -SOTH_EIO : SOTH_OK;
}

static int open_segment(struct segment *s, int with_index)
{
    struct listing l = list(s->path);
    uint64_t number = 0;
    if (l.n > 0) {
        uint64_t last = l.numbers[l.n - 1];
        char *name = name_of(s->path, last), *torn = concat(s->path, ".torn");
        if (name && torn)
            s->torn = mend(name, torn);
        free(name);
        free(torn);
        number = last + 1;
    }
    free(l.numbers);
    int r = open_fresh(s, number);
    return r == SOTH_OK && with_index ? open_index(s) : r;
}

int segment_open(struct segment *s, const char *path, int with_index, const char **what)
{
    struct stat st;
    *s = (struct segment){.path = path, .fd = -1, .index_fd = -1};
    *what = "";
    if (make_parent(path) < 0)
        return -SOTH_EIO;
    int r = stat(path, &st) == 0 && !S_ISREG(st.st_mode) ? open_stream(s) : open_segment(s, with_index);
    if (r < 0) {
        int error = errno;
        if (s->fd >= 0) { /* it was the index, then: this segment has never begun */
            *what = SEGMENT_INDEX;
            unlink(s->name);
        }
        segment_close(s);
        errno = error;
    }
    return r;
}

int segment_next(struct segment *s)
{
    return open_fresh(s, s->number + 1); /* the old one stays open when that fails */
}

int segment_reopen(struct segment *s)
{
    uint64_t size = 0;
    if (s->is_stream)
        return 0;
    int fd = open_append(s->name, 0, &size);
    if (fd < 0)
        return -SOTH_EIO;
    int moved = !is_same_file(fd, s->fd);
    close(moved ? s->fd : fd);
    if (moved) {
        s->fd = fd;
        s->size = size;
        s->begun = 0;
    }
    return s->index_fd >= 0 ? open_index(s) : SOTH_OK;
}

void segment_abandon(const struct segment *s)
{
    if (!s->is_stream && s->name && s->size == 0 && s->number > 0)
        unlink(s->name);
}

void segment_close(struct segment *s)
{
    if (s->fd >= 0)
        close(s->fd);
    if (s->index_fd >= 0)
        close(s->index_fd);
    free(s->name);
    *s = (struct segment){.path = s->path, .fd = -1, .index_fd = -1};
}

/* ---- writing ---- */

int segment_append(struct segment *s, const char *p, size_t n)
{
    return append(s->fd, &s->size, &s->begun, p, n);
}

/* The instance before us shares the index for a moment: by our first row it is done, and has written more. */
static void take_over_index(struct segment *s)
{
    struct stat st;
    s->index_locked = flock(s->index_fd, LOCK_EX | LOCK_NB) == 0;
    if (s->index_begun == 0 && fstat(s->index_fd, &st) == 0)
        s->index_size = (uint64_t)st.st_size;
}

int segment_append_index(struct segment *s, const char *p, size_t n)
{
    if (!s->index_locked)
        take_over_index(s);
    return append(s->index_fd, &s->index_size, &s->index_begun, p, n);
}

int segment_sync(struct segment *s)
{
    int r = fdatasync(s->fd);
    if (s->index_fd >= 0 && fdatasync(s->index_fd) < 0)
        r = -1;
    return r < 0 ? -SOTH_EIO : SOTH_OK;
}

void segment_prune(const struct segment *s, uint64_t keep, uint64_t bytes)
{
    if (keep == 0 && bytes == 0)
        return;
    struct listing l = list(s->path);
    uint64_t total = 0, kept = 0;
    for (size_t i = l.n; i > 0; i--) { /* newest first */
        char *name = name_of(s->path, l.numbers[i - 1]);
        struct stat st;
        if (name && stat(name, &st) == 0) {
            total += (uint64_t)st.st_size;
            kept++;
            if (l.numbers[i - 1] != s->number && ((keep && kept > keep) || (bytes && total > bytes)))
                unlink(name);
        }
        free(name);
    }
    free(l.numbers);
}
