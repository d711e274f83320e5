/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Nothing comes in, configured WOLFSSL_CTXs go out. Clients resume by tickets only: wolfSSL's own cache by session id knows
 * nothing of the SNI a session was made for. No renegotiation, no 0-RTT: the library is built without them.
 */
#include "host/tls/profile.h"

#define TICKET_HINT_S 43200 /* two rotations of session_tickets */

static const char suites[] =
    "TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384:TLS13-CHACHA20-POLY1305-SHA256:"
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

static WOLFSSL_CTX *configure(WOLFSSL_METHOD *method)
{
    int groups[] = {WOLFSSL_ECC_X25519, WOLFSSL_ECC_SECP256R1, WOLFSSL_ECC_SECP384R1};
    WOLFSSL_CTX *tls = method ? wolfSSL_CTX_new(method) : NULL;
    if (!tls)
        return NULL;
    if (wolfSSL_CTX_SetMinVersion(tls, WOLFSSL_TLSV1_2) != WOLFSSL_SUCCESS ||
        wolfSSL_CTX_set_cipher_list(tls, suites) != WOLFSSL_SUCCESS ||
        wolfSSL_CTX_set_groups(tls, groups, sizeof groups / sizeof groups[0]) != WOLFSSL_SUCCESS ||
        wolfSSL_CTX_SetMinRsaKey_Sz(tls, 2048) != WOLFSSL_SUCCESS) {
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
    WOLFSSL_CTX *tls = configure(wolfSSLv23_server_method());
    if (!tls)
        return NULL;
    wolfSSL_CTX_set_verify(tls, WOLFSSL_VERIFY_NONE, NULL);
    wolfSSL_CTX_set_TicketEncCb(tls, session_tickets_callback);
    wolfSSL_CTX_set_TicketHint(tls, TICKET_HINT_S);
    return tls;
}

WOLFSSL_CTX *profile_client(void)
{
    WOLFSSL_CTX *tls = configure(wolfSSLv23_client_method());
    if (tls)
        wolfSSL_CTX_UseSessionTicket(tls);
    return tls;
}
