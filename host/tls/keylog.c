/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The secrets of sessions come in from wolfSSL, lines of the NSS key log format go out to one file, whole lines at a time, so that several
 * threads and processes may share it. While keys are logged nothing is resumed: each connection can be read by itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/tls/session_state.h"

#define RANDOM_SIZE 32u
#define SECRET_MOST 64u

struct keylog {
    int fd;
};

struct keylog *keylog_open(const char *path, char *err, size_t err_size)
{
    struct keylog *log = malloc(sizeof *log);
    int fd = log ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    if (fd >= 0) {
        log->fd = fd;
        return log;
    }
    snprintf(err, err_size, "SSLKEYLOGFILE %s: %s", path, log ? strerror(errno) : "out of memory");
    free(log);
    return NULL;
}

void keylog_close(struct keylog *log)
{
    if (!log)
        return;
    close(log->fd);
    free(log);
}

#ifdef HAVE_SECRET_CALLBACK

static size_t put_hex(char *out, const unsigned char *p, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    return 2 * n;
}

static void put_line(const struct session *s, WOLFSSL *tls, const char *label, const unsigned char *secret, int size)
{
    char line[40 + 2 * (RANDOM_SIZE + SECRET_MOST)];
    unsigned char client_random[RANDOM_SIZE];
    if (size < 0 || (size_t)size > SECRET_MOST || wolfSSL_get_client_random(tls, client_random, RANDOM_SIZE) != RANDOM_SIZE)
        return;
    size_t n = (size_t)snprintf(line, 40, "%s ", label);
    n += put_hex(line + n, client_random, RANDOM_SIZE);
    line[n++] = ' ';
    n += put_hex(line + n, secret, (size_t)size);
    line[n++] = '\n';
    ssize_t r = write(s->keylog->fd, line, n);
    (void)r; /* a full disk takes the log, not the traffic */
    explicit_bzero(line, sizeof line);
}

static int log_tls12(WOLFSSL *tls, void *secret, int size, void *session)
{
    put_line(session, tls, "CLIENT_RANDOM", secret, size);
    return 0;
}

static int log_tls13(WOLFSSL *tls, int id, const unsigned char *secret, int size, void *session)
{
    static const char *const labels[] = {
        [CLIENT_HANDSHAKE_TRAFFIC_SECRET] = "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        [SERVER_HANDSHAKE_TRAFFIC_SECRET] = "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        [CLIENT_TRAFFIC_SECRET] = "CLIENT_TRAFFIC_SECRET_0",
        [SERVER_TRAFFIC_SECRET] = "SERVER_TRAFFIC_SECRET_0",
    };
    if (id >= 0 && (size_t)id < sizeof labels / sizeof labels[0] && labels[id])
        put_line(session, tls, labels[id], secret, size);
    return 0;
}

int keylog_available(void)
{
    return 1;
}

void session_log_keys(struct session *s, struct keylog *log)
{
    s->keylog = log;
    if (!log)
        return;
    wolfSSL_set_secret_cb(s->tls, log_tls12, s);
    wolfSSL_set_tls13_secret_cb(s->tls, log_tls13, s);
}

#else /* a system's wolfSSL that was built without it */

int keylog_available(void)
{
    return 0;
}

void session_log_keys(struct session *s, struct keylog *log)
{
    s->keylog = log;
}

#endif
