/* SPDX-License-Identifier: MPL-2.0 */
/* See segment.h. */
#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "parts.h"
#include "whole.h"

/* ---- opening ---- */

static int make_parent(const char *path)
{
    char *dir = parts_path(path, "");
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

/* The first segment from `number` on that does not exist yet. What is open is changed only when that worked. */
static int open_fresh(struct segment *s, uint64_t number)
{
    for (unsigned tries = 0; tries < 1000; tries++, number++) {
        struct whole fresh;
        char *name = parts_name(s->path, number);
        if (!name || whole_open(&fresh, name, O_EXCL) < 0) {
            int error = name ? errno : ENOMEM;
            free(name);
            errno = error;
            if (error == EEXIST)
                continue;
            return -SOTH_EIO;
        }
        if (s->file.fd >= 0)
            close(s->file.fd);
        free(s->name);
        s->name = name;
        s->older += s->file.size;
        s->file = fresh;
        s->number = number;
        return SOTH_OK;
    }
    return -SOTH_EIO;
}

/* Nothing here waits for a reader: neither opening a pipe nor, for longer than a moment, writing to it. */
static int open_stream(struct segment *s)
{
    s->is_stream = 1;
    s->name = parts_path(s->path, "");
    s->file.fd = s->name ? open(s->name, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) : -1;
    return s->file.fd < 0 ? -SOTH_EIO : SOTH_OK;
}

static int open_segment(struct segment *s, int with_index)
{
    struct parts l = parts_list(s->path);
    uint64_t number = 0;
    if (l.n > 0) {
        uint64_t last = l.numbers[l.n - 1];
        char *name = parts_name(s->path, last), *torn = parts_path(s->path, ".torn");
        if (name && torn)
            s->torn = whole_mend(name, torn);
        free(name);
        free(torn);
        number = last + 1;
    }
    parts_fini(&l);
    int r = open_fresh(s, number);
    return r == SOTH_OK && with_index ? index_open(&s->index, s->path) : r;
}

int segment_open(struct segment *s, const char *path, int with_index, const char **what)
{
    struct stat st;
    *s = (struct segment){.path = path, .file.fd = -1, .index.file.fd = -1};
    *what = "";
    if (make_parent(path) < 0)
        return -SOTH_EIO;
    int r = stat(path, &st) == 0 && !S_ISREG(st.st_mode) ? open_stream(s) : open_segment(s, with_index);
    if (r < 0) {
        int error = errno;
        if (s->file.fd >= 0) { /* it was the index, then: this segment has never begun */
            *what = INDEX_ENDING;
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
    struct whole fresh;
    if (s->is_stream)
        return 0;
    if (whole_open(&fresh, s->name, 0) < 0)
        return -SOTH_EIO;
    int moved = !whole_is_same(fresh.fd, s->file.fd);
    close(moved ? s->file.fd : fresh.fd);
    if (moved)
        s->file = fresh;
    return s->index.file.fd >= 0 ? index_open(&s->index, s->path) : SOTH_OK;
}

void segment_abandon(const struct segment *s)
{
    if (!s->is_stream && s->name && s->file.size == 0 && s->number > 0)
        unlink(s->name);
}

void segment_close(struct segment *s)
{
    if (s->file.fd >= 0)
        close(s->file.fd);
    if (s->index.file.fd >= 0)
        close(s->index.file.fd);
    free(s->name);
    *s = (struct segment){.path = s->path, .file.fd = -1, .index.file.fd = -1};
}

/* ---- writing ---- */

int segment_append(struct segment *s, const char *p, size_t n)
{
    return whole_append(&s->file, p, n);
}

int segment_append_blocks(struct segment *s, const char *p, size_t until, size_t *n)
{
    return whole_append_until(&s->file, p, until, n);
}

int segment_append_index(struct segment *s, const char *p, size_t n)
{
    return index_append(&s->index, p, n);
}

int segment_sync(struct segment *s)
{
    int r = fdatasync(s->file.fd);
    if (s->index.file.fd >= 0 && fdatasync(s->index.file.fd) < 0)
        r = -1;
    return r < 0 ? -SOTH_EIO : SOTH_OK;
}

/* ---- removing ---- */

struct bound {
    uint64_t keep, bytes; /* 0 = none */
};

/* Moves what has to go from `list` to `gone`, and counts what the older ones have that stay. What is newer than the open one, or is written
 * to, is another instance's. */
static void choose(struct segment *s, struct bound most, uint64_t coming, struct parts *list, struct parts *gone)
{
    uint64_t total = s->file.size + coming, kept = 1;
    size_t stay = list->n;
    s->older = 0;
    for (size_t i = list->n; i > 0; i--) { /* newest first */
        uint64_t number = list->numbers[i - 1], size = 0;
        char *name = parts_name(s->path, number);
        struct stat st;
        if (name && number != s->number && stat(name, &st) == 0) {
            size = (uint64_t)st.st_size;
            total += size;
            kept++;
        }
        int over = (most.keep && kept > most.keep) || (most.bytes && total > most.bytes);
        if (name && number < s->number && over && !whole_is_written(name))
            gone->numbers[gone->n++] = number;
        else
            list->numbers[--stay] = number;
        if (number < s->number && !over)
            s->older += size;
        free(name);
    }
    memmove(list->numbers, list->numbers + stay, (list->n - stay) * sizeof *list->numbers);
    list->n -= stay;
}

int segment_prune(struct segment *s, uint64_t keep, uint64_t bytes, uint64_t coming)
{
    if ((keep == 0 && bytes == 0) || s->is_stream)
        return SOTH_OK;
    struct parts list = parts_list(s->path), gone = {calloc(list.n + 1, sizeof *gone.numbers), 0};
    int r = SOTH_OK, error = 0;
    if (gone.numbers && list.n > 0)
        choose(s, (struct bound){keep, bytes}, coming, &list, &gone);
    if (gone.n > 0 && s->index.file.fd >= 0) {
        r = index_prune(&s->index, &list);
        error = errno;
    }
    for (size_t i = 0; i < gone.n; i++) {
        char *name = parts_name(s->path, gone.numbers[i]);
        if (name)
            unlink(name);
        free(name);
    }
    parts_fini(&list);
    parts_fini(&gone);
    errno = error;
    return r;
}
