/* SPDX-License-Identifier: MPL-2.0 */
/* What the forms of `soth-mitm ca` share: the authority that the configuration names. */
#ifndef HOST_CLI_CA_H
#define HOST_CLI_CA_H

#include <stdbool.h>
#include <stddef.h>

#include "host/cli/cli.h"
#include "host/conf/load.h"
#include "host/net/ca_config.h"

struct ca {
    struct settings_file *file;
    struct ca_config config;
    struct ca_certificates certificates; /* clients' business: current, prepared, previous */
    struct authority *authority;         /* with its key; NULL unless ca_open was asked */
    int created;
};

/* Reads the configuration, and of the CA the certificates alone. 0, or the exit code after saying what is wrong; ca_close in both cases. */
int ca_look(struct ca *ca, const struct cli *cli);
/* The same, and opens the CA (flags: AUTHORITY_CREATE or 0). */
int ca_open(struct ca *ca, const struct cli *cli, unsigned flags);
void ca_close(struct ca *ca);
/* Says it and returns the exit code of what cannot be had. */
int ca_failed(const char *text);

/* Writes the file beside its place and renames it. 0, or an exit code after saying why not. */
int ca_write_file(const char *path, int mode, const void *p, size_t n);

int ca_export(const struct cli *cli); /* words from 1 on are its own */
int ca_env(const struct cli *cli);
int ca_rotate(const struct cli *cli);
int ca_install(const struct cli *cli);
int ca_uninstall(const struct cli *cli);
int ca_status(const struct cli *cli);

#endif
