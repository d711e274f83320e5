/* SPDX-License-Identifier: MPL-2.0 */
/* c-ares as the resolver uses it: a channel set up as the configuration says, and what its answers mean. Nothing here waits. */
#ifndef HOST_NET_RESOLVE_ARES_H
#define HOST_NET_RESOLVE_ARES_H

#include <ares.h>
#include <stdbool.h>
#include <stdint.h>

#include "host/net/resolve.h"

/* changed(arg, ...) hears which sockets are to be watched. False: nothing is left open. */
bool dns_channel_open(ares_channel *channel, const struct settings *settings, ares_sock_state_cb changed, void *arg);
/* The contract's word, static: "dns:NXDOMAIN", ... */
const char *dns_error_word(int status);
/* Adds the addresses to out; returns for how many ms they hold, UINT64_MAX if there was none. */
uint64_t dns_collect(const struct ares_addrinfo *info, struct resolve_result *out);

#endif
