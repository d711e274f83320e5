/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The whole proxy as an object: workers around what they share, the generations of its configuration, signals, drain. The control thread is
 * the caller's.
 */
#ifndef HOST_NET_SERVER_H
#define HOST_NET_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "host/net/generation.h"
#include "host/net/worker.h"

struct server;

/* Blocks the signals that server_wait handles, in this thread and all it starts; call before any thread is made. */
void server_block_signals(void);
/* Raises the limit of open files to what the kernel allows; returns it. */
unsigned long server_raise_files(void);
/* Opens the first generation of the configuration at path (NULL: the default place), starts workers, sinks and sources. NULL with the class
 * and a sentence; what the configuration has wrong is printed to stderr. */
struct server *server_start(struct shared *shared, const char *path, enum exit_class *class, char *err, size_t err_size);
/* "127.0.0.1:8080, unix:/run/x", really bound; malloc'd. */
char *server_addresses(const struct server *server);
/* Runs until SIGTERM or SIGINT and the drain after it. SIGHUP reads the configuration anew, SIGUSR1 reopens logs, SIGUSR2 prints metrics to
 * stderr. Returns false when drain_timeout passed and flows were cut. */
bool server_wait(struct server *server);
/* Stops what still runs; the sinks have flush_ms to write what they have. Returns how many events could not be delivered. */
uint64_t server_free(struct server *server, uint32_t flush_ms);

/* For metrics.c. */
struct server_state {
    struct shared *shared;
    struct workers *workers;
    const struct generation *current;
    unsigned generations; /* that exist, the current one included */
    uint64_t reloads, refused_reloads, ca_rotations;
};

#endif
