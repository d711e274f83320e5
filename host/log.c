/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A level and a text come in, one line leaves to stderr by one write, so that lines of several threads never mix. Allocates nothing,
 * takes no lock, keeps errno.
 */
#include "host/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

static const char *const names[] = {"error", "warn", "info", "debug"};
static int most = SOTH_LOG_INFO;

void log_level(int level)
{
    most = level;
}

int log_level_by_name(const char *name)
{
    for (int i = 0; i < 4; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -SOTH_EINVALID;
}

bool log_on(int level)
{
    return level <= most;
}

static void clean(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f)
            p[i] = '?';
}

void log_at_v(int level, const char *format, va_list args)
{
    char line[LINE_MAX_BYTES];
    int saved = errno;
    if (!log_on(level) || level < 0 || level > SOTH_LOG_DEBUG)
        return;
    int head = snprintf(line, sizeof line, "soth-mitm: %s: ", names[level]);
    errno = saved; /* for %m */
    int body = vsnprintf(line + head, sizeof line - (size_t)head - 1, format, args);
    size_t n = (size_t)head + (body < 0 ? 0 : (size_t)body);
    if (n > sizeof line - 2) {
        n = sizeof line - 2;
        memcpy(line + n - 3, "...", 3);
    }
    clean(line, n);
    line[n++] = '\n';
    if (write(STDERR_FILENO, line, n) < 0)
        (void)0; /* there is nobody left to tell */
    errno = saved;
}

void log_verbatim(const char *text, size_t n)
{
    while (n > 0) {
        ssize_t written = write(STDERR_FILENO, text, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return; /* there is nobody left to tell */
        text += written;
        n -= (size_t)written;
    }
}

void log_at(int level, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_at_v(level, format, args);
    va_end(args);
}
