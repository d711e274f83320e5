/* SPDX-License-Identifier: MPL-2.0 */
/* What a module exports and what it wants from others. */
#include <dlfcn.h>
#include <string.h>

#include "host/module/check.h"
#include "host/module/object.h"

#define SHOWN 4 /* names in a sentence */

struct names {
    char text[256];
    size_t used, n;
    void *handle;
};

static void add_name(struct names *names, const char *name)
{
    size_t left = sizeof names->text - names->used;
    if (names->n++ < SHOWN && strlen(name) + 3 < left)
        names->used += (size_t)snprintf(names->text + names->used, left, "%s%s", names->used ? ", " : "", name);
}

/* Names that linkers and sanitizers put there. */
static bool is_of_the_tools(const char *name)
{
    static const char *const whole[] = {"_init", "_fini", "_edata", "_end", "__bss_start", "__end__", "_etext"};
    static const char *const begin[] = {"__asan_", "__odr_asan", "__ubsan_", "__tsan_", "__lsan_", "__sanitizer_", "__sancov_", "__gcov_"};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (strcmp(name, whole[i]) == 0)
            return true;
    for (size_t i = 0; i < sizeof begin / sizeof *begin; i++)
        if (strncmp(name, begin[i], strlen(begin[i])) == 0)
            return true;
    return false;
}

static bool collect_exported(void *arg, const struct object_symbol *symbol)
{
    if (symbol->is_defined && strcmp(symbol->name, "soth_mitm_module") != 0 && !is_of_the_tools(symbol->name))
        add_name(arg, symbol->name);
    return true;
}

/* dlsym on the object's own handle looks into it and into what it is linked with, not into the host. */
static bool collect_wanted(void *arg, const struct object_symbol *symbol)
{
    struct names *names = arg;
    if (!symbol->is_defined && !symbol->is_weak && !is_of_the_tools(symbol->name) && !dlsym(names->handle, symbol->name))
        add_name(names, symbol->name);
    return true;
}

int check_exports(struct shared *s)
{
    struct names names = {0};
    int error;
    struct object *object = object_open(s->file, &error, s->text, sizeof s->text);
    if (!object)
        return s->result = error;
    object_symbols(object, collect_exported, &names);
    object_close(object);
    if (names.n == 0)
        return SOTH_OK;
    return check_tell(s, -SOTH_EABI, "exports %s%s beside soth_mitm_module, which others may pick up: compile with -fvisibility=hidden, or link "
                      "with a version script that keeps them local", names.text, names.n > SHOWN ? ", ..." : "");
}

int check_wants(struct shared *s)
{
    struct names names = {0};
    char path[sizeof s->directory + sizeof s->name + 8];
    int error;
    snprintf(path, sizeof path, "%s/%s.so", s->directory, s->name);
    struct object *object = object_open(path, &error, s->text, sizeof s->text);
    if (!object)
        return s->result = error;
    names.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
    if (names.handle)
        object_symbols(object, collect_wanted, &names);
    object_close(object);
    if (names.n == 0)
        return SOTH_OK;
    return check_tell(s, -SOTH_EABI, "takes %s%s from libraries that the host happens to use: link the library that has it, with -l", names.text,
                      names.n > SHOWN ? ", ..." : "");
}
