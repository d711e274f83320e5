/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A chain that is otherwise good comes in; whether its signatures are of a kind that the profile accepts comes out. wolfSSL verifies
 * MD5 and SHA-1 like any other. Only what lies between the leaf and its root is looked at: a root is trusted for being there, not for how
 * it signed itself, and certificates that servers send for no reason are no part of it.
 */
#include <string.h>

#include "host/tls/cert.h"
#include "host/tls/session_state.h"
#include "host/tls/trust.h"

#include <wolfssl/wolfcrypt/error-crypt.h>

enum strength { SIGNATURE_GOOD, SIGNATURE_SHA1, SIGNATURE_BROKEN };

static bool has(struct soth_span algorithm, const void *bytes, size_t n)
{
    return memmem(algorithm.p, algorithm.n, bytes, n) != NULL;
}

static enum strength strength_of(struct soth_span algorithm)
{
    static const uint8_t rsa[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1}; /* 1.2.840.113549.1.1, then the number */
    static const uint8_t sha1_ecdsa[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1}, sha1_dsa[] = {0x2a, 0x86, 0x48, 0xce, 0x38, 4, 3};
    static const uint8_t sha2[] = {0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2}; /* 2.16.840.1.101.3.4.2 */
    if (has(algorithm, sha1_ecdsa, sizeof sha1_ecdsa) || has(algorithm, sha1_dsa, sizeof sha1_dsa))
        return SIGNATURE_SHA1;
    const char *at = memmem(algorithm.p, algorithm.n, rsa, sizeof rsa);
    if (!at || at + sizeof rsa >= algorithm.p + algorithm.n)
        return SIGNATURE_GOOD;
    switch ((uint8_t)at[sizeof rsa]) {
    case 2: /* MD2, MD4, MD5 */
    case 3:
    case 4:
        return SIGNATURE_BROKEN;
    case 5:
        return SIGNATURE_SHA1;
    case 10: /* PSS; without parameters it is SHA-1 */
        return has(algorithm, sha2, sizeof sha2) ? SIGNATURE_GOOD : SIGNATURE_SHA1;
    default:
        return SIGNATURE_GOOD;
    }
}

static bool same(struct soth_span a, struct soth_span b)
{
    return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

/* The certificate of that subject, -1: it is not among them, a root of ours. */
static int find(const WOLFSSL_BUFFER_INFO *certs, int n, struct soth_span subject, struct cert_view *out)
{
    for (int i = 0; i < n; i++)
        if (cert_parse(certs[i].buffer, certs[i].length, out) == 0 && same(out->subject, subject))
            return i;
    return -1;
}

int chain_check(const WOLFSSL_BUFFER_INFO *certs, int n, uint32_t profile)
{
    struct cert_view cert;
    if (!certs || n < 1 || cert_parse(certs[0].buffer, certs[0].length, &cert) < 0)
        return 0; /* wolfSSL has read it: it is not for us to say */
    for (int steps = 0; steps < n && !same(cert.subject, cert.issuer); steps++) {
        enum strength strength = strength_of(cert.signature);
        if (strength == SIGNATURE_BROKEN || (strength == SIGNATURE_SHA1 && profile != TLS_PROFILE_COMPAT))
            return ASN_SIG_OID_E;
        if (find(certs, n, cert.issuer, &cert) < 0)
            break;
    }
    return 0;
}
