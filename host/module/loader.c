/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Shared objects into the process. A module's prefix is checked before any code of it is called; what does not fit is refused with the
 * numbers of both sides and what to do. Nothing is ever unloaded. dlopen is called here and nowhere else.
 */
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/log.h"
#include "host/module/instance.h"
#include "host/module/object.h"

struct loaded {
    struct loaded *next;
    char *path;
    const struct soth_module *module;
    struct stat was, seen; /* the file: when it was loaded, when it was last looked at */
};

static struct loaded *all;
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;

static int refuse(char *err, size_t err_size, const char *path, const char *why)
{
    snprintf(err, err_size, "%s: %s", path, why);
    return -SOTH_EABI;
}

static int check_version(const struct soth_module *m, const char *path, char *err, size_t err_size)
{
    if (m->abi_major != SOTH_ABI_MAJOR) {
        snprintf(err, err_size, "%s: built for ABI %u.%u, this host has %d.%d; rebuild the module with this host's SDK", path, m->abi_major,
                 m->abi_minor, SOTH_ABI_MAJOR, SOTH_ABI_MINOR);
        return -SOTH_EABI;
    }
    if (m->abi_minor > SOTH_ABI_MINOR) {
        snprintf(err, err_size, "%s: built for ABI %u.%u, this host has %d.%d; upgrade soth-mitm or rebuild with -DSOTH_ABI_TARGET=%d", path,
                 m->abi_major, m->abi_minor, SOTH_ABI_MAJOR, SOTH_ABI_MINOR, SOTH_ABI_MINOR);
        return -SOTH_EABI;
    }
    return SOTH_OK;
}

static const char *decoder_fault(const struct soth_module *m)
{
    if (!m->data)
        return "is a decoder without a data operation";
    if (m->mode > SOTH_TRANSFORM)
        return "is a decoder of an unknown mode: it must be SOTH_TAP or SOTH_TRANSFORM";
    if (m->stage < SOTH_STAGE_CONTENT || m->stage > SOTH_STAGE_SANITIZE)
        return "is a decoder of an unknown stage: it must be SOTH_STAGE_CONTENT, _FRAME or _SANITIZE";
    if (m->min_window > 65536)
        return "wants a window of more than 64 KiB";
    if (m->state_size > (size_t)1024 * 1024)
        return "wants more than 1 MiB of state for an exchange";
    return NULL;
}

static int check_operations(const struct soth_module *m, const char *path, char *err, size_t err_size)
{
    char why[256];
    if (!m->name || !m->version || !m->license || !*m->name)
        return refuse(err, err_size, path, "has no name, version or license");
    if (m->self_size > (size_t)64 * 1024 * 1024)
        return refuse(err, err_size, path, "wants more than 64 MiB for an instance");
    if (m->kind == SOTH_KIND_SINK && !m->write)
        return refuse(err, err_size, path, "is a sink without a write operation");
    if (m->kind == SOTH_KIND_POLICY && !m->connect && !m->request && !m->response && !m->frame && !m->rewrite && !m->signal)
        return refuse(err, err_size, path, "is a policy without any hook (connect, request, response, frame, rewrite, signal)");
    if (m->kind == SOTH_KIND_DECODER && decoder_fault(m))
        return refuse(err, err_size, path, decoder_fault(m));
    if (m->kind == SOTH_KIND_SOURCE && (!m->start || !m->stop))
        return refuse(err, err_size, path, "is a source without a start and a stop operation");
    if (m->options && options_check(m->options, m->self_size, why, sizeof why) < 0)
        return refuse(err, err_size, path, why);
    return SOTH_OK;
}

static int check_prefix(const struct soth_module *module, const char *path, char *err, size_t err_size)
{
    /* behind it come the operations of the kinds, of which an older minor may have fewer */
    const uint32_t least = (uint32_t)offsetof(struct soth_module, write);
    if (module->magic != SOTH_MAGIC)
        return refuse(err, err_size, path, "its symbol soth_mitm_module is not a soth-mitm module (wrong magic number)");
    int r = check_version(module, path, err, err_size);
    if (r < 0)
        return r;
    if (module->size < least) {
        snprintf(err, err_size, "%s: its module struct has %u bytes, at least %u are needed; rebuild it with the SDK's macros", path,
                 module->size, least);
        return -SOTH_EABI;
    }
    if (module->kind < SOTH_KIND_SINK || module->kind > SOTH_KIND_SOURCE) {
        snprintf(err, err_size, "%s: module kind %u is unknown to this host (it has 1 sink, 2 policy, 3 decoder, 4 source)", path, module->kind);
        return -SOTH_EABI;
    }
    return SOTH_OK;
}

int loader_check(const struct soth_module *module, const char *path, char *err, size_t err_size)
{
    int r = check_prefix(module, path, err, err_size);
    if (r < 0)
        return r;
    struct soth_module copy = {0};
    memcpy(&copy, module, module->size < sizeof copy ? module->size : sizeof copy);
    return check_operations(&copy, path, err, err_size);
}

/* The prefix and its size, out of the file: what does not fit is refused before any code of it runs, constructors included. */
static int check_file(const char *path, char *err, size_t err_size)
{
    int error = SOTH_OK;
    struct soth_module prefix = {0};
    struct object *object = object_open(path, &error, err, err_size);
    if (!object)
        return error;
    int64_t size = object_read(object, "soth_mitm_module", &prefix, offsetof(struct soth_module, name));
    if (size == 0 && object_has_symbols(object))
        error = refuse(err, err_size, path, "has no symbol soth_mitm_module: not a module of soth-mitm, or not exported");
    else if (size < 0)
        error = refuse(err, err_size, path, "its symbol soth_mitm_module is no constant struct: write it with the SDK's macros");
    else if (size > 0)
        error = check_prefix(&prefix, path, err, err_size);
    if (error == SOTH_OK && size > 0 && prefix.size > (uint64_t)size) {
        snprintf(err, err_size, "%s: its module struct says that it has %u bytes, it has %u; rebuild it with the SDK's macros", path, prefix.size,
                 (unsigned)size);
        error = -SOTH_EABI;
    }
    object_close(object);
    return error;
}

/* NAME.so holds the module NAME: configuration, metrics and messages then speak of the same thing. */
static int check_name(const struct soth_module *module, const char *path, char *err, size_t err_size)
{
    const char *file = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    size_t n = strlen(module->name);
    if (strncmp(file, module->name, n) == 0 && strcmp(file + n, ".so") == 0)
        return SOTH_OK;
    snprintf(err, err_size, "%s: calls itself %s, its file must be %s.so", path, module->name, module->name);
    return -SOTH_EABI;
}

static const struct soth_module *load(const char *path, int *error, char *err, size_t err_size)
{
    *error = check_file(path, err, err_size);
    if (*error < 0)
        return NULL;
    *error = -SOTH_EABI;
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!handle) {
        const char *why = dlerror(); /* has the path */
        snprintf(err, err_size, "cannot load: %s%s", why,
                 strstr(why, "undefined symbol") ? "; link the library that has it, -Wl,-z,defs shows such names when it is built" : "");
        return NULL;
    }
    const struct soth_module *module = dlsym(handle, "soth_mitm_module");
    if (!module) {
        snprintf(err, err_size, "%s: has no symbol soth_mitm_module: not a module of soth-mitm, or not exported", path);
        return NULL;
    }
    *error = loader_check(module, path, err, err_size);
    if (*error == SOTH_OK)
        *error = check_name(module, path, err, err_size);
    return *error < 0 ? NULL : module;
}

/* ---- what is loaded ---- */

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* New code cannot take the place of code that runs; that it is there is said once. */
static void look_again(struct loaded *l)
{
    struct stat now;
    if (stat(l->path, &now) < 0 || same_file(&now, &l->seen))
        return;
    l->seen = now;
    if (!same_file(&now, &l->was))
        log_at(SOTH_LOG_WARN, "%s was replaced on disk: the code that was loaded from it before goes on until soth-mitm is restarted", l->path);
}

unsigned registry_replaced_files(void)
{
    unsigned n = 0;
    pthread_mutex_lock(&all_lock);
    for (const struct loaded *l = all; l; l = l->next)
        n += !same_file(&l->seen, &l->was);
    pthread_mutex_unlock(&all_lock);
    return n;
}

static const struct soth_module *load_once(const char *path, int *error, char *err, size_t err_size)
{
    for (struct loaded *l = all; l; l = l->next)
        if (strcmp(l->path, path) == 0) {
            look_again(l);
            return l->module;
        }
    struct stat was = {0};
    (void)!stat(path, &was);
    const struct soth_module *module = load(path, error, err, err_size);
    struct loaded *entry = module ? calloc(1, sizeof *entry) : NULL;
    if (entry && (entry->path = strdup(path))) {
        entry->module = module;
        entry->was = entry->seen = was;
        entry->next = all;
        all = entry;
    } else {
        free(entry);
    }
    return module;
}

const struct soth_module *loader_get(const struct soth_strings *directories, const char *name, int *error, char *err, size_t err_size)
{
    size_t used = 0;
    char path[PATH_MAX];
    for (size_t i = 0; i < directories->n; i++) {
        snprintf(path, sizeof path, "%s/%s.so", directories->v[i], name);
        if (access(path, F_OK) != 0)
            continue;
        pthread_mutex_lock(&all_lock);
        const struct soth_module *module = load_once(path, error, err, err_size);
        pthread_mutex_unlock(&all_lock);
        return module;
    }
    *error = -SOTH_ENOENT;
    used = (size_t)snprintf(err, err_size, "there is no module %s.so in", name);
    for (size_t i = 0; i < directories->n && used < err_size; i++)
        used += (size_t)snprintf(err + used, err_size - used, "%s %s", i ? "," : "", directories->v[i]);
    return NULL;
}
