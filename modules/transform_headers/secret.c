/* SPDX-License-Identifier: MPL-2.0 */
/* Secrets come in from files that only their owner reads, or from the environment. They leave as the value of a field, and nowhere else. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rules.h"

#define SECRET_MOST 8192

static int wrong(const struct soth_host *host, void *self, size_t i, const char *key, const char *what, const char *why)
{
    char path[64];
    snprintf(path, sizeof path, "rules[%zu].secret.%s", i, key);
    return host->cfg_err(self, path, "%s %s", what, why);
}

static int unreadable(const struct soth_host *host, void *self, size_t i, const char *file)
{
    char why[128];
    snprintf(why, sizeof why, "cannot be read: %s", strerror(errno));
    return wrong(host, self, i, "file", file, why);
}

/* NULL, or what is wrong with it. */
static const char *unfit(const struct stat *st)
{
    if (!S_ISREG(st->st_mode))
        return "is not a regular file";
    if (st->st_mode & (S_IRWXG | S_IRWXO))
        return "can be read or written by group or others: chmod 600 it";
    return st->st_size > SECRET_MOST ? "is too long for a secret, 8192 bytes are allowed" : NULL;
}

static long read_all(int fd, char *out, size_t size)
{
    size_t n = 0;
    while (n < size) {
        ssize_t r = read(fd, out + n, size - n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -1;
        if (r == 0)
            break;
        n += (size_t)r;
    }
    return (long)n;
}

/* Its bytes into out; how many, or negative and told. */
static long read_file(const struct soth_host *host, void *self, size_t i, const char *file, char out[SECRET_MOST])
{
    struct stat st;
    const char *why;
    long n = -1;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return unreadable(host, self, i, file);
    if (fstat(fd, &st) == 0)
        n = (why = unfit(&st)) ? wrong(host, self, i, "file", file, why) : read_all(fd, out, SECRET_MOST);
    if (n == -1)
        n = unreadable(host, self, i, file);
    close(fd);
    return n;
}

static long read_env(const struct soth_host *host, void *self, size_t i, const char *name, char out[SECRET_MOST])
{
    const char *value = getenv(name);
    if (!value)
        return wrong(host, self, i, "env", name, "is not in the environment");
    size_t n = strlen(value);
    if (n > SECRET_MOST)
        return wrong(host, self, i, "env", name, "is too long for a secret, 8192 bytes are allowed");
    memcpy(out, value, n);
    return (long)n;
}

/* NULL, or why it cannot stand in a field. The line end that editors leave is no part of it. */
static const char *unclean(const char *value, long *n)
{
    if (*n > 0 && value[*n - 1] == '\n')
        --*n;
    if (*n > 0 && value[*n - 1] == '\r')
        --*n;
    if (*n == 0)
        return "is empty";
    for (long i = 0; i < *n; i++)
        if ((unsigned char)value[i] < ' ' || value[i] == 0x7f)
            return "has more than one line, or a control character in it";
    return NULL;
}

char *secret_read(const struct soth_host *host, void *self, size_t i, const struct secret *secret, size_t *n)
{
    static const char mark[] = "{secret}";
    const char *at = strstr(secret->format, mark);
    const char *key = *secret->file ? "file" : "env", *where = *secret->file ? secret->file : secret->env;
    const size_t before = (size_t)(at - secret->format), after = strlen(at) - (sizeof mark - 1);
    char value[SECRET_MOST], *out = NULL;
    long size = *secret->file ? read_file(host, self, i, where, value) : read_env(host, self, i, where, value);
    const char *why = size < 0 ? NULL : unclean(value, &size);
    if (why)
        wrong(host, self, i, key, where, why);
    if (size >= 0 && !why && (out = malloc(before + (size_t)size + after + 1))) {
        memcpy(out, secret->format, before);
        memcpy(out + before, value, (size_t)size);
        memcpy(out + before + size, at + sizeof mark - 1, after + 1);
        *n = before + (size_t)size + after;
    }
    explicit_bzero(value, sizeof value);
    return out;
}

void secret_free(char *value, size_t n)
{
    if (value)
        explicit_bzero(value, n);
    free(value);
}
