/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Checks of a configuration, value by value: a rule that could match nothing is a mistake that is told now, not a block that never comes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "../match/path.h"
#include "../match/pattern.h"
#include "rules.h"

static int bad(const struct soth_host *host, void *self, size_t rule, const char *key, const char *value, const char *why)
{
    char path[64];
    snprintf(path, sizeof path, "rules[%zu].%s", rule, key);
    return host->cfg_err(self, path, "'%s' %s", value, why);
}

static const char *pattern_fault(const char *text)
{
    struct pattern p;
    const char *why;
    return pattern_parse(text, &p, &why) < 0 ? why : NULL;
}

static const char *id_fault(const struct rule *rules, size_t i)
{
    static const char *const taken[] = {"blocked_host", "ignored_host", "default", NULL}; /* labels of the counters beside the rules' ids */
    const char *id = rules[i].id;
    for (size_t k = 0; taken[k]; k++)
        if (strcmp(id, taken[k]) == 0)
            return "is a word that counters have for something else";
    for (size_t k = 0; k < i; k++)
        if (strcmp(rules[k].id, id) == 0)
            return "is the id of an earlier rule; ids are unique";
    return NULL;
}

static const char *action_fault(const struct rule *r)
{
    if (is_request_rule(r) && r->action != ACTION_BLOCK && r->action != ACTION_ALLOW)
        return "cannot be decided per request; a rule with method, path or grpc_* allows or blocks";
    if (!is_request_rule(r) && r->action == ACTION_ALLOW)
        return "goes with method, path or grpc_*; connection rules intercept, tunnel or block";
    return NULL;
}

static const char *port_fault(const char *text)
{
    uint32_t port;
    return pattern_parse_port(text, &port) ? NULL : "is not a port from 1 to 65535";
}

static const char *client_fault(const char *text)
{
    struct soth_addr addr;
    uint32_t bits;
    return pattern_parse_network(text, &addr, &bits) ? NULL : "is not a network, expected is ADDRESS/BITS";
}

/* As policies are told them: separated by commas, what is not graphic as %XX. */
static const char *alpn_fault(const char *text)
{
    for (size_t i = 0; text[i]; i++)
        if (text[i] <= ' ' || text[i] > '~' || text[i] == ',')
            return "is not the name of a protocol (http/1.1, h2, ...)";
    return *text ? NULL : "is empty";
}

/* t13d1516h2_8daaf6152771_e5627efa2ab1, or parts of it and *. */
static const char *ja4_fault(const char *text)
{
    static const char shape[] = "tvvsnnnnpp_hhhhhhhhhhhh_hhhhhhhhhhhh";
    static const char plain[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_*";
    size_t n = strlen(text);
    if (n == 0 || text[strspn(text, plain)] != 0 || (strchr(text, '*') == NULL && n != sizeof shape - 1))
        return "is not a JA4 fingerprint: t13d1516h2_8daaf6152771_e5627efa2ab1, or with * for any run of characters";
    for (size_t i = 0; i < n && text[i] != '*'; i++) { /* its beginning is in place */
        int wrong = i >= sizeof shape - 1 || (shape[i] == '_') != (text[i] == '_') || (shape[i] == 't' && text[i] != 't') ||
                    (shape[i] == 's' && text[i] != 'd' && text[i] != 'i') || (shape[i] == 'n' && !strchr("0123456789", text[i])) ||
                    (shape[i] == 'h' && !strchr("0123456789abcdef", text[i]));
        if (wrong)
            return "would match nothing: a JA4 fingerprint of TLS over TCP looks like t13d1516h2_8daaf6152771_e5627efa2ab1";
    }
    return NULL;
}

static const char *method_fault(const char *text)
{
    static const char letters[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", NULL};
    if (*text == 0 || text[strspn(text, letters)] != 0)
        return "is not a request method";
    if (strcasecmp(text, "CONNECT") == 0)
        return "is decided by connection rules: those without method and path";
    for (size_t i = 0; known[i]; i++)
        if (strcasecmp(text, known[i]) == 0 && strcmp(text, known[i]) != 0)
            return "would match nothing: methods have a case, this one is sent in capitals";
    return NULL;
}

static const char *path_fault(const char *text)
{
    size_t n = strlen(text);
    if (*text != '/' && *text != '*')
        return "does not begin with / or *";
    for (size_t i = 0; i < n; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return "has a character that paths do not have; in requests it is percent-encoded";
    char *plain = malloc(n);
    size_t size = plain ? path_normalize((struct soth_span){text, n}, plain) : 0;
    int same = plain && size == n && memcmp(plain, text, n) == 0;
    free(plain);
    return same ? NULL : "would match nothing: paths are compared without query, codes of plain characters, double slashes and dot segments";
}

static const char *call_fault(const char *text)
{
    static const char letters[] = "*._-$0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    if (*text == 0)
        return "is empty";
    return text[strspn(text, letters)] == 0 ? NULL : "has a character that names of services and methods do not have; write grpc_service: pkg.Svc, grpc_method: Get";
}

static int check_each(const struct soth_host *host, void *self, size_t i, const char *key, const struct soth_strings *texts,
                      const char *(*fault)(const char *))
{
    for (size_t k = 0; k < texts->n; k++) {
        const char *why = fault(texts->v[k]);
        if (why)
            return bad(host, self, i, key, texts->v[k], why);
    }
    return SOTH_OK;
}

static int check_rule(const struct soth_host *host, struct policy *self, size_t i)
{
    static const char *const actions[] = {"intercept", "tunnel", "block", "allow"};
    const struct rule *rules = self->rules.items, *r = &rules[i];
    const char *why;
    int result;
    if ((why = id_fault(rules, i)))
        return bad(host, self, i, "id", r->id, why);
    if ((why = action_fault(r)))
        return bad(host, self, i, "action", actions[r->action], why);
    if (is_request_rule(r) && (r->sni.n || r->alpn.n || r->ja4.n))
        return bad(host, self, i, "id", r->id, "mixes sni, alpn or ja4 with method, path or grpc_*; write two rules");
    if ((result = check_each(host, self, i, "host", &r->host, pattern_fault)) < 0 ||
        (result = check_each(host, self, i, "sni", &r->sni, pattern_fault)) < 0 ||
        (result = check_each(host, self, i, "client", &r->client, client_fault)) < 0 ||
        (result = check_each(host, self, i, "port", &r->port, port_fault)) < 0 ||
        (result = check_each(host, self, i, "alpn", &r->alpn, alpn_fault)) < 0 ||
        (result = check_each(host, self, i, "ja4", &r->ja4, ja4_fault)) < 0 ||
        (result = check_each(host, self, i, "method", &r->method, method_fault)) < 0)
        return result;
    if ((result = check_each(host, self, i, "path", &r->path, path_fault)) < 0 ||
        (result = check_each(host, self, i, "grpc_service", &r->grpc_service, call_fault)) < 0)
        return result;
    return check_each(host, self, i, "grpc_method", &r->grpc_method, call_fault);
}

static int check_list(const struct soth_host *host, void *self, const char *key, const struct soth_strings *texts)
{
    for (size_t i = 0; i < texts->n; i++) {
        const char *why = pattern_fault(texts->v[i]);
        char path[64];
        snprintf(path, sizeof path, "%s[%zu]", key, i);
        if (why)
            return host->cfg_err(self, path, "'%s' %s", texts->v[i], why);
    }
    return SOTH_OK;
}

int rules_check(const struct soth_host *host, void *arg)
{
    struct policy *self = arg;
    int r = check_list(host, self, "ignore_hosts", &self->ignore_hosts);
    if (r == SOTH_OK)
        r = check_list(host, self, "blocked_hosts", &self->blocked_hosts);
    for (size_t i = 0; r == SOTH_OK && i < self->rules.n; i++)
        r = check_rule(host, self, i);
    return r;
}
