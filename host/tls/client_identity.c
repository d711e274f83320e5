/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Patterns with a certificate chain and a key come in as file names; what to show to an origin comes out. The files are checked as
 * those of a listener are.
 */
#include "host/tls/client_identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/tls/authority.h"
#include "host/tls/material.h"
#include "host/tls/session_state.h"
#include "modules/match/pattern.h"

struct client_identity {
    struct pattern_set *pattern;
    char *chain, *key; /* PEM */
    size_t chain_size, key_size, cert_size;
    uint8_t name[SESSION_KEY_SIZE];
};

struct client_identities {
    struct client_identity *v;
    size_t n;
};

static int check_files(struct client_identity *one, const struct identity_config *config, char *err, size_t err_size)
{
    struct leaf *leaf = leaf_from_files(config->cert_path, config->key_path, err, err_size);
    if (!leaf)
        return -SOTH_EINVALID;
    struct soth_span der = leaf_der(leaf);
    one->cert_size = der.n;
    session_key(one->name, &der, 1);
    leaf_put(leaf);
    if (material_read(config->cert_path, 0, &one->chain, &one->chain_size, err, err_size) < 0 ||
        material_read(config->key_path, 1, &one->key, &one->key_size, err, err_size) < 0)
        return -SOTH_EIO;
    return SOTH_OK;
}

static int open_one(struct client_identity *one, const struct identity_config *config, char *err, size_t err_size)
{
    const char *why = "out of memory";
    long bad = -1;
    struct soth_strings texts = {&config->host_pattern, 1};
    one->pattern = pattern_set_new(&texts, &bad, &why);
    if (!one->pattern) {
        snprintf(err, err_size, "upstream_client_certs: host_pattern '%s': %s", config->host_pattern, why);
        return -SOTH_EINVALID;
    }
    return check_files(one, config, err, err_size);
}

struct client_identities *client_identities_new(const struct identity_config *configs, size_t n, char *err, size_t err_size)
{
    struct client_identities *all = calloc(1, sizeof *all);
    snprintf(err, err_size, "out of memory");
    if (!all || !(all->v = calloc(n ? n : 1, sizeof *all->v))) {
        free(all);
        return NULL;
    }
    for (; all->n < n; all->n++)
        if (open_one(&all->v[all->n], &configs[all->n], err, err_size) < 0) {
            all->n++; /* what there is of it, too */
            client_identities_free(all);
            return NULL;
        }
    return all;
}

void client_identities_free(struct client_identities *all)
{
    if (!all)
        return;
    for (size_t i = 0; i < all->n; i++) {
        if (all->v[i].key)
            explicit_bzero(all->v[i].key, all->v[i].key_size);
        free(all->v[i].key);
        free(all->v[i].chain);
        pattern_set_free(all->v[i].pattern);
    }
    free(all->v);
    free(all);
}

const struct client_identity *client_identity_for(const struct client_identities *all, struct soth_span host, uint16_t port)
{
    struct soth_addr addr = pattern_address(host);
    for (size_t i = 0; all && i < all->n; i++)
        if (pattern_set_match(all->v[i].pattern, host, &addr, port))
            return &all->v[i];
    return NULL;
}

struct soth_span client_identity_name(const struct client_identity *one)
{
    return (struct soth_span){(const char *)one->name, sizeof one->name};
}

size_t client_identity_size(const struct client_identity *one)
{
    return one->cert_size;
}

int client_identity_use(const struct client_identity *one, WOLFSSL *tls)
{
    if (wolfSSL_use_certificate_chain_buffer(tls, (const uint8_t *)one->chain, (long)one->chain_size) != WOLFSSL_SUCCESS ||
        wolfSSL_use_PrivateKey_buffer(tls, (const uint8_t *)one->key, (long)one->key_size, WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS)
        return -SOTH_ETLS;
    return SOTH_OK;
}
