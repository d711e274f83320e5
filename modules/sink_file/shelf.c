/* SPDX-License-Identifier: MPL-2.0 */
/* See shelf.h. */
#include "shelf.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK 4096u

static uint64_t on_disk(uint64_t bytes)
{
    return (bytes + BLOCK - 1) / BLOCK * BLOCK;
}

int shelf_path(const struct shelf *s, const char *name, char *out, size_t size)
{
    int n = snprintf(out, size, "%s/%s", s->dir, name);
    return n > 0 && (size_t)n < size;
}

void shelf_digest_name(const char *name, char out[112])
{
    const char *dot = strrchr(name, '.');
    snprintf(out, 112, "%.*s.sha256", dot ? (int)(dot - name) : 96, name);
}

/* Of a file that is being written, with its digest. */
static uint64_t held(uint64_t bytes)
{
    return bytes > 0 ? on_disk(bytes) + BLOCK : 0;
}

int shelf_make(const struct shelf *s)
{
    char path[4096];
    snprintf(path, sizeof path, "%s", s->dir);
    for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = 0;
        if (mkdir(path, 0750) < 0 && errno != EEXIST)
            return -1;
        *at = '/';
    }
    return mkdir(path, 0700) < 0 && errno != EEXIST ? -1 : 0;
}

int shelf_open(struct shelf *s, const char *dir, uint64_t max_bytes)
{
    struct stat st;
    *s = (struct shelf){.dir = dir, .max_bytes = max_bytes};
    if (strlen(dir) + 128 > 4096) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (shelf_make(s) < 0 || stat(dir, &st) < 0)
        return -1;
    if (!S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        return -1;
    }
    return access(dir, W_OK | X_OK) < 0 ? -1 : claim_folder(&s->claim, dir);
}

void shelf_close(struct shelf *s)
{
    claim_drop(&s->claim);
    free(s->items);
    *s = (struct shelf){.dir = s->dir};
}

/* ---- the oldest ---- */

static void push(struct shelf *s, const char *name, uint64_t bytes)
{
    if (s->first + s->n == s->room && s->first > s->room / 2) { /* seldom: what moves has been paid for by what went */
        memmove(s->items, s->items + s->first, s->n * sizeof *s->items);
        s->first = 0;
    }
    if (s->first + s->n == s->room) {
        size_t room = s->room ? s->room * 2 : 64;
        struct shelf_item *bigger = realloc(s->items, room * sizeof *bigger);
        if (!bigger)
            return; /* it stays on the disk, uncounted until the next start */
        s->items = bigger;
        s->room = room;
    }
    struct shelf_item *item = &s->items[s->first + s->n++];
    snprintf(item->name, sizeof item->name, "%s", name);
    item->bytes = bytes;
    s->used += on_disk(bytes) + BLOCK;
}

void shelf_drop_digest(const struct shelf *s, const char *name)
{
    char digest[112], path[4096];
    shelf_digest_name(name, digest);
    if (shelf_path(s, digest, path, sizeof path))
        unlink(path);
}

static void evict(struct shelf *s)
{
    struct shelf_item *oldest = &s->items[s->first];
    char path[4096];
    if (shelf_path(s, oldest->name, path, sizeof path))
        unlink(path);
    shelf_drop_digest(s, oldest->name);
    s->used -= on_disk(oldest->bytes) + BLOCK;
    s->first++;
    s->n--;
    s->evicted++;
}

int shelf_reserve(struct shelf *s, uint64_t have, uint64_t more)
{
    uint64_t bytes = held(have + more) - held(have);
    while (s->used + bytes > s->max_bytes && s->n > 0)
        evict(s);
    if (s->used + bytes > s->max_bytes)
        return 0;
    s->used += bytes;
    return 1;
}

void shelf_return(struct shelf *s, uint64_t reserved, uint64_t have)
{
    s->used -= held(reserved) - held(have);
}

void shelf_add(struct shelf *s, const char *name, uint64_t bytes)
{
    s->used -= held(bytes);
    if (!name)
        return;
    push(s, name, bytes);
    while (s->used > s->max_bytes && s->n > 1)
        evict(s);
}

/* ---- what is there ---- */

struct found {
    struct shelf_item item;
    struct timespec at;
};

static int by_age(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    if (x->at.tv_sec != y->at.tv_sec)
        return x->at.tv_sec < y->at.tv_sec ? -1 : 1;
    if (x->at.tv_nsec != y->at.tv_nsec)
        return x->at.tv_nsec < y->at.tv_nsec ? -1 : 1;
    return strcmp(x->item.name, y->item.name);
}

static int ends_with(const char *name, const char *ending)
{
    size_t n = strlen(name), m = strlen(ending);
    return n > m && strcmp(name + n - m, ending) == 0;
}

/* A number and what follows it; NULL: it is none. */
static const char *behind_number(const char *p, char next)
{
    size_t n = strspn(p, "0123456789");
    return n > 0 && p[n] == next ? p + n + 1 : NULL;
}

/* RUN-FLOW-EXCHANGE-request.ENDING, or -response: what has another name is somebody else's. */
static int is_body(const char *name)
{
    size_t run = strspn(name, "0123456789abcdef");
    const char *p = run <= 8 && name[run] == '-' ? behind_number(name + run + 1, '-') : NULL;
    p = p ? behind_number(p, '-') : NULL;
    const char *dot = p ? strchr(p, '.') : NULL;
    return dot && (strncmp(p, "request.", 8) == 0 || strncmp(p, "response.", 9) == 0) && !strchr(dot + 1, '.');
}

/* One of another run that nobody finishes any more. */
static int cut_off(const struct shelf *s, char name[96])
{
    char from[4096], to[4096], cut[96];
    snprintf(cut, sizeof cut, "%.*s.cut", (int)(strlen(name) - strlen(".part")), name);
    if (!shelf_path(s, name, from, sizeof from) || !shelf_path(s, cut, to, sizeof to) || rename(from, to) < 0)
        return 0;
    snprintf(name, 96, "%s", cut);
    shelf_drop_digest(s, name); /* it would be of what the file was to become */
    return 1;
}

static int take_in(const struct shelf *s, const char *file, const char *run, struct found *out)
{
    struct stat st;
    char path[4096];
    if (strlen(file) >= sizeof out->item.name || !is_body(file))
        return 0;
    snprintf(out->item.name, sizeof out->item.name, "%s", file);
    if (ends_with(file, ".part")) {
        if (strncmp(file, run, strlen(run)) == 0 || !cut_off(s, out->item.name))
            return 0;
    } else if (!ends_with(file, ".body") && !ends_with(file, ".sample") && !ends_with(file, ".cut")) {
        return 0;
    }
    if (!shelf_path(s, out->item.name, path, sizeof path) || stat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return 0;
    out->item.bytes = (uint64_t)st.st_size;
    out->at = st.st_mtim;
    return 1;
}

/* What another process has there is left to it, whole and on its way. */
void shelf_scan(struct shelf *s, const char *run)
{
    struct found *all = NULL;
    size_t n = 0, room = 0;
    if (!claim_is_ours(&s->claim))
        return;
    DIR *d = opendir(s->dir);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        if (n == room) {
            struct found *bigger = realloc(all, (room = room ? room * 2 : 64) * sizeof *all);
            if (!bigger)
                break;
            all = bigger;
        }
        n += (size_t)take_in(s, entry->d_name, run, &all[n]);
    }
    if (d)
        closedir(d);
    if (n)
        qsort(all, n, sizeof *all, by_age);
    for (size_t i = 0; i < n; i++)
        push(s, all[i].item.name, all[i].item.bytes);
    free(all);
    while (s->used > s->max_bytes && s->n > 0)
        evict(s);
}
