/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The driver of one flow: owns its two sockets and its timer, feeds what happens to flow_step, runs the effects after the step returned.
 * Reads go to the worker's slab and are used up by the step; what cannot be sent at once is kept here, and while it is, the other side
 * is not read. One thread.
 */
#ifndef HOST_NET_CONN_H
#define HOST_NET_CONN_H

#include "host/net/worker.h"

/* Takes the descriptor. Makes a flow and runs its first step. */
void conn_open(struct worker_io *io, int fd, const struct settings_listen *listen, const char *client, const struct soth_addr *addr);
/* A module lets the flow of that connection (flow_origin_of.owner) go on. */
void conn_resumed(void *owner, uint64_t pause, uint64_t arg);
/* A peer of that connection has gone (hangup_fn). */
void conn_hung_up(void *owner, unsigned side, bool broken);
/* For every connection of the worker; safe against connections that end meanwhile. */
void conn_drain_all(struct worker_io *io);
unsigned conn_abort_all(struct worker_io *io); /* returns how many had a flow */
void conn_free_all(struct worker_io *io);      /* what lingers is closed */
void conn_resume_all(struct worker_io *io);    /* re-reads stopped_reading */

#endif
