/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What modules that are compiled rely on: every field and number of every minor that was released is where it was. Held when this file is
 * compiled; a new minor adds its layout.def below.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <soth/sdk.h>

#define SOTH_FIELD(type, field, at, n)                                                                   \
    _Static_assert(offsetof(struct type, field) == (at) && sizeof(((struct type *)0)->field) == (n),      \
                   #type "." #field " is not where compiled modules look for it");
#define SOTH_STRUCT_FROZEN(type, n) _Static_assert(sizeof(struct type) == (n), #type " is used by value and cannot change its size");
#define SOTH_STRUCT_GROWS(type, n) _Static_assert(sizeof(struct type) >= (n), #type " can only grow");
#define SOTH_VALUE(name, value) _Static_assert((long long)(name) == (value), #name " is another number in compiled modules");

#if UINTPTR_MAX == UINT64_MAX
#include "tests/fixtures/abi/v0_1/layout.def"
#endif

/* What the host reads before it knows anything of a module, for ever. */
struct prefix {
    uint32_t magic;
    uint16_t abi_major, abi_minor;
    uint32_t size, kind;
};
_Static_assert(offsetof(struct soth_module, magic) == offsetof(struct prefix, magic), "the prefix is frozen");
_Static_assert(offsetof(struct soth_module, abi_major) == offsetof(struct prefix, abi_major), "the prefix is frozen");
_Static_assert(offsetof(struct soth_module, abi_minor) == offsetof(struct prefix, abi_minor), "the prefix is frozen");
_Static_assert(offsetof(struct soth_module, size) == offsetof(struct prefix, size), "the prefix is frozen");
_Static_assert(offsetof(struct soth_module, kind) == offsetof(struct prefix, kind), "the prefix is frozen");
_Static_assert(offsetof(struct soth_module, name) == sizeof(struct prefix), "the prefix is frozen");

SOTH_SOURCE_MODULE(made_by_the_macro, "1.0", "MIT", .doc = "nothing");

static void the_macros_write_the_prefix(void **state)
{
    (void)state;
    assert_int_equal(soth_mitm_module.magic, 0x534f5448);
    assert_int_equal(soth_mitm_module.abi_major, SOTH_ABI_MAJOR);
    assert_int_equal(soth_mitm_module.abi_minor, SOTH_ABI_TARGET);
    assert_int_equal(soth_mitm_module.size, sizeof soth_mitm_module);
    assert_int_equal(soth_mitm_module.kind, SOTH_KIND_SOURCE);
    assert_string_equal(soth_mitm_module.name, "made_by_the_macro");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_macros_write_the_prefix)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
