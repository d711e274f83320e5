/* SPDX-License-Identifier: MPL-2.0 */
/* What the rest of this room needs of a leaf beyond authority.h. */
#ifndef HOST_TLS_LEAF_H
#define HOST_TLS_LEAF_H

#include "host/tls/authority.h"
#include "host/tls/wolf.h"

WOLFSSL_CTX *leaf_context(const struct leaf *leaf);
struct leaf *leaf_ref(struct leaf *leaf);
/* A leaf from DER (the certificate, then its chain) and a traditional private key. NULL on failure. */
struct leaf *leaf_new(const uint8_t *chain, size_t chain_size, size_t cert_size, const uint8_t *key, size_t key_size);

#endif
