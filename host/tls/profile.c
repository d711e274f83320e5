/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Nothing comes in, configured WOLFSSL_CTXs go out. Clients resume by tickets only: wolfSSL's own cache by session id knows
 * nothing of the SNI a session was made for. No renegotiation, no 0-RTT: the library is built without them.
 */
#include "host/tls/profile.h"

#include <string.h>

#define TICKET_HINT_S 43200 /* two rotations of session_tickets */

#define SUITES_13 "TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384:TLS13-CHACHA20-POLY1305-SHA256"
#define SUITES_AEAD \
    ":ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384" \
    ":ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define SUITES_OLD \
    ":ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384:ECDHE-ECDSA-AES128-SHA" \
    ":ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA" \
    ":AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA256:AES256-SHA256:AES128-SHA:AES256-SHA"

static const struct row {
    int min_version;
    const char *suites; /* names that a build of the library does not know are passed over */
    int groups[4];
    int group_count;
    int min_rsa_bits;
} rows[] = {
    [TLS_PROFILE_STRICT] = {WOLFSSL_TLSV1_3, SUITES_13, {WOLFSSL_ECC_X25519, WOLFSSL_ECC_SECP256R1, WOLFSSL_ECC_SECP384R1}, 3, 2048},
    [TLS_PROFILE_DEFAULT] = {WOLFSSL_TLSV1_2, SUITES_13 SUITES_AEAD, {WOLFSSL_ECC_X25519, WOLFSSL_ECC_SECP256R1, WOLFSSL_ECC_SECP384R1}, 3, 2048},
    [TLS_PROFILE_COMPAT] = {WOLFSSL_TLSV1_2, SUITES_13 SUITES_AEAD SUITES_OLD,
                            {WOLFSSL_ECC_X25519, WOLFSSL_ECC_SECP256R1, WOLFSSL_ECC_SECP384R1, WOLFSSL_ECC_SECP521R1}, 4, 1024},
};

static const struct row *row_of(uint32_t profile)
{
    return &rows[profile < sizeof rows / sizeof rows[0] ? profile : TLS_PROFILE_DEFAULT];
}

static WOLFSSL_CTX *configure(WOLFSSL_METHOD *method, const struct row *row, int min_rsa_bits)
{
    int groups[4];
    WOLFSSL_CTX *tls = method ? wolfSSL_CTX_new(method) : NULL;
    if (!tls)
        return NULL;
    memcpy(groups, row->groups, sizeof groups);
    if (wolfSSL_CTX_SetMinVersion(tls, row->min_version) != WOLFSSL_SUCCESS ||
        wolfSSL_CTX_set_cipher_list(tls, row->suites) != WOLFSSL_SUCCESS ||
        wolfSSL_CTX_set_groups(tls, groups, row->group_count) != WOLFSSL_SUCCESS ||
        wolfSSL_CTX_SetMinRsaKey_Sz(tls, (short)min_rsa_bits) != WOLFSSL_SUCCESS) {
        wolfSSL_CTX_free(tls);
        return NULL;
    }
    wolfSSL_CTX_set_session_cache_mode(tls, WOLFSSL_SESS_CACHE_OFF);
    wolfSSL_CTX_set_group_messages(tls);
    wolfSSL_CTX_SetIORecv(tls, session_io_recv);
    wolfSSL_CTX_SetIOSend(tls, session_io_send);
    return tls;
}

WOLFSSL_CTX *profile_server(void)
{
    const struct row *row = row_of(TLS_PROFILE_DEFAULT);
    WOLFSSL_CTX *tls = configure(wolfSSLv23_server_method(), row, row->min_rsa_bits);
    if (!tls)
        return NULL;
    wolfSSL_CTX_set_verify(tls, WOLFSSL_VERIFY_NONE, NULL);
    wolfSSL_CTX_set_TicketEncCb(tls, session_tickets_callback);
    wolfSSL_CTX_set_TicketHint(tls, TICKET_HINT_S);
    return tls;
}

int profile_apply(WOLFSSL *server, uint32_t profile)
{
    const struct row *row = row_of(profile);
    int groups[4];
    memcpy(groups, row->groups, sizeof groups);
    if (profile == TLS_PROFILE_STRICT)
        return wolfSSL_SetMinVersion(server, row->min_version) == WOLFSSL_SUCCESS ? SOTH_OK : -SOTH_ETLS;
    if (profile == TLS_PROFILE_COMPAT && (wolfSSL_set_cipher_list(server, row->suites) != WOLFSSL_SUCCESS ||
                                          wolfSSL_set_groups(server, groups, row->group_count) != WOLFSSL_SUCCESS))
        return -SOTH_ETLS;
    return SOTH_OK;
}

WOLFSSL_CTX *profile_client(uint32_t profile, uint32_t min_rsa_bits)
{
    const struct row *row = row_of(profile);
    WOLFSSL_CTX *tls = configure(wolfSSLv23_client_method(), row, min_rsa_bits ? (int)(min_rsa_bits + 7) / 8 * 8 : row->min_rsa_bits);
    if (tls)
        wolfSSL_CTX_UseSessionTicket(tls);
    return tls;
}
