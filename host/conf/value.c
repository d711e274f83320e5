/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A YAML value and the option that describes it come in; the field of the option's type is filled, or an error with its place and what is
 * allowed is printed and the field keeps its preset.
 */
#include "host/conf/value.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "host/conf/place.h"

size_t value_down(struct fill *f, const char *key, size_t index)
{
    size_t before = f->path_size, room = sizeof f->path - before;
    bool dot = before > 0 && f->path[before - 1] != '.';
    int n = key ? snprintf(f->path + before, room, "%s%s", dot ? "." : "", key) : snprintf(f->path + before, room, "[%zu]", index);
    f->path_size += (size_t)n < room ? (size_t)n : room - 1;
    return before;
}

void value_up(struct fill *f, size_t before)
{
    f->path_size = before;
    f->path[before] = 0;
}

void value_wrong(struct fill *f, const struct conf_node *at, const char *format, ...)
{
    va_list args;
    size_t n = f->path_size;
    if (at && at->file && at->line) /* a preset has no line */
        fprintf(f->errors, "%s:%u:%u: ", conf_file_path(at->file), at->line, at->column);
    n -= n > 0 && f->path[n - 1] == '.';
    fprintf(f->errors, "%.*s: ", n ? (int)n : 4, n ? f->path : "yaml");
    va_start(args, format);
    vfprintf(f->errors, format, args);
    va_end(args);
    fputc('\n', f->errors);
    f->count++;
}

void *value_own(struct fill *f, void *p)
{
    struct options_owned *owned = f->owned;
    void **bigger = owned->v;
    if (p && (owned->n & (owned->n - 1)) == 0) /* a power of two is full */
        bigger = realloc(owned->v, (owned->n ? owned->n * 2 : 1) * sizeof *bigger);
    if (!p || !bigger) {
        free(p);
        value_wrong(f, NULL, "out of memory");
        return NULL;
    }
    owned->v = bigger;
    bigger[owned->n++] = p;
    return p;
}

bool value_is_null(const struct conf_node *node)
{
    return node->type == NODE_SCALAR && !node->quoted &&
           (node->text[0] == 0 || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0);
}

/* ---- numbers with units ---- */

struct unit {
    const char *name;
    int64_t factor;
};
static const struct unit no_units[] = {{"", 1}, {NULL, 0}};
static const struct unit size_units[] = {{"", 1}, {"k", 1024}, {"M", 1024 * 1024}, {"G", 1024 * 1024 * 1024}, {NULL, 0}};
static const struct unit duration_units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {NULL, 0}};

static const struct unit *units_of(const struct soth_opt *opt)
{
    return opt->type == SOTH_OPT_T_SIZE ? size_units : opt->type == SOTH_OPT_T_DURATION ? duration_units : no_units;
}

static const char *words_for(const struct soth_opt *opt)
{
    if (opt->type == SOTH_OPT_T_SIZE)
        return "a size: a whole number of bytes, or with k, M or G";
    return opt->type == SOTH_OPT_T_DURATION ? "a duration: a whole number with ms, s, m or h" : "a whole number";
}

/* Decimal digits without leading zeros, a minus only where the option allows negative numbers, then a unit of the list. */
static bool parse_number(const char *text, const struct unit *units, bool negative, int64_t *out)
{
    bool minus = negative && *text == '-';
    text += minus;
    if (*text < '0' || *text > '9' || (text[0] == '0' && text[1] >= '0' && text[1] <= '9'))
        return false;
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno)
        return false;
    while (units->name && strcmp(end, units->name) != 0)
        units++;
    if (!units->name && (value != 0 || *end)) /* nothing needs no unit */
        return false;
    if (units->name && __builtin_mul_overflow(value, units->factor, &value))
        return false;
    *out = minus ? -value : value;
    return true;
}

bool value_parse_size(const char *text, int64_t *out)
{
    return parse_number(text, size_units, false, out);
}

void value_print_number(const struct soth_opt *opt, int64_t value, char *out, size_t size)
{
    const struct unit *units = units_of(opt), *best = units;
    if (value == 0 || value == INT64_MAX) {
        snprintf(out, size, "%s", value ? "any" : "0");
        return;
    }
    for (const struct unit *u = units; u->name; u++)
        if (value % u->factor == 0)
            best = u;
    snprintf(out, size, "%lld%s", (long long)(value / best->factor), best->name);
}

static void out_of_range(struct fill *f, const struct soth_opt *opt, const struct conf_node *node)
{
    char min[32], max[32];
    value_print_number(opt, opt->min, min, sizeof min);
    value_print_number(opt, opt->max, max, sizeof max);
    if (opt->max == INT64_MAX)
        value_wrong(f, node, "%s is too small, allowed is %s and more", node->text, min);
    else
        value_wrong(f, node, "%s is out of range, allowed is %s to %s", node->text, min, max);
}

static void fill_number(struct fill *f, const struct soth_opt *opt, const struct conf_node *node, void *field)
{
    int64_t value;
    bool plain = opt->type == SOTH_OPT_T_INT;
    if (node->quoted && plain)
        value_wrong(f, node, "'%s' is text, expected is %s without quotes", node->text, words_for(opt));
    else if (!parse_number(node->text, units_of(opt), plain, &value))
        value_wrong(f, node, "'%s' is not %s", node->text, words_for(opt));
    else if ((opt->min || opt->max) && (value < opt->min || value > opt->max))
        out_of_range(f, opt, node);
    else if (plain)
        *(int64_t *)field = value;
    else
        *(uint64_t *)field = (uint64_t)value;
}

/* ---- words ---- */

static void fill_bool(struct fill *f, const struct conf_node *node, void *field)
{
    bool yes = strcmp(node->text, "true") == 0;
    if (node->quoted || (!yes && strcmp(node->text, "false") != 0))
        value_wrong(f, node, "'%s' is neither true nor false", node->text);
    else
        *(uint8_t *)field = yes;
}

static void fill_enum(struct fill *f, const struct soth_opt *opt, const struct conf_node *node, void *field)
{
    uint32_t index = 0;
    size_t n = strlen(node->text);
    char words[256] = "";
    for (const char *at = opt->choices; at; index++) {
        size_t size = strcspn(at, "|"), used = strlen(words);
        if (size == n && memcmp(at, node->text, n) == 0) {
            *(uint32_t *)field = index;
            return;
        }
        snprintf(words + used, sizeof words - used, "%s%.*s", used ? ", " : "", (int)size, at);
        at = at[size] ? at + size + 1 : NULL;
    }
    value_wrong(f, node, "'%s' is not allowed, allowed is one of: %s", node->text, words);
}

/* ---- text ---- */

static bool length_fits(struct fill *f, const struct soth_opt *opt, const struct conf_node *node)
{
    int64_t n = (int64_t)strlen(node->text), least = opt->min;
    if ((opt->flags & SOTH_REQUIRED) && n == 0) {
        value_wrong(f, node, "must not be empty");
        return false;
    }
    if ((!opt->min && !opt->max) || (n >= least && n <= opt->max))
        return true;
    value_wrong(f, node, "the text has %lld bytes, allowed is %lld to %lld", (long long)n, (long long)opt->min, (long long)opt->max);
    return false;
}

static void fill_text(struct fill *f, const struct soth_opt *opt, const struct conf_node *node, void *field)
{
    if (!length_fits(f, opt, node))
        return;
    bool beside = opt->type == SOTH_OPT_T_PATH && node->file;
    char *text = value_own(f, beside ? place_beside(conf_file_path(node->file), node->text) : strdup(node->text));
    if (text)
        *(const char **)field = text;
}

static void fill_strings(struct fill *f, const struct soth_opt *opt, const struct conf_node *node, void *field)
{
    bool list = node->type == NODE_LIST;
    size_t n = list ? node->count : 1;
    int before = f->count;
    const char **v = value_own(f, calloc(n ? n : 1, sizeof *v));
    for (size_t i = 0; v && i < n; i++) {
        const struct conf_node *item = list ? &node->items[i] : node;
        size_t up = list ? value_down(f, NULL, i) : f->path_size;
        if (item->type != NODE_SCALAR || value_is_null(item))
            value_wrong(f, item, "expected is text");
        else if (length_fits(f, opt, item))
            v[i] = value_own(f, strdup(item->text));
        value_up(f, up);
    }
    if (f->count == before)
        *(struct soth_strings *)field = (struct soth_strings){v, n};
}

/* How many values stand in a mapping, those of its lists counted each. */
static size_t count_values(const struct conf_node *map)
{
    size_t n = 0;
    for (size_t i = 0; i < map->count; i++)
        n += map->items[i].type == NODE_LIST ? map->items[i].count : 1;
    return n;
}

/* The values of one key; returns how many. */
static size_t fill_pair(struct fill *f, const struct soth_opt *opt, const struct conf_node *map, size_t i, const char **v)
{
    struct soth_strings values = {NULL, 0};
    const char *key = map->keys[i].text;
    for (size_t k = 0; k < i; k++)
        if (strcmp(map->keys[k].text, key) == 0)
            value_wrong(f, &map->keys[i], "this key is here twice, give it a list of values");
    if (map->items[i].type == NODE_MAP || value_is_null(&map->items[i]))
        value_wrong(f, &map->items[i], "expected is text or a list of texts");
    else
        fill_strings(f, opt, &map->items[i], &values);
    for (size_t k = 0; k < values.n; k++) {
        v[2 * k] = k ? v[0] : value_own(f, strdup(key));
        v[2 * k + 1] = values.v[k];
    }
    return values.n;
}

static void fill_pairs(struct fill *f, const struct soth_opt *opt, const struct conf_node *node, void *field)
{
    const size_t most = count_values(node);
    size_t n = 0;
    int before = f->count;
    const char **v = value_own(f, calloc(most ? 2 * most : 1, sizeof *v));
    for (size_t i = 0; v && i < node->count; i++) {
        size_t up = value_down(f, node->keys[i].text, 0);
        n += 2 * fill_pair(f, opt, node, i, v + n);
        value_up(f, up);
    }
    if (f->count == before)
        *(struct soth_strings *)field = (struct soth_strings){v, n};
}

/* ---- all of them ---- */

static const char *expected(const struct soth_opt *opt)
{
    switch (opt->type) {
    case SOTH_OPT_T_BOOL:
        return "true or false";
    case SOTH_OPT_T_STRING:
        return "text";
    case SOTH_OPT_T_PATH:
        return "a path";
    case SOTH_OPT_T_ENUM:
        return "one word";
    case SOTH_OPT_T_STRINGS:
        return "text or a list of texts";
    case SOTH_OPT_T_PAIRS:
        return "a mapping (key: value)";
    default:
        return words_for(opt);
    }
}

static const char *const node_words[] = {[NODE_SCALAR] = "text", [NODE_LIST] = "a list", [NODE_MAP] = "a mapping"};

static bool takes(const struct soth_opt *opt, enum node_type type)
{
    if (opt->type == SOTH_OPT_T_PAIRS)
        return type == NODE_MAP;
    return type == NODE_SCALAR || (type == NODE_LIST && opt->type == SOTH_OPT_T_STRINGS);
}

void value_fill(struct fill *f, const struct soth_opt *opt, const struct conf_node *node, void *field)
{
    if (value_is_null(node)) {
        value_wrong(f, node, "has no value, expected is %s%s", expected(opt),
                    opt->type == SOTH_OPT_T_STRINGS ? " ([] for none)" : ", or no such key at all");
        return;
    }
    if (!takes(opt, node->type)) {
        value_wrong(f, node, "%s is not allowed here, expected is %s", node_words[node->type], expected(opt));
        return;
    }
    switch (opt->type) {
    case SOTH_OPT_T_BOOL:
        fill_bool(f, node, field);
        break;
    case SOTH_OPT_T_STRING:
    case SOTH_OPT_T_PATH:
        fill_text(f, opt, node, field);
        break;
    case SOTH_OPT_T_ENUM:
        fill_enum(f, opt, node, field);
        break;
    case SOTH_OPT_T_STRINGS:
        fill_strings(f, opt, node, field);
        break;
    case SOTH_OPT_T_PAIRS:
        fill_pairs(f, opt, node, field);
        break;
    default:
        fill_number(f, opt, node, field);
        break;
    }
}
