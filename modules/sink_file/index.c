/* SPDX-License-Identifier: MPL-2.0 */
/* See index.h. */
#include "index.h"

#include <errno.h>
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
    uint64_t size = 0;
    size_t begun = 0;
    if (name)
        whole_mend(name, NULL);
    int fd = name ? whole_open(name, 0, &size) : -1;
    free(name);
    if (fd < 0)
        return -SOTH_EIO;
    int is_open = index->fd >= 0 && whole_is_same(fd, index->fd);
    int r = is_open || size > 0 ? SOTH_OK : whole_append(fd, &size, &begun, line_index_header, strlen(line_index_header));
    if (is_open || r < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return r;
    }
    if (index->fd >= 0)
        close(index->fd);
    index->fd = fd;
    index->size = size;
    index->begun = 0;
    index->locked = 0;
    return SOTH_OK;
}

/* The instance before us shares the index for a moment: by our first row it is done, and has written more. */
static void take_over(struct index *index)
{
    struct stat st;
    index->locked = flock(index->fd, LOCK_EX | LOCK_NB) == 0;
    if (index->begun == 0 && fstat(index->fd, &st) == 0)
        index->size = (uint64_t)st.st_size;
}

int index_append(struct index *index, const char *p, size_t n)
{
    if (!index->locked)
        take_over(index);
    return whole_append(index->fd, &index->size, &index->begun, p, n);
}
