/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The files of a CA: certificate and key, beside them the successor's (.next) and the certificates that went before (.previous), and how one
 * takes the place of the other so that whoever is stopped halfway leaves a pair that can be used. Internal to this room.
 */
#ifndef HOST_TLS_CA_FILES_H
#define HOST_TLS_CA_FILES_H

#include <stddef.h>
#include <stdint.h>

#define CA_TRUSTED_UNTIL "Trusted-Until: " /* before each certificate of .previous, seconds since 1970 behind it */

struct authority_config;
struct private_key;
struct der;

struct ca_files {
    char *cert, *key, *next_cert, *next_key, *previous, *passphrase; /* passphrase: NULL = keys are not encrypted */
};

/* The paths, behind symbolic links. 0 or -SOTH_ENOMEM. */
int ca_files_init(struct ca_files *files, const struct authority_config *config);
void ca_files_fini(struct ca_files *files);

/* Only one at a time rotates, or looks at what a rotation left. Waits for its turn; a descriptor for ca_files_unlock, or negative with err. */
int ca_files_lock(const struct ca_files *files, char *err, size_t err_size);
void ca_files_unlock(int lock);

/* The first line of the passphrase file into text (of size at least 256; wiped by the caller), or "" when there is no such file to use.
 * 0 or negative with err. */
int ca_files_passphrase(const struct ca_files *files, char *text, size_t size, char *err, size_t err_size);
/* NULL with err. */
struct private_key *ca_files_read_key(const struct ca_files *files, const char *path, char *err, size_t err_size);
/* Writes a pair where none is, the key first; encrypted when there is a passphrase. 0 or negative with err, and then neither file is left. */
int ca_files_write_pair(const struct ca_files *files, const char *cert_path, const char *key_path, struct private_key *key,
                        const struct der *cert, char *err, size_t err_size);
/* The successor's files become the CA's. Whoever finds this half done does it once more. 0 or negative with err. */
int ca_files_switch(const struct ca_files *files, char *err, size_t err_size);
/* Removes the successor's files. */
void ca_files_drop_next(const struct ca_files *files);

#endif
