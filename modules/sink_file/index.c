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
    *index = (struct index){.log = log, .file = file};
    return SOTH_OK;
}

/* The instance before us shares the index for a moment: by our first row it is done, has written more, and may have put another file in
 * its place. */
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
    return whole_append(&index->file, p, n);
}

/* ---- rows that nobody needs any more ---- */

#define COLUMN_OF_SEGMENT 6

static int has_segment(const char *row, const struct parts *stay)
{
    for (unsigned column = 0; row && column < COLUMN_OF_SEGMENT; column++)
        row = (row = strchr(row, '\t')) ? row + 1 : NULL;
    return row && parts_has(stay, strtoull(row, NULL, 10));
}

static int copy_rows(FILE *from, FILE *to, const struct parts *stay)
{
    char *row = NULL;
    size_t room = 0;
    fputs(line_index_header, to);
    if (getline(&row, &room, from) > 0) /* the header */
        while (getline(&row, &room, from) > 0)
            if (has_segment(row, stay))
                fputs(row, to);
    int r = ferror(from) || fflush(to) != 0 || ferror(to) ? -SOTH_EIO : SOTH_OK;
    free(row);
    return r;
}

/* The rows that stay, written to the new file `fd`. */
static int fill(int fd, const char *name, const struct parts *stay)
{
    int mine = dup(fd);
    FILE *from = fopen(name, "re"), *to = mine >= 0 ? fdopen(mine, "a") : NULL;
    int r = from && to ? copy_rows(from, to, stay) : -SOTH_EIO, error = errno;
    if (from)
        fclose(from);
    if (to)
        fclose(to);
    else if (mine >= 0)
        close(mine);
    errno = error;
    return r;
}

static int replace(struct index *index, const char *name, const char *fresh, const struct parts *stay)
{
    struct stat st;
    struct whole file;
    if (whole_open(&file, fresh, O_TRUNC) < 0)
        return -SOTH_EIO;
    if (fill(file.fd, name, stay) < 0 || fstat(file.fd, &st) < 0 || rename(fresh, name) < 0) {
        int error = errno;
        close(file.fd);
        unlink(fresh);
        errno = error;
        return -SOTH_EIO;
    }
    file.size = (uint64_t)st.st_size;
    close(index->file.fd);
    *index = (struct index){.log = index->log, .file = file, .locked = 1};
    return SOTH_OK;
}

int index_prune(struct index *index, const struct parts *stay)
{
    if (index->file.begun > 0) /* what is half written has to be finished first */
        return SOTH_OK;
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
