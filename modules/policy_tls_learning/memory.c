/* SPDX-License-Identifier: MPL-2.0 */
/* What instances of one name have learnt: in this process's memory as long as there is one of them. */
#include <stdlib.h>
#include <time.h>

#include "learning.h"

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct memory *all;

static struct memory *memory_new(const char *name)
{
    struct memory *m = calloc(1, sizeof *m);
    pthread_condattr_t attr;
    if (!m)
        return NULL;
    m->name = strdup(name);
    if (!m->name || store_init(&m->store) < 0) {
        free(m->name);
        free(m);
        return NULL;
    }
    pthread_mutex_init(&m->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&m->changed, &attr);
    pthread_condattr_destroy(&attr);
    m->next = all;
    all = m;
    return m;
}

struct memory *memory_get(const char *name, int *fresh)
{
    pthread_mutex_lock(&all_lock);
    struct memory *m = all;
    while (m && strcmp(m->name, name) != 0)
        m = m->next;
    *fresh = !m;
    if (!m)
        m = memory_new(name);
    if (m)
        m->users++;
    pthread_mutex_unlock(&all_lock);
    return m;
}

void memory_put(struct memory *m)
{
    pthread_mutex_lock(&all_lock);
    int last = --m->users == 0;
    for (struct memory **at = &all; last && *at; at = &(*at)->next)
        if (*at == m) {
            *at = m->next;
            break;
        }
    pthread_mutex_unlock(&all_lock);
    if (!last)
        return;
    store_fini(&m->store);
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->changed);
    free(m->name);
    free(m);
}

void memory_changed(struct memory *m)
{
    m->version++;
    atomic_store_explicit(&m->active, m->store.active.count, memory_order_relaxed);
    pthread_cond_broadcast(&m->changed);
}
