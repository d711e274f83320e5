/* SPDX-License-Identifier: MPL-2.0 */
/* The configuration of transform_headers, and what is made of it. */
#ifndef TRANSFORM_HEADERS_RULES_H
#define TRANSFORM_HEADERS_RULES_H

#include <soth/sdk.h>

struct map_to {
    const char *host;
    int64_t port; /* 0: as it is */
    const char *path;
};

struct secret {
    const char *header, *file, *env, *format;
};

struct rule {
    struct soth_strings host, path;
    struct soth_strings set, add, set_response, add_response; /* name, value, name, value */
    struct soth_strings remove, remove_response;
    struct map_to map_to;
    struct secret secret;
};

struct pattern_set;

struct compiled {
    struct pattern_set *host;
    char map_host[256];        /* as set_target takes it, IPv6 in brackets; "" = as it is */
    struct soth_addr map_addr; /* family 0: it is a name */
    char *secret;              /* the field's whole value, malloc'd; NULL = none */
    size_t secret_n;
};

struct transform {
    struct soth_list rules;
    const struct soth_host *host;
    struct compiled *compiled;
    int connections, requests, responses;
};

extern const struct soth_opt transform_options[];

static inline const struct rule *rule_at(const struct transform *self, size_t i)
{
    return (const struct rule *)self->rules.items + i;
}

static inline int maps_connection(const struct rule *r)
{
    return r->path.n == 0 && (*r->map_to.host || r->map_to.port);
}

/* check.c: soth_module.check */
int transform_check(const struct soth_host *host, void *self);

/* secret.c: the value of a field that holds a secret, from its file or the environment: malloc'd, *n bytes. NULL, told by cfg_err at
 * rules[i].secret, when it cannot be had; what was read is never told. */
char *secret_read(const struct soth_host *host, void *self, size_t i, const struct secret *secret, size_t *n);
void secret_free(char *value, size_t n); /* leaves nothing in memory */

/* target.c: the target that map_to.path makes of one that matched `pattern` (NULL = the rule has none): malloc'd, NULL without memory. */
char *target_map(const char *map, const char *pattern, const char *path, size_t path_n, struct soth_span target);

#endif
