/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Ciphertext comes in lent, plaintext goes out, and the other way round. All waiting is the caller's: wolfSSL is never told to block and
 * never keeps a pointer between calls. What went wrong is kept as numbers only; failure.c makes words of them.
 */
#include "host/tls/session.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/tls/client_identity.h"
#include "host/tls/leaf.h"
#include "host/tls/session_state.h"
#include "host/tls/staple_watch.h"
#include "host/tls/trust.h"

#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/sha256.h>

#define RECORD_MAX 16384u
#define RECORD_EXTRA 64u /* header, tag, nonce, at most */
#define TICKET_MOST 4096u /* longer ones are offered once, and what comes after them is not kept */

enum { ALERT_UNEXPECTED_MESSAGE = 10, ALERT_BAD_RECORD_MAC = 20, ALERT_ILLEGAL_PARAMETER = 47, ALERT_DECRYPT_ERROR = 51 };

void session_key(uint8_t key[SESSION_KEY_SIZE], const struct soth_span *parts, size_t count)
{
    uint8_t digest[WC_SHA256_DIGEST_SIZE] = {0};
    wc_Sha256 sha;
    wc_InitSha256(&sha);
    for (size_t i = 0; i < count; i++) {
        const uint8_t length[2] = {(uint8_t)(parts[i].n >> 8), (uint8_t)parts[i].n};
        wc_Sha256Update(&sha, length, sizeof length);
        wc_Sha256Update(&sha, (const uint8_t *)parts[i].p, (word32)parts[i].n);
    }
    wc_Sha256Final(&sha, digest);
    wc_Sha256Free(&sha);
    memcpy(key, digest, SESSION_KEY_SIZE);
}

static struct session *session_alloc(WOLFSSL_CTX *context)
{
    struct session *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->alert_sniffed = -1;
    s->tls = wolfSSL_new(context);
    if (!s->tls) {
        free(s);
        return NULL;
    }
    wolfSSL_SetIOReadCtx(s->tls, s);
    wolfSSL_SetIOWriteCtx(s->tls, s);
    return s;
}

struct session *session_server_new(struct leaf *leaf, struct session_tickets *tickets, struct soth_span sni, struct soth_span alpn,
                                   uint32_t profile)
{
    const char rank = (char)profile; /* a ticket of one profile is none of another */
    const struct soth_span bound[] = {sni, {&rank, 1}};
    struct session *s = session_alloc(leaf_context(leaf));
    if (!s)
        return NULL;
    s->leaf = leaf_ref(leaf);
    s->tickets = tickets;
    session_key(s->key, bound, sizeof bound / sizeof bound[0]);
    if (profile_apply(s->tls, profile) < 0 ||
        (alpn.n > 0 && wolfSSL_UseALPN(s->tls, (char *)alpn.p, (unsigned)alpn.n, WOLFSSL_ALPN_CONTINUE_ON_MISMATCH) != WOLFSSL_SUCCESS)) {
        session_free(s);
        return NULL;
    }
    return s;
}

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

enum staple session_staple(struct session *s)
{
    unsigned char produced[64];
    int format;
    if (!s || !s->trust || !s->staple_asked || (s->done && wolfSSL_session_reused(s->tls)))
        return STAPLE_UNASKED;
    switch (s->error) {
    case OCSP_CERT_REVOKED:
        return STAPLE_REVOKED;
    case BAD_CERTIFICATE_STATUS_ERROR:
        return s->staple && staple_watch_revoked(s->staple) ? STAPLE_REVOKED : STAPLE_INVALID;
    case OCSP_CERT_UNKNOWN: /* so says the library of one that is missing */
    case OCSP_LOOKUP_FAIL:
        return STAPLE_ABSENT;
    default:
        if (!s->done)
            return STAPLE_UNASKED;
        return wolfSSL_get_ocsp_producedDate(s->tls, produced, sizeof produced, &format) == 0 ? STAPLE_GOOD : STAPLE_ABSENT;
    }
}

void session_free(struct session *s)
{
    if (!s)
        return;
    wolfSSL_free(s->tls);
    leaf_put(s->leaf);
    trust_free(s->trust);
    staple_watch_free(s->staple);
    free(s->ticket);
    free(s);
}

void session_output(struct session *s, struct buffer *out)
{
    s->out = out;
}

void session_feed(struct session *s, const uint8_t *p, size_t n)
{
    s->in = p;
    s->in_size = n;
}

size_t session_unused(const struct session *s)
{
    return s->in_size;
}

void session_transport_ended(struct session *s, int sys_errno)
{
    s->ended = 1;
    s->sys_errno = sys_errno;
}

void session_timed_out(struct session *s)
{
    s->timed_out = 1;
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
static void save_resumable(struct session *s)
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

/* Before the first step, since wishes may come until then. */
static void ask_staple(struct session *s)
{
    if (s->started)
        return;
    s->started = 1;
    if (s->staple_asked && wolfSSL_UseOCSPStapling(s->tls, WOLFSSL_CSR_OCSP, 0) != WOLFSSL_SUCCESS)
        s->staple_asked = 0;
    if (s->staple_asked)
        s->staple = staple_watch_new(); /* without it a revoked one is called invalid */
}

/* With client_auth required: our certificate was in our last flight, or it is not long enough to have it. */
static int kept_back(const struct session *s)
{
    return s->trust->client_auth == CLIENT_AUTH_REQUIRED && s->identity && !wolfSSL_session_reused(s->tls) &&
           s->flight < client_identity_size(s->identity);
}

int session_handshake(struct session *s)
{
    if (s->done)
        return 1;
    if (s->trust)
        ask_staple(s);
    if (s->error)
        return s->error == PARSE_ERROR && session_io_awaits_alert(s) ? -SOTH_EAGAIN : -SOTH_ETLS;
    int r = s->trust ? trust_handshake(s) : wolfSSL_accept(s->tls);
    if (r == WOLFSSL_SUCCESS && s->trust && kept_back(s)) {
        s->error = NO_CERT_ERROR;
        return -SOTH_ETLS;
    }
    if (r == WOLFSSL_SUCCESS) {
        s->done = 1;
        staple_watch_free(s->staple);
        s->staple = NULL;
        if (s->trust && wolfSSL_version(s->tls) < TLS1_3_VERSION)
            save_resumable(s);
        return 1;
    }
    int error = wolfSSL_get_error(s->tls, r);
    if (error == WOLFSSL_ERROR_WANT_READ && !s->ended)
        return -SOTH_EAGAIN;
    s->error = error == WOLFSSL_ERROR_WANT_READ ? SOCKET_ERROR_E : error;
    if (s->error == VERIFY_CERT_ERROR && s->verify_code) /* the verdict was ours */
        s->error = s->verify_code;
    return s->error == PARSE_ERROR && session_io_awaits_alert(s) ? -SOTH_EAGAIN : -SOTH_ETLS;
}

ssize_t session_read(struct session *s, uint8_t *p, size_t cap)
{
    if (s->closed)
        return 0;
    if (s->error)
        return -SOTH_ETLS;
    int r = wolfSSL_read(s->tls, p, cap > INT32_MAX ? INT32_MAX : (int)cap);
    if (r > 0) {
        s->talked = 1;
        if (s->trust && !s->saved)
            save_resumable(s);
        return r;
    }
    int error = wolfSSL_get_error(s->tls, r);
    if (error == WOLFSSL_ERROR_WANT_READ)
        return s->ended && s->in_size == 0 ? -SOTH_EEOF : -SOTH_EAGAIN;
    if (error == WOLFSSL_ERROR_ZERO_RETURN) {
        s->closed = 1;
        return 0;
    }
    if (s->ended && s->in_size == 0 && (error == SOCKET_PEER_CLOSED_E || error == SOCKET_ERROR_E || error == WOLFSSL_ERROR_SYSCALL))
        return -SOTH_EEOF;
    s->error = error;
    return -SOTH_ETLS;
}

int session_write(struct session *s, const uint8_t *p, size_t n)
{
    assert(s->done && s->out);
    if (s->error)
        return -SOTH_ETLS;
    if (n == 0)
        return SOTH_OK;
    if (buffer_reserve(s->out, n + (n / RECORD_MAX + 1) * RECORD_EXTRA) < 0)
        return -SOTH_ENOMEM;
    while (n > 0) {
        int part = n > INT32_MAX ? INT32_MAX : (int)n;
        int r = wolfSSL_write(s->tls, p, part);
        if (r <= 0) {
            s->error = wolfSSL_get_error(s->tls, r);
            return s->out->failed ? -SOTH_ENOMEM : -SOTH_ETLS;
        }
        p += r;
        n -= (size_t)r;
    }
    return SOTH_OK;
}

void session_shutdown(struct session *s)
{
    if (s->shut || !s->done || !s->out)
        return;
    s->shut = 1;
    wolfSSL_shutdown(s->tls);
}

int session_is_refused(const struct session *s)
{
    WOLFSSL_ALERT_HISTORY alerts;
    return s->done && !s->talked && s->error == FATAL_ERROR && wolfSSL_get_alert_history(s->tls, &alerts) == WOLFSSL_SUCCESS &&
           alerts.last_rx.code > 0;
}

int session_is_silent(const struct session *s)
{
    return s->flight == 0;
}

void session_failure(struct session *s, struct tls_failure *out)
{
    WOLFSSL_ALERT_HISTORY alerts;
    struct tls_facts facts = {.error = s->error, .alert_rx = -1, .alert_tx = -1, .verify_code = s->verify_code,
                              .sys_errno = s->sys_errno, .eof = s->ended, .timeout = s->timed_out, .is_server = s->trust == NULL,
                              .spoke_tls = s->spoke};
    if (wolfSSL_get_alert_history(s->tls, &alerts) == WOLFSSL_SUCCESS) {
        facts.alert_rx = alerts.last_rx.code;
        facts.alert_tx = alerts.last_tx.code;
    }
    if (facts.alert_rx < 0)
        facts.alert_rx = s->alert_sniffed;
    if (facts.error == BAD_CERTIFICATE_STATUS_ERROR && session_staple(s) == STAPLE_REVOKED)
        facts.error = OCSP_CERT_REVOKED;
    tls_failure_classify(&facts, out);
}

int session_should_retry(const struct session *s)
{
    WOLFSSL_ALERT_HISTORY alerts;
    if (s->done || s->timed_out)
        return 0;
    if (s->staple_asked && s->trust->revocation == REVOCATION_OBSERVE &&
        (s->error == OCSP_CERT_REVOKED || s->error == BAD_CERTIFICATE_STATUS_ERROR))
        return 1;
    if (!s->offered)
        return 0;
    switch (s->error) {
    case OUT_OF_ORDER_E:
    case MATCH_SUITE_ERROR:
    case EXT_MASTER_SECRET_NEEDED_E:
    case SESSION_TICKET_EXPECT_E:
    case SESSION_TICKET_LEN_E:
    case VERIFY_FINISHED_ERROR:
    case PSK_KEY_ERROR:
        return 1;
    case FATAL_ERROR:
        if (wolfSSL_get_alert_history(s->tls, &alerts) != WOLFSSL_SUCCESS)
            return 0;
        return alerts.last_rx.code == ALERT_ILLEGAL_PARAMETER || alerts.last_rx.code == ALERT_DECRYPT_ERROR ||
               alerts.last_rx.code == ALERT_UNEXPECTED_MESSAGE || alerts.last_rx.code == ALERT_BAD_RECORD_MAC;
    default:
        return 0;
    }
}

void session_describe(struct session *s, struct session_info *out)
{
    char *alpn = NULL;
    unsigned short n = 0;
    memset(out, 0, sizeof *out);
    out->version = wolfSSL_get_version(s->tls);
    int suite = wolfSSL_get_current_cipher_suite(s->tls);
    out->cipher = wolfSSL_get_cipher_name_iana_from_suite((unsigned char)(suite >> 8), (unsigned char)suite);
    out->resumed = s->done && wolfSSL_session_reused(s->tls);
    out->staple = session_staple(s);
    out->unverified = s->trust && s->trust->skip_verify;
    out->verify_code = s->verify_code;
    if (wolfSSL_ALPN_GetProtocol(s->tls, &alpn, &n) == WOLFSSL_SUCCESS && alpn && n < sizeof out->alpn)
        memcpy(out->alpn, alpn, n);
}
