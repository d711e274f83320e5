/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Who hangs up while nobody reads: a watch of a worker's own beside its loop, since the loop tells of an end only to who reads, and what is
 * unread must not wake it again and again. Linux: epoll, each end told once.
 */
#ifndef HOST_NET_HANGUP_H
#define HOST_NET_HANGUP_H

#include <stdbool.h>

struct event_base;
struct hangup;

/* `broken`: the connection, not only the peer's side of it. `owner` and `number` are hangup_watch's; it may close any descriptor. */
typedef void hangup_fn(void *owner, unsigned number, bool broken);

struct hangup *hangup_new(struct event_base *base, hangup_fn *told); /* NULL on failure */
void hangup_free(struct hangup *hangup);
/* Tells of what has happened already and of what comes, until the descriptor is closed; asked again, it tells again. `number` is 0 or 1,
 * `owner` aligned. Without memory it is not watched. */
void hangup_watch(struct hangup *hangup, int fd, void *owner, unsigned number);

#endif
