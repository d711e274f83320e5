/* SPDX-License-Identifier: MPL-2.0 */
/* What a configuration says of its certificate authority, as host/tls takes it. For the proxy and for the commands. */
#ifndef HOST_NET_CA_CONFIG_H
#define HOST_NET_CA_CONFIG_H

#include "host/conf/settings.h"
#include "host/tls/authority.h"

struct ca_config {
    struct authority_config authority; /* borrows from the settings and from the two below */
    char *cert_path, *key_path;
};

/* 0 or -SOTH_ENOMEM. ca_config_fini in both cases. */
int ca_config_init(struct ca_config *config, const struct settings *settings);
void ca_config_fini(struct ca_config *config);

#endif
