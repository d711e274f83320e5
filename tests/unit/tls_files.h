/* SPDX-License-Identifier: MPL-2.0 */
/* CA files in a directory of their own, right and wrong ones, for the tests of host/tls. Everything asserts. */
#ifndef TESTS_UNIT_TLS_FILES_H
#define TESTS_UNIT_TLS_FILES_H

#include <stdint.h>
#include <sys/types.h>

#include "host/tls/authority.h"
#include "host/tls/key.h"

struct tls_files {
    char dir[64];    /* exists */
    char parent[96]; /* of cert and key; made by whoever writes them */
    char cert[128], key[128];
};

void tls_files_init(struct tls_files *files);
void tls_files_fini(struct tls_files *files); /* removes the directory */
struct authority_config tls_files_config(const struct tls_files *files);
struct authority *tls_files_open(const struct authority_config *config); /* makes the CA where there is none */

void tls_files_write(const char *path, const char *text, mode_t mode);
char *tls_files_read(const char *path); /* free it */

/* A CA of this kind and validity in both files. */
void tls_files_make_ca(const struct tls_files *files, enum key_kind kind, int64_t not_before, int64_t not_after);
/* A server's certificate and its key where the CA's should be. */
void tls_files_make_leaf_as_ca(const struct tls_files *files);

#endif
