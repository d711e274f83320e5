/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Numbers come in, a reason and sentences go out. Decides by wolfSSL's error, alerts, errno and our own deadline alone: texts of the
 * library differ from build to build and are only passed on.
 */
#include "host/tls/failure.h"

#include <stdio.h>
#include <string.h>

#include "host/tls/wolf.h"

#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

static const char *const reason_names[] = {
    "none",
#define TLS_REASON(NAME, text) text,
#include "host/tls/reason.def"
#undef TLS_REASON
};

static const struct {
    int alert;
    const char *name;
} alert_names[] = {
    {0, "close_notify"}, {10, "unexpected_message"}, {20, "bad_record_mac"}, {21, "decryption_failed"}, {22, "record_overflow"},
    {30, "decompression_failure"}, {40, "handshake_failure"}, {41, "no_certificate"}, {42, "bad_certificate"},
    {43, "unsupported_certificate"}, {44, "certificate_revoked"}, {45, "certificate_expired"}, {46, "certificate_unknown"},
    {47, "illegal_parameter"}, {48, "unknown_ca"}, {49, "access_denied"}, {50, "decode_error"}, {51, "decrypt_error"},
    {60, "export_restriction"}, {70, "protocol_version"}, {71, "insufficient_security"}, {80, "internal_error"},
    {86, "inappropriate_fallback"}, {90, "user_canceled"}, {100, "no_renegotiation"}, {109, "missing_extension"},
    {110, "unsupported_extension"}, {111, "certificate_unobtainable"}, {112, "unrecognized_name"},
    {113, "bad_certificate_status_response"}, {114, "bad_certificate_hash_value"}, {115, "unknown_psk_identity"},
    {116, "certificate_required"}, {120, "no_application_protocol"},
};

struct row {
    int number;
    enum tls_reason reason;
    const char *detail;
};

/* By wolfSSL's error: the origin's certificate, and what is no TLS at all. */
static const struct row by_error[] = {
    {ASN_NO_SIGNER_E, TLS_REASON_UNKNOWN_CA,
     "nobody we trust signed the origin's certificate, or it sent no intermediate: add its CA with upstream_ca_file"},
    {ASN_SELF_SIGNED_E, TLS_REASON_UNKNOWN_CA, "the origin's certificate is self-signed: add it or its CA with upstream_ca_file"},
    {ASN_AFTER_DATE_E, TLS_REASON_CERT_VALIDATION, "the origin's certificate has expired: it must be renewed there; check our clock too"},
    {ASN_BEFORE_DATE_E, TLS_REASON_CERT_VALIDATION, "the origin's certificate is not valid yet: check the clocks of both machines"},
    {DOMAIN_NAME_MISMATCH, TLS_REASON_CERT_VALIDATION, "the origin's certificate is for other names than the one asked for"},
    {IPADDR_MISMATCH, TLS_REASON_CERT_VALIDATION, "the origin's certificate is not for the address asked for"},
    {ASN_SIG_CONFIRM_E, TLS_REASON_CERT_VALIDATION, "a signature in the origin's certificate chain is wrong"},
    {ASN_SIG_OID_E, TLS_REASON_CERT_VALIDATION, "the origin's chain is signed with an algorithm that is not accepted"},
    {ASN_PATHLEN_INV_E, TLS_REASON_CERT_VALIDATION, "the origin's chain is longer than one of its CAs allows"},
    {ASN_PATHLEN_SIZE_E, TLS_REASON_CERT_VALIDATION, "the origin's chain has an impossible path length"},
    {MAX_CHAIN_ERROR, TLS_REASON_CERT_VALIDATION, "the origin's certificate chain is too long"},
    {NOT_CA_ERROR, TLS_REASON_CERT_VALIDATION, "the origin's chain goes through a certificate that is not a CA's"},
    {EXTKEYUSE_AUTH_E, TLS_REASON_CERT_VALIDATION, "the origin's certificate is not meant for servers (extendedKeyUsage)"},
    {KEYUSE_SIGNATURE_E, TLS_REASON_CERT_VALIDATION, "the origin's certificate may not sign handshakes (keyUsage)"},
    {KEYUSE_ENCIPHER_E, TLS_REASON_CERT_VALIDATION, "the origin's certificate may not encipher keys (keyUsage)"},
    {ASN_NAME_INVALID_E, TLS_REASON_CERT_VALIDATION, "a CA in the origin's chain may not sign for this name (name constraints)"},
    {ASN_CRIT_EXT_E, TLS_REASON_CERT_VALIDATION, "the origin's certificate has a critical extension that is not known here"},
    {ASN_PARSE_E, TLS_REASON_CERT_VALIDATION, "a certificate of the origin cannot be read"},
    {RSA_KEY_SIZE_E, TLS_REASON_CERT_VALIDATION, "an RSA key in the origin's chain is shorter than tls_profile or min_rsa_bits allows"},
    {ECC_KEY_SIZE_E, TLS_REASON_CERT_VALIDATION, "the origin's ECC key is too short"},
    {CRL_CERT_REVOKED, TLS_REASON_CERT_VALIDATION, "the origin's certificate has been revoked (CRL)"},
    {CRL_MISSING, TLS_REASON_CERT_VALIDATION, "there is no revocation list for the origin's CA"},
    {CRL_CERT_DATE_ERR, TLS_REASON_CERT_VALIDATION, "the revocation list of the origin's CA has expired: put a newer one into crl_files"},
    {OCSP_CERT_REVOKED, TLS_REASON_CERT_VALIDATION, "the origin's certificate has been revoked, says the OCSP response that it stapled itself"},
    {BAD_CERTIFICATE_STATUS_ERROR, TLS_REASON_CERT_VALIDATION,
     "the OCSP response that the origin stapled has expired, is for another certificate or not signed as it should be"},
    {OCSP_CERT_UNKNOWN, TLS_REASON_CERT_VALIDATION, "the origin stapled no OCSP response, which revocation_policy_mode: enforce_staple wants"},
    {OCSP_LOOKUP_FAIL, TLS_REASON_CERT_VALIDATION, "the origin stapled no OCSP response, which revocation_policy_mode: enforce_staple wants"},
    {NO_CERT_ERROR, TLS_REASON_HANDSHAKE, "the origin did not ask for the client certificate that upstream_client_auth_mode: required wants shown"},
    {VERIFY_CERT_ERROR, TLS_REASON_CERT_VALIDATION, "the origin's certificate was refused"},
    {NO_PEER_CERT, TLS_REASON_HANDSHAKE, "the origin sent no certificate"},
    {LENGTH_ERROR, TLS_REASON_OTHER, "the peer does not speak TLS on this port: it answered with something else, such as plain HTTP"},
    {UNKNOWN_RECORD_TYPE, TLS_REASON_OTHER, "the peer does not speak TLS on this port: list the host in ignore_hosts to tunnel it"},
    {VERSION_ERROR, TLS_REASON_HANDSHAKE, "the peer speaks another version of TLS than 1.2 and 1.3, or no TLS at all"},
    {MATCH_SUITE_ERROR, TLS_REASON_HANDSHAKE, "the peer and we have no cipher suite in common"},
    {HANDSHAKE_SIZE_ERROR, TLS_REASON_HANDSHAKE,
     "a handshake message of the peer, hello or certificates, is longer than the 18 KiB that we take: use ignore_hosts to tunnel it"},
    {BAD_KEY_SHARE_DATA, TLS_REASON_HANDSHAKE, "the peer's key share is wrong"},
    {ECC_CURVE_ERROR, TLS_REASON_HANDSHAKE, "the peer and we have no group in common (X25519, P-256, P-384)"},
    {OUT_OF_ORDER_E, TLS_REASON_HANDSHAKE, "the peer sent handshake messages out of order, as some do when a session cannot be resumed"},
    {MEMORY_E, TLS_REASON_OTHER, "out of memory"},
    {MEMORY_ERROR, TLS_REASON_OTHER, "out of memory"},
};

/* What a client's alert says about the certificate that we made. */
static const struct row by_client_alert[] = {
    {42, TLS_REASON_CERT_VALIDATION,
     "the client refused our certificate: install our CA there (`soth-mitm ca env`, `ca export`) or use ignore_hosts"},
    {43, TLS_REASON_CERT_VALIDATION, "the client cannot use our kind of certificate: try downstream_cert_profile: compat"},
    {44, TLS_REASON_CERT_VALIDATION, "the client takes our certificate for revoked: turn its revocation check off, or use ignore_hosts"},
    {45, TLS_REASON_CERT_VALIDATION, "the client takes our certificate for expired: compare the clocks of both machines"},
    {46, TLS_REASON_CERT_VALIDATION,
     "the client refused our certificate, maybe it pins its origin's: install our CA there, or use ignore_hosts"},
    {48, TLS_REASON_UNKNOWN_CA,
     "the client does not trust our CA: install it there (`soth-mitm ca env`, `ca export`) or use ignore_hosts"},
};

/* What an origin's alert says about the certificate that we showed it. */
static const struct row by_origin_alert[] = {
    {42, TLS_REASON_HANDSHAKE, "the origin refused our client certificate (upstream_client_certs)"},
    {43, TLS_REASON_HANDSHAKE, "the origin cannot use our kind of client certificate (upstream_client_certs)"},
    {44, TLS_REASON_HANDSHAKE, "the origin takes our client certificate for revoked (upstream_client_certs)"},
    {45, TLS_REASON_HANDSHAKE, "the origin takes our client certificate for expired (upstream_client_certs); compare the clocks"},
    {46, TLS_REASON_HANDSHAKE, "the origin refused our client certificate (upstream_client_certs)"},
    {48, TLS_REASON_HANDSHAKE, "the origin does not know the CA of our client certificate (upstream_client_certs)"},
};

/* Alerts of either side that say what to do. */
static const struct row by_alert[] = {
    {40, TLS_REASON_HANDSHAKE, "the peer found no cipher suite, group or certificate in common with us"},
    {70, TLS_REASON_HANDSHAKE, "the peer speaks neither TLS 1.2 nor 1.3"},
    {71, TLS_REASON_HANDSHAKE, "the peer wants stronger parameters than we offered"},
    {80, TLS_REASON_HANDSHAKE, "the peer had an error of its own (internal_error): look at its log"},
    {49, TLS_REASON_HANDSHAKE, "the peer denied access: it may want a client certificate"},
    {112, TLS_REASON_HANDSHAKE, "the origin does not serve the name that the client asked for (SNI)"},
    {116, TLS_REASON_HANDSHAKE, "the origin wants a client certificate: give it one with upstream_client_certs, or use ignore_hosts"},
    {120, TLS_REASON_HANDSHAKE, "the origin speaks none of the protocols that the client offered (ALPN)"},
};

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

static const struct row *find(const struct row *rows, size_t count, int number)
{
    for (size_t i = 0; i < count; i++)
        if (rows[i].number == number)
            return &rows[i];
    return NULL;
}

static const struct row *alert_row(const struct tls_facts *facts)
{
    static const struct row any = {-1, TLS_REASON_HANDSHAKE, "the peer broke the handshake off with an alert"};
    const struct row *row = NULL;
    if (facts->alert_rx <= 0) /* none, or close_notify, which says no more than the end does */
        return NULL;
    row = facts->is_server ? find(by_client_alert, COUNT(by_client_alert), facts->alert_rx)
                           : find(by_origin_alert, COUNT(by_origin_alert), facts->alert_rx);
    if (!row)
        row = find(by_alert, COUNT(by_alert), facts->alert_rx);
    return row ? row : &any;
}

static int transport_error(int error)
{
    return error == SOCKET_ERROR_E || error == SOCKET_PEER_CLOSED_E || error == WOLFSSL_ERROR_SYSCALL || error == 0 ||
           error == ZERO_RETURN || error == WOLFSSL_ERROR_ZERO_RETURN || error == WANT_READ || error == WOLFSSL_ERROR_WANT_READ;
}

static const struct row *transport_row(const struct tls_facts *facts)
{
    static const struct row client_left = {0, TLS_REASON_EOF_OR_RESET,
        "the client hung up within the handshake: it may not trust our CA (`soth-mitm ca env`, `ca export`), or it changed its mind"};
    static const struct row origin_left = {0, TLS_REASON_EOF_OR_RESET,
        "the origin hung up within the handshake: it may be overloaded, want no TLS on this port, or refuse our ClientHello"};
    static const struct row reset = {0, TLS_REASON_EOF_OR_RESET, "the connection was reset within the handshake"};
    if (!transport_error(facts->error) || !(facts->eof || facts->sys_errno || facts->alert_rx == 0))
        return NULL;
    if (facts->is_server)
        return &client_left;
    return facts->sys_errno ? &reset : &origin_left;
}

/* What says of a first record that it is none; after a ServerHello it only says that the rules were broken. */
static int not_tls(int error)
{
    return error == LENGTH_ERROR || error == UNKNOWN_RECORD_TYPE;
}

static const struct row *judge(const struct tls_facts *facts)
{
    static const struct row timeout = {0, TLS_REASON_TIMEOUT, "the peer did not finish the handshake in time (tls_handshake_timeout)"};
    static const struct row protocol = {0, TLS_REASON_HANDSHAKE, "the peer broke the rules of TLS"};
    static const struct row unknown = {0, TLS_REASON_OTHER, "the handshake failed for a reason that is not known"};
    static const struct row refused = {0, TLS_REASON_CERT_VALIDATION, "the origin's certificate was refused"};
    const struct row *row = facts->timeout ? &timeout : alert_row(facts);
    if (!row && !(facts->spoke_tls && not_tls(facts->error)))
        row = find(by_error, COUNT(by_error), facts->error);
    if (!row && facts->verify_code != 0 && facts->error == facts->verify_code)
        row = &refused;
    if (!row)
        row = transport_row(facts);
    if (!row)
        row = transport_error(facts->error) ? &unknown : &protocol;
    return row;
}

static enum tls_rejected rejected(const struct tls_facts *facts, enum tls_reason reason)
{
    if (!facts->is_server)
        return REJECTED_NO;
    switch (facts->alert_rx) {
    case 42:
    case 43:
    case 45:
    case 46:
    case 48:
        return REJECTED_CERTAIN;
    case 44:
        return REJECTED_LIKELY;
    default:
        return reason == TLS_REASON_EOF_OR_RESET ? REJECTED_LIKELY : REJECTED_NO;
    }
}

static void raw_text(const struct tls_facts *facts, char *out, size_t size)
{
    char words[WOLFSSL_MAX_ERROR_SZ] = "no error";
    size_t at = 0;
    if (facts->error)
        wolfSSL_ERR_error_string_n((unsigned long)facts->error, words, sizeof words);
    const struct {
        const char *label;
        int value;
        int none;
    } numbers[] = {{"alert received", facts->alert_rx, -1}, {"alert sent", facts->alert_tx, -1}, {"verify", facts->verify_code, 0},
                   {"errno", facts->sys_errno, 0}};
    int n = snprintf(out, size, "wolfSSL %d (%.48s)", facts->error, words);
    for (size_t i = 0; n > 0 && at < size; i++) {
        at += (size_t)n;
        while (i < COUNT(numbers) && numbers[i].value == numbers[i].none)
            i++;
        if (i >= COUNT(numbers) || at >= size)
            break;
        n = snprintf(out + at, size - at, ", %s %d", numbers[i].label, numbers[i].value);
    }
}

void tls_failure_classify(const struct tls_facts *facts, struct tls_failure *out)
{
    const struct row *row = judge(facts);
    memset(out, 0, sizeof *out);
    out->facts = *facts;
    out->reason = row->reason;
    out->rejected_ca = rejected(facts, row->reason);
    snprintf(out->detail, sizeof out->detail, "%s", row->detail);
    raw_text(facts, out->raw, sizeof out->raw);
}

const char *tls_reason_name(enum tls_reason reason)
{
    return (size_t)reason < COUNT(reason_names) ? reason_names[reason] : "other";
}

const char *tls_rejected_name(enum tls_rejected value)
{
    static const char *const names[] = {"no", "likely", "certain"};
    return (size_t)value < COUNT(names) ? names[value] : "no";
}

const char *tls_alert_name(int alert)
{
    for (size_t i = 0; i < COUNT(alert_names); i++)
        if (alert_names[i].alert == alert)
            return alert_names[i].name;
    return NULL;
}
