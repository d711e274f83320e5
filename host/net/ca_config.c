/* SPDX-License-Identifier: MPL-2.0 */
/* See ca_config.h. Where nothing is said, the CA is in its default place. */
#include "host/net/ca_config.h"

#include <stdlib.h>
#include <string.h>

#include "host/conf/load.h"

int ca_config_init(struct ca_config *config, const struct settings *settings)
{
    const struct settings_ca *s = &settings->ca;
    config->cert_path = *s->cert_path ? strdup(s->cert_path) : settings_default_ca("ca.pem");
    config->key_path = *s->key_path ? strdup(s->key_path) : settings_default_ca("ca-key.pem");
    config->authority = (struct authority_config){
        .cert_path = config->cert_path,
        .key_path = config->key_path,
        .key_passphrase_file = s->key_passphrase_file,
        .common_name = s->common_name,
        .organization = s->organization,
        .leaf_cache_capacity = (uint32_t)s->leaf_cache_capacity,
        .leaf_days = (uint32_t)s->leaf_days,
        .rsa_leaves = settings->downstream_cert_profile == CERT_COMPAT,
        .rotate_after = (int64_t)(s->rotate_after / 1000),
    };
    return config->cert_path && config->key_path ? SOTH_OK : -SOTH_ENOMEM;
}

void ca_config_fini(struct ca_config *config)
{
    free(config->cert_path);
    free(config->key_path);
    *config = (struct ca_config){0};
}
