/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The whole proxy as an object: workers around what they share, signals, drain. The control thread is the caller's.
 */
#ifndef HOST_NET_SERVER_H
#define HOST_NET_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "host/net/worker.h"

struct server;

/* Blocks the signals that server_wait handles, in this thread and all it starts; call before any thread is made. */
void server_block_signals(void);
/* Raises the limit of open files to what the kernel allows; returns it. */
unsigned long server_raise_files(void);
/* Starts the workers on `shared`, whose listeners are bound. NULL with a sentence in err. */
struct server *server_start(struct shared *shared, unsigned workers, char *err, size_t err_size);
/* Runs until SIGTERM or SIGINT and the drain after it. SIGUSR1 reopens logs, SIGUSR2 prints metrics to stderr. Returns false when
 * drain_timeout passed and flows were cut. */
bool server_wait(struct server *server);
void server_free(struct server *server); /* stops what still runs */
/* How many workers `workers: 0` means. */
unsigned server_cores(void);

#endif
