/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Paths come in, texts and DER go out, with a sentence for the operator where that fails. A secret that others can read is refused, not
 * repaired. Never interprets a certificate.
 */
#include "host/tls/wolf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <wolfssl/wolfcrypt/asn_public.h>

#include <soth/sdk.h>

#include "host/tls/material.h"

int material_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 || errno != ENOENT;
}

static int check_file(int fd, const char *path, int secret, size_t max, size_t *room, char *err, size_t err_size)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        snprintf(err, err_size, "%s: %s", path, strerror(errno));
        return -SOTH_EIO;
    }
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > max) {
        snprintf(err, err_size, "%s: not a regular file of at most %zu bytes", path, max);
        return -SOTH_EINVALID;
    }
    *room = (size_t)st.st_size;
    if (secret && st.st_mode & (S_IRWXG | S_IRWXO)) {
        snprintf(err, err_size, "%s: mode %04o lets group or others at a private key; run `chmod 600 %s`", path,
                 (unsigned)(st.st_mode & 07777), path);
        return -SOTH_EPERM;
    }
    return SOTH_OK;
}

static ssize_t read_all(int fd, char *p, size_t cap)
{
    size_t n = 0;
    while (n < cap) {
        ssize_t r = read(fd, p + n, cap - n);
        if (r == 0)
            break;
        if (r < 0 && errno != EINTR)
            return -1;
        n += r > 0 ? (size_t)r : 0;
    }
    return (ssize_t)n;
}

static int read_file(const char *path, int secret, size_t max, char **out, size_t *size, char *err, size_t err_size)
{
    ssize_t n;
    size_t room = 0;
    char *text = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        snprintf(err, err_size, "%s: cannot be opened: %s", path, strerror(errno));
        return -SOTH_EIO;
    }
    int r = check_file(fd, path, secret, max, &room, err, err_size);
    if (r < 0)
        goto out;
    r = -SOTH_EIO;
    text = malloc(room + 1);
    n = text ? read_all(fd, text, room) : -1;
    if (n < 0) {
        snprintf(err, err_size, "%s: cannot be read: %s", path, strerror(errno));
        free(text);
        goto out;
    }
    text[n] = '\0';
    *out = text;
    *size = (size_t)n;
    r = SOTH_OK;
out:
    close(fd);
    return r;
}

int material_read(const char *path, int secret, char **out, size_t *size, char *err, size_t err_size)
{
    return read_file(path, secret, MATERIAL_MAX, out, size, err, err_size);
}

int material_read_roots(const char *path, char **out, size_t *size, char *err, size_t err_size)
{
    return read_file(path, 0, MATERIAL_MAX_ROOTS, out, size, err, err_size);
}

static int make_parents(const char *path, char *err, size_t err_size)
{
    char dir[4096];
    if (strlen(path) >= sizeof dir) {
        snprintf(err, err_size, "the path %.80s... is too long", path);
        return -SOTH_ELIMIT;
    }
    strcpy(dir, path);
    for (char *slash = strchr(dir + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
            snprintf(err, err_size, "%s: the directory cannot be made: %s", dir, strerror(errno));
            return -SOTH_EIO;
        }
        *slash = '/';
    }
    return SOTH_OK;
}

static int write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t r = write(fd, p, n);
        if (r < 0 && errno != EINTR)
            return -1;
        p += r > 0 ? r : 0;
        n -= r > 0 ? (size_t)r : 0;
    }
    return fsync(fd);
}

int material_write(const char *path, int mode, const void *p, size_t n, char *err, size_t err_size)
{
    int r = make_parents(path, err, err_size);
    if (r < 0)
        return r;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        snprintf(err, err_size, "%s: cannot be created: %s", path, strerror(errno));
        return -SOTH_EIO;
    }
    int bad = fchmod(fd, (mode_t)mode) != 0 || write_all(fd, p, n) != 0;
    int why = errno;
    if (close(fd) != 0 && !bad) {
        bad = 1;
        why = errno;
    }
    if (!bad)
        return SOTH_OK;
    unlink(path);
    snprintf(err, err_size, "%s: cannot be written: %s", path, strerror(why));
    return -SOTH_EIO;
}

int material_replace(const char *path, int mode, const void *p, size_t n, char *err, size_t err_size)
{
    char whole[4096];
    if ((size_t)snprintf(whole, sizeof whole, "%s.%ld.tmp", path, (long)getpid()) >= sizeof whole) {
        snprintf(err, err_size, "the path %.80s... is too long", path);
        return -SOTH_ELIMIT;
    }
    unlink(whole); /* of a process that had our number and died */
    int r = material_write(whole, mode, p, n, err, err_size);
    if (r < 0 || rename(whole, path) == 0)
        return r;
    snprintf(err, err_size, "%s: cannot be written: %s", path, strerror(errno));
    unlink(whole);
    return -SOTH_EIO;
}

int material_certificates(const char *pem, size_t n, uint8_t **out, size_t *size, size_t *first_size)
{
    static const char begin[] = "-----BEGIN ";
    uint8_t *der = malloc(n + 1);
    const char *at = pem, *end = pem + n;
    *size = 0;
    *first_size = 0;
    while (der && at < end && (at = strstr(at, begin)) != NULL) {
        const char *stop = strstr(at, "-----END ");
        stop = stop ? strchr(stop, '\n') : NULL;
        stop = stop ? stop + 1 : end;
        int is_cert = strncmp(at, "-----BEGIN CERTIFICATE-----", 27) == 0;
        if (is_cert) {
            int r = wc_CertPemToDer((const uint8_t *)at, (int)(stop - at), der + *size, (int)(n - *size), CERT_TYPE);
            if (r <= 0) {
                *size = 0;
                break;
            }
            *first_size = *first_size ? *first_size : (size_t)r;
            *size += (size_t)r;
        }
        at = stop;
    }
    if (!der || *size == 0) {
        free(der);
        return -SOTH_EINVALID;
    }
    *out = der;
    return SOTH_OK;
}

char *material_pem(const uint8_t *der, size_t n, int type)
{
    size_t cap = n * 2 + 256;
    char *text = malloc(cap);
    int r = text ? wc_DerToPemEx(der, (word32)n, (uint8_t *)text, (word32)cap - 1, NULL, type) : -1;
    if (r <= 0) {
        free(text);
        return NULL;
    }
    text[r] = '\0';
    return text;
}
