/* SPDX-License-Identifier: MPL-2.0 */
/* Tables whose entries have an age, also where many share a hash, and all share a bucket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <soth/sdk.h>

#include "host/mem/aged.h"

#define MOST 40u

struct one {
    struct aged_entry aged;
    unsigned name;
};

static struct aged table;
static struct one ones[MOST];

/* The hashes of two follow each other in one bucket of 16 or 64. */
static int begin(void **state)
{
    (void)state;
    assert_int_equal(aged_init(&table, MOST), SOTH_OK);
    for (unsigned i = 0; i < MOST; i++) {
        ones[i] = (struct one){.aged = {.hash = (i / 2) * 64u + 5u}, .name = i};
        aged_add(&table, &ones[i].aged);
    }
    return 0;
}

static int end(void **state)
{
    (void)state;
    aged_fini(&table);
    return 0;
}

static bool has(unsigned name)
{
    for (struct aged_entry *at = aged_first(&table, ones[name].aged.hash); at; at = aged_next(at)) {
        assert_int_equal(at->hash, ones[name].aged.hash);
        if (((struct one *)at)->name == name)
            return true;
    }
    return false;
}

static unsigned oldest(void)
{
    return ((struct one *)table.oldest)->name;
}

static void the_oldest_goes_first(void **state)
{
    (void)state;
    assert_int_equal(table.count, table.capacity);
    for (unsigned i = 0; i < MOST; i++) {
        assert_int_equal(oldest(), i);
        assert_true(has(i));
        aged_remove(&table, table.oldest);
        assert_false(has(i));
        assert_int_equal(table.count, MOST - 1 - i);
    }
    assert_null(table.oldest);
    assert_null(table.newest);
}

static void who_is_used_is_young(void **state)
{
    (void)state;
    aged_touch(&table, &ones[0].aged);
    assert_ptr_equal(table.newest, &ones[0].aged);
    assert_int_equal(oldest(), 1);
    aged_touch(&table, &ones[0].aged); /* again */
    aged_touch(&table, &ones[7].aged);
    aged_remove(&table, &ones[0].aged); /* from between */
    aged_remove(&table, &ones[7].aged); /* the newest */
    aged_remove(&table, &ones[1].aged); /* the oldest */
    assert_int_equal(oldest(), 2);
    assert_int_equal(((struct one *)table.newest)->name, MOST - 1);
    for (unsigned i = 0; i < MOST; i++)
        assert_int_equal(has(i), i != 0 && i != 1 && i != 7);
}

static void of_one_hash_the_newest_is_found_first(void **state)
{
    (void)state;
    struct aged_entry *first = aged_first(&table, ones[9].aged.hash);
    assert_ptr_equal(first, &ones[9].aged);
    assert_ptr_equal(aged_next(first), &ones[8].aged);
    assert_null(aged_next(&ones[8].aged));
    assert_null(aged_first(&table, 6));
    assert_null(aged_first(&table, 64u * MOST + 5u)); /* in the bucket of all others */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_oldest_goes_first, begin, end),
        cmocka_unit_test_setup_teardown(who_is_used_is_young, begin, end),
        cmocka_unit_test_setup_teardown(of_one_hash_the_newest_is_found_first, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
