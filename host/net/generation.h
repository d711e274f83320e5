/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A configuration generation: everything that comes from the configuration, built and checked as a whole before anybody uses it. Workers
 * take a new one over one after another; a flow keeps the one it began with until it ends, and with the last of its flows a generation goes.
 * Made, numbered and freed by the control thread; read by the workers that have it.
 */
#ifndef HOST_NET_GENERATION_H
#define HOST_NET_GENERATION_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "host/conf/load.h"
#include "host/status.h"

struct shared;

struct generation {
    uint64_t number; /* from 1 */
    struct settings_file *file;
    const struct settings *settings;
    struct authority *authority;
    struct keylog *keylog; /* NULL: secrets of TLS are logged nowhere */
    struct trust *trust, *trust_any; /* any: verifies nothing */
    struct leaf **fixed_leaves; /* one per listener, NULL where it has none */
    struct registry *registry;
    struct listener_set *listeners;
    atomic_uint users;          /* workers that have it, or have flows of it */
    struct generation *next;    /* of those that are no longer current */
};

/*
 * Reads path (NULL = the default place) and opens what it says, as the successor of `previous` (NULL: the first). Listening sockets are bound
 * and module instances created, but nothing is accepted and no sink or source runs. Everything that is wrong is printed to stderr; NULL with
 * the class and the first sentence of it. Nothing of `previous` is changed.
 */
struct generation *generation_open(struct shared *shared, const char *path, struct generation *previous, enum exit_class *class, char *err,
                                   size_t err_size);
/* Nobody uses it any more. NULL is fine. */
void generation_free(struct generation *generation);

#endif
