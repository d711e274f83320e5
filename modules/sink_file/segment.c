/* SPDX-License-Identifier: MPL-2.0 */
/* See segment.h. */
#include "segment.h"

#include "line.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODE 0640

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

/* ---- torn lines ---- */

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

/* Returns how many bytes were written: less than n is an error, with errno set. */
static size_t write_all(int fd, const char *p, size_t n)
{
    size_t done = 0;
    while (done < n) {
        ssize_t w = write(fd, p + done, n - done);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            break;
        done += (size_t)w;
    }
    return done;
}

/* What a crash left behind its last line goes to `aside` (NULL: is dropped). Returns how many bytes that were. */
static uint64_t mend(const char *file, const char *aside)
{
    struct stat st;
    int fd = open(file, O_RDWR | O_CLOEXEC);
    uint64_t torn = 0;
    int in_use = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK; /* another process is not done with its last line */
    if (fd < 0 || in_use || fstat(fd, &st) < 0 || st.st_size == 0) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    off_t whole = whole_until(fd, st.st_size);
    if (whole < st.st_size) {
        torn = (uint64_t)(st.st_size - whole);
        char *rest = malloc((size_t)torn);
        int to = aside ? open(aside, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, MODE) : -1;
        int safe = !aside;
        if (rest && to >= 0 && pread(fd, rest, (size_t)torn, whole) == (ssize_t)torn)
            safe = write_all(to, rest, (size_t)torn) == torn && write_all(to, "\n", 1) == 1;
        if (to >= 0)
            close(to);
        free(rest);
        if (!safe || ftruncate(fd, whole) < 0)
            torn = 0; /* left as it was: nothing is thrown away that was not kept */
    }
    close(fd);
    return torn;
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
        s->number = number;
        return SOTH_OK;
    }
    return -SOTH_EIO;
}

static int open_index(struct segment *s)
{
    char *name = concat(s->path, ".index.tsv");
    if (!name)
        return -SOTH_EIO;
    mend(name, NULL);
    s->index_fd = open_append(name, 0, &s->index_size);
    s->index_locked = 0;
    free(name);
    if (s->index_fd < 0)
        return -SOTH_EIO;
    return s->index_size ? SOTH_OK : segment_append_index(s, line_index_header, strlen(line_index_header));
}

static int open_stream(struct segment *s)
{
    s->is_stream = 1;
    s->name = concat(s->path, "");
    s->fd = s->name ? open(s->name, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY) : -1;
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
    *what = path;
    if (make_parent(path) < 0)
        return -SOTH_EIO;
    int r = stat(path, &st) == 0 && !S_ISREG(st.st_mode) ? open_stream(s) : open_segment(s, with_index);
    if (r < 0) {
        int error = errno;
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
        return SOTH_OK;
    int fd = open_append(s->name, 0, &size);
    if (fd < 0)
        return -SOTH_EIO;
    close(s->fd);
    s->fd = fd;
    s->size = size;
    if (s->index_fd >= 0) {
        close(s->index_fd);
        return open_index(s);
    }
    return SOTH_OK;
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

/* No half line stays behind. What was there before may be more than we have written: the instance before us shares the index for a moment. */
static void take_back(int fd, size_t n)
{
    struct stat st;
    int error = errno;
    if (fstat(fd, &st) == 0 && st.st_size >= (off_t)n && ftruncate(fd, st.st_size - (off_t)n) < 0)
        error = errno;
    errno = error;
}

static int append(int fd, uint64_t *size, const char *p, size_t n)
{
    size_t done = write_all(fd, p, n);
    if (done < n) {
        take_back(fd, done);
        return -SOTH_EIO;
    }
    *size += n;
    return SOTH_OK;
}

int segment_append(struct segment *s, const char *p, size_t n)
{
    return append(s->fd, &s->size, p, n);
}

int segment_append_index(struct segment *s, const char *p, size_t n)
{
    if (!s->index_locked) /* whoever had it when we opened is done by now */
        s->index_locked = flock(s->index_fd, LOCK_EX | LOCK_NB) == 0;
    return append(s->index_fd, &s->index_size, p, n);
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
