/* SPDX-License-Identifier: MPL-2.0 */
/* Option tables as documentation, and a module's table looked over before it is used. */
#include <stdlib.h>
#include <string.h>

#include "host/conf/value.h"

static const char *type_name(const struct soth_opt *opt)
{
    static const char *const names[] = {"", "true or false", "number", "size", "duration", "text", "path", "word", "text or list", "list of mappings", "mapping", "mapping with any keys"};
    return opt->type < sizeof names / sizeof *names ? names[opt->type] : "mapping"; /* OPT_T_NODE */
}

static void print_range(const struct soth_opt *opt, FILE *out)
{
    char min[32], max[32];
    bool text = opt->type == SOTH_OPT_T_STRING || opt->type == SOTH_OPT_T_PATH || opt->type == SOTH_OPT_T_STRINGS;
    if (opt->type == SOTH_OPT_T_ENUM)
        for (const char *c = opt->choices; *c; c++)
            fputs(*c == '|' ? ", " : (char[]){*c, 0}, out);
    if (opt->type == SOTH_OPT_T_ENUM || (!opt->min && !opt->max))
        return;
    value_print_number(opt, opt->min, min, sizeof min);
    value_print_number(opt, opt->max, max, sizeof max);
    fprintf(out, "%s to %s%s", min, max, text ? " bytes" : "");
}

static void print_row(const struct soth_opt *opt, const char *prefix, FILE *out)
{
    fprintf(out, "| `%s%s` | %s | ", prefix, opt->key, type_name(opt));
    if (opt->flags & SOTH_REQUIRED)
        fputs("required", out);
    else if (opt->preset && *opt->preset)
        fprintf(out, "`%.*s`", (int)strcspn(opt->preset, "\n"), opt->preset);
    fputs(" | ", out);
    print_range(opt, out);
    fprintf(out, " | %s |\n", opt->doc ? opt->doc : "");
}

static void print_rows(const struct soth_opt *table, const char *prefix, FILE *out)
{
    for (const struct soth_opt *opt = table; opt && opt->key; opt++) {
        print_row(opt, prefix, out);
        if (opt->type == SOTH_OPT_T_MAP || opt->type == SOTH_OPT_T_LIST) {
            char below[256];
            snprintf(below, sizeof below, "%s%s%s.", prefix, opt->key, opt->type == SOTH_OPT_T_LIST ? "[]" : "");
            print_rows(opt->sub, below, out);
        }
    }
}

void options_doc(const struct soth_opt *table, const char *prefix, FILE *out)
{
    fputs("| key | type | default | allowed | meaning |\n|---|---|---|---|---|\n", out);
    print_rows(table, prefix, out);
}

static size_t field_size(const struct soth_opt *opt)
{
    switch (opt->type) {
    case SOTH_OPT_T_BOOL:
        return sizeof(uint8_t);
    case SOTH_OPT_T_ENUM:
        return sizeof(uint32_t);
    case SOTH_OPT_T_STRING:
    case SOTH_OPT_T_PATH:
        return sizeof(char *);
    case SOTH_OPT_T_STRINGS:
    case SOTH_OPT_T_PAIRS:
        return sizeof(struct soth_strings);
    case SOTH_OPT_T_LIST:
        return sizeof(struct soth_list);
    case SOTH_OPT_T_MAP:
        return 0;
    default:
        return sizeof(uint64_t);
    }
}

static bool is_there_before(const struct soth_opt *table, const struct soth_opt *opt)
{
    for (; table < opt; table++)
        if (strcmp(table->key, opt->key) == 0)
            return true;
    return false;
}

/* What is wrong with one row; NULL = nothing. */
static const char *wrong_row(const struct soth_opt *table, const struct soth_opt *opt, size_t size, unsigned depth)
{
    bool has_sub = opt->type == SOTH_OPT_T_LIST || opt->type == SOTH_OPT_T_MAP;
    if (opt->type < SOTH_OPT_T_BOOL || opt->type > SOTH_OPT_T_PAIRS)
        return "has an unknown type";
    if (opt->offset > size || size - opt->offset < field_size(opt))
        return "lies outside the module's struct";
    if (opt->type != SOTH_OPT_T_MAP && opt->offset % (field_size(opt) < sizeof(void *) ? field_size(opt) : sizeof(void *)) != 0)
        return "is not aligned as its type must be: take its place with offsetof";
    if (opt->type == SOTH_OPT_T_ENUM && !opt->choices)
        return "has no choices";
    if ((opt->flags & SOTH_EXCLUSIVE) && (opt->type != SOTH_OPT_T_PATH || depth > 0))
        return "has SOTH_EXCLUSIVE, which is for paths of the module's own table";
    if (has_sub && (!opt->sub || depth > 8))
        return "has no table of its own, or is nested too deeply";
    if (opt->type == SOTH_OPT_T_LIST && opt->item_size == 0)
        return "has items of size 0";
    if (opt->min > opt->max)
        return "has a range that ends before it begins";
    if (is_there_before(table, opt))
        return "is in the table twice";
    return NULL;
}

/* Every default must parse: fills a block with nothing but them. */
static int check_presets(const struct soth_opt *table, size_t size, char *err, size_t err_size)
{
    char *messages = NULL;
    size_t messages_size = 0, n = 0;
    struct options_owned *owned = NULL;
    FILE *errors = open_memstream(&messages, &messages_size);
    if (!errors)
        return -SOTH_ENOMEM;
    while (table && table[n].key)
        n++;
    void *block = calloc(1, size ? size : 1);
    struct conf_file *empty = conf_file_from_text("presets", "{}", errors);
    struct soth_opt *optional = calloc(n + 1, sizeof *optional);
    for (size_t i = 0; optional && i < n; i++) {
        optional[i] = table[i];
        optional[i].flags &= ~SOTH_REQUIRED;
    }
    int count = optional && block && empty ? options_fill(optional, conf_file_document(empty, 0), block, &owned, errors, "") : 1;
    fclose(errors);
    if (count > 0)
        snprintf(err, err_size, "a default does not parse: %.*s", messages ? (int)strcspn(messages, "\n") : 0, messages ? messages : "");
    options_fini(owned);
    conf_file_free(empty);
    free(optional);
    free(block);
    free(messages);
    return count > 0 ? -SOTH_EABI : SOTH_OK;
}

static int check_table(const struct soth_opt *table, size_t size, unsigned depth, char *err, size_t err_size)
{
    int r = SOTH_OK;
    for (const struct soth_opt *opt = table; r == SOTH_OK && opt && opt->key; opt++) {
        const char *what = wrong_row(table, opt, size, depth);
        if (what) {
            snprintf(err, err_size, "option %s %s", opt->key, what);
            return -SOTH_EABI;
        }
        if (opt->sub)
            r = check_table(opt->sub, opt->type == SOTH_OPT_T_LIST ? opt->item_size : size - opt->offset, depth + 1, err, err_size);
        if (r == SOTH_OK && opt->type == SOTH_OPT_T_LIST) /* its items have defaults of their own */
            r = check_presets(opt->sub, opt->item_size, err, err_size);
    }
    return r;
}

int options_check(const struct soth_opt *table, size_t self_size, char *err, size_t err_size)
{
    int r = check_table(table, self_size, 0, err, err_size);
    return r < 0 ? r : check_presets(table, self_size, err, err_size);
}
