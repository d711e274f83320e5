/* SPDX-License-Identifier: MPL-2.0 */
/*
 * See ca_files.h. The order of a rotation: the successor's two files are whole and on the disk, then its key takes the place of the key, then
 * its certificate that of the certificate. Between those two a key lies beside a certificate that is not its own, and the successor's
 * certificate is still there: by that it is recognised (issuer.c).
 */
#include "host/tls/ca_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/tls/authority.h"
#include "host/tls/key.h"
#include "host/tls/material.h"
#include "host/tls/wolf.h"

#include <wolfssl/wolfcrypt/asn_public.h>

#define PEM_MAX 32768u

static char *with(const char *path, const char *suffix)
{
    char *out;
    return path && asprintf(&out, "%s%s", path, suffix) >= 0 ? out : NULL;
}

static char *behind_links(const char *path)
{
    char *whole = realpath(path, NULL);
    return whole ? whole : strdup(path); /* it may be to be made */
}

int ca_files_init(struct ca_files *f, const struct authority_config *config)
{
    const char *passphrase = config->key_passphrase_file;
    *f = (struct ca_files){.cert = behind_links(config->cert_path), .key = behind_links(config->key_path)};
    f->next_cert = with(f->cert, ".next");
    f->next_key = with(f->key, ".next");
    f->previous = with(f->cert, ".previous");
    f->passphrase = passphrase && *passphrase ? strdup(passphrase) : NULL;
    if (f->next_cert && f->next_key && f->previous && (f->passphrase || !passphrase || !*passphrase))
        return SOTH_OK;
    ca_files_fini(f);
    return -SOTH_ENOMEM;
}

void ca_files_fini(struct ca_files *f)
{
    free(f->cert);
    free(f->key);
    free(f->next_cert);
    free(f->next_key);
    free(f->previous);
    free(f->passphrase);
    *f = (struct ca_files){0};
}

/* The directory of a file; malloc'd. */
static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
}

static int open_directory(const char *path)
{
    char *directory = directory_of(path);
    int fd = directory ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    free(directory);
    return fd;
}

int ca_files_lock(const struct ca_files *f, char *err, size_t err_size)
{
    int fd = open_directory(f->cert);
    while (fd >= 0 && flock(fd, LOCK_EX) != 0)
        if (errno != EINTR) {
            close(fd);
            fd = -1;
        }
    if (fd < 0)
        snprintf(err, err_size, "%s: its directory cannot be locked: %s", f->cert, strerror(errno));
    return fd;
}

void ca_files_unlock(int lock)
{
    if (lock >= 0)
        close(lock);
}

/* What was renamed is renamed for good. */
static int sync_directory(const char *path, char *err, size_t err_size)
{
    int fd = open_directory(path), r = fd >= 0 ? fsync(fd) : -1;
    if (r != 0 && errno != EINVAL)
        snprintf(err, err_size, "%s: its directory cannot be written to the disk: %s", path, strerror(errno));
    else
        r = 0;
    if (fd >= 0)
        close(fd);
    return r ? -SOTH_EIO : SOTH_OK;
}

/* ---- keys ---- */

int ca_files_passphrase(const struct ca_files *f, char *text, size_t size, char *err, size_t err_size)
{
    char *all;
    size_t n;
    text[0] = '\0';
    if (!f->passphrase)
        return SOTH_OK;
    int r = material_read(f->passphrase, 1, &all, &n, err, err_size);
    if (r < 0)
        return r;
    size_t line = strcspn(all, "\r\n");
    if (line == 0 || line >= size) {
        snprintf(err, err_size, "%s: the passphrase in its first line must have 1 to %zu characters", f->passphrase, size - 1);
        r = -SOTH_EINVALID;
    } else {
        memcpy(text, all, line);
        text[line] = '\0';
    }
    explicit_bzero(all, n);
    free(all);
    return r;
}

struct private_key *ca_files_read_key(const struct ca_files *f, const char *path, char *err, size_t err_size)
{
    char *pem, passphrase[256];
    size_t n;
    const char *fault;
    if (material_read(path, 1, &pem, &n, err, err_size) < 0)
        return NULL;
    struct private_key *key = NULL;
    if (ca_files_passphrase(f, passphrase, sizeof passphrase, err, err_size) == 0) {
        key = private_key_open(pem, n, f->passphrase ? passphrase : NULL, &fault);
        if (!key && f->passphrase)
            snprintf(err, err_size, "%s: cannot be used as a private key: %s (the passphrase is in %s)", path, fault, f->passphrase);
        else if (!key)
            snprintf(err, err_size, "%s: cannot be used as a private key: %s", path, fault);
    }
    explicit_bzero(passphrase, sizeof passphrase);
    explicit_bzero(pem, n);
    free(pem);
    return key;
}

static int write_key(const struct ca_files *f, const char *path, struct private_key *key, char *err, size_t err_size)
{
    char passphrase[256], *pem = NULL;
    int r = ca_files_passphrase(f, passphrase, sizeof passphrase, err, err_size);
    if (r == 0) {
        pem = private_key_pem(key, f->passphrase ? passphrase : NULL);
        if (!pem) {
            snprintf(err, err_size, "%s: the key cannot be written as PEM: out of memory or no randomness", path);
            r = -SOTH_ENOMEM;
        }
    }
    if (pem)
        r = material_write(path, 0600, pem, strlen(pem), err, err_size);
    if (pem)
        explicit_bzero(pem, strlen(pem));
    free(pem);
    explicit_bzero(passphrase, sizeof passphrase);
    return r;
}

/* When root renews what belongs to somebody else, it goes on belonging to him. */
static int give(const char *path, const char *like, char *err, size_t err_size)
{
    struct stat st;
    if (geteuid() != 0 || stat(like, &st) != 0 || (st.st_uid == 0 && st.st_gid == 0) || chown(path, st.st_uid, st.st_gid) == 0)
        return SOTH_OK;
    snprintf(err, err_size, "%s: cannot be given to the owner of %s: %s", path, like, strerror(errno));
    return -SOTH_EIO;
}

int ca_files_write_pair(const struct ca_files *f, const char *cert_path, const char *key_path, struct private_key *key,
                        const struct der *cert, char *err, size_t err_size)
{
    char *pem = material_pem(cert->p, cert->len, CERT_TYPE);
    if (!pem) {
        snprintf(err, err_size, "%s: out of memory", cert_path);
        return -SOTH_ENOMEM;
    }
    int r = write_key(f, key_path, key, err, err_size);
    if (r == 0) {
        r = material_write(cert_path, 0644, pem, strlen(pem), err, err_size);
        if (r == 0 && cert_path != f->cert) {
            r = give(key_path, f->key, err, err_size);
            if (r == 0)
                r = give(cert_path, f->cert, err, err_size);
            if (r == 0)
                r = sync_directory(cert_path, err, err_size);
            if (r < 0)
                unlink(cert_path);
        }
        if (r < 0)
            unlink(key_path);
    }
    free(pem);
    return r;
}

int ca_files_switch(const struct ca_files *f, char *err, size_t err_size)
{
    if (material_exists(f->next_key) && rename(f->next_key, f->key) != 0) {
        snprintf(err, err_size, "%s: cannot take the place of %s: %s", f->next_key, f->key, strerror(errno));
        return -SOTH_EIO;
    }
    int r = sync_directory(f->key, err, err_size);
    if (r == 0 && rename(f->next_cert, f->cert) != 0) {
        snprintf(err, err_size, "%s: cannot take the place of %s: %s", f->next_cert, f->cert, strerror(errno));
        r = -SOTH_EIO;
    }
    return r == 0 ? sync_directory(f->cert, err, err_size) : r;
}

void ca_files_drop_next(const struct ca_files *f)
{
    unlink(f->next_key); /* the key first: what is left alone is then the harmless half */
    unlink(f->next_cert);
}
