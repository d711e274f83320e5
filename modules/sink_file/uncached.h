/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Appending what nobody reads again soon. In a burst a log would fill the system's memory with pages that only the disk needs: others lose theirs, and
 * what is taken anew costs several times what is used again. So long pieces are written with RWF_DONTCACHE, which lets go of their pages
 * as soon as the disk has them (Linux 6.16, ext4, xfs and others); where that cannot be they are written like all else.
 */
#ifndef SINK_FILE_UNCACHED_H
#define SINK_FILE_UNCACHED_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define UNCACHED_LEAST 65536u /* shorter ones stay in memory: they are few, and a reader who follows finds them there */

struct uncached { /* of one file, zeroed: not known yet */
    uint64_t from_ns; /* of the monotonic clock: not before then; UINT64_MAX: never */
};

/* Like write(2) to a file that is open for appending and has `at` bytes, and like it maybe only some of them. A disk that makes it wait is not
 * waited for again for a while: what memory has room for is written at once then. */
ssize_t uncached_append(struct uncached *how, int fd, uint64_t at, const char *p, size_t n);

#endif
