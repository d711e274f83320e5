/* SPDX-License-Identifier: MPL-2.0 */
/* Where a thread is, and what the watchdog makes of it: looks at given times instead of a clock. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "host/event/bus.h"
#include "host/log.h"
#include "host/module/instance.h"
#include "host/module/watchdog.h"

static struct instance slow = {.site = "slow"}, inner = {.site = "inner"};
static struct watch watch;
static struct site_call call;

static int begin(void **state)
{
    (void)state;
    memset(&watch, 0, sizeof watch);
    memset(&call, 0, sizeof call);
    return 0;
}

static enum watch_finding look(uint64_t elapsed_ms)
{
    return watch_look(&watch, &site_here, elapsed_ms, 1000, &call);
}

static void is_named(const char *module, const char *hook)
{
    assert_string_equal(call.module, module);
    assert_string_equal(call.hook, hook);
}

static void a_site_is_read_while_it_lasts(void **state)
{
    struct site_call read;
    (void)state;
    assert_false(site_read(&site_here, 0, &read));
    site_enter(&slow, "data");
    site_enter(&inner, "frame");
    assert_true(site_read(&site_here, 0, &read));
    assert_string_equal(read.module, "slow");
    assert_string_equal(read.hook, "data");
    uint64_t outer = read.entry;
    assert_true(site_read(&site_here, 1, &read));
    assert_string_equal(read.module, "inner");
    assert_string_equal(read.hook, "frame");
    uint64_t within = read.entry;
    assert_false(site_read(&site_here, 2, &read));
    site_leave();
    assert_false(site_read(&site_here, 1, &read));
    site_enter(&inner, "frame"); /* another call */
    assert_true(site_read(&site_here, 1, &read) && read.entry != within);
    site_leave();
    assert_true(site_read(&site_here, 0, &read) && read.entry == outer);
    assert_int_equal(site_last(&site_here), outer);
    site_leave();
    assert_false(site_read(&site_here, 0, &read));
    assert_int_equal(site_last(&site_here), outer);
}

static void deeper_than_can_be_told(void **state)
{
    struct site_call read;
    (void)state;
    for (unsigned i = 0; i < SITE_DEPTH + 3; i++)
        site_enter(&slow, "data");
    assert_true(site_read(&site_here, SITE_DEPTH - 1, &read));
    assert_false(site_read(&site_here, SITE_DEPTH, &read));
    for (unsigned i = 0; i < SITE_DEPTH + 3; i++)
        site_leave();
    assert_false(site_read(&site_here, 0, &read));
}

static void a_hook_is_named_once(void **state)
{
    (void)state;
    assert_int_equal(look(20), WATCH_FINE);
    site_enter(&slow, "connect");
    assert_int_equal(look(5000), WATCH_FINE); /* seen for the first time: since when is not known */
    assert_int_equal(look(50), WATCH_FINE);
    assert_int_equal(look(49), WATCH_FINE);
    assert_int_equal(look(1), WATCH_STAYS);
    is_named("slow", "connect");
    assert_int_equal(look(500), WATCH_FINE);
    site_leave();
    assert_int_equal(look(500), WATCH_FINE);
    site_enter(&slow, "connect"); /* another call */
    assert_int_equal(look(500), WATCH_FINE);
    assert_int_equal(look(100), WATCH_STAYS);
    site_leave();
}

static void quick_hooks_are_never_named(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        site_enter(&slow, "connect");
        assert_int_equal(look(99), WATCH_FINE);
        site_leave();
    }
}

static void the_innermost_is_to_blame(void **state)
{
    (void)state;
    site_enter(&slow, "data");
    look(20);
    assert_int_equal(look(100), WATCH_STAYS);
    is_named("slow", "data");
    for (unsigned i = 0; i < 10; i++) { /* quick calls within do not hide it */
        site_enter(&inner, "frame");
        assert_int_equal(look(50), WATCH_FINE);
        site_leave();
    }
    site_enter(&inner, "frame");
    assert_int_equal(look(50), WATCH_FINE);
    assert_int_equal(look(100), WATCH_STAYS);
    is_named("inner", "frame");
    assert_int_equal(look(300), WATCH_HANGS); /* the outer one has been there for a second */
    is_named("slow", "data");
    assert_int_equal(look(700), WATCH_HANGS);
    is_named("inner", "frame");
    site_leave();
    site_leave();
    assert_int_equal(look(20), WATCH_FINE);
}

static void names_outlive_their_owners(void **state)
{
    char name[] = "audit";
    (void)state;
    const char *kept = site_name(name);
    assert_ptr_equal(site_name("audit"), kept);
    name[0] = '?';
    assert_string_equal(kept, "audit");
    assert_string_equal(site_name("other"), "other");
}

/* ---- with a clock: the thread itself ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t told = PTHREAD_COND_INITIALIZER;
static unsigned faults;

static int count_faults(void *instance, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    (void)instance;
    (void)retry_ms;
    pthread_mutex_lock(&lock);
    for (*done = 0; *done < batch->count; ++*done) {
        const struct soth_event *e = batch->events[*done];
        faults += soth_span_is(e->attrs[1].text, "connect") && soth_span_is(e->attrs[2].text, "slow");
    }
    pthread_cond_broadcast(&told);
    pthread_mutex_unlock(&lock);
    return SOTH_OK;
}

/* A worker that is in a hook until the fault was told. */
static void *stay(void *arg)
{
    struct watchdog *dog = arg;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    assert_int_equal(watchdog_enter(dog), SOTH_OK);
    site_enter(&slow, "connect");
    pthread_mutex_lock(&lock);
    while (faults == 0 && pthread_cond_timedwait(&told, &lock, &until) == 0)
        continue;
    pthread_mutex_unlock(&lock);
    site_leave();
    watchdog_leave(dog);
    return NULL;
}

static void the_thread_tells_the_bus(void **state)
{
    struct bus_sink_ops ops = {count_faults, NULL, NULL};
    struct bus_queue_config queue = {.max_events = 1024, .max_bytes = 1 << 20};
    struct bus *bus = bus_new();
    pthread_t thread;
    (void)state;
    log_level(-1);
    bus_add_sink(bus, "faults", NULL, &ops, UINT64_C(1) << SOTH_EV_MODULE_FAULT, &queue);
    bus_start(bus);
    struct watchdog *dog = watchdog_new(bus, 60000);
    assert_non_null(dog);
    watchdog_set_limit(dog, 50000);
    assert_int_equal(pthread_create(&thread, NULL, stay, dog), 0);
    pthread_join(thread, NULL);
    watchdog_free(dog);
    bus_stop(bus, 5000);
    assert_int_equal(faults, 1);
    bus_free(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_site_is_read_while_it_lasts, begin), cmocka_unit_test_setup(deeper_than_can_be_told, begin),
        cmocka_unit_test_setup(a_hook_is_named_once, begin),          cmocka_unit_test_setup(quick_hooks_are_never_named, begin),
        cmocka_unit_test_setup(the_innermost_is_to_blame, begin),     cmocka_unit_test_setup(names_outlive_their_owners, begin),
        cmocka_unit_test_setup(the_thread_tells_the_bus, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
