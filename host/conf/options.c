/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Fills a struct from a YAML mapping by an option table: presets first, then what is there, each value checked for type and range. Every
 * error is printed with its place and what is allowed; filling goes on, so that one run shows all of them.
 */
#include <stdlib.h>
#include <string.h>

#include "host/conf/options_later.h"
#include "host/conf/value.h"

void options_fini(struct options_owned *owned)
{
    if (!owned)
        return;
    for (size_t i = 0; i < owned->n; i++)
        free(owned->v[i]);
    free(owned->v);
    free(owned);
}

/* ---- keys that are not in the table ---- */

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* How many letters to insert, drop, change or swap with their neighbour. */
static unsigned distance(const char *a, const char *b)
{
    unsigned rows[3][48];
    size_t n = strlen(a), m = strlen(b);
    if (n >= 47 || m >= 47)
        return 99;
    for (size_t i = 0; i <= n; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *top = rows[(i + 1) % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            if (i == 0) {
                row[j] = (unsigned)j;
                continue;
            }
            row[j] = least(least(row[j - 1], above[j]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], top[j - 2] + 1);
        }
    }
    return rows[n % 3][m];
}

/* The key path with every index left out: listen[0].tls is listen[].tls. */
static void general_path(const char *path, char *out, size_t size)
{
    size_t n = 0;
    for (; *path && n + 1 < size; path++)
        if (*path < '0' || *path > '9' || n == 0 || out[n - 1] != '[')
            out[n++] = *path;
    out[n] = 0;
}

static bool is_absent(const struct fill *f)
{
    char path[sizeof f->path];
    general_path(f->path, path, sizeof path);
    for (const char *const *key = f->absent; key && *key; key++)
        if (strcmp(*key, path) == 0)
            return true;
    return false;
}

/* The table's keys in a few words. */
static void list_keys(const struct soth_opt *table, char *out, size_t size)
{
    size_t used = 0;
    for (const struct soth_opt *o = table; o && o->key; o++) {
        size_t n = strlen(o->key);
        if (used + n + sizeof ", ..." > size) {
            strcpy(out + used, ", ...");
            return;
        }
        used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", o->key);
    }
}

static void unknown_key(struct fill *f, const struct soth_opt *table, const struct conf_node *key)
{
    const char *near = NULL;
    char keys[200] = "none";
    unsigned n = (unsigned)strlen(key->text), best = least(n / 3 + 1, n - (n > 0));
    for (const struct soth_opt *o = table; o && o->key; o++) {
        unsigned d = distance(key->text, o->key);
        if (d <= best && d > 0 && (!near || d < best)) {
            best = d;
            near = o->key;
        }
    }
    if (is_absent(f)) {
        value_wrong(f, key, "not available in this version, remove it");
    } else if (near) {
        value_wrong(f, key, "unknown key, did you mean %s?", near);
    } else {
        list_keys(table, keys, sizeof keys);
        value_wrong(f, key, "unknown key, allowed here: %s", keys);
    }
}

/* ---- a mapping ---- */

static void fill_map(struct fill *f, const struct soth_opt *table, const struct conf_node *map, void *base);

static void fill_list(struct fill *f, const struct soth_opt *opt, const struct conf_node *node, void *field)
{
    if (node->type != NODE_LIST) {
        value_wrong(f, node, "expected is a list of mappings ([] for none)");
        return;
    }
    char *items = value_own(f, calloc(node->count ? node->count : 1, opt->item_size));
    for (size_t i = 0; items && i < node->count; i++) {
        size_t up = value_down(f, NULL, i);
        fill_map(f, opt->sub, &node->items[i], items + i * opt->item_size);
        value_up(f, up);
    }
    if (items)
        *(struct soth_list *)field = (struct soth_list){items, node->count};
}

static void fill_option(struct fill *f, const struct soth_opt *opt, const struct conf_node *node, void *base)
{
    void *field = (char *)base + opt->offset;
    if (opt->type == SOTH_OPT_T_LIST)
        fill_list(f, opt, node, field);
    else if (opt->type == SOTH_OPT_T_MAP)
        fill_map(f, opt->sub, node, field);
    else if (opt->type == OPT_T_NODE)
        *(const struct conf_node **)field = node;
    else
        value_fill(f, opt, node, field);
}

/* A preset is YAML; what needs no parser gets none, since every item of a list has its presets. */
static void fill_preset(struct fill *f, const struct soth_opt *opt, void *base, const struct conf_file *file)
{
    if (!strchr("[{\"'", opt->preset[0])) {
        struct conf_node plain = {.type = NODE_SCALAR, .text = (char *)(uintptr_t)opt->preset, .file = file};
        fill_option(f, opt, &plain, base);
        return;
    }
    char name[sizeof f->path + sizeof "preset of "];
    snprintf(name, sizeof name, "preset of %s", f->path);
    struct conf_file *yaml = conf_file_from_text(name, opt->preset, f->errors);
    if (yaml && conf_file_document(yaml, 0))
        fill_option(f, opt, conf_file_document(yaml, 0), base);
    else
        value_wrong(f, NULL, "the preset is not YAML");
    conf_file_free(yaml);
}

static void fill_presets(struct fill *f, const struct soth_opt *table, void *base, const struct conf_file *file)
{
    for (const struct soth_opt *opt = table; opt && opt->key; opt++) {
        void *field = (char *)base + opt->offset;
        size_t up = value_down(f, opt->key, 0);
        if (opt->type == SOTH_OPT_T_STRING || opt->type == SOTH_OPT_T_PATH)
            *(const char **)field = "";
        if (opt->type == SOTH_OPT_T_MAP)
            fill_presets(f, opt->sub, field, file);
        else if (opt->preset && *opt->preset && strcmp(opt->preset, "[]") != 0)
            fill_preset(f, opt, base, file);
        value_up(f, up);
    }
}

static bool is_doubled(const struct conf_node *map, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (strcmp(map->keys[k].text, map->keys[i].text) == 0)
            return true;
    return false;
}

static void fill_key(struct fill *f, const struct soth_opt *table, const struct conf_node *map, size_t i, void *base)
{
    const struct soth_opt *opt = table;
    const struct conf_node *key = &map->keys[i];
    size_t up = value_down(f, key->text, 0);
    while (opt && opt->key && strcmp(opt->key, key->text) != 0)
        opt++;
    if (is_doubled(map, i))
        value_wrong(f, key, "this key is here twice, remove one");
    else if (opt && opt->key)
        fill_option(f, opt, &map->items[i], base);
    else
        unknown_key(f, table, key);
    value_up(f, up);
}

/* map NULL or null: no key is there. */
static void fill_map(struct fill *f, const struct soth_opt *table, const struct conf_node *map, void *base)
{
    fill_presets(f, table, base, map ? map->file : NULL);
    if (map && map->type != NODE_MAP && !value_is_null(map)) {
        value_wrong(f, map, "expected is a mapping (key: value)");
        return;
    }
    for (size_t i = 0; map && i < map->count; i++)
        fill_key(f, table, map, i, base);
    for (const struct soth_opt *opt = table; opt && opt->key; opt++) {
        if (!(opt->flags & SOTH_REQUIRED) || node_get(map, opt->key))
            continue;
        size_t up = value_down(f, opt->key, 0);
        value_wrong(f, map, "is required: %s", opt->doc ? opt->doc : "no default");
        value_up(f, up);
    }
}

int options_fill_later(const struct soth_opt *table, const struct conf_node *mapping, void *base, struct options_owned **owned, FILE *errors,
                       const char *prefix, const char *const *absent)
{
    struct fill f = {.owned = *owned, .errors = errors, .absent = absent};
    if (!f.owned && !(f.owned = *owned = calloc(1, sizeof *f.owned))) {
        fputs("out of memory\n", errors);
        return 1;
    }
    if (prefix && *prefix)
        value_down(&f, prefix, 0);
    fill_map(&f, table, mapping, base);
    return f.count;
}

int options_fill(const struct soth_opt *table, const struct conf_node *mapping, void *base, struct options_owned **owned, FILE *errors,
                 const char *prefix)
{
    return options_fill_later(table, mapping, base, owned, errors, prefix, NULL);
}

/* ---- places ---- */

/* One step of "rules[2].host"; NULL when it is not there. */
static const struct conf_node *step(const struct conf_node *node, const char **path)
{
    if (**path == '[') {
        size_t i = strtoul(*path + 1, NULL, 10);
        *path += strcspn(*path, "]");
        *path += **path == ']';
        return node->type == NODE_LIST && i < node->count ? &node->items[i] : NULL;
    }
    *path += **path == '.';
    size_t n = strcspn(*path, ".[");
    const char *key = *path;
    *path += n;
    for (size_t i = 0; node->type == NODE_MAP && i < node->count; i++)
        if (strlen(node->keys[i].text) == n && memcmp(node->keys[i].text, key, n) == 0)
            return &node->items[i];
    return NULL;
}

void options_error(const struct conf_node *mapping, const char *key, FILE *errors, const char *text)
{
    const struct conf_node *at = mapping;
    const char *path = key;
    while (at && *path) {
        const struct conf_node *below = step(at, &path);
        if (!below)
            break;
        at = below;
    }
    if (at)
        fprintf(errors, "%s:%u:%u: ", conf_file_path(at->file), at->line, at->column);
    fprintf(errors, "%s: %s\n", key, text);
}
