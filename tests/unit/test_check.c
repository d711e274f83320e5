/* SPDX-License-Identifier: MPL-2.0 */
/* `module check`: every broken promise is found and named, a module that keeps them is not accused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <soth/sdk.h>

#include "conf_text.h"
#include "host/module/inspect.h"
#include "host/module/trial.h"
#include "module_build.h"

static char *folder, file[512];

static int begin(void **state)
{
    (void)state;
    folder = scratch_new();
    snprintf(file, sizeof file, "%s/bad.so", folder);
    return 0;
}

static int end(void **state)
{
    (void)state;
    scratch_free(folder);
    return 0;
}

static void build(const char *flags)
{
    char all[256];
    snprintf(all, sizeof all, "-fvisibility=hidden -pthread %s", flags);
    assert_int_equal(module_build("tests/fixtures/misbehaved.c", folder, "bad", all), 0);
}

static void expect(int error, const char *config, unsigned step_ms, const char *const *words)
{
    char text[1024] = "";
    int r = inspect_check(file, config, step_ms, text, sizeof text);
    if (r != error)
        fail_msg("%d, expected %d: %s", r, error, text);
    for (; *words; words++)
        if (!strstr(text, *words))
            fail_msg("'%s' is not in: %s", *words, text);
}
#define EXPECT(error, config, ...) expect(error, config, 20000, (const char *const[]){__VA_ARGS__, NULL})

static void a_good_module_is_fine(void **state)
{
    (void)state;
    build("");
    EXPECT(SOTH_OK, NULL, "bad.so: symbols, operations, options, their defaults and 100 rounds of create and destroy are fine");
}

static void writes_outside_of_the_block(void **state)
{
    (void)state;
    build("-DWRITES_BEHIND");
    EXPECT(-SOTH_EABI, NULL, "create wrote behind its block of", "self_size");
    build("-DWRITES_IN_CHECK");
    EXPECT(-SOTH_EABI, NULL, "check wrote behind its block");
    build("-DWRITES_IN_FRONT");
    EXPECT(-SOTH_EABI, NULL, "create wrote in front of its block");
    build("-DWRITES_IN_DESTROY");
    EXPECT(-SOTH_EABI, NULL, "destroy wrote in front of its block");
    build("-DWRITES_FAR_BEHIND");
    EXPECT(-SOTH_EABI, NULL, "create touched byte", "of its block, which has", "self_size");
    build("-DWRITES_FAR_IN_FRONT");
    EXPECT(-SOTH_EABI, NULL, "create touched memory 8192 bytes in front of its block");
}

static void what_is_left_behind(void **state)
{
    (void)state;
    build("-DLEAVES_MEMORY");
    EXPECT(-SOTH_EABI, NULL, "each create and destroy loses", "bytes: destroy must free");
    build("-DLEAVES_DESCRIPTORS");
    EXPECT(-SOTH_EABI, NULL, "left 80 descriptors open: destroy must close");
    build("-DLEAVES_MAPPINGS");
    EXPECT(-SOTH_EABI, NULL, "leaves 16 pages mapped");
    build("-DLEAVES_THREADS");
    EXPECT(-SOTH_EABI, NULL, "left 80 threads running: destroy must end and join");
    build("-DUSES_SELF_LATER");
    EXPECT(-SOTH_EABI, NULL, "used self after destroy");
    build("-DONCE_ONLY");
    EXPECT(-SOTH_EABI, NULL, "create failed in round 2");
}

static void what_ends_the_process(void **state)
{
    (void)state;
    build("-DCRASHES");
    EXPECT(-SOTH_EABI, NULL, "create crashed in round 1 (SEGV)", "gdb --args");
    build("-DABORTS");
    EXPECT(-SOTH_EABI, NULL, "create crashed in round 1 (ABRT)");
    build("-DEXITS");
    EXPECT(-SOTH_EABI, NULL, "create ended the process with status 0: a module must not");
    build("-DHANGS");
    expect(-SOTH_EABI, NULL, 100, (const char *const[]){"create did not return within 100 ms", NULL});
}

static void symbols(void **state)
{
    (void)state;
    build("-DEXPORTS");
    EXPECT(-SOTH_EABI, NULL, "exports another_name beside soth_mitm_module", "-fvisibility=hidden");
    build("-DBORROWS"); /* libyaml is in this process, but not linked by the module */
    EXPECT(-SOTH_EABI, NULL, "takes yaml_get_version_string from libraries that the host happens to use", "-l");
}

static void configurations(void **state)
{
    char *config, *other, *wrong, *refused;
    (void)state;
    build("");
    config = scratch_file(folder, "good.yaml", "module: bad\nconfig: {path: a, strict: true}\n---\nmodule: other\nconfig: {x: 1}\n", 0600);
    other = scratch_file(folder, "other.yaml", "module: other\n", 0600);
    wrong = scratch_file(folder, "wrong.yaml", "module: bad\nconfig:\n  pth: a\n", 0600);
    refused = scratch_file(folder, "refused.yaml", "module: bad\nconfig:\n  strict: true\n", 0600);
    EXPECT(SOTH_OK, config, "100 rounds");
    EXPECT(-SOTH_ECONFIG, other, "other.yaml: none of its documents has module: bad");
    EXPECT(-SOTH_ECONFIG, wrong, "wrong.yaml:3:3: config.pth: unknown key, did you mean path?");
    EXPECT(-SOTH_ECONFIG, refused, "refused.yaml:3:3: config.path: is needed when strict");
    EXPECT(-SOTH_ECONFIG, "/nowhere.yaml", "/nowhere.yaml");
    free(config), free(other), free(wrong), free(refused);
}

static void without_a_configuration_that_it_needs(void **state)
{
    (void)state;
    build("");
    assert_int_equal(module_build("tests/fixtures/module.c", folder, "fixture", "-fvisibility=hidden"), 0);
    snprintf(file, sizeof file, "%s/fixture.so", folder);
    EXPECT(SOTH_OK, NULL, "no instance was made, since", "config.journal: is required", "--config FILE");
    snprintf(file, sizeof file, "%s/bad.so", folder);
}

static void what_the_loader_refuses(void **state)
{
    (void)state;
    assert_int_equal(module_build("tests/fixtures/module.c", folder, "fixture", "-DMAJOR=9"), 0);
    snprintf(file, sizeof file, "%s/fixture.so", folder);
    EXPECT(-SOTH_EABI, NULL, "fixture.so: built for ABI 9.");
    snprintf(file, sizeof file, "%s/nowhere.so", folder);
    EXPECT(-SOTH_ENOENT, NULL, "nowhere.so");
    snprintf(file, sizeof file, "%s", folder);
    EXPECT(-SOTH_ENOENT, NULL, "a module's file is NAME.so");
    snprintf(file, sizeof file, "%s/bad.so", folder);
}

/* A module may call any service: a slot that was added to the vtable must be there too. */
static void the_trial_has_every_service(void **state)
{
    (void)state;
    for (size_t at = offsetof(struct soth_host, log); at < sizeof trial_host; at += sizeof(void *)) {
        void *slot;
        memcpy(&slot, (const char *)&trial_host + at, sizeof slot);
        if (!slot)
            fail_msg("the slot at byte %zu is empty", at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_module_is_fine),   cmocka_unit_test(writes_outside_of_the_block),
        cmocka_unit_test(what_is_left_behind),     cmocka_unit_test(what_ends_the_process),
        cmocka_unit_test(symbols),                 cmocka_unit_test(configurations),
        cmocka_unit_test(without_a_configuration_that_it_needs), cmocka_unit_test(what_the_loader_refuses),
        cmocka_unit_test(the_trial_has_every_service),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
