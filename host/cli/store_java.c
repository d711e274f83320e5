/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The JDK's own key store, by keytool; touched only when it is asked for, since `ca env` gives Java a store of ours beside the CA. The JDK is that
 * of JAVA_HOME or of the keytool in $PATH.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/cli/trust_store.h"
#include "host/log.h"
#include "host/status.h"
#include "host/tls/material.h"

static char *find_keytool(void)
{
    const char *home = getenv("JAVA_HOME");
    char *path = NULL;
    if (!home || !*home)
        return store_program("", "keytool");
    if (asprintf(&path, "%s/bin/keytool", home) >= 0 && access(path, X_OK) == 0)
        return path;
    free(path);
    return NULL;
}

static int failed(int r)
{
    log_at(SOTH_LOG_ERROR, "keytool failed (%d); the JDK's store may belong to root, or have another password than \"" CA_JAVA_PASSWORD "\"", r);
    return exit_code(EXIT_CLASS_HOST_INIT_FAILED);
}

/* Those of earlier authorities, too. */
static int remove_ours(const struct store_order *order, const char *keytool)
{
    const char *const argv[] = {keytool, "-list", "-cacerts", "-storepass", CA_JAVA_PASSWORD, NULL};
    char *list, *rest, alias[64];
    bool any = false;
    int r = store_run(order, argv, &list);
    for (char *line = list ? strtok_r(list, "\n", &rest) : NULL; line && r == 0; line = strtok_r(NULL, "\n", &rest)) {
        if (!store_is_ours(line, "soth-mitm-", alias))
            continue;
        const char *const del[] = {keytool, "-delete", "-cacerts", "-storepass", CA_JAVA_PASSWORD, "-alias", alias, NULL};
        any = true;
        r = store_run(order, del, NULL);
    }
    free(list);
    if (r == 0 && !any)
        printf("java: nothing of ours is there\n");
    return r == 0 ? 0 : failed(r);
}

static int add(const struct store_order *order, const char *keytool, const char *alias, const struct ca_certificate *c)
{
    char path[] = "/tmp/soth-mitm-XXXXXX";
    struct ca_certificates one = {(struct ca_certificate *)c, 1};
    char *pem = ca_certificates_pem(&one);
    int fd = mkstemp(path), r = -1;
    if (pem && fd >= 0 && write(fd, pem, strlen(pem)) == (ssize_t)strlen(pem)) {
        const char *const argv[] = {keytool, "-importcert", "-noprompt", "-cacerts", "-storepass", CA_JAVA_PASSWORD, "-alias", alias, "-file",
                                    path, NULL};
        r = store_run(order, argv, NULL);
    }
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    free(pem);
    return r;
}

static int one(struct store_order *order, const char *keytool, const struct ca_certificate *c)
{
    char mark[17], alias[64], *there;
    store_mark(c, mark);
    snprintf(alias, sizeof alias, "soth-mitm-%s", mark);
    const char *const argv[] = {keytool, "-exportcert", "-rfc", "-cacerts", "-storepass", CA_JAVA_PASSWORD, "-alias", alias, NULL};
    bool trusted = store_run(order, argv, &there) == 0 && there && store_holds(there, strlen(there), c);
    free(there);
    if (order->action == STORE_STATUS) {
        store_tell(order, "java", c, trusted);
        return 0;
    }
    if (trusted) {
        printf("java: trusts it already\n");
        return 0;
    }
    int r = add(order, keytool, alias, c);
    return r == 0 ? 0 : failed(r);
}

int store_java(struct store_order *order)
{
    struct store_order here = *order;
    char *keytool = find_keytool();
    int r = 0;
    here.root = "";
    if (!keytool) {
        log_at(SOTH_LOG_ERROR, "keytool is neither in JAVA_HOME nor in PATH; it comes with every JDK and JRE");
        return exit_code(EXIT_CLASS_PREFLIGHT_FAILED);
    }
    if (here.action == STORE_UNINSTALL)
        r = remove_ours(&here, keytool);
    for (size_t i = 0; here.action != STORE_UNINSTALL && r == 0 && i < here.certificates->n; i++)
        r = one(&here, keytool, &here.certificates->v[i]);
    order->trusted = here.trusted;
    order->untrusted = here.untrusted;
    free(keytool);
    return r;
}
