/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Memory that is not there: each life of fuzz/corpus/flow_step again and again, every time with another allocation failing. A flow may be cut for
 * it, but it ends once and takes nothing with it. The allocator is this program's own; sanitizers have theirs, there is nothing to see there.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "flow_program.h"
#include "flow_rig.h"

#define MOST_ALLOCATIONS 600

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SKIPPED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SKIPPED 1
#endif
#endif

static long countdown; /* the allocation that fails; 0 = none */

#ifndef SKIPPED
static bool fails(void)
{
    return countdown > 0 && --countdown == 0;
}

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t count, size_t n);
void *__libc_realloc(void *p, size_t n);

void *malloc(size_t n)
{
    return fails() ? NULL : __libc_malloc(n);
}

void *calloc(size_t count, size_t n)
{
    return fails() ? NULL : __libc_calloc(count, n);
}

void *realloc(void *p, size_t n)
{
    return fails() ? NULL : __libc_realloc(p, n);
}
#endif

/* true: there were so many allocations that one failed. */
static bool live(const uint8_t *program, size_t n, long which)
{
    struct driver d;
    program_begin(&d, &rig_world, program, n);
    driver_open(&d);
    assert_non_null(d.flow);
    countdown = which;
    driver_step(&d, (struct input){.type = INPUT_ACCEPTED});
    program_go_on(&d, program, n, false);
    bool failed = countdown == 0;
    countdown = 0;
    assert_true(d.closed);
    assert_null(d.flow);
    assert_int_equal(d.counters.active, 0);
    assert_int_equal(d.counters.illegal_transitions, 0);
    driver_fini(&d);
    return failed;
}

static void any_allocation_may_fail(void **state)
{
    char path[4096];
    uint8_t program[4096];
    const char *top = getenv("srcdir");
    unsigned long failures = 0;
    (void)state;
    snprintf(path, sizeof path, "%s/fuzz/corpus/flow_step", top ? top : ".");
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        snprintf(path, sizeof path, "%s/fuzz/corpus/flow_step/%s", top ? top : ".", entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "rb");
        if (!file)
            continue;
        size_t n = fread(program, 1, sizeof program, file);
        fclose(file);
        for (long which = 1; which < MOST_ALLOCATIONS && live(program, n, which); which++)
            failures++;
    }
    closedir(dir);
    assert_true(failures > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_allocation_may_fail)};
#ifdef SKIPPED
    print_message("skipped: the sanitizer's allocator is in use\n");
    return 77; /* automake counts it */
#endif
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
