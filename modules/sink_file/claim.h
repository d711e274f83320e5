/* SPDX-License-Identifier: MPL-2.0 */
/* Places that instances of this process write to, to tell them from other processes: at a reload two of them share one for a moment. On the
 * control thread alone. */
#ifndef SINK_FILE_CLAIM_H
#define SINK_FILE_CLAIM_H

#include <sys/types.h>

struct claim {
    struct claim *next;
    dev_t device; /* of the folder */
    ino_t inode;
    char *name; /* in it; "" = the folder itself */
    int lock;   /* what keeps other processes away, -1 = something else does */
};

/* A file in a folder that exists: listed from here on. 0, or -1 with errno set. */
int claim_file(struct claim *claim, const char *path);
/* A folder, which is locked. 0, or -1 with errno set: EBUSY: another process has it. */
int claim_folder(struct claim *claim, const char *dir);
/* Does somebody else of this process have the same place? */
int claim_is_shared(const struct claim *claim);
/* What was not claimed (zeros) is left alone. */
void claim_drop(struct claim *claim);

#endif
