/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Stores of certificates that clients on this machine trust: the system's, those of browsers (NSS), the JDK's. A store says what it will do, does
 * it with the tools that the system has for it, and is told from what it then trusts, not from what was done to it.
 */
#ifndef HOST_CLI_TRUST_STORE_H
#define HOST_CLI_TRUST_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include "host/tls/authority.h"

enum store_action { STORE_INSTALL, STORE_UNINSTALL, STORE_STATUS };

struct store_order {
    enum store_action action;
    bool dry_run;
    bool asked;       /* the store was named: that it is not there is an error */
    const char *root; /* "" = this system */
    const struct ca_certificates *certificates;
    unsigned trusted, untrusted; /* status: counted */
};

/* 0, or an exit code after saying what is wrong. */
int store_system(struct store_order *order);
int store_nss(struct store_order *order);
int store_java(struct store_order *order);

/* ---- shared by them (store_command.c) ---- */

#define STORE_MARK 16 /* digits of the SHA-256 at the end of each of our names */
void store_mark(const struct ca_certificate *certificate, char mark[STORE_MARK + 1]);
/* A name of ours at the front of a line: prefix and mark, put into name (64 bytes). */
bool store_is_ours(const char *line, const char *prefix, char name[64]);
/* Prints what is to be done, and how, as one line: "run: ...", "would run: ...". */
void store_say(const struct store_order *order, const char *format, ...) SOTH_PRINTF(2, 3);
/* The whole path of a program in $PATH or where system programs are, below root; malloc'd, NULL = not there. */
char *store_program(const char *root, const char *name);
/* Says and runs it (NULL-terminated), without a shell; not on a dry run. Its output goes to standard error, or into *output (malloc'd, then nothing
 * is said of it). The exit status, or negative when it could not be run. */
int store_run(const struct store_order *order, const char *const argv[], char **output);
/* Does a PEM text hold the certificate? */
bool store_holds(const char *pem, size_t n, const struct ca_certificate *certificate);
/* Counts and prints a line of the status. */
void store_tell(struct store_order *order, const char *store, const struct ca_certificate *certificate, bool trusted);

#endif
