/* SPDX-License-Identifier: MPL-2.0 */
/* What a configuration of transform_headers may say. Nothing is opened or read here. */
#include <stdio.h>
#include <strings.h>

#include "../match/pattern.h"
#include "rules.h"

/* Where a mistake is. */
struct place {
    const struct soth_host *host;
    void *self;
    size_t rule;
};

static int bad(const struct place *at, const char *key, const char *value, const char *why)
{
    char path[256];
    snprintf(path, sizeof path, "rules[%zu].%s", at->rule, key);
    return at->host->cfg_err(at->self, path, "'%s' %s", value, why);
}

/* ---- fields ---- */

/* What frames a message or belongs to its connection is the host's (soth_host.hdr_set). */
static int is_ours(const char *name)
{
    static const char *const ours[] = {"host",    "connection", "content-length", "transfer-encoding", "te",
                                       "trailer", "upgrade",    "expect",         "keep-alive",        "http2-settings"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (strcasecmp(ours[i], name) == 0)
            return 1;
    return strncasecmp(name, "proxy-", 6) == 0;
}

static const char *wrong_name(const char *name)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    if (!*name || name[strspn(name, token)])
        return "is not the name of a field";
    if (strcasecmp(name, "host") == 0)
        return "cannot be changed as a field; map_to changes where a request goes";
    return is_ours(name) ? "frames the message or belongs to the connection and cannot be changed" : NULL;
}

static const char *wrong_value(const char *value)
{
    for (const char *c = value; *c; c++)
        if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f)
            return "has a control character, which a field cannot have";
    return NULL;
}

static int check_pairs(const struct place *at, const char *key, const struct soth_strings *pairs)
{
    for (size_t i = 0; i + 1 < pairs->n; i += 2) {
        const char *why = wrong_name(pairs->v[i]), *what = pairs->v[i];
        char path[192];
        snprintf(path, sizeof path, "%s.%s", key, pairs->v[i]);
        if (!why && (why = wrong_value(pairs->v[i + 1])))
            what = "its value";
        if (why)
            return bad(at, path, what, why);
    }
    return SOTH_OK;
}

static int check_names(const struct place *at, const char *key, const struct soth_strings *names)
{
    for (size_t i = 0; i < names->n; i++) {
        const char *why = wrong_name(names->v[i]);
        char path[64];
        snprintf(path, sizeof path, "%s[%zu]", key, i);
        if (why)
            return bad(at, path, names->v[i], why);
    }
    return SOTH_OK;
}

/* set would replace itself: one value a name. */
static int check_single(const struct place *at, const char *key, const struct soth_strings *pairs)
{
    for (size_t i = 2; i < pairs->n; i += 2)
        for (size_t k = 0; k < i; k += 2)
            if (strcasecmp(pairs->v[i], pairs->v[k]) == 0)
                return bad(at, key, pairs->v[i], "is set twice; one value is set, more are added (add)");
    return SOTH_OK;
}

static int check_fields(const struct place *at, const struct rule *r)
{
    const struct {
        const char *key;
        const struct soth_strings *pairs;
    } all[] = {{"set", &r->set}, {"set_response", &r->set_response}, {"add", &r->add}, {"add_response", &r->add_response}};
    int result = SOTH_OK;
    for (size_t i = 0; result == SOTH_OK && i < 4; i++)
        result = check_pairs(at, all[i].key, all[i].pairs);
    for (size_t i = 0; result == SOTH_OK && i < 2; i++)
        result = check_single(at, all[i].key, all[i].pairs);
    if (result == SOTH_OK)
        result = check_names(at, "remove", &r->remove);
    return result == SOTH_OK ? check_names(at, "remove_response", &r->remove_response) : result;
}

/* ---- where it applies ---- */

static int check_patterns(const struct place *at, const struct rule *r)
{
    char key[32];
    for (size_t i = 0; i < r->host.n; i++) {
        struct pattern pattern;
        const char *why;
        snprintf(key, sizeof key, "host[%zu]", i);
        if (pattern_parse(r->host.v[i], &pattern, &why) < 0)
            return bad(at, key, r->host.v[i], why);
    }
    for (size_t i = 0; i < r->path.n; i++) {
        snprintf(key, sizeof key, "path[%zu]", i);
        if (r->path.v[i][0] != '/' && r->path.v[i][0] != '*')
            return bad(at, key, r->path.v[i], "does not begin with / or *");
    }
    return SOTH_OK;
}

/* ---- map_to ---- */

static const char *wrong_path(const struct rule *r)
{
    const char *path = r->map_to.path, *star = strchr(path, '*');
    if (*path != '/')
        return "does not begin with /";
    for (const char *c = path; *c; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f || *c == '#')
            return "has a character that has no place in a path";
    if (star && (star[1] || strchr(path, '?')))
        return "may have one * only, at its end, and no query then";
    for (size_t i = 0; star && i < r->path.n; i++) {
        const char *taken = strchr(r->path.v[i], '*');
        if (!taken || taken[1])
            return "ends with * for what a path pattern's * takes, so each pattern of the rule needs one, at its end";
    }
    return NULL;
}

static int check_map(const struct place *at, const struct rule *r)
{
    struct pattern pattern;
    const char *why = NULL;
    if (*r->map_to.host && pattern_parse(r->map_to.host, &pattern, &why) < 0)
        return bad(at, "map_to.host", r->map_to.host, why);
    if (*r->map_to.host && (pattern.port || strchr(r->map_to.host, '/') ||
                            (pattern.kind != PATTERN_EXACT && pattern.kind != PATTERN_NETWORK)))
        return bad(at, "map_to.host", r->map_to.host, "is not one host; a port has its own key");
    if (*r->map_to.path && (why = wrong_path(r)))
        return bad(at, "map_to.path", r->map_to.path, why);
    return SOTH_OK;
}

/* ---- secrets ---- */

static int check_secret(const struct place *at, const struct rule *r)
{
    static const char mark[] = "{secret}";
    const struct secret *s = &r->secret;
    const char *why, *found = strstr(s->format, mark);
    if (!*s->header && !*s->file && !*s->env)
        return SOTH_OK;
    if (!*s->header)
        return bad(at, "secret", "header", "is missing: the field that gets the secret");
    if (!*s->file == !*s->env)
        return bad(at, "secret", s->header, "needs one of file and env: where the secret is");
    if ((why = wrong_name(s->header)))
        return bad(at, "secret.header", s->header, why);
    if (!found || strstr(found + 1, mark))
        return bad(at, "secret.format", s->format, "must say {secret} once, where the secret stands");
    if ((why = wrong_value(s->format)))
        return bad(at, "secret.format", "it", why);
    if (r->host.n == 0)
        return bad(at, "secret", s->header, "would go to every host; a rule with a secret needs host");
    return SOTH_OK;
}

/* ---- all of it ---- */

static int does_nothing(const struct rule *r)
{
    return r->set.n + r->add.n + r->remove.n + r->set_response.n + r->add_response.n + r->remove_response.n == 0 && !*r->map_to.host &&
           !r->map_to.port && !*r->map_to.path && !*r->secret.header && !*r->secret.file && !*r->secret.env;
}

int transform_check(const struct soth_host *host, void *arg)
{
    struct transform *self = arg;
    int result = SOTH_OK;
    for (size_t i = 0; result == SOTH_OK && i < self->rules.n; i++) {
        const struct place at = {host, self, i};
        const struct rule *r = rule_at(self, i);
        char key[32];
        snprintf(key, sizeof key, "rules[%zu]", i);
        if (does_nothing(r))
            return host->cfg_err(self, key, "changes nothing; give it set, add, remove, map_to, secret or one of the *_response keys");
        result = check_patterns(&at, r);
        if (result == SOTH_OK)
            result = check_fields(&at, r);
        if (result == SOTH_OK)
            result = check_map(&at, r);
        if (result == SOTH_OK)
            result = check_secret(&at, r);
    }
    return result;
}
