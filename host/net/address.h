/* SPDX-License-Identifier: MPL-2.0 */
/* Socket addresses to and from the forms that other rooms use. Pure but for address_is_local, which asks the kernel. */
#ifndef HOST_NET_ADDRESS_H
#define HOST_NET_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include <soth/sdk.h>

#define ADDRESS_TEXT_MAX 128

/* "192.0.2.1:80", "[2001:db8::1]:80", "unix:/path"; IPv4-mapped IPv6 as IPv4. */
void address_text(const struct sockaddr_storage *sa, char out[ADDRESS_TEXT_MAX]);
/* The address without its port; family 0 for unix. IPv4-mapped IPv6 becomes IPv4. */
void address_plain(const struct sockaddr_storage *sa, struct soth_addr *out);
unsigned address_port(const struct sockaddr_storage *sa);
/* Fills a socket address; returns its length. */
socklen_t address_make(const struct soth_addr *addr, unsigned port, struct sockaddr_storage *out);
/* "127.0.0.1", "::1", "[::1]"; false when it is no address. */
bool address_parse(const char *text, struct soth_addr *out);
/* What the kernel makes of it as a target: IPv4-mapped IPv6 becomes IPv4, the unspecified address loopback. */
void address_target(struct soth_addr *addr);
/* Is it an address of this machine? */
bool address_is_local(const struct soth_addr *addr);

#endif
