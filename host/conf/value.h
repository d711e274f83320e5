/* SPDX-License-Identifier: MPL-2.0 */
/* One YAML value into one field. Inside this room only. */
#ifndef HOST_CONF_VALUE_H
#define HOST_CONF_VALUE_H

#include "host/conf/document.h"

struct options_owned {
    void **v;
    size_t n;
};

/* A filling in progress. */
struct fill {
    struct options_owned *owned;
    FILE *errors;
    int count;         /* of errors */
    char path[256];    /* the key at hand, "rules[2].host" */
    size_t path_size;
    const char *const *absent; /* keys of later versions by their whole path with [] for indices, ended by NULL; may be NULL */
};

/* Goes down to a key (or, with key NULL, an item of a list); returns what value_up needs. Paths that are too long are cut: they are for
 * people. */
size_t value_down(struct fill *f, const char *key, size_t index);
void value_up(struct fill *f, size_t before);

/* Prints `file:line:col: key: text` and counts it. at->file NULL: a preset. */
void value_wrong(struct fill *f, const struct conf_node *at, const char *format, ...) SOTH_PRINTF(3, 4);
/* Keeps malloc'd memory until options_fini; NULL, told and counted, when there is none. */
void *value_own(struct fill *f, void *p);

/* `key:` with nothing, `null` or `~` behind it. */
bool value_is_null(const struct conf_node *node);
/* Fills a field of any type but lists of mappings and mappings. */
void value_fill(struct fill *f, const struct soth_opt *opt, const struct conf_node *node, void *field);
bool value_parse_size(const char *text, int64_t *out); /* "64k" -> 65536 */
/* "64k", "10s", "443": a bound or value as it would be written in a file. */
void value_print_number(const struct soth_opt *opt, int64_t value, char *out, size_t size);

#endif
