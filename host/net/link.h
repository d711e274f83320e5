/* SPDX-License-Identifier: MPL-2.0 */
/* One socket of a connection: what waits to be sent, and whether it is read or written. Knows nothing of flows. */
#ifndef HOST_NET_LINK_H
#define HOST_NET_LINK_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>

#include "host/mem/buffer.h"

struct link {
    int fd; /* -1: closed */
    bool reading, writing, ended, shut_after;
    bool watched;          /* whether its peer hangs up: while a module keeps the flow waiting */
    bool deaf;             /* takes nothing more, may still have something to say */
    int error;             /* with deaf: what its end has to be called */
    struct buffer pending; /* only while the socket takes no more */
    uint64_t given, taken; /* bytes handed to link_send; of those, what the peer had when link_moved was asked last */
    struct event in, out;
};

void link_init(struct link *link);
void link_open(struct link *link, struct event_base *base, int fd, event_callback_fn on_read, event_callback_fn on_write, void *arg);
/* Another one takes its socket, of which nothing is pending. */
void link_move(struct link *to, struct link *from, struct event_base *base, event_callback_fn on_read, event_callback_fn on_write, void *arg);
void link_close(struct link *link);
void link_close_hard(struct link *link); /* with RST */
void link_read(struct link *link, bool on);
static inline bool link_blocked(const struct link *link) { return buffer_size(&link->pending) > 0; }
/* Sends head then tail (either may be empty), keeps the rest. 0, or an errno: the connection is broken. */
int link_send(struct link *link, const void *head, size_t head_size, const void *tail, size_t tail_size);
/* Goes on with what is pending. 0, or an errno. */
int link_flush(struct link *link);
/* FIN after everything that is pending. */
void link_shut(struct link *link);
/* The peer takes nothing more (`error` said so): what is pending and what comes is dropped. What it sent before can still be read; once
 * that has ended, too, sending fails. */
void link_deafen(struct link *link, int error);
/* Is the peer still taking what it was sent: has it more than when this was asked last, and not all yet? */
bool link_moved(struct link *link);

#endif
