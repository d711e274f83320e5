/* SPDX-License-Identifier: MPL-2.0 */
/* Addresses and networks out of configuration text. Matching is settings_cidr_match of settings.h. */
#ifndef HOST_CONF_CIDR_H
#define HOST_CONF_CIDR_H

#include <stdbool.h>

#include "host/conf/settings.h"

/* "192.0.2.1", "2001:db8::1": four decimal numbers or IPv6 without brackets and scope. */
bool cidr_parse_addr(const char *text, struct soth_addr *out);
/* ADDRESS or ADDRESS/BITS. Bits behind the prefix may be set and do not count; IPv4-mapped networks become IPv4. */
bool cidr_parse(const char *text, struct settings_cidr *out);

#endif
