/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Host patterns of the configuration, and a set of them that is asked by hash: a list of a hundred thousand hosts costs as many
 * look-ups as the asked name has labels. Exact name, `*.x` (any depth below, not x), `.x` (both), CIDR, `[v6]`, optional `:port`;
 * `*` alone is every host. Names in other scripts are converted to IDNA A-labels.
 */
#ifndef MATCH_PATTERN_H
#define MATCH_PATTERN_H

#include <soth/sdk.h>

enum pattern_kind { PATTERN_EXACT, PATTERN_BELOW, PATTERN_BOTH, PATTERN_NETWORK, PATTERN_ANY };

#define PATTERN_NAME_MOST 253

struct pattern {
    uint32_t kind;
    uint32_t port; /* 0 = any */
    uint32_t bits; /* of a network */
    uint32_t name_len;
    struct soth_addr addr;
    char name[PATTERN_NAME_MOST + 1]; /* lower case, without dots at its ends */
};

/* 0, or -SOTH_EINVALID with a sentence. */
int pattern_parse(const char *text, struct pattern *out, const char **why);
int pattern_network_has(const struct soth_addr *network, uint32_t bits, const struct soth_addr *addr);
/* The address that a host name may be; family 0 when it is none. */
struct soth_addr pattern_address(struct soth_span host);
/* A decimal number from 1 to 65535. */
int pattern_parse_port(const char *text, uint32_t *out);
/* "10.0.0.0/8" or an address. */
int pattern_parse_network(const char *text, struct soth_addr *addr, uint32_t *bits);

struct pattern_set;
/* NULL when out of memory; *bad is the index of a text that is no pattern (then *why says why), -1 otherwise. */
struct pattern_set *pattern_set_new(const struct soth_strings *texts, long *bad, const char **why);
void pattern_set_free(struct pattern_set *set);
int pattern_set_match(const struct pattern_set *set, struct soth_span host, const struct soth_addr *addr, uint32_t port);

#endif
