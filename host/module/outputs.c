/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What only one instance may write: options with SOTH_EXCLUSIVE. Two instances of one generation whose paths lead to the same place are a mistake of
 * the configuration. Places are compared as the file system knows them, so that a folder has one name however it is spelt. Nothing is made here.
 */
#include "host/module/outputs.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host/module/instance.h"

/* A folder that exists, and what is below it: "" = the folder (or pipe) itself. */
struct output {
    const struct instance *instance;
    const struct soth_opt *opt;
    const char *path;
    dev_t device;
    ino_t inode;
    char *below;
};

/* "a//./b/" is "a/b"; in place. */
static void tidy(char *path)
{
    char *to = path, *rest = path;
    for (char *part; (part = strtok_r(NULL, "/", &rest)) != NULL;) {
        size_t n = strlen(part);
        if (strcmp(part, ".") == 0)
            continue;
        if (to > path)
            *to++ = '/';
        memmove(to, part, n);
        to += n;
    }
    *to = 0;
}

static bool set(struct output *out, const struct stat *st, const char *below)
{
    out->device = st->st_dev;
    out->inode = st->st_ino;
    out->below = strdup(below);
    if (out->below)
        tidy(out->below);
    return out->below != NULL;
}

/* The place of a path in its nearest folder that exists. */
static bool locate_below(struct output *out, char *folder)
{
    struct stat st;
    for (char *slash = strrchr(folder, '/'); slash; slash = strrchr(folder, '/')) {
        const char *below = out->path + (slash - folder) + 1;
        slash[slash == folder] = 0; /* the root is a folder, too */
        if (stat(folder, &st) == 0 && S_ISDIR(st.st_mode))
            return set(out, &st, below);
        *slash = 0;
    }
    return stat(".", &st) == 0 && set(out, &st, out->path);
}

/* false: nobody minds who writes there, too (a terminal, /dev/null), or it cannot be told. */
static bool locate(struct output *out)
{
    struct stat st;
    char *folder = strdup(out->path);
    bool is_there = stat(out->path, &st) == 0, found = false;
    if (is_there && !S_ISREG(st.st_mode))
        found = !S_ISCHR(st.st_mode) && set(out, &st, "");
    else if (folder) {
        for (size_t n = strlen(folder); n > 1 && folder[n - 1] == '/'; n--)
            folder[n - 1] = 0;
        found = locate_below(out, folder);
    }
    free(folder);
    return found;
}

static bool is_same(const struct output *a, const struct output *b)
{
    return a->instance != b->instance && a->device == b->device && a->inode == b->inode && strcmp(a->below, b->below) == 0;
}

static void complain(const struct output *first, const struct output *second, FILE *errors)
{
    char key[128], text[1024];
    snprintf(key, sizeof key, "config.%s", second->opt->key);
    snprintf(text, sizeof text, "'%s' is also %s of '%s' (%s): two instances must not write to one place, give each its own", second->path,
             first->opt->key, first->instance->conf->name, first->path);
    options_error(second->instance->conf->document, key, errors, text);
}

static size_t collect(const struct registry *registry, struct output *all)
{
    size_t n = 0;
    for (size_t i = 0; i < registry->n; i++)
        for (const struct soth_opt *opt = registry->v[i]->module.options; opt && opt->key; opt++) {
            if (!(opt->flags & SOTH_EXCLUSIVE))
                continue;
            struct output out = {.instance = registry->v[i], .opt = opt};
            memcpy(&out.path, registry->v[i]->self + opt->offset, sizeof out.path);
            if (*out.path && locate(&out) && all)
                all[n] = out;
            else
                free(out.below);
            n++;
        }
    return n;
}

int outputs_check(const struct registry *registry, FILE *errors)
{
    int r = SOTH_OK;
    struct output *all = calloc(collect(registry, NULL) + 1, sizeof *all);
    if (!all)
        return -SOTH_ENOMEM;
    size_t n = collect(registry, all);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (all[i].below && all[k].below && is_same(&all[k], &all[i])) {
                complain(&all[k], &all[i], errors);
                r = -SOTH_ECONFIG;
            }
    for (size_t i = 0; i < n; i++)
        free(all[i].below);
    free(all);
    return r;
}
