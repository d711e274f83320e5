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
        index_next(&s->index, number);
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

/* A file that was moved away while nobody wrote may have left rows: its number is given anew, so they go before there is a file that they would
 * point into. */
static int drop_stale_rows(struct segment *s, const struct parts *there, uint64_t number)
{
    if (!s->with_index || there->error || !index_reaches(s->path, number))
        return SOTH_OK;
    return index_open(&s->index, s->path) < 0 ? -SOTH_EIO : index_prune(&s->index, there);
}

/* Behind those that are there, of which the last may be torn. */
static uint64_t next_number(struct segment *s, const struct parts *there)
{
    if (there->n == 0)
        return 0;
    uint64_t last = there->numbers[there->n - 1];
    char *name = parts_name(s->path, last), *torn = parts_path(s->path, ".torn");
    if (name && torn)
        s->torn = whole_mend(name, torn);
    free(name);
    free(torn);
    return last + 1;
}

static int open_segment(struct segment *s, const char **what)
{
    struct parts there = parts_list(s->path);
    uint64_t number = next_number(s, &there);
    int r = drop_stale_rows(s, &there, number), error = errno;
    parts_fini(&there);
    *what = r < 0 ? INDEX_ENDING : "";
    if (r < 0) {
        errno = error;
        return r;
    }
    r = open_fresh(s, number);
    if (r < 0 || !s->with_index || index_open(&s->index, s->path) == SOTH_OK)
        return r;
    error = errno;
    *what = INDEX_ENDING;
    unlink(s->name); /* it has never begun */
    errno = error;
    return -SOTH_EIO;
}

static void close_files(struct segment *s)
{
    if (s->file.fd >= 0)
        close(s->file.fd);
    if (s->index.file.fd >= 0)
        close(s->index.file.fd);
    free(s->name);
    s->name = NULL;
    s->file = (struct whole){.fd = -1};
    s->index = (struct index){.file.fd = -1};
}

static int is_stream(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

int segment_begin(struct segment *s, const char **what)
{
    *what = "";
    s->torn = 0;
    int r = is_stream(s->path) ? open_stream(s) : open_segment(s, what);
    if (r < 0) {
        int error = errno;
        close_files(s);
        errno = error;
    }
    return r;
}

/* It has opened the same name in the same folder: what can differ is the index, and what has been forbidden since. */
static int can_begin(const struct segment *s, const char **what)
{
    char *folder = parts_folder(s->path), *name = parts_path(s->path, INDEX_ENDING);
    int r = folder && name && faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) == 0 ? SOTH_OK : -SOTH_EIO;
    if (r == SOTH_OK && s->with_index) {
        int fd = open(name, O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK);
        r = fd >= 0 || errno == ENOENT ? SOTH_OK : -SOTH_EIO;
        *what = r < 0 ? INDEX_ENDING : "";
        if (fd >= 0)
            close(fd);
    }
    int error = errno;
    free(folder);
    free(name);
    errno = error;
    return r;
}

int segment_open(struct segment *s, const char *path, int with_index, const char **what)
{
    *s = (struct segment){.path = path, .file.fd = -1, .index.file.fd = -1, .with_index = with_index};
    *what = "";
    int taken = make_parent(path) < 0 ? -1 : is_stream(path) ? 0 : claim_log(&s->claim, path);
    int r = taken < 0 ? -SOTH_EIO : taken ? can_begin(s, what) : segment_begin(s, what);
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

static int forget_rows(struct segment *s)
{
    if (s->index.file.fd < 0)
        return SOTH_OK;
    struct parts stay = parts_list(s->path);
    parts_drop(&stay, s->number); /* whoever moved the file away may have made another one */
    int r = index_forget(&s->index, &stay), error = errno;
    parts_fini(&stay);
    errno = error;
    return r;
}

/* Rows go before there is a file that they would point into: a crash in between leaves none that is wrong. */
int segment_reopen(struct segment *s)
{
    struct whole fresh;
    if (s->is_stream || !segment_is_open(s))
        return 0;
    if (!whole_is_at(s->file.fd, s->name) && forget_rows(s) < 0)
        return -SOTH_EIO;
    if (whole_open(&fresh, s->name, 0) < 0)
        return -SOTH_EIO;
    int moved = !whole_is_same(fresh.fd, s->file.fd);
    if (moved && forget_rows(s) < 0) { /* just now */
        int error = errno;
        close(fresh.fd);
        errno = error;
        return -SOTH_EIO;
    }
    close(moved ? s->file.fd : fresh.fd);
    if (moved)
        s->file = fresh;
    return s->index.file.fd >= 0 && index_open(&s->index, s->path) < 0 ? -SOTH_EIO : moved;
}

void segment_abandon(struct segment *s)
{
    if (s->is_stream || !segment_is_open(s))
        return;
    if (s->file.size == 0 && s->number > 0 && whole_is_at(s->file.fd, s->name))
        unlink(s->name);
    close_files(s);
}

void segment_close(struct segment *s)
{
    close_files(s);
    claim_drop(&s->claim);
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

void segment_release(struct segment *s)
{
    whole_release(&s->file);
    whole_release(&s->index.file);
    s->index.locked = 0;
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
    struct parts list = parts_list(s->path), gone = {calloc(list.n + 1, sizeof *gone.numbers), 0, 0};
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
