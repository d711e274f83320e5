/* SPDX-License-Identifier: MPL-2.0 */
/* `soth-mitm ca`: the authority that the configuration names is made, shown and rotated here; the other forms have files of their own. */
#include "host/cli/ca.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "host/log.h"
#include "host/status.h"
#include "host/tls/session.h"

int ca_failed(const char *text)
{
    log_at(SOTH_LOG_ERROR, "%s", text);
    return exit_code(EXIT_CLASS_HOST_INIT_FAILED);
}

static int begin(struct ca *ca, const struct cli *cli)
{
    *ca = (struct ca){.file = settings_load(cli->config_path, stderr)};
    if (!ca->file)
        return exit_code(EXIT_CLASS_CONFIG_INVALID);
    if (ca_config_init(&ca->config, settings_get(ca->file)) < 0)
        return ca_failed("out of memory");
    return tls_library_init() < 0 ? ca_failed("cannot initialise the TLS library") : 0;
}

static int list(struct ca *ca)
{
    char err[512];
    return authority_certificates(&ca->config.authority, time(NULL), &ca->certificates, err, sizeof err) < 0 ? ca_failed(err) : 0;
}

int ca_look(struct ca *ca, const struct cli *cli)
{
    int r = begin(ca, cli);
    return r ? r : list(ca);
}

int ca_open(struct ca *ca, const struct cli *cli, unsigned flags)
{
    char err[512] = "";
    int r = begin(ca, cli);
    if (r)
        return r;
    ca->authority = authority_open(&ca->config.authority, flags, &ca->created, err, sizeof err);
    return ca->authority ? list(ca) : ca_failed(err);
}

void ca_close(struct ca *ca)
{
    authority_free(ca->authority);
    ca_certificates_free(&ca->certificates);
    ca_config_fini(&ca->config);
    settings_free(ca->file);
    tls_library_fini();
}

static int write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return -1;
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

int ca_write_file(const char *path, int mode, const void *p, size_t n)
{
    size_t size = strlen(path) + sizeof ".XXXXXX";
    char *temporary = malloc(size);
    if (!temporary)
        return ca_failed("out of memory");
    snprintf(temporary, size, "%s.XXXXXX", path);
    int fd = mkstemp(temporary); /* 0600 */
    bool ok = fd >= 0 && fchmod(fd, (mode_t)mode) == 0 && write_all(fd, p, n) == 0;
    int error = errno;
    if (fd >= 0 && close(fd) < 0 && ok) {
        ok = false;
        error = errno;
    }
    if (ok && rename(temporary, path) < 0) {
        ok = false;
        error = errno;
    }
    if (!ok && fd >= 0)
        unlink(temporary);
    free(temporary);
    if (ok)
        return 0;
    log_at(SOTH_LOG_ERROR, "%s: cannot be written: %s", path, strerror(error));
    return exit_code(EXIT_CLASS_HOST_INIT_FAILED);
}

static void show(const struct ca *ca)
{
    static const char *const roles[] = {"in the same file", "successor, prepared", "previous"};
    for (size_t i = 0; i < ca->certificates.n; i++) {
        const struct ca_certificate *c = &ca->certificates.v[i];
        char from[32], until[32];
        ca_time_text(c->not_before, from);
        ca_time_text(c->role == CA_PREVIOUS ? c->trusted_until : c->not_after, until);
        if (i == 0)
            printf("certificate  %s\n", ca->config.cert_path);
        else
            printf("\n%s:\n", roles[c->role]);
        printf("subject      %s\n"
               "sha-256      %s\n"
               "valid from   %s\n"
               "%s  %s\n",
               c->subject, c->sha256, from, c->role == CA_PREVIOUS ? "trusted to " : "valid until", until);
    }
}

static int init_or_show(const struct cli *cli, bool init)
{
    struct ca ca;
    if (cli_words(cli, 1, NULL, NULL, 0) < 0)
        return EXIT_USAGE;
    int r = ca_open(&ca, cli, init ? AUTHORITY_CREATE : 0);
    if (r == 0) {
        if (init)
            log_at(SOTH_LOG_INFO, ca.created ? "created %s and its key" : "%s is there already and stays as it is", ca.config.cert_path);
        show(&ca);
    }
    ca_close(&ca);
    return r;
}

/* What clients were given as files names both authorities from now on. */
static void refresh(const struct ca *ca)
{
    char err[512];
    if (ca_bundle_refresh(&ca->config.authority, time(NULL), err, sizeof err) < 0)
        log_at(SOTH_LOG_WARN, "the bundles of `ca env` are not up to date: %s", err);
}

static int rotate(struct ca *ca, bool prepare, bool drop_old)
{
    char err[512];
    int made = 0, r = prepare ? authority_prepare(&ca->config.authority, &made, err, sizeof err)
                              : authority_rotate(&ca->config.authority, drop_old ? AUTHORITY_FORGET : 0, err, sizeof err);
    if (r < 0)
        return ca_failed(err);
    refresh(ca);
    if (list(ca) != 0)
        return exit_code(EXIT_CLASS_HOST_INIT_FAILED);
    if (prepare)
        log_at(SOTH_LOG_INFO, made ? "the successor is prepared: let clients trust it (ca env, ca export, ca install), then `soth-mitm ca rotate`"
                                   : "a successor was prepared before and stays as it is");
    else
        log_at(SOTH_LOG_INFO, "the successor has taken the CA's place; a running proxy takes it at SIGHUP");
    show(ca);
    return 0;
}

int ca_rotate(const struct cli *cli)
{
    bool prepare = false, drop_old = false;
    const struct cli_option options[] = {{"--prepare", NULL, &prepare}, {"--drop-old", NULL, &drop_old}, {NULL, NULL, NULL}};
    struct ca ca;
    if (cli_words(cli, 1, options, NULL, 0) < 0)
        return EXIT_USAGE;
    if (prepare && drop_old)
        return cli_wrong(cli, "--drop-old goes with the rotation, not with --prepare");
    int r = begin(&ca, cli);
    if (r == 0)
        r = rotate(&ca, prepare, drop_old);
    ca_close(&ca);
    return r;
}

int ca_command(const struct cli *cli)
{
    static const struct {
        const char *name;
        int (*run)(const struct cli *cli);
    } forms[] = {{"export", ca_export}, {"env", ca_env},             {"rotate", ca_rotate},
                 {"install", ca_install}, {"uninstall", ca_uninstall}, {"status", ca_status}};
    const char *what = cli->count > 0 ? cli->words[0] : "";
    if (strcmp(what, "init") == 0 || strcmp(what, "show") == 0)
        return init_or_show(cli, strcmp(what, "init") == 0);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (strcmp(what, forms[i].name) == 0)
            return forms[i].run(cli);
    return cli_wrong(cli, "expected is ca init, show, export, rotate, install, uninstall, status or env");
}
