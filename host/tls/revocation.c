/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Files of revocation lists come in and are loaded into a context; verdicts on chains come out. Only certificates of CAs that there is a list
 * of are checked: a list that is missing refuses nobody.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/tls/material.h"
#include "host/tls/trust.h"

#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

static const char begin[] = "-----BEGIN X509 CRL-----", end[] = "-----END X509 CRL-----";

static int refused(const char *path, int code, char *err, size_t err_size)
{
    const char *why = code == ASN_CRL_NO_SIGNER_E ? "its CA is not trusted here, add that with upstream_ca_file"
                      : code == ASN_CRL_CONFIRM_E ? "its signature is wrong"
                      : code == ASN_AFTER_DATE_E || code == CRL_CERT_DATE_ERR ? "it has expired, put a newer one there"
                                                                              : "is not a revocation list in PEM or DER";
    snprintf(err, err_size, "crl_files: %s: %s (error %d)", path, why, code);
    return -SOTH_EINVALID;
}

int revocation_load(WOLFSSL_CTX *tls, const char *path, char *err, size_t err_size)
{
    char *text;
    size_t n;
    if (material_read_roots(path, &text, &n, err, err_size) < 0)
        return -SOTH_EIO;
    const char *at = strstr(text, begin);
    int r = at ? WOLFSSL_SUCCESS : wolfSSL_CTX_LoadCRLBuffer(tls, (const uint8_t *)text, (long)n, WOLFSSL_FILETYPE_ASN1);
    while (at && r == WOLFSSL_SUCCESS) { /* one after another: the library reads the first only */
        const char *stop = strstr(at, end);
        size_t size = stop ? (size_t)(stop - at) + sizeof end - 1 : strlen(at);
        r = wolfSSL_CTX_LoadCRLBuffer(tls, (const uint8_t *)at, (long)size, WOLFSSL_FILETYPE_PEM);
        at = strstr(at + size, begin);
    }
    free(text);
    return r == WOLFSSL_SUCCESS ? SOTH_OK : refused(path, r, err, err_size);
}

int revocation_check(WOLFSSL_CTX *tls, const WOLFSSL_BUFFER_INFO *leaf)
{
    int r = wolfSSL_CertManagerCheckCRL(wolfSSL_CTX_GetCertManager(tls), leaf->buffer, (int)leaf->length);
    return r == CRL_CERT_REVOKED || r == CRL_CERT_DATE_ERR ? r : 0;
}
