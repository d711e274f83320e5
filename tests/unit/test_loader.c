/* SPDX-License-Identifier: MPL-2.0 */
/* What is no module of this host is refused with what differs; what an older SDK made is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf_text.h"
#include "host/module/inspect.h"
#include "host/module/instance.h"
#include "module_build.h"

static char *folder;

static int make_folder(void **state)
{
    (void)state;
    folder = scratch_new();
    return 0;
}

static int drop_folder(void **state)
{
    (void)state;
    scratch_free(folder);
    return 0;
}

static const struct soth_module *load(const char *name, int *error, char *err, size_t err_size)
{
    const char *one = folder;
    struct soth_strings directories = {&one, 1};
    *err = 0;
    return loader_get(&directories, name, error, err, err_size);
}

static void refused(const char *name, int error, const char *const *words)
{
    char err[1024];
    int got = 0;
    assert_null(load(name, &got, err, sizeof err));
    assert_int_equal(got, error);
    for (; *words; words++)
        if (!strstr(err, *words))
            fail_msg("'%s' is not in: %s", *words, err);
}
#define REFUSED(name, error, ...) refused(name, error, (const char *const[]){__VA_ARGS__, NULL})

static void build(const char *name, const char *flags)
{
    char all[256];
    snprintf(all, sizeof all, "-DNAME='\"%s\"' %s", name, flags);
    assert_int_equal(module_build("tests/fixtures/module.c", folder, name, all), 0);
}

static void what_differs_is_said(void **state)
{
    char host[32], target[64], next[64];
    (void)state;
    snprintf(host, sizeof host, "this host has %d.%d", SOTH_ABI_MAJOR, SOTH_ABI_MINOR);
    build("wrong_magic", "-DMAGIC=0x12345678u");
    REFUSED("wrong_magic", -SOTH_EABI, "wrong_magic.so", "magic number");
    build("other_major", "-DMAJOR=9");
    REFUSED("other_major", -SOTH_EABI, "other_major.so: built for ABI 9.", host, "rebuild the module");
    snprintf(next, sizeof next, "-DMINOR=%d", SOTH_ABI_MINOR + 1);
    build("newer_minor", next);
    snprintf(target, sizeof target, "-DSOTH_ABI_TARGET=%d", SOTH_ABI_MINOR);
    REFUSED("newer_minor", -SOTH_EABI, "built for ABI", host, "upgrade soth-mitm", target);
    build("short_struct", "-DSIZE=24");
    REFUSED("short_struct", -SOTH_EABI, "has 24 bytes", "at least");
    build("long_struct", "-DSIZE=4096");
    REFUSED("long_struct", -SOTH_EABI, "says that it has 4096 bytes, it has");
    build("other_kind", "-DKIND=7");
    REFUSED("other_kind", -SOTH_EABI, "module kind 7", "1 sink", "2 policy", "3 decoder");
}

/* A constructor would run inside dlopen. */
static void what_does_not_fit_never_runs(void **state)
{
    char err[1024];
    int error = 0;
    (void)state;
    unsetenv("SOTH_FIXTURE_RAN");
    build("early_bird", "-DCONSTRUCTOR -DMAJOR=9");
    REFUSED("early_bird", -SOTH_EABI, "built for ABI 9.");
    build("early_fish", "-DCONSTRUCTOR -DNO_SYMBOL");
    REFUSED("early_fish", -SOTH_EABI, "no symbol soth_mitm_module");
    assert_null(getenv("SOTH_FIXTURE_RAN"));
    build("early_worm", "-DCONSTRUCTOR");
    assert_non_null(load("early_worm", &error, err, sizeof err));
    assert_non_null(getenv("SOTH_FIXTURE_RAN"));
}

static void what_a_module_must_have(void **state)
{
    (void)state;
    build("sink_mute", "-DNO_OPERATIONS");
    REFUSED("sink_mute", -SOTH_EABI, "sink without a write");
    build("policy_mute", "-DNO_OPERATIONS -DKIND=SOTH_KIND_POLICY");
    REFUSED("policy_mute", -SOTH_EABI, "policy without any hook");
    build("source_mute", "-DKIND=SOTH_KIND_SOURCE");
    REFUSED("source_mute", -SOTH_EABI, "source without a start and a stop");
    build("cut_off", "-DSIZE='offsetof(struct soth_module, write)'"); /* the slot is beyond what the module says that it has */
    REFUSED("cut_off", -SOTH_EABI, "sink without a write");
    build("huge", "-DSELF='((size_t)1<<40)'");
    REFUSED("huge", -SOTH_EABI, "64 MiB");
    build("far_option", "-DBAD_OPTION");
    REFUSED("far_option", -SOTH_EABI, "far_option.so", "far");
    build("nameless", "-UNAME -DNAME='\"\"'");
    REFUSED("nameless", -SOTH_EABI, "no name");
    build("alias", "-UNAME -DNAME='\"original\"'");
    REFUSED("alias", -SOTH_EABI, "calls itself original", "original.so");
    build("no_symbol", "-DNO_SYMBOL");
    REFUSED("no_symbol", -SOTH_EABI, "no symbol soth_mitm_module");
    build("unresolved", "-DUNRESOLVED");
    REFUSED("unresolved", -SOTH_EABI, "cannot load", "nobody_has_this");
}

static void build_decoder(const char *name, const char *flags)
{
    char all[256];
    snprintf(all, sizeof all, "-DNAME='\"%s\"' %s", name, flags);
    assert_int_equal(module_build("tests/fixtures/lines.c", folder, name, all), 0);
}

static void what_a_decoder_must_be(void **state)
{
    char err[1024];
    int error = 0;
    (void)state;
    build_decoder("deaf", "-DNO_DATA -Wno-unused-function");
    REFUSED("deaf", -SOTH_EABI, "deaf.so", "decoder without a data");
    build_decoder("odd_mode", "-DMODE=2");
    REFUSED("odd_mode", -SOTH_EABI, "unknown mode", "SOTH_TRANSFORM");
    build_decoder("no_stage", "-DSTAGE=0");
    REFUSED("no_stage", -SOTH_EABI, "unknown stage");
    build_decoder("odd_stage", "-DSTAGE=4");
    REFUSED("odd_stage", -SOTH_EABI, "unknown stage", "SOTH_STAGE_CONTENT");
    build_decoder("wide", "-DWINDOW=65537");
    REFUSED("wide", -SOTH_EABI, "64 KiB");
    build_decoder("fat", "-DSTATE=1048577");
    REFUSED("fat", -SOTH_EABI, "1 MiB");
    build_decoder("fine", "-DWINDOW=65536 -DSTATE=1048576 -DMODE=SOTH_TRANSFORM -DSTAGE=SOTH_STAGE_SANITIZE");
    assert_non_null(load("fine", &error, err, sizeof err));
}

static void what_is_no_module_file(void **state)
{
    char path[512];
    (void)state;
    free(scratch_file(folder, "text.so", "module: text\n", 0600));
    REFUSED("text", -SOTH_EABI, "not an ELF");
    free(scratch_file(folder, "tiny.so", "\177E", 0600));
    REFUSED("tiny", -SOTH_EABI, "not an ELF");
    snprintf(path, sizeof path, "%s/directory.so", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    REFUSED("directory", -SOTH_ENOENT, "directory.so", "not a regular file");
    REFUSED("missing", -SOTH_ENOENT, "no module missing.so", folder);
}

static void who_may_write_it(void **state)
{
    char path[512];
    (void)state;
    build("shared", "");
    snprintf(path, sizeof path, "%s/shared.so", folder);
    chmod(path, 0722);
    REFUSED("shared", -SOTH_EABI, "group or others may write", "chmod go-w");
    chmod(path, 0755);
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 12345, 0), 0);
        REFUSED("shared", -SOTH_EABI, "another user", "chown");
        assert_int_equal(chown(path, 0, 0), 0);
    }
    char err[1024];
    int error = 0;
    assert_non_null(load("shared", &error, err, sizeof err));
}

static void the_first_directory_wins(void **state)
{
    char *other = scratch_new(), err[1024];
    const char *both[2] = {other, folder};
    struct soth_strings directories = {both, 2};
    int error = 0;
    (void)state;
    build("twice", "");
    const struct soth_module *second = loader_get(&directories, "twice", &error, err, sizeof err);
    assert_non_null(second);
    assert_ptr_equal(loader_get(&directories, "twice", &error, err, sizeof err), second); /* once per process */
    assert_int_equal(module_build("tests/fixtures/module.c", other, "twice", "-DNAME='\"twice\"'"), 0);
    const struct soth_module *first = loader_get(&directories, "twice", &error, err, sizeof err);
    assert_non_null(first);
    assert_ptr_not_equal(first, second);
    assert_null(loader_get(&directories, "nowhere", &error, err, sizeof err));
    assert_non_null(strstr(err, other));
    assert_non_null(strstr(err, folder));
    scratch_free(other);
}

static void an_older_and_shorter_module_is_taken(void **state)
{
    char err[1024];
    int error = 0;
    (void)state;
    build("older", "-DMINOR=0 -DSIZE='offsetof(struct soth_module, flush)'");
    const struct soth_module *module = load("older", &error, err, sizeof err);
    assert_non_null(module);
    assert_string_equal(module->name, "older");
}

static void a_file_that_was_replaced_is_noticed(void **state)
{
    char err[1024], path[512];
    int error = 0;
    unsigned before = registry_replaced_files();
    (void)state;
    build("replaced", "");
    const struct soth_module *module = load("replaced", &error, err, sizeof err);
    assert_non_null(module);
    assert_ptr_equal(load("replaced", &error, err, sizeof err), module);
    assert_int_equal(registry_replaced_files(), before);
    snprintf(path, sizeof path, "%s/replaced.so", folder);
    assert_int_equal(unlink(path), 0); /* the compiler would write into what is mapped */
    build("replaced", "");
    assert_ptr_equal(load("replaced", &error, err, sizeof err), module); /* the code that runs goes on */
    assert_int_equal(registry_replaced_files(), before + 1);
    assert_ptr_equal(load("replaced", &error, err, sizeof err), module);
    assert_int_equal(registry_replaced_files(), before + 1);
}

static void kinds_have_names(void **state)
{
    (void)state;
    assert_string_equal(inspect_kind(SOTH_KIND_SINK), "sink");
    assert_string_equal(inspect_kind(SOTH_KIND_POLICY), "policy");
    assert_string_equal(inspect_kind(SOTH_KIND_DECODER), "decoder");
    assert_string_equal(inspect_kind(SOTH_KIND_SOURCE), "source");
    assert_string_equal(inspect_kind(0), "?");
    assert_string_equal(inspect_kind(99), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_differs_is_said),         cmocka_unit_test(what_a_module_must_have),
        cmocka_unit_test(what_a_decoder_must_be),
        cmocka_unit_test(what_is_no_module_file),       cmocka_unit_test(who_may_write_it),
        cmocka_unit_test(the_first_directory_wins),     cmocka_unit_test(an_older_and_shorter_module_is_taken),
        cmocka_unit_test(what_does_not_fit_never_runs), cmocka_unit_test(a_file_that_was_replaced_is_noticed),
        cmocka_unit_test(kinds_have_names),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
