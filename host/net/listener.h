/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Listening sockets: IPv4, IPv6 ([::] is dual stack), unix:/path, port 0. Each worker has its own socket per address (SO_REUSEPORT); a
 * unix socket is shared by the workers. Sets of addresses follow each other while connections are accepted. Accepting survives EMFILE/ENFILE/ENOBUFS (pauses, retries, says it once) and benign errors.
 */
#ifndef HOST_NET_LISTENER_H
#define HOST_NET_LISTENER_H

#include <stddef.h>
#include <sys/socket.h>

#include "host/conf/settings.h"
#include "host/net/dial.h"

struct event_base;

/* The bound sockets of every configured address, for all workers. The addresses that `previous` has too (as configured, so that port 0 stays
 * the port it became) are the same sockets: nothing is closed or lost there. Control thread. */
struct listener_set;
/* NULL on failure with a sentence in err ("cannot listen on 127.0.0.1:8080: address in use; ..."). A stale unix socket file is
 * replaced, one that somebody still serves is an error. previous: NULL = none. `settings` outlives the set. */
struct listener_set *listener_set_open(const struct settings *settings, unsigned workers, const struct listener_set *previous, char *err,
                                       size_t err_size);
void listener_set_free(struct listener_set *set); /* closes what no worker has taken and no other set has, removes unix socket files */
/* "127.0.0.1:8080, [::1]:8080, unix:/run/x" with the ports really bound; malloc'd. */
char *listener_set_text(const struct listener_set *set);
/* The bound addresses, for the dialer's loop check; borrowed. */
const struct dialer_own *listener_set_own(const struct listener_set *set, size_t *count);

/* client: text form of the peer ("192.0.2.1:4711", "[2001:db8::1]:4711", "unix:/path"), borrowed; addr: its address without port,
 * IPv4-mapped addresses as IPv4. fd: non-blocking, close-on-exec, TCP_NODELAY; the receiver's. */
typedef void listener_accepted(void *arg, int fd, const struct settings_listen *listen, const char *client, const struct soth_addr *addr);

struct listener; /* one worker's accept side; all of it is called on the worker's thread */
struct listener *listener_new(unsigned worker, struct event_base *base, listener_accepted *accepted, void *arg);
/* Takes a set's sockets; nothing is accepted on new ones yet. 0, or negative: everything is as it was. Then commit or discard. */
int listener_prepare(struct listener *listener, const struct listener_set *set);
void listener_discard(struct listener *listener);
/* Who has connected to an address that the prepared set does not have is still accepted, as of the set before; then it is closed. */
void listener_accept_last(struct listener *listener);
/* From here on the prepared set is what is accepted on. */
void listener_commit(struct listener *listener, const struct listener_set *set);
void listener_stop(struct listener *listener); /* stops accepting and closes this worker's sockets (drain) */
void listener_free(struct listener *listener);

#endif
