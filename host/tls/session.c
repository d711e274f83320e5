/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Ciphertext comes in lent, plaintext goes out, and the other way round. All waiting is the caller's: wolfSSL is never told to block and
 * never keeps a pointer between calls. What went wrong is kept as numbers only; session_report.c says it.
 */
#include "host/tls/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "host/tls/leaf.h"
#include "host/tls/session_state.h"
#include "host/tls/staple_watch.h"
#include "host/tls/trust.h"

#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/sha256.h>

#define RECORD_MAX 16384u
#define RECORD_EXTRA 64u /* header, tag, nonce, at most */

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

struct session *session_alloc(WOLFSSL_CTX *context)
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

int session_handshake(struct session *s)
{
    if (s->done)
        return 1;
    if (s->trust)
        session_ask_staple(s);
    if (s->error)
        return s->error == PARSE_ERROR && session_io_awaits_alert(s) ? -SOTH_EAGAIN : -SOTH_ETLS;
    int r = s->trust ? trust_handshake(s) : wolfSSL_accept(s->tls);
    if (r == WOLFSSL_SUCCESS && s->trust && session_kept_back(s)) {
        s->error = NO_CERT_ERROR;
        return -SOTH_ETLS;
    }
    if (r == WOLFSSL_SUCCESS) {
        s->done = 1;
        staple_watch_free(s->staple);
        s->staple = NULL;
        if (s->trust && wolfSSL_version(s->tls) < TLS1_3_VERSION)
            session_save_resumable(s);
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
    if (s->talked && s->in_size == 0 && !s->ended && wolfSSL_pending(s->tls) == 0) /* what wolfSSL would find out at the cost of a small record */
        return -SOTH_EAGAIN;
    int r = wolfSSL_read(s->tls, p, cap > INT32_MAX ? INT32_MAX : (int)cap);
    if (r > 0) {
        s->talked = 1;
        if (s->trust && !s->saved)
            session_save_resumable(s);
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
