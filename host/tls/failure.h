/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Why a TLS handshake failed, from numbers only: wolfSSL's error, alerts received and sent, verify result, errno, our own
 * deadlines (contract section 6). Pure but for the counters, which are bounded and thread-safe.
 */
#ifndef HOST_TLS_FAILURE_H
#define HOST_TLS_FAILURE_H

#include <stdint.h>

#include <soth/sdk.h>

enum tls_reason {
    TLS_REASON_NONE,
#define TLS_REASON(NAME, text) TLS_REASON_##NAME,
#include "host/tls/reason.def" /* UNKNOWN_CA unknown_ca, CERT_VALIDATION, HANDSHAKE, TIMEOUT, EOF_OR_RESET, OTHER */
#undef TLS_REASON
};

enum tls_rejected { REJECTED_NO, REJECTED_LIKELY, REJECTED_CERTAIN };

/* The raw facts, collected by a session. */
struct tls_facts {
    int error;        /* wolfSSL_get_error, 0 = none */
    int alert_rx;     /* alert description received, -1 = none (plaintext alerts of TLS 1.3 clients included) */
    int alert_tx;     /* alert description sent, -1 = none */
    int verify_code;  /* wolfSSL's verify error, 0 = none */
    int sys_errno;    /* of the transport, 0 = none */
    uint8_t eof;      /* the transport ended */
    uint8_t timeout;  /* our deadline passed */
    uint8_t is_server; /* 1: the client's side (peer downstream) */
    uint8_t spoke_tls; /* the peer has sent a whole handshake record: what it speaks is TLS */
};

struct tls_failure {
    enum tls_reason reason;
    enum tls_rejected rejected_ca;
    struct tls_facts facts;
    char raw[128];    /* the provider's own words with numbers: raw_provider_error */
    char detail[160]; /* for a person: what happened, and what to do where that is known */
};

void tls_failure_classify(const struct tls_facts *facts, struct tls_failure *out);
const char *tls_reason_name(enum tls_reason reason);
const char *tls_rejected_name(enum tls_rejected rejected);
/* Standard name of an alert ("unknown_ca"), or NULL. RFC 8446 6. */
const char *tls_alert_name(int alert);

/* Counters of contract section 6: per host (bounded LRU), per reason, global. One per process, thread-safe. */
struct tls_failure_stats;
struct tls_failure_counts {
    uint64_t host, host_rolling, source, reason, global;
};
struct tls_failure_stats *tls_failure_stats_new(size_t max_hosts);
void tls_failure_stats_free(struct tls_failure_stats *stats);
/* Counts one failure and returns the counters after it. host_rolling covers the last 300 s of monotonic_ns. */
void tls_failure_stats_add(struct tls_failure_stats *stats, struct soth_span host, enum tls_reason reason, uint64_t monotonic_ns,
                           struct tls_failure_counts *out);

#endif
