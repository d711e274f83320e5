/* SPDX-License-Identifier: MPL-2.0 */
/* See session_pair.h. Bytes move between buffers only when a test says so. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/tls/issuer.h"
#include "host/tls/profile.h"
#include "host/tls/session_state.h"
#include "session_pair.h"

void pair_world_init(struct pair_world *w)
{
    char err[512];
    memset(w, 0, sizeof *w);
    tls_files_init(&w->files);
    tls_files_make_ca(&w->files, KEY_P256, time(NULL) - 100 * 86400, time(NULL) + 100 * 86400);
    struct authority_config config = tls_files_config(&w->files);
    w->authority = authority_open(&config, 0, NULL, err, sizeof err);
    if (!w->authority)
        fail_msg("%s", err);
    struct trust_config trust = {.extra_ca_file = w->files.cert, .session_cache = 8, .profile = TLS_PROFILE_DEFAULT};
    w->trust = trust_new(&trust, err, sizeof err);
    if (!w->trust)
        fail_msg("%s", err);
    w->tickets = session_tickets_new();
    assert_non_null(w->tickets);
}

void pair_world_fini(struct pair_world *w)
{
    session_tickets_free(w->tickets);
    trust_free(w->trust);
    authority_free(w->authority);
    tls_files_fini(&w->files);
}

/* Gives the server session a WOLFSSL of TLS 1.2 alone, otherwise as it was. (A client that is told to offer 1.2 alone takes our 1.3
 * server for an attacker, RFC 8446 4.1.3.) */
static void limit_to_tls12(struct session *s, const struct authority *authority, const struct leaf *leaf, const char *alpn)
{
    size_t key_size;
    struct soth_span der = leaf_der(leaf);
    const uint8_t *key = private_key_traditional(authority->issuer->leaf_key, &key_size);
    WOLFSSL_CTX *old = wolfSSL_CTX_new(wolfTLSv1_2_server_method());
    assert_non_null(old);
    assert_int_equal(wolfSSL_CTX_use_certificate_buffer(old, (const uint8_t *)der.p, (long)der.n, WOLFSSL_FILETYPE_ASN1), WOLFSSL_SUCCESS);
    assert_int_equal(wolfSSL_CTX_use_PrivateKey_buffer(old, key, (long)key_size, WOLFSSL_FILETYPE_ASN1), WOLFSSL_SUCCESS);
    assert_int_equal(wolfSSL_CTX_set_cipher_list(old, "ECDHE-ECDSA-AES128-GCM-SHA256"), WOLFSSL_SUCCESS);
    wolfSSL_CTX_SetIORecv(old, session_io_recv);
    wolfSSL_CTX_SetIOSend(old, session_io_send);
    wolfSSL_CTX_set_TicketEncCb(old, session_tickets_callback);
    wolfSSL_CTX_set_session_cache_mode(old, WOLFSSL_SESS_CACHE_OFF);
    wolfSSL_free(s->tls);
    s->tls = wolfSSL_new(old);
    wolfSSL_CTX_free(old);
    assert_non_null(s->tls);
    wolfSSL_SetIOReadCtx(s->tls, s);
    wolfSSL_SetIOWriteCtx(s->tls, s);
    if (alpn[0])
        wolfSSL_UseALPN(s->tls, (char *)alpn, (unsigned)strlen(alpn), WOLFSSL_ALPN_CONTINUE_ON_MISMATCH);
}

void pair_open(struct pair *pair, struct pair_world *w, const struct pair_terms *t)
{
    int hit;
    memset(pair, 0, sizeof *pair);
    struct leaf *leaf = leaf_get(w->authority, soth_span(t->leaf_host), time(NULL) - t->leaf_age, &hit);
    assert_non_null(leaf);
    pair->server = session_server_new(leaf, t->tickets ? t->tickets : w->tickets, soth_span(t->ticket_sni ? t->ticket_sni : t->sni),
                                      soth_span(t->chosen), t->profile ? t->profile - 1 : TLS_PROFILE_DEFAULT);
    assert_non_null(pair->server);
    if (t->tls12)
        limit_to_tls12(pair->server, w->authority, leaf, t->chosen);
    leaf_put(leaf);
    pair->client = session_client_new(t->trust ? t->trust : w->trust, soth_span(t->host), 443, soth_span(t->sni), soth_span(t->offered));
    assert_non_null(pair->client);
    session_output(pair->server, &pair->to_client);
    session_output(pair->client, &pair->to_server);
}

void pair_close(struct pair *pair)
{
    session_free(pair->client);
    session_free(pair->server);
    buffer_fini(&pair->to_client);
    buffer_fini(&pair->to_server);
}

static int step(struct session *s, struct buffer *from, size_t chunk)
{
    int r = session_handshake(s);
    while (buffer_size(from) > 0 && r == -SOTH_EAGAIN) {
        size_t n = chunk && chunk < buffer_size(from) ? chunk : buffer_size(from);
        session_feed(s, buffer_data(from), n);
        r = session_handshake(s);
        size_t used = n - session_unused(s);
        session_feed(s, NULL, 0);
        buffer_consume(from, used);
        if (r == -SOTH_EAGAIN)
            assert_int_equal(used, n); /* a session that wants more leaves nothing */
    }
    return r;
}

void pair_handshake(struct pair *pair, size_t chunk, int *client, int *server)
{
    int c = -SOTH_EAGAIN, s = -SOTH_EAGAIN;
    for (int i = 0; i < 10; i++) {
        c = step(pair->client, &pair->to_client, chunk);
        s = step(pair->server, &pair->to_server, chunk);
    }
    if (client)
        *client = c;
    if (server)
        *server = s;
}

void pair_connect(struct pair *pair, struct pair_world *w, const struct pair_terms *terms)
{
    int c, s;
    pair_open(pair, w, terms);
    pair_handshake(pair, 0, &c, &s);
    if (c != 1 || s != 1) {
        struct tls_failure f;
        session_failure(c != 1 ? pair->client : pair->server, &f);
        fail_msg("%s: %s", f.raw, f.detail);
    }
}

void pair_say(struct pair *pair, int from_client, const char *text)
{
    struct session *from = from_client ? pair->client : pair->server, *to = from_client ? pair->server : pair->client;
    struct buffer *wire = from_client ? &pair->to_server : &pair->to_client;
    uint8_t got[1024];
    assert_int_equal(session_write(from, (const uint8_t *)text, strlen(text)), 0);
    session_feed(to, buffer_data(wire), buffer_size(wire));
    ssize_t n = session_read(to, got, sizeof got);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(got, text, strlen(text));
    assert_int_equal(session_read(to, got, sizeof got), -SOTH_EAGAIN);
    assert_int_equal(session_unused(to), 0);
    session_feed(to, NULL, 0);
    buffer_clear(wire);
}
