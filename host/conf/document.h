/* SPDX-License-Identifier: MPL-2.0 */
/* YAML values with their places. Inside this room only; others see struct conf_node as an opaque name. */
#ifndef HOST_CONF_DOCUMENT_H
#define HOST_CONF_DOCUMENT_H

#include "host/conf/options.h"

enum node_type { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct conf_node {
    enum node_type type;
    bool quoted; /* a scalar in quotes is text whatever it looks like */
    unsigned line, column;
    const struct conf_file *file;
    char *text;             /* scalar */
    struct conf_node *keys; /* map: count keys ... */
    struct conf_node *items; /* ... and values; list: items */
    size_t count;
};

/* The value of a key, NULL when it is not there. */
const struct conf_node *node_get(const struct conf_node *map, const char *key);

#endif
