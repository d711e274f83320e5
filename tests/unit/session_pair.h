/* SPDX-License-Identifier: MPL-2.0 */
/* A client session and a server session over two buffers, and a CA in a directory of its own: what the tests of host/tls share. */
#ifndef TESTS_UNIT_SESSION_PAIR_H
#define TESTS_UNIT_SESSION_PAIR_H

#include "host/tls/authority.h"
#include "host/tls/session.h"
#include "tls_files.h"

struct pair_world {
    struct tls_files files; /* a CA that is valid from 100 days ago until in 100 days */
    struct authority *authority;
    struct trust *trust;
    struct session_tickets *tickets;
};

/* Asserts on every failure. */
void pair_world_init(struct pair_world *world);
void pair_world_fini(struct pair_world *world);

struct pair {
    struct session *client, *server;
    struct buffer to_server, to_client; /* ciphertext on its way */
};

struct pair_terms {
    const char *leaf_host; /* whose leaf the server shows */
    const char *host;      /* what the client verifies */
    const char *sni;       /* of the client, and what tickets are bound to */
    const char *ticket_sni; /* NULL = sni */
    const char *offered;   /* wire format, "" = none */
    const char *chosen;    /* "" = none */
    struct trust *trust;   /* NULL = the world's */
    struct session_tickets *tickets; /* NULL = the world's */
    int64_t leaf_age;      /* seconds: for certificates that have expired or are not valid yet */
    int tls12;             /* the server speaks TLS 1.2 only */
    uint32_t profile;      /* of the server: 0 = default, else 1 + enum tls_profile */
};

void pair_open(struct pair *pair, struct pair_world *world, const struct pair_terms *terms);
void pair_close(struct pair *pair);
/* Moves everything that waits to the other side, at most `chunk` bytes a feed (0 = all at once), stepping handshakes; returns when
 * neither side has anything to say. *client and *server (optional) get the last results of session_handshake. */
void pair_handshake(struct pair *pair, size_t chunk, int *client, int *server);
/* The usual: a handshake of both that must succeed. */
void pair_connect(struct pair *pair, struct pair_world *world, const struct pair_terms *terms);
/* Writes text at `from` and expects it at `to`. */
void pair_say(struct pair *pair, int from_client, const char *text);

#endif
