/* SPDX-License-Identifier: MPL-2.0 */
/* The NSS databases of Chromium and Firefox below the user's home, by certutil. A browser that runs notices at its next start. */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/cli/trust_store.h"
#include "host/log.h"
#include "host/status.h"
#include "host/tls/material.h"

static const char *const patterns[] = {
    "/.pki/nssdb/cert9.db",
    "/snap/chromium/current/.pki/nssdb/cert9.db",
    "/.mozilla/firefox/*/cert9.db",
    "/.config/mozilla/firefox/*/cert9.db",
    "/snap/firefox/common/.mozilla/firefox/*/cert9.db",
    "/.var/app/org.mozilla.firefox/.mozilla/firefox/*/cert9.db",
};

struct nss {
    struct store_order *order;
    char *certutil;
};

/* What is there under our name, as PEM; malloc'd, NULL = nothing. */
static char *look(const struct nss *nss, const char *database, const char *nickname)
{
    const char *const argv[] = {nss->certutil, "-L", "-d", database, "-n", nickname, "-a", NULL};
    char *pem;
    if (store_run(nss->order, argv, &pem) == 0)
        return pem;
    free(pem);
    return NULL;
}

/* Trusted for servers: "C" in the first column of `certutil -L`. */
static bool is_trusted(const struct nss *nss, const char *database, const char *nickname)
{
    const char *const argv[] = {nss->certutil, "-L", "-d", database, NULL};
    char *list, *line;
    bool trusted = false;
    if (store_run(nss->order, argv, &list) == 0 && (line = list ? strstr(list, nickname) : NULL)) {
        const char *flags = line + strlen(nickname);
        flags += strspn(flags, " ");
        trusted = memchr(flags, 'C', strcspn(flags, ",")) != NULL;
    }
    free(list);
    return trusted;
}

static int add(const struct nss *nss, const char *database, const char *nickname, const struct ca_certificate *c)
{
    char path[] = "/tmp/soth-mitm-XXXXXX";
    struct ca_certificates one = {(struct ca_certificate *)c, 1};
    char *pem = ca_certificates_pem(&one);
    int fd = mkstemp(path), r = -1;
    if (pem && fd >= 0 && write(fd, pem, strlen(pem)) == (ssize_t)strlen(pem)) {
        const char *const argv[] = {nss->certutil, "-A", "-d", database, "-t", "C,,", "-n", nickname, "-i", path, NULL};
        r = store_run(nss->order, argv, NULL);
    }
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    free(pem);
    return r;
}

static int failed(const char *database, int r)
{
    log_at(SOTH_LOG_ERROR, "certutil failed (%d) for %s; a database with a password cannot be changed from here", r, database);
    return exit_code(EXIT_CLASS_HOST_INIT_FAILED);
}

/* Those of earlier authorities, too. */
static int remove_ours(const struct nss *nss, const char *database)
{
    const char *const argv[] = {nss->certutil, "-L", "-d", database, NULL};
    char *list, *rest, name[64];
    bool any = false;
    int r = store_run(nss->order, argv, &list);
    for (char *line = list ? strtok_r(list, "\n", &rest) : NULL; line && r == 0; line = strtok_r(NULL, "\n", &rest)) {
        if (!store_is_ours(line, "soth-mitm ", name))
            continue;
        const char *const del[] = {nss->certutil, "-D", "-d", database, "-n", name, NULL};
        any = true;
        r = store_run(nss->order, del, NULL);
    }
    free(list);
    if (r == 0 && !any)
        printf("nss %s: nothing of ours is there\n", database);
    return r == 0 ? 0 : failed(database, r);
}

static int one(const struct nss *nss, const char *database, const struct ca_certificate *c)
{
    char mark[17], nickname[64], name[4200];
    store_mark(c, mark);
    snprintf(nickname, sizeof nickname, "soth-mitm %s", mark);
    char *there = look(nss, database, nickname);
    bool trusted = there && store_holds(there, strlen(there), c) && is_trusted(nss, database, nickname);
    int r = 0;
    if (nss->order->action == STORE_STATUS) {
        snprintf(name, sizeof name, "nss %s", database);
        store_tell(nss->order, name, c, trusted);
    } else if (trusted) {
        printf("nss %s: trusts it already\n", database);
    } else {
        r = add(nss, database, nickname, c);
    }
    free(there);
    return r == 0 ? 0 : failed(database, r);
}

static int all_in(const struct nss *nss, const char *cert9)
{
    char database[4200];
    int r = 0;
    snprintf(database, sizeof database, "sql:%.*s", (int)(strlen(cert9) - strlen("/cert9.db")), cert9);
    if (nss->order->action == STORE_UNINSTALL)
        return remove_ours(nss, database);
    for (size_t i = 0; i < nss->order->certificates->n; i++) {
        int here = one(nss, database, &nss->order->certificates->v[i]);
        r = r ? r : here;
    }
    return r;
}

/* Chromium's, when there is none: it will find it. */
static int make_database(const struct nss *nss, const char *home)
{
    char directory[4096], database[4200];
    snprintf(directory, sizeof directory, "%s/.pki", home);
    if (!nss->order->dry_run)
        mkdir(directory, 0700);
    snprintf(directory, sizeof directory, "%s/.pki/nssdb", home);
    if (!nss->order->dry_run)
        mkdir(directory, 0700);
    snprintf(database, sizeof database, "sql:%s", directory);
    const char *const argv[] = {nss->certutil, "-N", "--empty-password", "-d", database, NULL};
    return store_run(nss->order, argv, NULL);
}

static int walk(const struct nss *nss, const char *home)
{
    glob_t found = {0};
    int r = 0;
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        char pattern[4096];
        if ((size_t)snprintf(pattern, sizeof pattern, "%s%s", home, patterns[i]) < sizeof pattern)
            glob(pattern, i ? GLOB_APPEND : 0, NULL, &found);
    }
    if (found.gl_pathc == 0)
        printf("nss: no browser of this user has a database below %s\n", home);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        int here = all_in(nss, found.gl_pathv[i]);
        r = r ? r : here;
    }
    globfree(&found);
    return r;
}

int store_nss(struct store_order *order)
{
    struct store_order here = *order; /* a user's own business: not below the root */
    struct nss nss = {&here, store_program("", "certutil")};
    const char *home = getenv("HOME");
    char chromium[4096];
    here.root = "";
    if (!nss.certutil || !home || !*home) {
        if (!order->asked) {
            free(nss.certutil);
            return 0;
        }
        log_at(SOTH_LOG_ERROR, nss.certutil ? "$HOME is not set" : "certutil is not installed; it is in libnss3-tools or nss-tools");
        free(nss.certutil);
        return exit_code(EXIT_CLASS_PREFLIGHT_FAILED);
    }
    int r = 0;
    snprintf(chromium, sizeof chromium, "%s/.pki/nssdb/cert9.db", home);
    if (order->asked && order->action == STORE_INSTALL && !material_exists(chromium))
        r = make_database(&nss, home);
    if (r == 0)
        r = walk(&nss, home);
    order->trusted = here.trusted;
    order->untrusted = here.untrusted;
    free(nss.certutil);
    return r;
}
