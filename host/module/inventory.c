/* SPDX-License-Identifier: MPL-2.0 */
/* `soth-mitm module list` (inspect.h): every instance of conf.d by itself, so that one that is wrong does not hide the others. */
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "host/module/inspect.h"
#include "host/module/instance.h"
#include "host/module/object.h"
#include "host/module/trial.h"

const char *inspect_kind(unsigned kind)
{
    static const char *const names[] = {"?", "sink", "policy", "decoder", "source"};
    return names[kind < sizeof names / sizeof *names ? kind : 0];
}

struct row {
    const char *instance; /* NULL: nobody enables the module */
    char *module;
    struct soth_module prefix; /* kind 0: not known */
    const char *version, *state;
    char *why;
    int64_t order;
};

struct inventory {
    struct row *v;
    size_t n;
};

/* Takes module and why. */
static int add(struct inventory *all, const struct row *row)
{
    struct row *bigger = row->module && row->why ? realloc(all->v, (all->n + 1) * sizeof *bigger) : NULL;
    if (!bigger) {
        free(row->module);
        free(row->why);
        return -SOTH_ENOMEM;
    }
    all->v = bigger;
    all->v[all->n++] = *row;
    return SOTH_OK;
}

/* ---- instances ---- */

/* What the module says about this configuration; malloc'd, NULL = it is fine. */
static char *wrong_configuration(const struct soth_module *module, const struct conf_module *conf)
{
    char *said = NULL;
    size_t size = 0;
    struct trial trial = {.module = *module, .conf = conf, .errors = open_memstream(&said, &size)};
    if (!trial.errors)
        return strdup("out of memory");
    int r = trial_begin(&trial);
    trial_end(&trial);
    fclose(trial.errors);
    if (r < 0 && said) {
        said[strcspn(said, "\n")] = 0;
        return said;
    }
    free(said);
    return NULL;
}

/* Returns what is wrong with it, and lists it in any case. */
static int add_instance(struct inventory *all, const struct conf_module *conf, const struct settings *settings)
{
    char err[1024] = "";
    int error = SOTH_OK;
    struct row row = {.instance = conf->name, .module = strdup(conf->module), .version = "-", .state = "refused", .order = conf->order};
    const struct soth_module *module = loader_get(&settings->modules_dir, conf->module, &error, err, sizeof err);
    if (!module) {
        row.why = strdup(err);
        return add(all, &row) < 0 ? -SOTH_ENOMEM : -SOTH_EABI;
    }
    memcpy(&row.prefix, module, module->size < sizeof row.prefix ? module->size : sizeof row.prefix);
    row.version = row.prefix.version;
    row.why = wrong_configuration(&row.prefix, conf);
    row.state = row.why ? "wrong" : conf->enabled ? "on" : "off";
    error = row.why ? -SOTH_ECONFIG : SOTH_OK;
    if (!row.why)
        row.why = strdup(!conf->enabled ? "enabled: false" : row.prefix.doc ? row.prefix.doc : "");
    return add(all, &row) < 0 ? -SOTH_ENOMEM : error;
}

/* ---- modules that nobody enables ---- */

static int is_module(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name);
    return entry->d_name[0] != '.' && n > 3 && strcmp(entry->d_name + n - 3, ".so") == 0;
}

static bool is_listed(const struct inventory *all, const char *name)
{
    for (size_t i = 0; i < all->n; i++)
        if (strcmp(all->v[i].module, name) == 0)
            return true;
    return false;
}

/* Nothing of it is run: kind and ABI are in the file, the rest is not known. */
static int add_unused(struct inventory *all, const char *directory, const char *name)
{
    char path[4096], err[1024] = "no document of conf.d names it";
    int error;
    struct row row = {.module = strdup(name), .version = "-", .state = "unused"};
    snprintf(path, sizeof path, "%s/%s.so", directory, name);
    struct object *object = object_open(path, &error, err, sizeof err);
    if (object && object_read(object, "soth_mitm_module", &row.prefix, offsetof(struct soth_module, name)) <= 0)
        snprintf(err, sizeof err, "is no module of soth-mitm");
    object_close(object);
    row.why = strdup(err);
    return add(all, &row);
}

static int add_directory(struct inventory *all, const char *directory)
{
    struct dirent **entries = NULL;
    int r = SOTH_OK, n = scandir(directory, &entries, is_module, alphasort);
    for (int i = 0; i < n; i++) {
        entries[i]->d_name[strlen(entries[i]->d_name) - 3] = 0;
        if (r == SOTH_OK && !is_listed(all, entries[i]->d_name))
            r = add_unused(all, directory, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return r;
}

/* ---- the table ---- */

/* Sources, policies, decoders, sinks; then what was not loaded; then what nobody enables. */
static unsigned phase(const struct row *row)
{
    static const unsigned phases[] = {4, 3, 1, 2, 0};
    if (!row->instance)
        return 5;
    return phases[row->prefix.kind < sizeof phases / sizeof *phases ? row->prefix.kind : 0];
}

static int by_order(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (phase(x) != phase(y))
        return phase(x) < phase(y) ? -1 : 1;
    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    return strcmp(x->instance ? x->instance : x->module, y->instance ? y->instance : y->module);
}

#define COLUMNS "%-20s %-20s %-8s %-10s %-5s %5s  %-8s %s\n"

static void print_row(const struct row *row, FILE *out)
{
    char abi[32] = "-", order[32] = "-";
    if (row->prefix.kind)
        snprintf(abi, sizeof abi, "%u.%u", row->prefix.abi_major, row->prefix.abi_minor);
    if (row->instance)
        snprintf(order, sizeof order, "%" PRId64, row->order);
    fprintf(out, COLUMNS, row->instance ? row->instance : "-", row->module, row->prefix.kind ? inspect_kind(row->prefix.kind) : "-", row->version,
            abi, order, row->state, row->why);
}

int inspect_list(const struct settings *settings, FILE *out, FILE *errors)
{
    struct conf_modules modules;
    struct inventory all = {0};
    int worst = conf_modules_load(settings->conf_d, settings->conf_d_given, &modules, errors);
    for (size_t i = 0; i < modules.n; i++) {
        int r = add_instance(&all, &modules.v[i], settings);
        worst = worst < 0 ? worst : r;
    }
    for (size_t i = 0; i < settings->modules_dir.n; i++) {
        int r = add_directory(&all, settings->modules_dir.v[i]);
        worst = worst < 0 ? worst : r;
    }
    if (all.n > 1)
        qsort(all.v, all.n, sizeof *all.v, by_order);
    fprintf(out, COLUMNS, "instance", "module", "kind", "version", "abi", "order", "state", "why");
    for (size_t i = 0; i < all.n; i++) {
        print_row(&all.v[i], out);
        free(all.v[i].module);
        free(all.v[i].why);
    }
    free(all.v);
    conf_modules_fini(&modules);
    return worst;
}
