/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A stage comes in, a line for machines leaves by one write to stderr and one append to the status file. A status file that cannot be
 * written is said once and never stops the proxy.
 */
#include "host/status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/log.h"

#define LINE_SIZE 4096
#define PREFIX "SOTH_MITM_STATUS\t"

static const struct {
    int code;
    const char *name, *text;
} classes[] = {
#define EXIT_CLASS(NAME, number, name, text) {number, #name, text},
#include "host/exit.def"
#undef EXIT_CLASS
};

int exit_code(enum exit_class exit_class)
{
    return classes[exit_class].code;
}

const char *exit_class_name(enum exit_class exit_class)
{
    return classes[exit_class].name;
}

const char *exit_class_text(enum exit_class exit_class)
{
    return classes[exit_class].text;
}

/* Length of the UTF-8 character at p (RFC 3629: shortest form, no surrogates), 0 when there is none. */
static size_t utf8_length(const unsigned char *p)
{
    static const struct {
        unsigned char first, last, low, high; /* of the first byte; of the second */
        unsigned char length;
    } forms[] = {{0x01, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
                 {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
                 {0xf4, 0xf4, 0x80, 0x8f, 4}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (p[0] < forms[i].first || p[0] > forms[i].last)
            continue;
        if (forms[i].length > 1 && (p[1] < forms[i].low || p[1] > forms[i].high))
            return 0;
        for (size_t k = 2; k < forms[i].length; k++)
            if (p[k] < 0x80 || p[k] > 0xbf)
                return 0;
        return forms[i].length;
    }
    return 0;
}

/* One character of text as JSON into out (at most 6 bytes); *used bytes of text are taken. */
static size_t escape(const char *text, size_t *used, char out[8])
{
    static const char with_backslash[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    unsigned char c = (unsigned char)*text;
    const char *at = strchr(with_backslash, c);
    *used = 1;
    if (at) {
        out[0] = '\\';
        out[1] = letters[at - with_backslash];
        return 2;
    }
    if (c < 0x20 || c == 0x7f)
        return (size_t)snprintf(out, 8, "\\u%04x", c);
    size_t n = utf8_length((const unsigned char *)text);
    if (n == 0) {
        memcpy(out, "\xef\xbf\xbd", 3);
        return 3;
    }
    memcpy(out, text, n);
    *used = n;
    return n;
}

size_t status_json(char *buf, size_t size, const char *stage, const char *outcome, enum exit_class exit_class, uint64_t unix_ms,
                   const char *detail)
{
    int head = snprintf(buf, size,
                        "{\"schema\":\"soth-mitm-automation-status-v1\",\"stage\":\"%s\",\"outcome\":\"%s\",\"exit_code\":%d,"
                        "\"exit_class\":\"%s\",\"unix_ms\":%llu,\"detail\":\"",
                        stage, outcome, exit_code(exit_class), exit_class_name(exit_class), (unsigned long long)unix_ms);
    size_t n = (size_t)head;
    while (*detail) {
        char piece[8];
        size_t used, m = escape(detail, &used, piece);
        if (n + m + 3 > size)
            break;
        memcpy(buf + n, piece, m);
        n += m;
        detail += used;
    }
    memcpy(buf + n, "\"}", 3);
    return n + 2;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void append(const char *path, const char *line, size_t n)
{
    static int told;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    bool ok = fd >= 0 && write(fd, line, n) == (ssize_t)n;
    if (!ok && !told) {
        log_at(SOTH_LOG_WARN, "cannot write SOTH_MITM_AUTOMATION_STATUS_PATH=%s: %s", path, strerror(errno));
        told = 1;
    }
    if (fd >= 0)
        close(fd);
}

void status_print(const char *stage, const char *outcome, enum exit_class exit_class, const char *detail)
{
    char line[LINE_SIZE] = PREFIX;
    const size_t prefix = sizeof PREFIX - 1;
    size_t n = prefix + status_json(line + prefix, sizeof line - prefix - 1, stage, outcome, exit_class, now_ms(), detail ? detail : "");
    line[n++] = '\n';
    if (write(STDERR_FILENO, line, n) < 0)
        (void)0; /* there is nobody left to tell */
    const char *path = getenv("SOTH_MITM_AUTOMATION_STATUS_PATH");
    if (path && *path)
        append(path, line + prefix, n - prefix);
}
