/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The certificate authority and the leaves it signs. Loads the CA from disk (PEM certificate + PEM private key) or creates
 * one (ECDSA P-256, key file 0600, passes `openssl verify -x509_strict`: critical BasicConstraints and KeyUsage, SKI, AKI).
 * Leaves are made per host, cached (bounded LRU) and made anew before they expire. Thread-safe.
 */
#ifndef HOST_TLS_AUTHORITY_H
#define HOST_TLS_AUTHORITY_H

#include <stddef.h>
#include <stdint.h>

#include <soth/sdk.h>

struct authority;
struct leaf; /* refcounted: certificate chain and key ready for handshakes (a WOLFSSL_CTX) */

struct authority_config {
    const char *cert_path;
    const char *key_path;
    const char *key_passphrase_file; /* "" or NULL: keys are not encrypted; its first line opens the key, and closes those that are made */
    const char *common_name;  /* of a new CA only: a loaded CA signs under the subject it has */
    const char *organization;
    uint32_t leaf_cache_capacity; /* 0 = none */
    uint32_t leaf_days;           /* whole validity of a leaf incl. two days of backdating */
    uint32_t rsa_leaves;          /* 1 = compat profile: RSA-2048 leaf key */
    int64_t rotate_after;         /* seconds of the CA's age at which authority_tend replaces it; 0 = never */
};

#define AUTHORITY_CREATE 1u /* make a CA when neither file exists */

/*
 * NULL on failure, with a sentence for the operator in err (which file, what is wrong, what to do): one file without the
 * other, key readable by group or others, wrong passphrase, not a CA, key and certificate that do not belong together, expired, garbage,
 * rotate_after with a CA that cannot be made anew here. *created (optional) tells whether a CA was made.
 */
struct authority *authority_open(const struct authority_config *config, unsigned flags, int *created, char *err, size_t err_size);
/* The same from files that may have changed, never making any: when certificate, key and configuration are what `previous` has, it is
 * previous once more, with its leaves. */
struct authority *authority_renew(struct authority *previous, const struct authority_config *config, char *err, size_t err_size);
void authority_free(struct authority *authority); /* as often as it was got; always by the same thread */

/* Writes a new CA to the paths (which must not exist; parent directories are made 0700). 0 or negative with err. */
int authority_create(const struct authority_config *config, char *err, size_t err_size);

/* ---- rotation: authority_make.c has the files, authority.c the running authority ---- */

/* Makes the CA's successor beside it, in cert_path.next and key_path.next, unless there is one; nothing signs with it yet, but it is among
 * authority_certificates: clients can learn it. *made (optional) tells. 0 or negative with err. */
int authority_prepare(const struct authority_config *config, int *made, char *err, size_t err_size);
#define AUTHORITY_FORGET 1u /* the CA that goes is not to be trusted any more, nor are those before it */
/* The successor, made if need be, takes the CA's place in the files. The old key is gone then; the old certificate is kept in cert_path.previous
 * and listed for CA_OVERLAP_DAYS or until it expires. Stopped at any point the files are of the old CA or of the new one. 0 or negative with
 * err. A CA that somebody else has issued cannot be rotated. */
int authority_rotate(const struct authority_config *config, unsigned flags, char *err, size_t err_size);
#define CA_OVERLAP_DAYS 30

enum authority_change { AUTHORITY_STAYS, AUTHORITY_PREPARED, AUTHORITY_ROTATED };
/*
 * What the CA's age asks for at `now`: nothing, or its successor is prepared (a quarter of rotate_after ahead, at most CA_OVERLAP_DAYS), or takes
 * its place, in the files and here: from then on leaves are signed by it, those in use stay as they are. Another CA in the files than the one
 * here is taken when it is that age, too. Negative with err; it is tried again at the next call. The owner's thread.
 */
int authority_tend(struct authority *authority, int64_t now, char *err, size_t err_size);
/* Seconds until authority_tend has something to do: 0 = now; negative = it never has. */
int64_t authority_due(const struct authority *authority, int64_t now);
int64_t authority_expires(const struct authority *authority);

/* Certificates that clients should trust, the current CA's first; the key is not read. */
struct ca_certificate {
    enum ca_role { CA_CURRENT, CA_NEXT, CA_PREVIOUS } role; /* CA_CURRENT: also what its file has behind it */
    uint8_t *der;
    size_t size;
    int64_t not_before, not_after;
    int64_t trusted_until; /* not_after, or for a previous one earlier */
    char subject[256];     /* "CN=..., O=..." */
    char sha256[96];       /* AA:BB:... of the DER */
    uint8_t *crl;          /* CA_PREVIOUS: its last revocation list, DER; its key is gone. May be absent */
    size_t crl_size;
};
struct ca_certificates {
    struct ca_certificate *v;
    size_t n;
};
/* 0 or negative with err. */
int authority_certificates(const struct authority_config *config, int64_t now, struct ca_certificates *out, char *err, size_t err_size);
/* Those of any PEM file, all of role CA_CURRENT. */
int authority_certificates_of(const char *path, struct ca_certificates *out, char *err, size_t err_size);
/* Those of a running authority, as its files had them when it was opened, renewed or rotated; copies. Any thread. 0 or -SOTH_ENOMEM. */
int authority_trusted(struct authority *authority, int64_t now, struct ca_certificates *out);
/*
 * The revocation list, DER, malloc'd, of a CA that signs or is still trusted; nobody is on it. `key_name` is cert_key_name's, none is the
 * current one's. -SOTH_ENOENT: there is no such CA, or it may not sign lists. Any thread.
 */
int authority_crl(struct authority *authority, struct soth_span key_name, int64_t now, uint8_t **out, size_t *size);
#define CA_CRL_DAYS 40 /* more than CA_OVERLAP_DAYS: the last one that a CA signs has to do */
void ca_certificates_free(struct ca_certificates *list);
/* PKCS#12 without any key, malloc'd; 0 or negative. */
int ca_certificates_p12(const struct ca_certificates *list, const char *password, uint8_t **out, size_t *out_size);
/* All of them, PEM, malloc'd; NULL = no memory. */
char *ca_certificates_pem(const struct ca_certificates *list);
/* RFC 3339, UTC. */
void ca_time_text(int64_t seconds, char out[32]);

/*
 * Files beside the certificate for clients that read no store of the system: bundle.pem (the system's roots and
 * ours), trust.pem (ours alone), java-trust.p12 (as bundle.pem). The paths, malloc'd. 0 or negative with err.
 */
struct ca_bundle {
    char *bundle, *trust, *java;
    int has_roots; /* the system's were found */
};
#define CA_JAVA_PASSWORD "changeit" /* of a store of public certificates: Java opens none without */
int ca_bundle_write(const struct authority_config *config, int64_t now, struct ca_bundle *out, char *err, size_t err_size);
void ca_bundle_free(struct ca_bundle *bundle);
/* Writes them anew where they have been written before. 0, also when there are none, or negative with err. */
int ca_bundle_refresh(const struct authority_config *config, int64_t now, char *err, size_t err_size);
/* The system's roots as one PEM text, malloc'd, from below `root` ("" = this system); NULL when there are none. */
char *ca_system_roots(const char *root, size_t *n);

/* For `ca show` and `ca export`. Borrowed until authority_free. */
struct authority_info {
    char subject[256]; /* "CN=..., O=..." */
    char sha256[96];   /* AA:BB:... of the DER */
    char not_before[32], not_after[32]; /* RFC 3339, UTC */
    const uint8_t *cert_der; /* until authority_free or a rotation */
    size_t cert_der_size;
};
void authority_describe(const struct authority *authority, struct authority_info *out);
/* The CA certificate (key 0) or the unencrypted PKCS#8 key (key 1) as PEM text, malloc'd, NUL-terminated; NULL on failure. */
char *authority_pem(const struct authority *authority, int key);
/* PKCS#12 with the certificate, and the key when with_key; 0 and malloc'd *out, or negative. password: at most 128 printable
 * ASCII characters, may be "" (-SOTH_EINVALID otherwise). */
int authority_p12(struct authority *authority, int with_key, const char *password, uint8_t **out, size_t *out_size);

/*
 * A leaf for a host name ("*.x.test" too) or an address in text form (then an iPAddress SAN). One reference for the caller,
 * or NULL. *hit: 1 from the cache, 0 newly signed. `now` is wall-clock seconds.
 */
struct leaf *leaf_get(struct authority *authority, struct soth_span host, int64_t now, int *hit);
/* A fixed certificate and key from PEM files, for listeners with cert_path; NULL with err. */
struct leaf *leaf_from_files(const char *cert_path, const char *key_path, char *err, size_t err_size);
void leaf_put(struct leaf *leaf);
/* The leaf's DER certificate, borrowed while the reference is held. */
struct soth_span leaf_der(const struct leaf *leaf);

#endif
