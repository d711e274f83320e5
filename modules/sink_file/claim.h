/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Whose a folder is: one process's, which may tidy up in it. A lock says so, and goes with the process, however it ends; the instances of one
 * process share it, since at a reload there are two for a moment. And whose a log is, of these.
 */
#ifndef SINK_FILE_CLAIM_H
#define SINK_FILE_CLAIM_H

#include <sys/types.h>

struct claim {
    struct claim *next;
    const char *dir;  /* of a log its path; NULL: nothing is claimed */
    const char *file; /* of a log: the end of its path */
    dev_t device;
    ino_t inode;
    int lock; /* -1: another process has it */
};

/* 0 also when another process has it, -1 with errno set when the folder cannot be opened. */
int claim_folder(struct claim *claim, const char *dir);
/* Is it ours? Tries again when it was not. */
int claim_is_ours(struct claim *claim);
/* The same name in the same folder, however that is spelt, is the same log. 1 when another instance of this process has it, 0, or -1 with errno
 * set. */
int claim_log(struct claim *claim, const char *path);
void claim_drop(struct claim *claim);

#endif
