/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What only our side towards an origin does: whom it asks for and what it offers, the certificate that it shows, the session that it resumes and
 * keeps, the OCSP staple that it asks for. Nothing is verified here (trust.c).
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/tls/client_identity.h"
#include "host/tls/session_state.h"
#include "host/tls/staple_watch.h"
#include "host/tls/trust.h"

#define TICKET_MOST 4096u /* longer ones are offered once, and what comes after them is not kept */

/* wolfSSL wants names with commas between them. A name that has one cannot be offered. */
static int offer_protocols(WOLFSSL *tls, struct soth_span wire)
{
    char text[256];
    size_t n = 0, at = 0;
    while (at < wire.n) {
        size_t length = (uint8_t)wire.p[at++];
        if (length == 0 || length > wire.n - at || n + 1 + length > sizeof text)
            break;
        if (!memchr(wire.p + at, ',', length)) {
            if (n > 0)
                text[n++] = ',';
            memcpy(text + n, wire.p + at, length);
            n += length;
        }
        at += length;
    }
    if (n == 0)
        return WOLFSSL_SUCCESS;
    return wolfSSL_UseALPN(tls, text, (unsigned)n, WOLFSSL_ALPN_CONTINUE_ON_MISMATCH);
}

/* The ticket that the connection's session has now; 0 = none, or a longer one. */
static uint32_t ticket_of(struct session *s, uint8_t ticket[TICKET_MOST])
{
    word32 n = TICKET_MOST;
    return wolfSSL_get_SessionTicket(s->tls, ticket, &n) == WOLFSSL_SUCCESS ? n : 0;
}

static void remember_offered(struct session *s)
{
    uint8_t ticket[TICKET_MOST];
    uint32_t n = ticket_of(s, ticket);
    s->ticket = n > 0 ? malloc(n) : NULL;
    if (s->ticket)
        memcpy(s->ticket, ticket, s->ticket_size = n);
}

static void offer_cached(struct session *s, struct soth_span host, uint16_t port, struct soth_span sni, struct soth_span alpn)
{
    const char rest[3] = {(char)(port >> 8), (char)port, (char)s->trust->skip_verify};
    const struct soth_span parts[] = {host, {rest, sizeof rest}, sni, alpn,
                                      s->identity ? client_identity_name(s->identity) : (struct soth_span){"", 0}};
    session_key(s->key, parts, sizeof parts / sizeof parts[0]);
    if (s->keylog)
        return;
    WOLFSSL_SESSION *cached = resume_store_take(s->trust->store, s->key);
    if (!cached)
        return;
    s->offered = wolfSSL_set_session(s->tls, cached) == WOLFSSL_SUCCESS;
    wolfSSL_SESSION_free(cached); /* the connection has its own reference */
    if (s->offered)
        remember_offered(s);
}

/* What wolfSSL compares with the certificate. Addresses of IPv6 it knows only written out: "2001:0DB8:0000:...". */
static int verify_host(WOLFSSL *tls, struct soth_span host)
{
    char name[256];
    uint8_t addr[16];
    if (host.n >= sizeof name)
        return WOLFSSL_FAILURE;
    memcpy(name, host.p, host.n);
    name[host.n] = '\0';
    if (inet_pton(AF_INET6, name, addr) == 1)
        for (size_t i = 0; i < 8; i++)
            snprintf(name + 5 * i, 6, "%02X%02X%s", addr[2 * i], addr[2 * i + 1], i < 7 ? ":" : "");
    return wolfSSL_check_domain_name(tls, name);
}

struct session *session_client_new(struct trust *trust, struct soth_span host, uint16_t port, struct soth_span sni,
                                   struct soth_span alpn)
{
    struct trust_lane *lane = trust_lane(trust);
    struct session *s = session_alloc(lane->tls);
    if (!s)
        return NULL;
    s->trust = trust_ref(trust);
    s->lane = lane;
    wolfSSL_SetCertCbCtx(s->tls, s);
    if (sni.n > 255 || verify_host(s->tls, host) != WOLFSSL_SUCCESS || offer_protocols(s->tls, alpn) != WOLFSSL_SUCCESS ||
        (sni.n > 0 && wolfSSL_UseSNI(s->tls, WOLFSSL_SNI_HOST_NAME, sni.p, (unsigned short)sni.n) != WOLFSSL_SUCCESS)) {
        session_free(s);
        return NULL;
    }
    s->identity = client_identity_for(trust->identities, host, port);
    if (s->identity && client_identity_use(s->identity, s->tls) < 0) {
        session_free(s);
        return NULL;
    }
    session_log_keys(s, trust->keylog);
    offer_cached(s, host, port, sni, alpn);
    s->staple_asked = trust->revocation != REVOCATION_OFF;
    return s;
}

void session_skip_staple(struct session *s)
{
    s->staple_asked = 0;
}

/* TLS 1.3: until the peer has sent a new ticket (some never do when they resume), the session has the one that was offered beside the secret
 * of this connection, and they do not fit: the peer would break the next handshake off. */
static bool ticket_is_stale(struct session *s)
{
    uint8_t now[TICKET_MOST];
    if (!s->offered || wolfSSL_version(s->tls) < TLS1_3_VERSION)
        return false;
    uint32_t n = ticket_of(s, now);
    return n == 0 || !s->ticket || (n == s->ticket_size && memcmp(now, s->ticket, n) == 0);
}

/* Keeps a copy of what can be resumed, as soon as there is something (in TLS 1.3 a ticket comes after the handshake): the connection's
 * own goes on changing with every ticket that arrives. */
void session_save_resumable(struct session *s)
{
    if (ticket_is_stale(s))
        return;
    WOLFSSL_SESSION *own = wolfSSL_get1_session(s->tls);
    if (!own)
        return;
    WOLFSSL_SESSION *copy = wolfSSL_SessionIsSetup(own) ? wolfSSL_SESSION_dup(own) : NULL;
    wolfSSL_SESSION_free(own);
    if (!copy)
        return;
    s->saved = 1;
    resume_store_keep(s->trust->store, s->key, copy);
}

void session_ask_staple(struct session *s)
{
    if (s->started)
        return;
    s->started = 1;
    if (s->staple_asked && wolfSSL_UseOCSPStapling(s->tls, WOLFSSL_CSR_OCSP, 0) != WOLFSSL_SUCCESS)
        s->staple_asked = 0;
    if (s->staple_asked)
        s->staple = staple_watch_new(); /* without it a revoked one is called invalid */
}

/* The last flight is not long enough to have had it. */
int session_kept_back(const struct session *s)
{
    return s->trust->client_auth == CLIENT_AUTH_REQUIRED && s->identity && !wolfSSL_session_reused(s->tls) &&
           s->flight < client_identity_size(s->identity);
}
