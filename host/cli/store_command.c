/* SPDX-License-Identifier: MPL-2.0 */
/* What all stores need: programs that are found, said and run; certificates that are looked for in texts. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/cli/ca.h"
#include "host/cli/trust_store.h"
#include "host/log.h"
#include "host/status.h"
#include "host/tls/material.h"

void store_mark(const struct ca_certificate *c, char mark[17])
{
    size_t n = 0;
    for (const char *p = c->sha256; *p && n < 16; p++)
        if (*p != ':')
            mark[n++] = (char)(*p >= 'A' && *p <= 'F' ? *p + 32 : *p);
    mark[n] = '\0';
}

bool store_is_ours(const char *line, const char *prefix, char name[64])
{
    size_t n = strlen(prefix);
    if (strncmp(line, prefix, n) != 0 || strspn(line + n, "0123456789abcdef") != STORE_MARK)
        return false;
    memcpy(name, line, n + STORE_MARK);
    name[n + STORE_MARK] = '\0';
    return true;
}

void store_say(const struct store_order *order, const char *format, ...)
{
    va_list args;
    if (order->dry_run)
        fputs("would ", stdout);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout); /* before what a program says of itself */
}

char *store_program(const char *root, const char *name)
{
    static const char places[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    const char *own = getenv("PATH");
    char *list = NULL, *found = NULL, *rest;
    if (asprintf(&list, "%s:%s", !*root && own ? own : "", places) < 0)
        return NULL;
    for (char *place = strtok_r(list, ":", &rest); place && !found; place = strtok_r(NULL, ":", &rest)) {
        char whole[4096];
        if (place[0] == '/' && (size_t)snprintf(whole, sizeof whole, "%s%s/%s", root, place, name) < sizeof whole && access(whole, X_OK) == 0)
            found = strdup(whole + strlen(root));
    }
    free(list);
    return found;
}

static void say_command(const struct store_order *order, const char *const argv[])
{
    char text[2048];
    size_t n = 0;
    for (size_t i = 0; argv[i] && n < sizeof text; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, strpbrk(argv[i], " \t'\"") ? "%s\"%s\"" : "%s%s", i ? " " : "", argv[i]);
    store_say(order, "run: %s%s%s%s", *order->root ? "chroot " : "", order->root, *order->root ? " " : "", text);
}

/* In the child. */
static void become(const struct store_order *order, const char *const argv[], int out)
{
    dup2(out, STDOUT_FILENO);
    if (*order->root && (chroot(order->root) != 0 || chdir("/") != 0)) {
        dprintf(STDERR_FILENO, "chroot %s: %s\n", order->root, strerror(errno));
        _exit(127);
    }
    execv(argv[0], (char *const *)argv);
    dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

static char *read_all(int fd)
{
    char *text = NULL, part[4096];
    size_t size;
    ssize_t n;
    FILE *all = open_memstream(&text, &size);
    while (all && ((n = read(fd, part, sizeof part)) > 0 || (n < 0 && errno == EINTR)))
        if (n > 0)
            fwrite(part, 1, (size_t)n, all);
    if (all)
        fclose(all);
    return text;
}

int store_run(const struct store_order *order, const char *const argv[], char **output)
{
    int status, ends[2] = {-1, -1};
    if (!output) {
        say_command(order, argv);
        if (order->dry_run)
            return 0;
    } else if (pipe(ends) != 0) {
        return -SOTH_EIO;
    }
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (output)
            dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
        become(order, argv, output ? ends[1] : STDERR_FILENO);
    }
    if (output) {
        close(ends[1]);
        *output = child > 0 ? read_all(ends[0]) : NULL;
        close(ends[0]);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return -SOTH_EIO;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -SOTH_EIO;
}

bool store_holds(const char *pem, size_t n, const struct ca_certificate *c)
{
    uint8_t *der;
    size_t size, first;
    if (!pem || !n || material_certificates(pem, n, &der, &size, &first) < 0)
        return false;
    bool found = memmem(der, size, c->der, c->size) != NULL;
    free(der);
    return found;
}

void store_tell(struct store_order *order, const char *store, const struct ca_certificate *c, bool trusted)
{
    static const char *const roles[] = {"current", "successor", "previous"};
    char mark[17];
    store_mark(c, mark);
    if (c->role == CA_CURRENT) /* the others matter around a rotation only */
        (*(trusted ? &order->trusted : &order->untrusted))++;
    printf("%-11s  %s (%s, %s)  %s\n", trusted ? "trusted" : "NOT trusted", store, mark, roles[c->role], c->subject);
}
