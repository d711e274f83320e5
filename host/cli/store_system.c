/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The system's store: a file with the certificate in the place where the distribution's own tool looks for local ones, and that tool. Below a root
 * directory the tool is run in a chroot. What is trusted is read from the bundle that the tool has made.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/cli/ca.h"
#include "host/cli/trust_store.h"
#include "host/log.h"
#include "host/status.h"
#include "host/tls/material.h"

#include <fnmatch.h>

/* The first whose directory is there. */
static const struct layout {
    const char *name, *anchors, *tool, *option;
} layouts[] = {
    {"fedora", "/etc/pki/ca-trust/source/anchors", "update-ca-trust", "extract"},
    {"arch", "/etc/ca-certificates/trust-source/anchors", "update-ca-trust", NULL},
    {"suse", "/etc/pki/trust/anchors", "update-ca-certificates", NULL},
    {"alpine", "/usr/local/share/ca-certificates", "update-ca-certificates", NULL},
    {"debian", "/usr/local/share/ca-certificates", "update-ca-certificates", NULL},
};

static bool is_there(const char *root, const char *path)
{
    char whole[4096];
    return (size_t)snprintf(whole, sizeof whole, "%s%s", root, path) < sizeof whole && access(whole, F_OK) == 0;
}

static const struct layout *find_layout(const char *root)
{
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        const struct layout *l = &layouts[i];
        if (strcmp(l->name, "alpine") == 0 && !is_there(root, "/etc/alpine-release"))
            continue;
        char *tool = store_program(root, l->tool); /* Debian and Alpine make the directory with the first certificate */
        bool found = is_there(root, l->anchors) || (tool && strcmp(l->anchors, "/usr/local/share/ca-certificates") == 0);
        free(tool);
        if (found)
            return l;
    }
    return NULL;
}

static int run_tool(const struct store_order *order, const struct layout *l)
{
    char *tool = store_program(order->root, l->tool);
    if (!tool) {
        log_at(SOTH_LOG_ERROR, "%s is not installed%s%s; install the package ca-certificates", l->tool, *order->root ? " below " : "", order->root);
        return exit_code(EXIT_CLASS_PREFLIGHT_FAILED);
    }
    const char *const argv[] = {tool, l->option, NULL};
    int r = store_run(order, argv, NULL);
    free(tool);
    if (r == 0)
        return 0;
    log_at(SOTH_LOG_ERROR, "%s failed (%d): the store is not what it should be", l->tool, r);
    return exit_code(EXIT_CLASS_HOST_INIT_FAILED);
}

static int refused(const char *path)
{
    log_at(SOTH_LOG_ERROR, "%s: %s%s", path, strerror(errno),
           errno == EACCES || errno == EPERM ? "; the system's store is root's: run this with sudo, with -c FILE or --cert FILE for the CA of a user" : "");
    return exit_code(EXIT_CLASS_HOST_INIT_FAILED);
}

/* 1: there is something new, 0: it was there. Negative: an exit code was said. */
static int place(const struct store_order *order, const char *directory, const struct ca_certificate *c)
{
    char mark[17], path[4096], err[512], *old = NULL;
    size_t n = 0;
    store_mark(c, mark);
    if ((size_t)snprintf(path, sizeof path, "%s/soth-mitm-%s.crt", directory, mark) >= sizeof path)
        return -1;
    bool same = material_exists(path) && material_read(path, 0, &old, &n, err, sizeof err) == 0 && store_holds(old, n, c);
    free(old);
    if (same)
        return 0;
    store_say(order, "write: %s  (%s)", path, c->subject);
    if (order->dry_run)
        return 1;
    struct ca_certificates one = {(struct ca_certificate *)c, 1};
    char *pem = ca_certificates_pem(&one);
    int r = pem ? material_replace(path, 0644, pem, strlen(pem), err, sizeof err) : -1;
    free(pem);
    if (r == 0)
        return 1;
    refused(path);
    return -1;
}

/* Directories on the way have the modes that everybody may look into. */
static int make_directory(const struct store_order *order, const char *directory)
{
    if (order->dry_run || access(directory, F_OK) == 0 || mkdir(directory, 0755) == 0)
        return 0;
    return refused(directory);
}

static int install(struct store_order *order, const struct layout *l, const char *directory)
{
    bool changed = false;
    int r = make_directory(order, directory);
    for (size_t i = 0; r == 0 && i < order->certificates->n; i++) {
        int placed = place(order, directory, &order->certificates->v[i]);
        changed |= placed > 0;
        r = placed < 0 ? exit_code(EXIT_CLASS_HOST_INIT_FAILED) : 0;
    }
    if (r == 0 && !changed) {
        size_t n;
        char *roots = ca_system_roots(order->root, &n);
        bool all = roots != NULL;
        for (size_t i = 0; all && i < order->certificates->n; i++)
            all = store_holds(roots, n, &order->certificates->v[i]);
        free(roots);
        if (all) {
            printf("system (%s): trusts it already\n", l->name);
            return 0;
        }
    }
    return r ? r : run_tool(order, l);
}

/* Ours are known by their name, those of earlier authorities too. */
static int remove_all(const struct store_order *order, const char *directory, bool *changed)
{
    DIR *all = opendir(directory);
    int r = 0;
    for (struct dirent *entry; all && r == 0 && (entry = readdir(all));) {
        char path[4096];
        if (fnmatch("soth-mitm-????????????????.crt", entry->d_name, 0) != 0 ||
            (size_t)snprintf(path, sizeof path, "%s/%s", directory, entry->d_name) >= sizeof path)
            continue;
        *changed = true;
        store_say(order, "remove: %s", path);
        if (!order->dry_run && unlink(path) != 0)
            r = refused(path);
    }
    if (all)
        closedir(all);
    return r;
}

static int uninstall(struct store_order *order, const struct layout *l, const char *directory)
{
    bool changed = false;
    int r = remove_all(order, directory, &changed);
    if (r == 0 && !changed) {
        printf("system (%s): nothing of ours is there\n", l->name);
        return 0;
    }
    return r ? r : run_tool(order, l);
}

static int status(struct store_order *order, const struct layout *l)
{
    size_t n;
    char name[64], *roots = ca_system_roots(order->root, &n);
    snprintf(name, sizeof name, "system (%s)", l->name);
    for (size_t i = 0; i < order->certificates->n; i++)
        store_tell(order, name, &order->certificates->v[i], store_holds(roots, n, &order->certificates->v[i]));
    free(roots);
    return 0;
}

int store_system(struct store_order *order)
{
    char directory[4096];
    const struct layout *l = find_layout(order->root);
    if (!l) {
        log_at(SOTH_LOG_ERROR, "this is none of Debian, Fedora, Alpine, Arch or SUSE: no place for local CA certificates was found below %s/",
               order->root);
        return exit_code(EXIT_CLASS_PREFLIGHT_FAILED);
    }
    if ((size_t)snprintf(directory, sizeof directory, "%s%s", order->root, l->anchors) >= sizeof directory)
        return exit_code(EXIT_CLASS_HOST_INIT_FAILED);
    switch (order->action) {
    case STORE_INSTALL:
        return install(order, l, directory);
    case STORE_UNINSTALL:
        return uninstall(order, l, directory);
    default:
        return status(order, l);
    }
}
