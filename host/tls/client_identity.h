/* SPDX-License-Identifier: MPL-2.0 */
/* The certificates that we show to origins that ask for one, by host pattern. Read once, then only asked. Internal to this room. */
#ifndef HOST_TLS_CLIENT_IDENTITY_H
#define HOST_TLS_CLIENT_IDENTITY_H

#include "host/tls/session.h"
#include "host/tls/wolf.h"

struct client_identity;
struct client_identities;

/* NULL with a sentence in err: a pattern that is none, a file that cannot be used, a key of another certificate. */
struct client_identities *client_identities_new(const struct identity_config *configs, size_t n, char *err, size_t err_size);
void client_identities_free(struct client_identities *identities);
/* The first whose pattern has this host, or NULL. Borrowed. */
const struct client_identity *client_identity_for(const struct client_identities *identities, struct soth_span host, uint16_t port);
/* What sessions that are resumed with it belong to. */
struct soth_span client_identity_name(const struct client_identity *identity);
/* Bytes of its certificate: a flight that has it is longer. */
size_t client_identity_size(const struct client_identity *identity);
int client_identity_use(const struct client_identity *identity, WOLFSSL *tls); /* 0 or negative */

#endif
