/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Shared objects into the process. A module's prefix is checked before any code of it is called; what does not fit is refused with the
 * numbers of both sides and what to do. Nothing is ever unloaded. dlopen is called here and nowhere else.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/log.h"
#include "host/module/instance.h"

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
        return refuse(err, err_size, path, "is a policy without any hook");
    if (m->kind == SOTH_KIND_SOURCE && (!m->start || !m->stop))
        return refuse(err, err_size, path, "is a source without a start and a stop operation");
    if (m->options && options_check(m->options, m->self_size, why, sizeof why) < 0)
        return refuse(err, err_size, path, why);
    return SOTH_OK;
}

const char *loader_kind_name(uint32_t kind)
{
    static const char *const names[] = {[SOTH_KIND_SINK] = "sink", [SOTH_KIND_POLICY] = "policy", [SOTH_KIND_DECODER] = "decoder",
                                        [SOTH_KIND_SOURCE] = "source"};
    return kind < sizeof names / sizeof *names && names[kind] ? names[kind] : "unknown";
}

int loader_check(const struct soth_module *module, const char *path, char *err, size_t err_size)
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
    if (module->kind != SOTH_KIND_SINK && module->kind != SOTH_KIND_POLICY && module->kind != SOTH_KIND_SOURCE) {
        snprintf(err, err_size, "%s: module kind %u is unknown to this host (it has 1 sink, 2 policy, 4 source)", path, module->kind);
        return -SOTH_EABI;
    }
    struct soth_module copy = {0};
    memcpy(&copy, module, module->size < sizeof copy ? module->size : sizeof copy);
    return check_operations(&copy, path, err, err_size);
}

/* Its code runs inside the proxy: nobody but root and the proxy's own user may have written it. */
static const char *unsafe(const struct stat *st)
{
    if (st->st_mode & (S_IWGRP | S_IWOTH))
        return "group or others may write it: chmod go-w it, its code runs inside the proxy";
    if (st->st_uid != 0 && st->st_uid != geteuid())
        return "belongs to another user, who could put any code into the proxy: chown it";
    return NULL;
}

/* Is it a file that only its owner writes, and an ELF object? */
static int check_file(const char *path, char *err, size_t err_size)
{
    struct stat st;
    char magic[4];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        snprintf(err, err_size, "%s: cannot open: %s", path, fd < 0 ? strerror(errno) : "not a regular file");
        if (fd >= 0)
            close(fd);
        return -SOTH_ENOENT;
    }
    ssize_t n = read(fd, magic, sizeof magic);
    close(fd);
    if (n != 4 || memcmp(magic, "\177ELF", 4) != 0)
        return refuse(err, err_size, path, "is not an ELF shared object");
    return unsafe(&st) ? refuse(err, err_size, path, unsafe(&st)) : SOTH_OK;
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
        snprintf(err, err_size, "cannot load: %s", dlerror());
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
