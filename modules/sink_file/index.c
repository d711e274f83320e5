/* SPDX-License-Identifier: MPL-2.0 */
/* See index.h. */
#include "index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <soth/sdk.h>

#include "line.h"
#include "parts.h"
#include "whole.h"

/* What is open is changed only when that worked, and stays when it is the right one still: it has the lock. */
int index_open(struct index *index, const char *log)
{
    char *name = parts_path(log, INDEX_ENDING);
    struct whole file;
    if (name)
        whole_mend(name, NULL);
    int opened = name ? whole_open(&file, name, 0) : -SOTH_ENOMEM;
    free(name);
    if (opened < 0)
        return -SOTH_EIO;
    int is_open = index->file.fd >= 0 && whole_is_same(file.fd, index->file.fd);
    int r = is_open || file.size > 0 ? SOTH_OK : whole_append(&file, line_index_header, strlen(line_index_header));
    if (is_open || r < 0) {
        int error = errno;
        close(file.fd);
        errno = error;
        return r;
    }
    if (index->file.fd >= 0)
        close(index->file.fd);
    *index = (struct index){.log = log, .file = file, .number = index->number};
    return SOTH_OK;
}

void index_next(struct index *index, uint64_t number)
{
    index->number = number;
    index->from = 0;
}

/* Another process that drains shares the index for a while: then it is done, has written more, and may have put another file in its place. */
static int take_over(struct index *index)
{
    struct stat st;
    if (fstat(index->file.fd, &st) == 0 && st.st_nlink == 0 && index_open(index, index->log) < 0)
        return -SOTH_EIO;
    index->locked = flock(index->file.fd, LOCK_EX | LOCK_NB) == 0;
    if (index->file.begun == 0 && fstat(index->file.fd, &st) == 0)
        index->file.size = (uint64_t)st.st_size;
    return SOTH_OK;
}

int index_append(struct index *index, const char *p, size_t n)
{
    if (!index->locked && take_over(index) < 0)
        return -SOTH_EIO;
    if (!index->locked)
        index->from = INDEX_MIXED;
    else if (index->from == 0)
        index->from = index->file.size;
    return whole_append(&index->file, p, n);
}

/* ---- rows that nobody needs any more ---- */

#define COLUMN_OF_SEGMENT 6

static int segment_of(const char *row, uint64_t *number)
{
    for (unsigned column = 0; row && column < COLUMN_OF_SEGMENT; column++)
        row = (row = strchr(row, '\t')) ? row + 1 : NULL;
    if (!row || *row < '0' || *row > '9')
        return 0;
    *number = strtoull(row, NULL, 10);
    return 1;
}

/* Of a row that stays, at this place: does it change where those of the open segment begin? */
static uint64_t begin_of_open(const struct index *index, uint64_t from, uint64_t number, uint64_t at)
{
    if (number == index->number)
        return from ? from : at;
    return from ? INDEX_MIXED : 0;
}

static int copy_rows(const struct index *index, FILE *from, FILE *to, const struct parts *stay, struct index *fresh)
{
    char *row = NULL;
    size_t room = 0;
    uint64_t number, at = strlen(line_index_header);
    ssize_t n;
    fputs(line_index_header, to);
    if (getline(&row, &room, from) > 0) /* the header */
        while ((n = getline(&row, &room, from)) > 0)
            if (segment_of(row, &number) && parts_has(stay, number)) {
                fputs(row, to);
                fresh->from = begin_of_open(index, fresh->from, number, at);
                at += (uint64_t)n;
            }
    int r = ferror(from) || fflush(to) != 0 || ferror(to) ? -SOTH_EIO : SOTH_OK;
    free(row);
    return r;
}

/* The rows that stay, written to the new file. */
static int fill(const struct index *index, const char *name, const struct parts *stay, struct index *fresh)
{
    int mine = dup(fresh->file.fd);
    FILE *from = fopen(name, "re"), *to = mine >= 0 ? fdopen(mine, "a") : NULL;
    int r = from && to ? copy_rows(index, from, to, stay, fresh) : -SOTH_EIO, error = errno;
    if (from)
        fclose(from);
    if (to)
        fclose(to);
    else if (mine >= 0)
        close(mine);
    errno = error;
    return r;
}

static int replace(struct index *index, const char *name, const char *other, const struct parts *stay)
{
    struct stat st;
    struct index fresh = {.log = index->log, .locked = 1, .number = index->number};
    if (whole_open(&fresh.file, other, O_TRUNC) < 0)
        return -SOTH_EIO;
    if (fill(index, name, stay, &fresh) < 0 || fstat(fresh.file.fd, &st) < 0 || rename(other, name) < 0) {
        int error = errno;
        close(fresh.file.fd);
        unlink(other);
        errno = error;
        return -SOTH_EIO;
    }
    fresh.file.size = (uint64_t)st.st_size;
    close(index->file.fd);
    *index = fresh;
    return SOTH_OK;
}

int index_prune(struct index *index, const struct parts *stay)
{
    if (index->file.begun > 0) /* what is half written has to be finished first */
        return SOTH_OK;
    if (stay->error) { /* it is not known which those are */
        errno = stay->error;
        return -SOTH_EIO;
    }
    if (!index->locked && take_over(index) < 0)
        return -SOTH_EIO;
    char *name = parts_path(index->log, INDEX_ENDING), *fresh = parts_path(index->log, INDEX_ENDING ".new");
    int r = -SOTH_EIO;
    if (name && fresh)
        r = index->locked ? replace(index, name, fresh, stay) : SOTH_OK; /* else another process writes to it */
    else
        errno = ENOMEM;
    free(name);
    free(fresh);
    return r;
}

/* ---- rows of a file that was moved away ---- */

static int was_moved(const struct index *index)
{
    char *name = parts_path(index->log, INDEX_ENDING);
    int moved = name && !whole_is_at(index->file.fd, name);
    free(name);
    return moved;
}

/* Nobody else has written behind the first of them. */
static int are_last(const struct index *index)
{
    struct stat st;
    return index->from != INDEX_MIXED && fstat(index->file.fd, &st) == 0 && (uint64_t)st.st_size == index->file.size + index->file.begun;
}

static int cut(struct index *index, uint64_t at)
{
    if (ftruncate(index->file.fd, (off_t)at) < 0)
        return -SOTH_EIO;
    index->file.size = at;
    index->file.begun = 0;
    index->from = 0;
    return SOTH_OK;
}

int index_forget(struct index *index, const struct parts *stay)
{
    if (index->from == 0 || was_moved(index))
        return SOTH_OK;
    return index->locked && are_last(index) ? cut(index, index->from) : index_prune(index, stay);
}

int index_reaches(const char *log, uint64_t number)
{
    char end[8192], *name = parts_path(log, INDEX_ENDING); /* some rows */
    int fd = name ? open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    struct stat st;
    ssize_t n = 0;
    uint64_t last;
    if (fd >= 0 && fstat(fd, &st) == 0)
        n = pread(fd, end, sizeof end, st.st_size > (off_t)sizeof end ? st.st_size - (off_t)sizeof end : 0);
    if (fd >= 0)
        close(fd);
    free(name);
    while (n > 0 && end[n - 1] != '\n') /* torn */
        n--;
    if (n <= 0)
        return 0;
    end[n - 1] = 0;
    const char *row = memrchr(end, '\n', (size_t)n - 1);
    return row && segment_of(row + 1, &last) && last >= number;
}
