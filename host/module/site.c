/* SPDX-License-Identifier: MPL-2.0 */
/* See site.h. */
#include "host/module/site.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

_Thread_local struct site site_here;

struct name {
    struct name *next;
    char text[];
};

static struct name *names; /* as many as were ever configured */
static pthread_mutex_t names_lock = PTHREAD_MUTEX_INITIALIZER;

static const char *find_or_add(const char *text)
{
    for (const struct name *n = names; n; n = n->next)
        if (strcmp(n->text, text) == 0)
            return n->text;
    struct name *fresh = malloc(sizeof *fresh + strlen(text) + 1);
    if (!fresh)
        return "?";
    strcpy(fresh->text, text);
    fresh->next = names;
    names = fresh;
    return fresh->text;
}

const char *site_name(const char *instance_name)
{
    pthread_mutex_lock(&names_lock);
    const char *name = find_or_add(instance_name);
    pthread_mutex_unlock(&names_lock);
    return name;
}

bool site_read(const struct site *site, unsigned depth, struct site_call *out)
{
    if (depth >= SITE_DEPTH || depth >= atomic_load_explicit(&site->depth, memory_order_acquire))
        return false;
    const struct site_frame *f = &site->frames[depth];
    out->entry = atomic_load_explicit(&f->entry, memory_order_acquire);
    out->module = atomic_load_explicit(&f->module, memory_order_acquire);
    out->hook = atomic_load_explicit(&f->hook, memory_order_acquire);
    return out->entry != 0 && out->entry == atomic_load_explicit(&f->entry, memory_order_relaxed);
}
