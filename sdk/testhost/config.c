/* SPDX-License-Identifier: MPL-2.0 */
/* A module's struct from its option table: presets, and what the test says as "key=value". What the host reads as YAML is a little more than this. */
#include "parts.h"

#include <errno.h>
#include <stdlib.h>

struct block {
    struct block *next;
    _Alignas(16) char bytes[];
};

struct fill {
    const char *const *config;
    struct block *owned;
    uint64_t used; /* entries of config that some key has taken, bit by bit; only the first 64 are looked after */
    bool wrong;
};

static void *own(struct fill *f, size_t n)
{
    struct block *block = calloc(1, sizeof *block + n);
    if (!block)
        abort();
    block->next = f->owned;
    f->owned = block;
    return block->bytes;
}

void th_config_free(void *owned)
{
    struct block *block = owned;
    while (block) {
        struct block *next = block->next;
        free(block);
        block = next;
    }
}

static void wrong(struct fill *f, const char *key, const char *value, const char *why)
{
    fprintf(stderr, "testhost: option %s: '%s' %s\n", key, value, why);
    f->wrong = true;
}

static const char *given(struct fill *f, const char *key)
{
    size_t n = strlen(key);
    for (unsigned i = 0; f->config && f->config[i]; i++)
        if (strncmp(f->config[i], key, n) == 0 && f->config[i][n] == '=') {
            f->used |= UINT64_C(1) << (i & 63);
            return f->config[i] + n + 1;
        }
    return NULL;
}

static bool number(const struct soth_opt *opt, const char *text, int64_t *out)
{
    static const struct {
        uint32_t type;
        const char *name;
        int64_t factor;
    } units[] = {
        {SOTH_OPT_T_INT, "", 1},          {SOTH_OPT_T_SIZE, "", 1},          {SOTH_OPT_T_SIZE, "k", 1024},
        {SOTH_OPT_T_SIZE, "M", 1 << 20},  {SOTH_OPT_T_SIZE, "G", 1 << 30},   {SOTH_OPT_T_DURATION, "ms", 1},
        {SOTH_OPT_T_DURATION, "s", 1000}, {SOTH_OPT_T_DURATION, "m", 60000}, {SOTH_OPT_T_DURATION, "h", 3600000},
    };
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text)
        return false;
    if (value == 0 && *end == 0) {
        *out = 0;
        return true;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (units[i].type == opt->type && strcmp(units[i].name, end) == 0) {
            *out = value * units[i].factor;
            return true;
        }
    return false;
}

static bool choice(const char *choices, const char *text, uint32_t *out)
{
    size_t n = strlen(text);
    for (*out = 0; choices; ++*out) {
        const char *bar = strchr(choices, '|');
        size_t length = bar ? (size_t)(bar - choices) : strlen(choices);
        if (length == n && memcmp(choices, text, n) == 0)
            return true;
        choices = bar ? bar + 1 : NULL;
    }
    return false;
}

static const char *copy(struct fill *f, const char *p, size_t n)
{
    char *text = own(f, n + 1);
    memcpy(text, p, n);
    return text;
}

/* A word up to one of these, without the spaces around it, or in quotes of either kind: then it may have any of them. *at comes to rest
 * behind it. */
static const char *word(struct fill *f, const char **at, const char *ends)
{
    const char *p = *at + strspn(*at, " ");
    if (*p == '"' || *p == '\'') {
        const char quote[] = {*p++, 0};
        size_t n = strcspn(p, quote);
        *at = p + n + (p[n] != 0);
        *at += strcspn(*at, ends);
        return copy(f, p, n);
    }
    size_t n = strcspn(p, ends);
    *at = p + n;
    while (n > 0 && p[n - 1] == ' ')
        n--;
    return copy(f, p, n);
}

/* As many words as there are commas and one more, at most; twice that for keys. */
static const char **room_for(struct fill *f, const char *text)
{
    size_t most = 1;
    for (const char *c = text; *c; c++)
        most += *c == ',';
    return own(f, 2 * most * sizeof(const char *));
}

/* "[a, b]", or one value. */
static void strings(struct fill *f, const char *text, struct soth_strings *out)
{
    const char **v = room_for(f, text);
    text += *text == '[';
    out->n = 0;
    while (*text && *text != ']') {
        const char *value = word(f, &text, ",]");
        if (*value)
            v[out->n++] = value;
        text += *text == ',';
    }
    out->v = v;
}

/* "{key: value, key: [a, b]}". False: it is something else. */
static bool pairs(struct fill *f, const char *text, struct soth_strings *out)
{
    const char **v = room_for(f, text);
    out->v = v;
    out->n = 0;
    if (*text++ != '{')
        return false;
    while (text += strspn(text, " ,"), *text && *text != '}') {
        const char *key = word(f, &text, ":,}");
        if (!*key || *text++ != ':')
            return false;
        text += strspn(text, " ");
        bool list = *text == '[';
        text += list;
        do {
            v[out->n++] = key;
            v[out->n++] = word(f, &text, list ? ",]" : ",}");
        } while (list && *text++ == ',');
    }
    return *text == '}';
}

static void set_number(struct fill *f, const struct soth_opt *opt, const char *key, const char *text, void *field)
{
    int64_t value;
    if (!number(opt, text, &value))
        wrong(f, key, text, "is no number of this kind");
    else if ((opt->min || opt->max) && (value < opt->min || value > opt->max))
        wrong(f, key, text, "is out of range");
    else if (opt->type == SOTH_OPT_T_INT)
        *(int64_t *)field = value;
    else
        *(uint64_t *)field = (uint64_t)value;
}

static void set(struct fill *f, const struct soth_opt *opt, const char *key, const char *text, void *field)
{
    switch (opt->type) {
    case SOTH_OPT_T_BOOL:
        *(uint8_t *)field = strcmp(text, "true") == 0;
        if (!*(uint8_t *)field && strcmp(text, "false") != 0)
            wrong(f, key, text, "is neither true nor false");
        break;
    case SOTH_OPT_T_INT:
    case SOTH_OPT_T_SIZE:
    case SOTH_OPT_T_DURATION:
        set_number(f, opt, key, text, field);
        break;
    case SOTH_OPT_T_STRING:
    case SOTH_OPT_T_PATH:
        *(const char **)field = copy(f, text, strlen(text));
        break;
    case SOTH_OPT_T_ENUM:
        if (!choice(opt->choices, text, field))
            wrong(f, key, text, "is none of the choices");
        break;
    case SOTH_OPT_T_STRINGS:
        strings(f, text, field);
        break;
    case SOTH_OPT_T_PAIRS:
        if (*text && !pairs(f, text, field))
            wrong(f, key, text, "is no {key: value, key: [value, value]}");
        break;
    default:
        if (strcmp(text, "[]") != 0 && *text)
            wrong(f, key, text, "cannot be said here: write the field in `fill`");
        break;
    }
}

static void fill(struct fill *f, const struct soth_opt *opt, const char *prefix, char *base)
{
    for (; opt && opt->key; opt++) {
        char key[256];
        snprintf(key, sizeof key, "%s%s%s", prefix, *prefix ? "." : "", opt->key);
        if (opt->type == SOTH_OPT_T_MAP) {
            fill(f, opt->sub, key, base + opt->offset);
            continue;
        }
        const char *value = given(f, key), *preset = opt->preset ? opt->preset : "";
        bool text = opt->type == SOTH_OPT_T_STRING || opt->type == SOTH_OPT_T_PATH;
        if (!value && (opt->flags & SOTH_REQUIRED))
            wrong(f, key, "", "is required");
        else if (value || *preset || text)
            set(f, opt, key, value ? value : preset, base + opt->offset);
    }
}

int th_config_fill(const struct soth_opt *options, const char *const *config, void *self, void **owned)
{
    struct fill f = {.config = config};
    fill(&f, options, "", self);
    for (unsigned i = 0; i < 64 && config && config[i]; i++)
        if (!(f.used >> i & 1))
            wrong(&f, config[i], "", "is no key of this module");
    *owned = f.owned;
    return f.wrong ? -SOTH_ECONFIG : SOTH_OK;
}
