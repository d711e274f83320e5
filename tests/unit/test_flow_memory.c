/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Memory that is not there: each life of fuzz/corpus/flow_step again and again, every time with another allocation failing. A flow may be cut for
 * it, but it ends once and takes nothing with it.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failing_alloc.h"
#include "flow_program.h"
#include "flow_rig.h"

#define MOST_ALLOCATIONS 600

/* true: there were so many allocations that one failed. */
static bool live(const uint8_t *program, size_t n, long which)
{
    struct driver d;
    program_begin(&d, &rig_world, program, n);
    driver_open(&d);
    assert_non_null(d.flow);
    failing_arm(which);
    driver_step(&d, (struct input){.type = INPUT_ACCEPTED});
    program_go_on(&d, program, n, false);
    bool failed = failing_disarm();
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
#ifdef FAILING_SKIPPED
    print_message("skipped: the sanitizer's allocator is in use\n");
    return 77; /* automake counts it */
#endif
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
