/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Certificate and key files: reading with the checks an operator is told about, writing with the modes they need. Internal to this
 * room. Every failure leaves a sentence in err.
 */
#ifndef HOST_TLS_MATERIAL_H
#define HOST_TLS_MATERIAL_H

#include <stddef.h>
#include <stdint.h>

#define MATERIAL_MAX 65536u
#define MATERIAL_MAX_ROOTS (16u << 20) /* a whole store of them in one file */

int material_exists(const char *path);
/* malloc'd, NUL-terminated text of a regular file of at most MATERIAL_MAX bytes. secret: refused when group or others can read it.
 * 0 or negative. */
int material_read(const char *path, int secret, char **out, size_t *size, char *err, size_t err_size);
/* The same of a file of roots, which may be as long as MATERIAL_MAX_ROOTS and is no secret. */
int material_read_roots(const char *path, char **out, size_t *size, char *err, size_t err_size);
/* A new file of this mode; parent directories are made 0700. Never overwrites. 0 or negative. */
int material_write(const char *path, int mode, const void *p, size_t n, char *err, size_t err_size);
/* A file of this mode, new or in place of what is there, which is whole until the new one is. 0 or negative. */
int material_replace(const char *path, int mode, const void *p, size_t n, char *err, size_t err_size);
/* All certificates of a PEM text as DER, one behind the other, malloc'd. *first_size is the length of the first. 0 or -SOTH_EINVALID. */
int material_certificates(const char *pem, size_t n, uint8_t **out, size_t *size, size_t *first_size);
/* DER to PEM of a wolfCrypt type, malloc'd; NULL on failure. */
char *material_pem(const uint8_t *der, size_t n, int type);

#endif
