/* SPDX-License-Identifier: MPL-2.0 */
/* `soth-mitm ca`: the authority that the configuration names is made and shown here; export and env have files of their own. */
#include "host/cli/ca.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/log.h"
#include "host/status.h"
#include "host/tls/session.h"

static int failed(const char *text)
{
    log_at(SOTH_LOG_ERROR, "%s", text);
    return exit_code(EXIT_CLASS_HOST_INIT_FAILED);
}

int ca_open(struct ca *ca, const struct cli *cli, unsigned flags)
{
    char err[512] = "";
    *ca = (struct ca){.file = settings_load(cli->config_path, stderr)};
    if (!ca->file)
        return exit_code(EXIT_CLASS_CONFIG_INVALID);
    const struct settings_ca *s = &settings_get(ca->file)->ca;
    ca->cert_path = *s->cert_path ? strdup(s->cert_path) : settings_default_ca("ca.pem");
    ca->key_path = *s->key_path ? strdup(s->key_path) : settings_default_ca("ca-key.pem");
    if (!ca->cert_path || !ca->key_path)
        return failed("out of memory");
    if (tls_library_init() < 0)
        return failed("cannot initialise the TLS library");
    if (!flags && access(ca->cert_path, F_OK) < 0 && access(ca->key_path, F_OK) < 0) {
        log_at(SOTH_LOG_ERROR, "%s: there is no certificate authority yet; make one with `soth-mitm ca init`", ca->cert_path);
        return exit_code(EXIT_CLASS_HOST_INIT_FAILED);
    }
    const struct authority_config config = {
        .cert_path = ca->cert_path,
        .key_path = ca->key_path,
        .common_name = s->common_name,
        .organization = s->organization,
        .leaf_days = (uint32_t)s->leaf_days,
    };
    ca->authority = authority_open(&config, flags, &ca->created, err, sizeof err);
    return ca->authority ? 0 : failed(err);
}

void ca_close(struct ca *ca)
{
    authority_free(ca->authority);
    settings_free(ca->file);
    free(ca->cert_path);
    free(ca->key_path);
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
        return failed("out of memory");
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
    struct authority_info info;
    authority_describe(ca->authority, &info);
    printf("certificate  %s\n"
           "subject      %s\n"
           "sha-256      %s\n"
           "valid from   %s\n"
           "valid until  %s\n",
           ca->cert_path, info.subject, info.sha256, info.not_before, info.not_after);
}

static int init_or_show(const struct cli *cli, bool init)
{
    struct ca ca;
    if (cli_words(cli, 1, NULL, NULL, 0) < 0)
        return EXIT_USAGE;
    int r = ca_open(&ca, cli, init ? AUTHORITY_CREATE : 0);
    if (r == 0) {
        if (init)
            log_at(SOTH_LOG_INFO, ca.created ? "created %s and its key" : "%s is there already and stays as it is", ca.cert_path);
        show(&ca);
    }
    ca_close(&ca);
    return r;
}

int ca_command(const struct cli *cli)
{
    const char *what = cli->count > 0 ? cli->words[0] : "";
    if (strcmp(what, "init") == 0 || strcmp(what, "show") == 0)
        return init_or_show(cli, strcmp(what, "init") == 0);
    if (strcmp(what, "export") == 0)
        return ca_export(cli);
    if (strcmp(what, "env") == 0)
        return ca_env(cli);
    return cli_wrong(cli, "expected is ca init, ca show, ca export or ca env");
}
