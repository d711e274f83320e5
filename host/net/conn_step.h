/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One step of a connection's flow and what comes of it: its effects run on the two sockets, the dialler and the timer, and the flows that it
 * called have their steps. Called by conn.c, for what happened to a connection.
 */
#ifndef HOST_NET_CONN_STEP_H
#define HOST_NET_CONN_STEP_H

#include "host/net/conn_end.h"
#include "host/net/dial.h"

/* Afterwards the connection, or its flow, may be gone. */
void conn_step(struct conn *conn, struct input input);
unsigned conn_step_all(struct worker_io *io, enum input_type type); /* of the worker; how many had a flow */

/* A new one, into the worker's list, with a number from the next call. */
void conn_begin(struct worker_io *io, struct worker_env *env, struct conn *conn);
uint64_t conn_next_id(struct worker_io *io);

/* Outside a step, where nothing happened but time or room: whom is read now; when the timer looks again; an input that has become due. */
void conn_reconcile(struct conn *conn);
void conn_timer_adjust(struct conn *conn);
bool conn_wants_room(const struct conn *conn, struct input *input);

/* conn.c: what libevent and the dialler call */
void conn_origin_readable(evutil_socket_t fd, short what, void *arg);
void conn_origin_writable(evutil_socket_t fd, short what, void *arg);
void conn_timer_fired(evutil_socket_t fd, short what, void *arg);
void conn_dialed(void *arg, const struct dial_result *result);

#endif
