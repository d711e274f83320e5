/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Connections to origins of HTTP/1 that streams of one HTTP/2 connection use one after the other. Between two of them a connection is
 * watched: one that ends, or that says something, is closed. One thread.
 */
#ifndef HOST_NET_SPARE_H
#define HOST_NET_SPARE_H

#include "host/net/conn_end.h"

/* Takes the origin's socket of `from`, whose flow has left it, into the keeping of `keeper`. */
void spare_keep(struct conn *keeper, struct conn *from);
/* Gives conn's flow a connection that fits it; false: there is none. */
bool spare_take(struct conn *keeper, struct conn *conn, event_callback_fn on_read, event_callback_fn on_write);
void spare_free_all(struct conn *keeper);

#endif
