/* SPDX-License-Identifier: MPL-2.0 */
/* What the forms of `soth-mitm ca` share: the authority that the configuration names, and files that appear whole or not at all. */
#ifndef HOST_CLI_CA_H
#define HOST_CLI_CA_H

#include <stdbool.h>
#include <stddef.h>

#include "host/cli/cli.h"
#include "host/conf/load.h"
#include "host/tls/authority.h"

struct ca {
    struct settings_file *file;
    struct authority *authority;
    char *cert_path, *key_path;
    int created;
};

/* Reads the configuration and opens the CA (flags: AUTHORITY_CREATE or 0). 0, or the exit code after saying what is wrong; ca_close
 * in both cases. */
int ca_open(struct ca *ca, const struct cli *cli, unsigned flags);
void ca_close(struct ca *ca);

/* Writes the file beside its place and renames it. 0, or an exit code after saying why not. */
int ca_write_file(const char *path, int mode, const void *p, size_t n);

int ca_export(const struct cli *cli); /* words from 1 on are its own */
int ca_env(const struct cli *cli);

#endif
