/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The DER of a certificate comes in, what an issuer must know about itself comes out as spans into it. Reads structure only: whether
 * the signature is right is not asked here.
 */
#include <stdio.h>
#include <string.h>

#include "host/tls/cert.h"
#include "host/tls/wolf.h"

#include <wolfssl/wolfcrypt/sha256.h>

/* A position in a list of elements. */
struct cursor {
    const uint8_t *p;
    size_t n;
};

/* The next element must have this tag: its contents. `whole` (optional) gets it with its head. Absent on any fault. */
static struct cursor take(struct cursor *list, uint8_t tag, struct soth_span *whole)
{
    uint8_t found;
    size_t header, length;
    if (der_parse_head(list->p, list->n, &found, &header, &length) < 0 || found != tag) {
        *list = (struct cursor){0};
        return (struct cursor){0};
    }
    struct cursor contents = {list->p + header, length};
    if (whole)
        *whole = (struct soth_span){(const char *)list->p, header + length};
    list->p += header + length;
    list->n -= header + length;
    return contents;
}

static int next_is(const struct cursor *list, uint8_t tag)
{
    return list->n > 0 && list->p[0] == tag;
}

static int parse_validity(struct cursor *tbs, struct cert_view *out)
{
    struct cursor validity = take(tbs, DER_SEQUENCE, NULL);
    for (int i = 0; i < 2; i++) {
        uint8_t tag;
        size_t header, length;
        int64_t *to = i ? &out->not_after : &out->not_before;
        if (der_parse_head(validity.p, validity.n, &tag, &header, &length) < 0)
            return -SOTH_EINVALID;
        if (der_parse_time(validity.p, header + length, to) < 0)
            return -SOTH_EINVALID;
        validity.p += header + length;
        validity.n -= header + length;
    }
    return SOTH_OK;
}

static void parse_extension(struct cursor extension, struct cert_view *out)
{
    struct cursor oid = take(&extension, DER_OID, NULL);
    int critical = next_is(&extension, DER_BOOLEAN);
    if (critical)
        take(&extension, DER_BOOLEAN, NULL);
    struct cursor value = take(&extension, DER_OCTET_STRING, NULL);
    if (oid.n != 3 || oid.p[0] != 0x55 || oid.p[1] != 0x1d)
        return;
    if (oid.p[2] == 14) { /* subjectKeyIdentifier */
        struct cursor id = take(&value, DER_OCTET_STRING, NULL);
        out->key_id = (struct soth_span){(const char *)id.p, id.n};
    } else if (oid.p[2] == 15) { /* keyUsage; bit 5 is keyCertSign, bit 6 cRLSign */
        struct cursor bits = take(&value, DER_BIT_STRING, NULL);
        out->may_sign = bits.n >= 2 && bits.p[1] & 0x04;
        out->may_sign_crl = bits.n >= 2 && bits.p[1] & 0x02;
    } else if (oid.p[2] == 19) { /* basicConstraints */
        struct cursor constraints = take(&value, DER_SEQUENCE, NULL);
        struct cursor is_ca = next_is(&constraints, DER_BOOLEAN) ? take(&constraints, DER_BOOLEAN, NULL) : (struct cursor){0};
        out->is_ca = is_ca.n == 1 && is_ca.p[0] != 0;
        out->is_ca_critical = (uint8_t)critical;
    }
}

int cert_parse(const uint8_t *der, size_t n, struct cert_view *out)
{
    struct cursor all = {der, n};
    struct cursor cert = take(&all, DER_SEQUENCE, NULL);
    struct cursor tbs = take(&cert, DER_SEQUENCE, NULL);
    *out = (struct cert_view){.may_sign = 1, .may_sign_crl = 1};
    take(&cert, DER_SEQUENCE, &out->signature);
    if (next_is(&tbs, DER_CONTEXT_CONSTRUCTED | 0))
        take(&tbs, DER_CONTEXT_CONSTRUCTED | 0, NULL);
    take(&tbs, DER_INTEGER, NULL);
    take(&tbs, DER_SEQUENCE, NULL); /* algorithm */
    take(&tbs, DER_SEQUENCE, &out->issuer);
    if (parse_validity(&tbs, out) < 0)
        return -SOTH_EINVALID;
    take(&tbs, DER_SEQUENCE, &out->subject);
    take(&tbs, DER_SEQUENCE, &out->spki);
    if (out->spki.n == 0 || out->subject.n == 0)
        return -SOTH_EINVALID;
    while (tbs.n > 0 && !next_is(&tbs, DER_CONTEXT_CONSTRUCTED | 3))
        take(&tbs, tbs.p[0], NULL); /* unique ids */
    if (tbs.n == 0)
        return SOTH_OK;
    struct cursor tagged = take(&tbs, DER_CONTEXT_CONSTRUCTED | 3, NULL);
    struct cursor list = take(&tagged, DER_SEQUENCE, NULL);
    while (list.n > 0)
        parse_extension(take(&list, DER_SEQUENCE, NULL), out);
    return SOTH_OK;
}

void cert_key_name(const struct cert_view *ca, char out[CERT_KEY_NAME])
{
    uint8_t digest[WC_SHA256_DIGEST_SIZE] = {0};
    struct soth_span id = ca->key_id;
    if (id.n == 0 || id.n > CERT_KEY_NAME / 2) {
        wc_Sha256Hash((const uint8_t *)ca->spki.p, (word32)ca->spki.n, digest);
        id = (struct soth_span){(const char *)digest, 20};
    }
    for (size_t i = 0; i < id.n; i++)
        snprintf(out + 2 * i, 3, "%02x", (uint8_t)id.p[i]);
}

static const char *attribute_label(struct cursor oid)
{
    static const struct {
        uint8_t number;
        const char *label;
    } labels[] = {{3, "CN"}, {6, "C"}, {7, "L"}, {8, "ST"}, {10, "O"}, {11, "OU"}, {5, "serialNumber"}};
    if (oid.n == 3 && oid.p[0] == 0x55 && oid.p[1] == 0x04)
        for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++)
            if (labels[i].number == oid.p[2])
                return labels[i].label;
    return "OID";
}

void cert_name_text(struct soth_span name, char *out, size_t size)
{
    struct cursor outer = {(const uint8_t *)name.p, name.n};
    struct cursor list = take(&outer, DER_SEQUENCE, NULL);
    size_t at = 0;
    out[0] = '\0';
    while (list.n > 0) {
        struct cursor set = take(&list, DER_SET, NULL);
        while (set.n > 0) {
            struct cursor attribute = take(&set, DER_SEQUENCE, NULL);
            struct cursor oid = take(&attribute, DER_OID, NULL);
            struct cursor value = attribute.n > 0 ? take(&attribute, attribute.p[0], NULL) : (struct cursor){0};
            int n = snprintf(out + at, size - at, "%s%s=", at ? ", " : "", attribute_label(oid));
            at = n < 0 || (size_t)n >= size - at ? size - 1 : at + (size_t)n;
            for (size_t i = 0; i < value.n && at + 1 < size; i++)
                out[at++] = (char)(value.p[i] < 0x20 || value.p[i] == 0x7f ? '?' : value.p[i]);
            out[at] = '\0';
        }
    }
}
