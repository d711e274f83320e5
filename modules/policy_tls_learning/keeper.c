/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The thread beside the hooks: it ends bypasses when their time is over, whether somebody connects or not, and writes the state file a moment
 * after what was learnt has changed. Hooks never wait for a disk.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "learning.h"

#define SAVE_AFTER_NS UINT64_C(200000000)   /* several changes make one write */
#define RETRY_AFTER_NS UINT64_C(5000000000) /* after a write that failed */

struct state_clock keeper_now(const struct learning *self)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (struct state_clock){self->host->monotonic_ns(), (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u};
}

/* ---- telling ---- */

void keeper_tell(struct learning *self, uint32_t kind, const struct store_entry *e, const char *reason)
{
    struct soth_span client = store_client(e);
    self->host->emit(self, NULL, kind,
                     SOTH_ATTRS({"client", SOTH_BYTES(client.n ? client : ((struct soth_span){NULL, 0}))}, {"host", SOTH_BYTES(store_host(e))},
                                {"reason", SOTH_TEXT(soth_span(reason))}, {"ttl_s", SOTH_U64(e->ttl_ms / 1000)}));
}

void keeper_gauges(struct learning *self)
{
    self->host->set(self, self->gauge_entries, store_size(&self->memory->store));
    self->host->set(self, self->gauge_active, self->memory->store.active.count);
}

void keeper_expire(struct learning *self, uint64_t now_ns)
{
    struct memory *m = self->memory;
    for (;;) {
        pthread_mutex_lock(&m->lock);
        struct store_entry *e = store_expired(&m->store, now_ns);
        if (e) {
            memory_changed(m);
            keeper_gauges(self);
        }
        pthread_mutex_unlock(&m->lock);
        if (!e)
            return;
        keeper_tell(self, SOTH_EV_TLS_BYPASS_EXPIRED, e, "ttl");
        free(e);
    }
}

/* ---- the state file ---- */

/* As text, with its version. */
static char *text_of(struct learning *self, size_t *n, uint64_t *version)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, n);
    if (!out)
        return NULL;
    struct state_clock now = keeper_now(self);
    pthread_mutex_lock(&self->memory->lock);
    *version = self->memory->version;
    state_write(&self->memory->store, &now, out);
    pthread_mutex_unlock(&self->memory->lock);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

static int save(struct learning *self, char *why, size_t why_size)
{
    size_t n;
    uint64_t version;
    char *text = text_of(self, &n, &version);
    if (!text) {
        snprintf(why, why_size, "out of memory");
        return -SOTH_ENOMEM;
    }
    int r = state_save(self->state_path, text, n, why, why_size);
    free(text);
    if (r == SOTH_OK)
        self->saved = version;
    return r;
}

static void save_later(struct learning *self)
{
    char why[256];
    int r = save(self, why, sizeof why);
    if (r < 0) {
        self->host->count(self, self->count_state_errors, 1);
        if (!self->save_failed)
            self->host->log(self, SOTH_LOG_ERROR, "%s: %s; what is learnt is in memory only until it can be written", self->state_path, why);
    } else if (self->save_failed) {
        self->host->log(self, SOTH_LOG_INFO, "%s is written again", self->state_path);
    }
    self->save_failed = r < 0;
}

/* Beside it, under a name that says when. */
static void set_aside(struct learning *self, const char *why, uint64_t unix_ms)
{
    char *aside = NULL;
    if (asprintf(&aside, "%s.bad-%llu", self->state_path, (unsigned long long)(unix_ms / 1000)) < 0)
        aside = NULL;
    if (aside && rename(self->state_path, aside) == 0)
        self->host->log(self, SOTH_LOG_ERROR, "%s is no state of this module: %s; nothing of it is used, it is kept as %s", self->state_path, why, aside);
    else
        self->host->log(self, SOTH_LOG_ERROR, "%s is no state of this module: %s; nothing of it is used, and it cannot be renamed: %s",
                        self->state_path, why, strerror(errno));
    free(aside);
}

static int load(struct learning *self)
{
    char why[256] = "out of memory";
    uint64_t ended;
    struct state_clock now = keeper_now(self);
    struct store *store = &self->memory->store;
    int r = state_load(self->state_path, store, (size_t)self->max_hosts, &now, self->ttl_ms, &ended, why, sizeof why);
    if (r == -SOTH_EINVALID) {
        store_fini(store);
        set_aside(self, why, now.unix_ms);
        return store_init(store);
    }
    if (r < 0)
        return self->host->cfg_err(self, "state_path", "'%s': %s", self->state_path, why);
    if (ended)
        self->host->log(self, SOTH_LOG_INFO, "%s: %llu hosts were tunnelled until some time when nobody was here", self->state_path,
                        (unsigned long long)ended);
    atomic_store(&self->memory->active, store->active.count);
    atomic_store(&self->restored, (unsigned)store->active.count);
    keeper_gauges(self);
    return SOTH_OK;
}

/* ---- the thread ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a == 0 || (b && b < a) ? b : a;
}

/* With the lock. In the clock of the condition, which need not be the host's. */
static void wait_for(struct learning *self, uint64_t ns)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    uint64_t until = (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec + ns;
    t.tv_sec = (time_t)(until / UINT64_C(1000000000));
    t.tv_nsec = (long)(until % UINT64_C(1000000000));
    pthread_cond_timedwait(&self->memory->changed, &self->memory->lock, &t);
}

/* With the lock. */
static int has_unsaved(const struct learning *self)
{
    return *self->state_path && self->memory->version != self->saved;
}

/* Until something is due, or to be saved and nobody knows yet when, or it is to stop. Returns whether it goes on. */
static int wait(struct learning *self, uint64_t save_ns)
{
    struct memory *m = self->memory;
    pthread_mutex_lock(&m->lock);
    while (!self->stop) {
        uint64_t due = earlier(store_next_expiry(&m->store), save_ns), now = self->host->monotonic_ns();
        if ((due && now >= due) || (save_ns == 0 && has_unsaved(self)))
            break;
        if (due)
            wait_for(self, due - now);
        else
            pthread_cond_wait(&m->changed, &m->lock);
    }
    int goes_on = !self->stop;
    pthread_mutex_unlock(&m->lock);
    return goes_on;
}

static int is_unsaved(struct learning *self)
{
    pthread_mutex_lock(&self->memory->lock);
    int unsaved = has_unsaved(self);
    pthread_mutex_unlock(&self->memory->lock);
    return unsaved;
}

static void *keep(void *arg)
{
    struct learning *self = arg;
    uint64_t save_ns = 0; /* when the file is written, 0 = there is no need */
    while (wait(self, save_ns)) {
        uint64_t now = self->host->monotonic_ns();
        keeper_expire(self, now);
        if (save_ns && now >= save_ns) {
            save_later(self);
            save_ns = 0;
        }
        if (!save_ns && is_unsaved(self))
            save_ns = now + (self->save_failed ? RETRY_AFTER_NS : SAVE_AFTER_NS);
    }
    if (is_unsaved(self))
        save_later(self);
    return NULL;
}

int keeper_start(struct learning *self, int fresh)
{
    char why[256];
    sigset_t every, before;
    if (*self->state_path) {
        int r = fresh ? load(self) : SOTH_OK;
        if (r == SOTH_OK && (r = save(self, why, sizeof why)) < 0)
            r = self->host->cfg_err(self, "state_path", "'%s': %s", self->state_path, why);
        if (r < 0)
            return r;
    }
    sigfillset(&every); /* signals are the host's */
    pthread_sigmask(SIG_SETMASK, &every, &before);
    int error = pthread_create(&self->keeper, NULL, keep, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    self->keeper_runs = error == 0;
    return error ? -SOTH_ENOMEM : SOTH_OK;
}

void keeper_stop(struct learning *self)
{
    if (!self->keeper_runs)
        return;
    pthread_mutex_lock(&self->memory->lock);
    self->stop = 1;
    pthread_cond_broadcast(&self->memory->changed);
    pthread_mutex_unlock(&self->memory->lock);
    pthread_join(self->keeper, NULL);
    self->keeper_runs = 0;
}
