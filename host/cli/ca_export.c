/* SPDX-License-Identifier: MPL-2.0 */
/*
 * `soth-mitm ca export`: the CA certificate as PEM, DER or PKCS#12, or its revocation list (DER), to standard output or a file; as PEM, what else clients should trust around a
 * rotation follows it. The key leaves only with --with-key, into a file only its owner can read.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/cli/ca.h"
#include "host/log.h"
#include "host/status.h"

enum format { PEM, DER, P12, CRL };

struct order {
    const char *out, *format_name, *password_file;
    bool with_key;
    enum format format;
    char password[256];
};

struct product {
    void *p; /* malloc'd */
    size_t n;
};

static int read_password(struct order *order)
{
    FILE *in = fopen(order->password_file, "re");
    if (!in || !fgets(order->password, sizeof order->password, in)) {
        log_at(SOTH_LOG_ERROR, "%s: cannot read a password: %m", order->password_file);
        if (in)
            fclose(in);
        return exit_code(EXIT_CLASS_HOST_INIT_FAILED);
    }
    fclose(in);
    order->password[strcspn(order->password, "\r\n")] = 0;
    return 0;
}

static int parse(const struct cli *cli, struct order *order)
{
    static const char *const names[] = {"pem", "der", "p12", "crl"};
    *order = (struct order){.format_name = "pem"};
    const struct cli_option options[] = {
        {"--out", &order->out, NULL},
        {"--format", &order->format_name, NULL},
        {"--password-file", &order->password_file, NULL},
        {"--with-key", NULL, &order->with_key},
        {NULL, NULL, NULL},
    };
    if (cli_words(cli, 1, options, NULL, 0) < 0)
        return EXIT_USAGE;
    unsigned i = 0;
    while (i < 4 && strcmp(names[i], order->format_name) != 0)
        i++;
    if (i == 4)
        return cli_wrong(cli, "--format %s: expected is pem, der, p12 or crl", order->format_name);
    order->format = (enum format)i;
    if ((order->format == DER || order->format == CRL) && order->with_key)
        return cli_wrong(cli, "%s holds no key; --with-key goes with pem and p12", order->format_name);
    if (order->password_file && order->format != P12)
        return cli_wrong(cli, "--password-file goes with --format p12");
    return order->password_file ? read_password(order) : 0;
}

static bool make_pem(const struct ca *ca, const struct order *order, struct product *out)
{
    char *cert = ca_certificates_pem(&ca->certificates), *key = order->with_key ? authority_pem(ca->authority, 1) : NULL;
    if (cert && (key || !order->with_key)) {
        size_t size = strlen(cert) + (key ? strlen(key) : 0) + 1;
        out->p = malloc(size);
        if (out->p)
            out->n = (size_t)snprintf(out->p, size, "%s%s", cert, key ? key : "");
    }
    if (key)
        explicit_bzero(key, strlen(key));
    free(cert);
    free(key);
    return out->p != NULL;
}

static bool make(const struct ca *ca, const struct order *order, struct product *out)
{
    const struct ca_certificate *current = &ca->certificates.v[0];
    uint8_t *p12 = NULL, *der = NULL;
    switch (order->format) {
    case PEM:
        return make_pem(ca, order, out);
    case DER:
        out->p = malloc(current->size);
        if (out->p)
            memcpy(out->p, current->der, out->n = current->size);
        return out->p != NULL;
    case CRL:
        if (authority_crl(ca->authority, (struct soth_span){"", 0}, time(NULL), &der, &out->n) < 0)
            return false;
        out->p = der;
        return true;
    default:
        if (authority_p12(ca->authority, order->with_key, order->password, &p12, &out->n) < 0)
            return false;
        out->p = p12;
        return true;
    }
}

static int deliver(const struct order *order, const struct product *product)
{
    if (order->out)
        return ca_write_file(order->out, order->with_key ? 0600 : 0644, product->p, product->n);
    if (fwrite(product->p, 1, product->n, stdout) == product->n && fflush(stdout) == 0)
        return 0;
    log_at(SOTH_LOG_ERROR, "standard output: %m");
    return exit_code(EXIT_CLASS_RUNTIME_FAILED);
}

int ca_export(const struct cli *cli)
{
    struct order order;
    struct product product = {NULL, 0};
    struct ca ca;
    int r = parse(cli, &order);
    if (r != 0)
        return r;
    r = ca_open(&ca, cli, 0);
    if (r == 0) {
        if (make(&ca, &order, &product)) {
            r = deliver(&order, &product);
        } else {
            log_at(SOTH_LOG_ERROR, "cannot export: %s",
                   order.format == P12   ? "the password may have up to 128 printable ASCII characters"
                   : order.format == CRL ? "the CA's certificate does not let it sign revocation lists (keyUsage cRLSign)"
                                         : "out of memory");
            r = exit_code(EXIT_CLASS_HOST_INIT_FAILED);
        }
    }
    ca_close(&ca);
    if (product.p)
        explicit_bzero(product.p, product.n);
    free(product.p);
    explicit_bzero(order.password, sizeof order.password);
    return r;
}
