/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Fills a struct from a YAML mapping by an option table: presets first, then what is there, each value checked for type and range. Every
 * error is printed with its place and what is allowed; filling goes on, so that one run shows all of them.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "host/conf/document.h"

struct options_owned {
    void **v;
    size_t n;
};

struct fill {
    struct options_owned *owned;
    FILE *errors;
    int count;          /* of errors */
    const char *prefix; /* key path in front */
};

static void *own(struct fill *f, void *p)
{
    if (!p)
        return NULL;
    void **bigger = realloc(f->owned->v, (f->owned->n + 1) * sizeof *bigger);
    if (!bigger) {
        free(p);
        return NULL;
    }
    f->owned->v = bigger;
    bigger[f->owned->n++] = p;
    return p;
}

void options_fini(struct options_owned *owned)
{
    if (!owned)
        return;
    for (size_t i = 0; i < owned->n; i++)
        free(owned->v[i]);
    free(owned->v);
    free(owned);
}

static void wrong(struct fill *f, const struct conf_node *at, const char *key, const char *format, ...) SOTH_PRINTF(4, 5);

static void wrong(struct fill *f, const struct conf_node *at, const char *key, const char *format, ...)
{
    va_list args;
    fprintf(f->errors, "%s:%u:%u: %s%s: ", conf_file_path(at->file), at->line, at->column, f->prefix, key);
    va_start(args, format);
    vfprintf(f->errors, format, args);
    va_end(args);
    fputc('\n', f->errors);
    f->count++;
}

/* ---- numbers with units ---- */

struct unit {
    const char *name;
    uint64_t factor;
};
static const struct unit size_units[] = {{"", 1}, {"k", 1024}, {"M", 1024 * 1024}, {"G", 1024 * 1024 * 1024}, {NULL, 0}};
static const struct unit duration_units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {NULL, 0}};

static bool parse_units(const char *text, const struct unit *units, uint64_t *out)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno)
        return false;
    if (value == 0 && *end == 0) {
        *out = 0;
        return true;
    }
    for (; units->name; units++)
        if (strcmp(end, units->name) == 0) {
            if (value > UINT64_MAX / units->factor)
                return false;
            *out = value * units->factor;
            return true;
        }
    return false;
}

static void print_with_unit(char *out, size_t size, uint64_t value, const struct unit *units)
{
    const struct unit *best = units;
    for (const struct unit *u = units; u->name; u++)
        if (value >= u->factor && value % u->factor == 0)
            best = u;
    snprintf(out, size, "%llu%s", (unsigned long long)(value / best->factor), best->name);
}

static bool in_range(struct fill *f, const struct soth_opt *opt, const struct conf_node *node, uint64_t value, const struct unit *units)
{
    char min[32], max[32];
    if (opt->min == 0 && opt->max == 0)
        return true;
    if (value >= (uint64_t)opt->min && value <= (uint64_t)opt->max)
        return true;
    print_with_unit(min, sizeof min, (uint64_t)opt->min, units);
    print_with_unit(max, sizeof max, (uint64_t)opt->max, units);
    wrong(f, node, opt->key, "%s is out of range, allowed is %s to %s", node->text, min, max);
    return false;
}

/* ---- one value each ---- */

static bool scalar(struct fill *f, const struct soth_opt *opt, const struct conf_node *node, const char *expected)
{
    if (node->type == NODE_SCALAR)
        return true;
    wrong(f, node, opt->key, "%s is not allowed here, expected is %s", node->type == NODE_LIST ? "a list" : "a mapping", expected);
    return false;
}

static void fill_bool(struct fill *f, const struct soth_opt *opt, const struct conf_node *node, void *field)
{
    if (!scalar(f, opt, node, "true or false"))
        return;
    bool yes = strcmp(node->text, "true") == 0;
    if (node->quoted || (!yes && strcmp(node->text, "false") != 0))
        wrong(f, node, opt->key, "'%s' is neither true nor false", node->text);
    else
        *(uint8_t *)field = yes;
}

static void fill_int(struct fill *f, const struct soth_opt *opt, const struct conf_node *node, void *field)
{
    char *end;
    if (!scalar(f, opt, node, "a number"))
        return;
    errno = 0;
    long long value = strtoll(node->text, &end, 10);
    if (node->quoted || *node->text == 0 || *end || errno || node->text[0] == ' ' || node->text[0] == '+')
        wrong(f, node, opt->key, "'%s' is not a number", node->text);
    else if ((opt->min || opt->max) && (value < opt->min || value > opt->max))
        wrong(f, node, opt->key, "%s is out of range, allowed is %lld to %lld", node->text, (long long)opt->min, (long long)opt->max);
    else
        *(int64_t *)field = value;
}

static void fill_units(struct fill *f, const struct soth_opt *opt, const struct conf_node *node, void *field)
{
    bool size = opt->type == SOTH_OPT_T_SIZE;
    const char *expected = size ? "a size in bytes, or with k, M or G" : "a duration with ms, s, m or h";
    uint64_t value;
    if (!scalar(f, opt, node, expected))
        return;
    if (!parse_units(node->text, size ? size_units : duration_units, &value))
        wrong(f, node, opt->key, "'%s' is not %s", node->text, expected);
    else if (in_range(f, opt, node, value, size ? size_units : duration_units))
        *(uint64_t *)field = value;
}

/* A path is relative to the file that has it. */
static char *resolve(const struct conf_node *node)
{
    const char *file = conf_file_path(node->file), *slash = strrchr(file, '/');
    char *out;
    if (node->text[0] == '/' || node->text[0] == 0 || !slash)
        return strdup(node->text);
    size_t n = (size_t)(slash + 1 - file), m = strlen(node->text) + 1;
    if (!(out = malloc(n + m)))
        return NULL;
    memcpy(out, file, n);
    memcpy(out + n, node->text, m);
    return out;
}

static void fill_string(struct fill *f, const struct soth_opt *opt, const struct conf_node *node, void *field)
{
    if (!scalar(f, opt, node, "text"))
        return;
    size_t n = strlen(node->text);
    if ((opt->min || opt->max) && ((int64_t)n < opt->min || (int64_t)n > opt->max)) {
        wrong(f, node, opt->key, "the text has %zu characters, allowed is %lld to %lld", n, (long long)opt->min, (long long)opt->max);
        return;
    }
    char *text = own(f, opt->type == SOTH_OPT_T_PATH ? resolve(node) : strdup(node->text));
    if (text)
        *(const char **)field = text;
}

static void fill_enum(struct fill *f, const struct soth_opt *opt, const struct conf_node *node, void *field)
{
    if (!scalar(f, opt, node, opt->choices))
        return;
    uint32_t index = 0;
    size_t n = strlen(node->text);
    for (const char *at = opt->choices; at; index++) {
        const char *bar = strchr(at, '|');
        size_t size = bar ? (size_t)(bar - at) : strlen(at);
        if (size == n && memcmp(at, node->text, n) == 0) {
            *(uint32_t *)field = index;
            return;
        }
        at = bar ? bar + 1 : NULL;
    }
    wrong(f, node, opt->key, "'%s' is unknown, allowed is %s", node->text, opt->choices);
}

static void fill_strings(struct fill *f, const struct soth_opt *opt, const struct conf_node *node, void *field)
{
    struct soth_strings *out = field;
    size_t n = node->type == NODE_LIST ? node->count : 1;
    if (node->type == NODE_MAP) {
        wrong(f, node, opt->key, "a mapping is not allowed here, expected is text or a list of texts");
        return;
    }
    const char **v = own(f, calloc(n ? n : 1, sizeof *v));
    if (!v)
        return;
    for (size_t i = 0; i < n; i++) {
        const struct conf_node *item = node->type == NODE_LIST ? &node->items[i] : node;
        if (item->type != NODE_SCALAR) {
            wrong(f, item, opt->key, "only texts are allowed in this list");
            return;
        }
        v[i] = own(f, strdup(item->text));
    }
    *out = (struct soth_strings){v, n};
}

static void fill_map(struct fill *f, const struct soth_opt *table, const struct conf_node *map, void *base, const char *parent);

static void fill_list(struct fill *f, const struct soth_opt *opt, const struct conf_node *node, void *field, const char *path)
{
    char item_path[256];
    if (node->type != NODE_LIST) {
        wrong(f, node, opt->key, "expected is a list of mappings");
        return;
    }
    char *items = own(f, calloc(node->count ? node->count : 1, opt->item_size));
    if (!items)
        return;
    for (size_t i = 0; i < node->count; i++) {
        snprintf(item_path, sizeof item_path, "%s[%zu].", path, i);
        fill_map(f, opt->sub, &node->items[i], items + i * opt->item_size, item_path);
    }
    *(struct soth_list *)field = (struct soth_list){items, node->count};
}

static void fill_value(struct fill *f, const struct soth_opt *opt, const struct conf_node *node, void *base, const char *parent)
{
    void *field = (char *)base + opt->offset;
    char path[256];
    snprintf(path, sizeof path, "%s%s", parent, opt->key);
    const char *outer = f->prefix;
    char prefix[300];
    snprintf(prefix, sizeof prefix, "%s%s", outer, parent);
    f->prefix = prefix;
    switch (opt->type) {
    case SOTH_OPT_T_BOOL:
        fill_bool(f, opt, node, field);
        break;
    case SOTH_OPT_T_INT:
        fill_int(f, opt, node, field);
        break;
    case SOTH_OPT_T_SIZE:
    case SOTH_OPT_T_DURATION:
        fill_units(f, opt, node, field);
        break;
    case SOTH_OPT_T_STRING:
    case SOTH_OPT_T_PATH:
        fill_string(f, opt, node, field);
        break;
    case SOTH_OPT_T_ENUM:
        fill_enum(f, opt, node, field);
        break;
    case SOTH_OPT_T_STRINGS:
        fill_strings(f, opt, node, field);
        break;
    case SOTH_OPT_T_LIST:
        f->prefix = outer;
        fill_list(f, opt, node, field, path);
        break;
    case SOTH_OPT_T_MAP:
        f->prefix = outer;
        strncat(path, ".", sizeof path - strlen(path) - 1);
        fill_map(f, opt->sub, node, field, path);
        break;
    default:
        break;
    }
    f->prefix = outer;
}

/* ---- a mapping ---- */

static const struct soth_opt *find(const struct soth_opt *table, const char *key)
{
    for (; table && table->key; table++)
        if (strcmp(table->key, key) == 0)
            return table;
    return NULL;
}

static unsigned distance(const char *a, const char *b)
{
    unsigned row[64];
    size_t n = strlen(b);
    if (n >= 63 || strlen(a) >= 63)
        return 99;
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 1; *a; a++, i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            unsigned old = row[j], best = diagonal + (*a != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
            diagonal = old;
        }
    }
    return row[n];
}

static void unknown_key(struct fill *f, const struct soth_opt *table, const struct conf_node *key, const char *parent)
{
    const char *near = NULL, *outer = f->prefix;
    unsigned best = 4;
    char prefix[300];
    for (const struct soth_opt *o = table; o && o->key; o++) {
        unsigned d = distance(key->text, o->key);
        if (d < best && d < strlen(key->text)) {
            best = d;
            near = o->key;
        }
    }
    snprintf(prefix, sizeof prefix, "%s%s", outer, parent);
    f->prefix = prefix;
    if (near)
        wrong(f, key, key->text, "unknown key, did you mean %s?", near);
    else
        wrong(f, key, key->text, "unknown key (soth-mitm config doc lists what there is)");
    f->prefix = outer;
}

static void fill_presets(struct fill *f, const struct soth_opt *table, void *base)
{
    for (const struct soth_opt *opt = table; opt && opt->key; opt++) {
        void *field = (char *)base + opt->offset;
        if (opt->type == SOTH_OPT_T_STRING || opt->type == SOTH_OPT_T_PATH)
            *(const char **)field = "";
        if (opt->type == SOTH_OPT_T_MAP)
            fill_presets(f, opt->sub, field);
        else if (opt->preset && *opt->preset && strcmp(opt->preset, "[]") != 0) {
            struct conf_file *text = conf_file_from_text("preset", opt->preset, f->errors);
            if (text && conf_file_document(text, 0))
                fill_value(f, opt, conf_file_document(text, 0), base, "");
            conf_file_free(text);
        }
    }
}

static void fill_map(struct fill *f, const struct soth_opt *table, const struct conf_node *map, void *base, const char *parent)
{
    fill_presets(f, table, base);
    if (map && map->type != NODE_MAP) {
        size_t n = strlen(parent);
        char key[256];
        snprintf(key, sizeof key, "%.*s", (int)(n ? n - 1 : 0), parent);
        wrong(f, map, key, "expected is a mapping (key: value)");
        return;
    }
    for (size_t i = 0; map && i < map->count; i++) {
        const struct soth_opt *opt = find(table, map->keys[i].text);
        const struct conf_node *value = &map->items[i];
        if (!opt)
            unknown_key(f, table, &map->keys[i], parent);
        else
            fill_value(f, opt, value, base, parent);
    }
    for (const struct soth_opt *opt = table; !map && opt && opt->key; opt++)
        if (opt->flags & SOTH_REQUIRED) {
            fprintf(f->errors, "%s%s%s: this key is required: %s\n", f->prefix, parent, opt->key, opt->doc);
            f->count++;
        }
    for (const struct soth_opt *opt = table; map && opt && opt->key; opt++)
        if ((opt->flags & SOTH_REQUIRED) && !node_get(map, opt->key)) {
            const char *outer = f->prefix;
            char prefix[300];
            snprintf(prefix, sizeof prefix, "%s%s", outer, parent);
            f->prefix = prefix;
            wrong(f, map, opt->key, "this key is required: %s", opt->doc);
            f->prefix = outer;
        }
}

int options_fill(const struct soth_opt *table, const struct conf_node *mapping, void *base, struct options_owned **owned, FILE *errors,
                 const char *prefix)
{
    struct fill f = {.owned = *owned, .errors = errors, .prefix = prefix ? prefix : ""};
    if (!f.owned && !(f.owned = *owned = calloc(1, sizeof *f.owned)))
        return 1;
    fill_map(&f, table, mapping, base, "");
    return f.count;
}

/* "rules[2].host" one step at a time. */
static const struct conf_node *descend(const struct conf_node *node, const char *path)
{
    while (node && *path) {
        char key[128];
        size_t n = strcspn(path, ".[");
        if (n >= sizeof key)
            return node;
        memcpy(key, path, n);
        key[n] = 0;
        const struct conf_node *below = n ? node_get(node, key) : node;
        path += n;
        while (below && *path == '[') {
            size_t i = strtoul(path + 1, NULL, 10);
            below = below->type == NODE_LIST && i < below->count ? &below->items[i] : NULL;
            path += strcspn(path, "]");
            path += *path == ']';
        }
        if (!below)
            return node;
        node = below;
        path += *path == '.';
    }
    return node;
}

void options_error(const struct conf_node *mapping, const char *key, FILE *errors, const char *text)
{
    const struct conf_node *at = descend(mapping, key);
    if (at)
        fprintf(errors, "%s:%u:%u: %s: %s\n", conf_file_path(at->file), at->line, at->column, key, text);
    else
        fprintf(errors, "%s: %s\n", key, text);
}
