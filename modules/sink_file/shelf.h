/* SPDX-License-Identifier: MPL-2.0 */
/* The folder of bodies: its budget, who is the oldest, and what an earlier run left there. Disk space is counted in blocks, so that many small
 * files count as what they take. */
#ifndef SINK_FILE_SHELF_H
#define SINK_FILE_SHELF_H

#include <stddef.h>
#include <stdint.h>

#include "claim.h"

struct shelf_item {
    char name[96]; /* of the body's file */
    uint64_t bytes;
};

struct shelf {
    const char *dir;
    uint64_t max_bytes, used, evicted;
    struct shelf_item *items; /* finished ones, the oldest at `first` */
    size_t first, n, room;
    struct claim claim;
};

/* Nobody moves one that is open. 0, or -1 with errno set. */
int shelf_open(struct shelf *s, const char *dir, uint64_t max_bytes);
/* Takes in what is there, if the folder is ours; what another run than the one of this prefix did not finish is cut. */
void shelf_scan(struct shelf *s, const char *run);
/* Makes the folder anew, where somebody has removed it. 0, or -1 with errno set. */
int shelf_make(const struct shelf *s);
/* Room for more bytes of a file that is being written, and has `have`? The oldest finished ones go for it. */
int shelf_reserve(struct shelf *s, uint64_t have, uint64_t more);
/* It does not become as long as was reserved. */
void shelf_return(struct shelf *s, uint64_t reserved, uint64_t have);
/* A file is finished, or was given up: of `bytes`, which were reserved. name NULL: it is gone. */
void shelf_add(struct shelf *s, const char *name, uint64_t bytes);
void shelf_close(struct shelf *s);
/* DIR/NAME in out[size]; 0 when it does not fit. */
int shelf_path(const struct shelf *s, const char *name, char *out, size_t size);
/* The name of a body's digest. */
void shelf_digest_name(const char *name, char out[112]);
void shelf_drop_digest(const struct shelf *s, const char *name);

#endif
