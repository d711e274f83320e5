/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One TLS connection without a socket. Ciphertext from the peer is lent with session_feed and used up by the calls that
 * follow in the same step; ciphertext for the peer is appended to the buffer given by session_output. Handshake, plaintext in
 * and plaintext out never block: -SOTH_EAGAIN means "feed me more". A session belongs to one thread at a time.
 */
#ifndef HOST_TLS_SESSION_H
#define HOST_TLS_SESSION_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <soth/sdk.h>

#include "host/mem/buffer.h"
#include "host/tls/authority.h"
#include "host/tls/failure.h"

struct session;

/* Once per process, before anything else of this room; 0 or negative. Then tls_library_fini at the end. */
int tls_library_init(void);
void tls_library_fini(void);
/* "5.7.2", and whether its AES and P-256 are accelerated on this machine. */
const char *tls_library_version(void);
int tls_library_accelerated(void);

/* Server side: ticket keys, shared by all leaves of a process (TicketEncCb; bound to the SNI through the AAD). */
struct session_tickets;
struct session_tickets *session_tickets_new(void);
void session_tickets_free(struct session_tickets *tickets);
/* A new key seals from now on; what the two before it have sealed is still opened. Done by itself every 6 h. 0, or negative: the old one goes on. */
int session_tickets_rotate(struct session_tickets *tickets);

/* What we speak, to both sides; the table is in profile.c. */
enum tls_profile { TLS_PROFILE_STRICT, TLS_PROFILE_DEFAULT, TLS_PROFILE_COMPAT };

/* Client side: trust store, profile and the cache of resumable sessions. Refcounted by its sessions. */
struct trust;
struct keylog;
enum client_auth { CLIENT_AUTH_NEVER, CLIENT_AUTH_IF_REQUESTED, CLIENT_AUTH_REQUIRED };
enum revocation { REVOCATION_OFF, REVOCATION_OBSERVE, REVOCATION_ENFORCE };
struct identity_config {
    const char *host_pattern, *cert_path, *key_path;
};
struct trust_config {
    const char *extra_ca_file; /* "" = none; added to the OS store */
    uint32_t skip_verify;      /* 1: certificates are not verified */
    uint32_t session_cache;    /* entries of the resumption cache, 0 = off */
    uint32_t use_system_store; /* 1: load the OS store */
    uint32_t profile;          /* enum tls_profile */
    uint32_t min_rsa_bits;     /* of any certificate in a chain, 0 = the profile's */
    uint32_t lanes;            /* threads that will do handshakes at once, 0 = 1 */
    uint32_t revocation;       /* enum revocation: of the staples of origins */
    uint32_t client_auth;      /* enum client_auth */
    const struct identity_config *identities; /* what origins are shown that ask for a certificate, the first that matches */
    size_t identity_count;
    const char *const *crl_files;
    size_t crl_count;
    struct keylog *keylog;     /* NULL = none; outlives the trust */
};
struct trust *trust_new(const struct trust_config *config, char *err, size_t err_size);
void trust_free(struct trust *trust);

/* A file for the secrets of sessions (NSS key log format); NULL with err. What is given NULL is left alone. */
struct keylog *keylog_open(const char *path, char *err, size_t err_size);
void keylog_close(struct keylog *keylog);
int keylog_available(void); /* 0: the library was built without it */

/*
 * The client's side of us. `sni` is what tickets are bound to ("" allowed). `alpn` is the one protocol to choose ("" = none).
 * Keeps its own reference of the leaf. NULL when out of memory.
 */
struct session *session_server_new(struct leaf *leaf, struct session_tickets *tickets, struct soth_span sni, struct soth_span alpn,
                                   uint32_t profile);

/*
 * The origin's side. `host` is what the certificate is verified against (name or address); `sni` is sent ("" = not sent);
 * `alpn` is a wire-format list (length-prefixed, may be empty). A cached session of the same host, port, sni, alpn and verify policy
 * is offered. Resumption that fails in a way that only resumption can is reported by session_should_retry.
 */
struct session *session_client_new(struct trust *trust, struct soth_span host, uint16_t port, struct soth_span sni,
                                   struct soth_span alpn);
void session_free(struct session *session);
/* Server side, before the handshake: its secrets are logged there, and it resumes nothing. NULL is fine. */
void session_log_keys(struct session *session, struct keylog *keylog);
/* Client side, before the handshake: does not ask for a staple, after the one that came was none that can be accepted. */
void session_skip_staple(struct session *session);

/* Where ciphertext for the peer goes from now on. The buffer must outlive the calls that follow. */
void session_output(struct session *session, struct buffer *out);
/* Lends n bytes of ciphertext: valid until all were used or session_feed is called again (n == 0 ends the loan). What is left
 * unused when the caller takes its bytes away is reported by session_unused. */
void session_feed(struct session *session, const uint8_t *p, size_t n);
size_t session_unused(const struct session *session);
/* The transport ended (sys_errno 0) or failed (ECONNRESET, ...). */
void session_transport_ended(struct session *session, int sys_errno);

/* 1 done, -SOTH_EAGAIN, -SOTH_ETLS (session_failure tells). */
int session_handshake(struct session *session);
/* Plaintext: > 0 bytes, 0 the peer closed cleanly (close_notify), -SOTH_EAGAIN, -SOTH_EEOF (ended without close_notify), -SOTH_ETLS. */
ssize_t session_read(struct session *session, uint8_t *p, size_t cap);
/* Takes all of n; records go to the output buffer. 0 or -SOTH_ETLS / -SOTH_ENOMEM. After the handshake only. */
int session_write(struct session *session, const uint8_t *p, size_t n);
/* Sends close_notify once. Reading stays possible (half-close). */
void session_shutdown(struct session *session);
/* Our own deadline passed: what follows is classified as a time-out. */
void session_timed_out(struct session *session);

/* After -SOTH_ETLS of session_read: 1 when the peer, instead of saying anything, refused us with an alert. In TLS 1.3 we are done with the
 * handshake before the peer has judged our certificate, or the lack of one; session_failure tells its reason. */
int session_is_refused(const struct session *session);

/* 1 while the session has sent nothing. */
int session_is_silent(const struct session *session);

/* After -SOTH_ETLS or a transport end within the handshake. */
void session_failure(struct session *session, struct tls_failure *out);
/* 1 when the failure is one that a fresh connection would not have that does not offer the session again, which has been dropped; or, with
 * revocation observed only, that skips the staple which was refused here (session_staple). */
int session_should_retry(const struct session *session);

/* What an origin stapled to its certificate: the state of that certificate as an OCSP responder has signed it. */
enum staple {
    STAPLE_UNASKED, /* or resumed, or not come so far */
    STAPLE_ABSENT,
    STAPLE_GOOD,
    STAPLE_REVOKED,
    STAPLE_INVALID, /* expired, of another certificate, not signed by whom it should be, "unknown" */
};
enum staple session_staple(struct session *session); /* NULL is fine */

struct session_info {
    const char *version; /* "TLSv1.3" */
    const char *cipher;  /* IANA name, "TLS_AES_128_GCM_SHA256" */
    char alpn[32];       /* "" = none */
    int resumed;
    enum staple staple;
    int unverified;      /* the origin's certificate was not asked for its good name (skip_verify) */
    int verify_code;     /* wolfSSL's number of what would have been wrong with it, 0 = nothing */
};
void session_describe(struct session *session, struct session_info *out);

#endif
