/* SPDX-License-Identifier: MPL-2.0 */
/*
 * `soth-mitm ca install`, `uninstall` and `status`: which stores, and of which certificates. The stores themselves are in store_*.c. Needs no key of
 * the CA: on another machine, --cert FILE has what `ca export` wrote.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/cli/ca.h"
#include "host/cli/trust_store.h"
#include "host/log.h"
#include "host/status.h"

static const struct store {
    const char *name;
    int (*run)(struct store_order *order);
    bool unasked; /* also when no store is named */
} stores[] = {{"system", store_system, true}, {"nss", store_nss, true}, {"java", store_java, false}};
#define STORES (sizeof stores / sizeof *stores)

struct order {
    const char *cert, *root;
    bool dry_run;
    const char *words[STORES];
    int count;
};

static int parse(const struct cli *cli, enum store_action action, struct order *order)
{
    *order = (struct order){.root = ""};
    const struct cli_option options[] = {
        {"--cert", &order->cert, NULL}, {"--root", &order->root, NULL}, {action == STORE_STATUS ? NULL : "--dry-run", NULL, &order->dry_run}, {NULL, NULL, NULL},
    };
    order->count = cli_words(cli, 1, options, order->words, STORES);
    if (order->count < 0)
        return EXIT_USAGE;
    for (int i = 0; i < order->count; i++) {
        size_t known = 0;
        while (known < STORES && strcmp(order->words[i], stores[known].name) != 0)
            known++;
        if (known == STORES)
            return cli_wrong(cli, "%s is no store, expected is system, nss or java", order->words[i]);
    }
    if (strcmp(order->root, "/") == 0)
        order->root = "";
    if (*order->root && (order->root[0] != '/' || access(order->root, F_OK) != 0))
        return cli_wrong(cli, "--root %s: expected is the whole path of a directory", order->root);
    return 0;
}

static bool is_named(const struct order *order, const char *name)
{
    for (int i = 0; i < order->count; i++)
        if (strcmp(order->words[i], name) == 0)
            return true;
    return false;
}

static int walk(const struct order *order, struct store_order *s)
{
    int r = 0;
    for (size_t i = 0; i < STORES; i++) {
        s->asked = is_named(order, stores[i].name);
        if (!s->asked && (order->count > 0 || !stores[i].unasked))
            continue;
        int here = stores[i].run(s);
        r = r ? r : here;
    }
    if (r == 0 && s->action == STORE_STATUS && (s->untrusted || !s->trusted))
        return exit_code(EXIT_CLASS_PREFLIGHT_FAILED);
    return r;
}

static int run(const struct cli *cli, enum store_action action)
{
    struct order order;
    struct ca ca = {0};
    struct ca_certificates given = {0};
    char err[512];
    int r = parse(cli, action, &order);
    if (r != 0)
        return r;
    if (!order.cert)
        r = ca_look(&ca, cli);
    else if (authority_certificates_of(order.cert, &given, err, sizeof err) < 0)
        r = ca_failed(err);
    if (r == 0) {
        struct store_order s = {action, order.dry_run, false, order.root, order.cert ? &given : &ca.certificates, 0, 0};
        r = walk(&order, &s);
    }
    ca_certificates_free(&given);
    if (!order.cert)
        ca_close(&ca);
    return r;
}

int ca_install(const struct cli *cli)
{
    return run(cli, STORE_INSTALL);
}

int ca_uninstall(const struct cli *cli)
{
    return run(cli, STORE_UNINSTALL);
}

int ca_status(const struct cli *cli)
{
    return run(cli, STORE_STATUS);
}
