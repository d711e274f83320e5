/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What can be said of a session afterwards: version, cipher and staple, why it failed (in numbers, of which failure.c makes words), and whether
 * another try without what was offered may do better.
 */
#include <string.h>

#include "host/tls/session_state.h"
#include "host/tls/staple_watch.h"
#include "host/tls/trust.h"

#include <wolfssl/error-ssl.h>

enum { ALERT_UNEXPECTED_MESSAGE = 10, ALERT_BAD_RECORD_MAC = 20, ALERT_ILLEGAL_PARAMETER = 47, ALERT_DECRYPT_ERROR = 51 };

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
