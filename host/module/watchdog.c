/* SPDX-License-Identifier: MPL-2.0 */
/* See watchdog.h. */
#include "host/module/watchdog.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "host/event/bus.h"
#include "host/log.h"
#include "host/module/crash.h"

#define LOOK_MS 20u    /* while somebody runs hooks */
#define IDLE_MS 100u   /* while nobody does */
#define IDLE_AFTER 50u /* looks at which nobody had moved */

struct watched {
    struct watched *next;
    pthread_t thread;
    const struct site *site;
    struct watch watch;
    uint64_t last; /* outermost call at the last look, over or not */
};

struct watchdog {
    struct bus *bus;
    pthread_t thread;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    struct watched *all;
    uint64_t hang_ms;
    unsigned idle; /* looks */
    bool stop;
};

/* ---- one look ---- */

enum watch_finding watch_look(struct watch *watch, const struct site *site, uint64_t elapsed_ms, uint64_t hang_ms, struct site_call *call)
{
    enum watch_finding found = WATCH_FINE;
    for (unsigned i = 0; i < SITE_DEPTH; i++) {
        struct site_call now;
        if (!site_read(site, i, &now))
            now.entry = 0;
        if (now.entry == 0 || now.entry != watch->level[i].entry) {
            watch->level[i].entry = now.entry;
            watch->level[i].stayed_ms = 0;
            watch->level[i].named = false;
            continue;
        }
        watch->level[i].stayed_ms += elapsed_ms;
        if (watch->level[i].stayed_ms >= hang_ms) {
            found = WATCH_HANGS;
            *call = now;
        } else if (watch->level[i].stayed_ms >= WATCHDOG_NAMED_MS && !watch->level[i].named) {
            watch->level[i].named = true;
            if (found == WATCH_HANGS)
                continue;
            found = WATCH_STAYS;
            *call = now;
        }
    }
    return found;
}

/* ---- what is done about it ---- */

static void name_it(struct watchdog *dog, const struct site_call *call)
{
    char detail[128];
    snprintf(detail, sizeof detail, "has been on its worker for more than %u ms; nothing else runs there meanwhile", WATCHDOG_NAMED_MS);
    log_at(SOTH_LOG_WARN, "%s: hook %s %s", call->module, call->hook, detail);
    bus_fault(dog->bus, call->module, call->hook, detail);
}

/* The report comes from the thread that hangs: its stack tells where. */
static void end_process(const struct watched *w, const struct site_call *call, uint64_t hang_ms)
{
    char text[256];
    struct timespec moment = {2, 0};
    snprintf(text, sizeof text, "module %s, hook %s: has been on its worker for hook_hang_timeout (%" PRIu64 " ms)", call->module, call->hook,
             hang_ms);
    crash_because(text);
    pthread_kill(w->thread, SIGABRT);
    nanosleep(&moment, NULL);
    abort(); /* it has the signal blocked */
}

/* (lock held) Returns whether anybody has moved. */
static bool look_at_all(struct watchdog *dog, uint64_t elapsed_ms)
{
    bool moved = false;
    for (struct watched *w = dog->all; w; w = w->next) {
        struct site_call call;
        switch (watch_look(&w->watch, w->site, elapsed_ms, dog->hang_ms, &call)) {
        case WATCH_STAYS:
            name_it(dog, &call);
            break;
        case WATCH_HANGS:
            end_process(w, &call, dog->hang_ms);
            break;
        default:
            break;
        }
        uint64_t last = site_last(w->site);
        moved = moved || last != w->last || site_read(w->site, 0, &call);
        w->last = last;
    }
    return moved;
}

/* ---- the thread ---- */

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

/* (lock held) */
static void rest(struct watchdog *dog, uint64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)ms * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (!dog->stop && pthread_cond_timedwait(&dog->changed, &dog->lock, &until) == 0)
        continue;
}

static void *run(void *arg)
{
    struct watchdog *dog = arg;
    pthread_setname_np(pthread_self(), "watchdog");
    crash_thread_begin();
    pthread_mutex_lock(&dog->lock);
    uint64_t last = now_ms();
    while (!dog->stop) {
        uint64_t period = dog->idle > IDLE_AFTER ? IDLE_MS : LOOK_MS;
        rest(dog, period);
        uint64_t now = now_ms(), elapsed = now - last < 2 * period ? now - last : 2 * period;
        last = now;
        dog->idle = look_at_all(dog, elapsed) ? 0 : dog->idle + 1;
    }
    pthread_mutex_unlock(&dog->lock);
    crash_thread_end();
    return NULL;
}

struct watchdog *watchdog_new(struct bus *bus, uint64_t hang_ms)
{
    struct watchdog *dog = calloc(1, sizeof *dog);
    pthread_condattr_t monotonic;
    if (!dog)
        return NULL;
    dog->bus = bus;
    dog->hang_ms = hang_ms;
    pthread_mutex_init(&dog->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&dog->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&dog->thread, NULL, run, dog) == 0)
        return dog;
    pthread_cond_destroy(&dog->changed);
    pthread_mutex_destroy(&dog->lock);
    free(dog);
    return NULL;
}

void watchdog_free(struct watchdog *dog)
{
    if (!dog)
        return;
    pthread_mutex_lock(&dog->lock);
    dog->stop = true;
    pthread_cond_signal(&dog->changed);
    pthread_mutex_unlock(&dog->lock);
    pthread_join(dog->thread, NULL);
    pthread_cond_destroy(&dog->changed);
    pthread_mutex_destroy(&dog->lock);
    free(dog);
}

void watchdog_set_limit(struct watchdog *dog, uint64_t hang_ms)
{
    pthread_mutex_lock(&dog->lock);
    dog->hang_ms = hang_ms;
    pthread_mutex_unlock(&dog->lock);
}

int watchdog_enter(struct watchdog *dog)
{
    struct watched *w = calloc(1, sizeof *w);
    if (!w)
        return -SOTH_ENOMEM;
    w->thread = pthread_self();
    w->site = &site_here;
    pthread_mutex_lock(&dog->lock);
    w->next = dog->all;
    dog->all = w;
    pthread_mutex_unlock(&dog->lock);
    return SOTH_OK;
}

void watchdog_leave(struct watchdog *dog)
{
    struct watched *w, **at = &dog->all;
    pthread_mutex_lock(&dog->lock);
    while (*at && (*at)->site != &site_here)
        at = &(*at)->next;
    w = *at;
    if (w)
        *at = w->next;
    pthread_mutex_unlock(&dog->lock);
    free(w);
}
