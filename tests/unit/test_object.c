/* SPDX-License-Identifier: MPL-2.0 */
/* A shared object read as a file: its symbols, its prefix, and no way to hurt the reader with a damaged one. */
#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <soth/sdk.h>

#include "conf_text.h"
#include "host/module/object.h"
#include "module_build.h"

static char *folder, whole[512], copy[512];
static unsigned char *bytes;
static size_t size;

static int begin(void **state)
{
    (void)state;
    folder = scratch_new();
    snprintf(whole, sizeof whole, "%s/whole.so", folder);
    snprintf(copy, sizeof copy, "%s/copy.so", folder);
    if (module_build("tests/fixtures/module.c", folder, "whole", "-g0 -DNAME='\"whole\"'") != 0)
        return -1;
    FILE *in = fopen(whole, "rb");
    bytes = malloc(1 << 20);
    size = in && bytes ? fread(bytes, 1, 1 << 20, in) : 0;
    if (in)
        fclose(in);
    return size > 1000 && size < 1 << 20 ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    free(bytes);
    scratch_free(folder);
    return 0;
}

static void write_copy(const unsigned char *p, size_t n)
{
    FILE *out = fopen(copy, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(p, 1, n, out), n);
    fclose(out);
}

struct seen {
    size_t exported, wanted;
    bool has_fopen;
};

static bool count(void *arg, const struct object_symbol *symbol)
{
    struct seen *seen = arg;
    seen->exported += symbol->is_defined;
    seen->wanted += !symbol->is_defined;
    seen->has_fopen = seen->has_fopen || strncmp(symbol->name, "fopen", 5) == 0;
    return true;
}

/* Opens, walks and reads; returns what object_open said. */
static int walk(const char *path, struct seen *seen, struct soth_module *prefix)
{
    char err[512] = "";
    int error = 0;
    *seen = (struct seen){0};
    struct object *object = object_open(path, &error, err, sizeof err);
    if (!object) {
        assert_true(error < 0 && strncmp(err, path, strlen(path)) == 0);
        return error;
    }
    object_symbols(object, count, seen);
    int64_t n = object_read(object, "soth_mitm_module", prefix, offsetof(struct soth_module, name));
    assert_int_equal(object_read(object, "no such symbol", prefix, 0), 0);
    object_close(object);
    return n > 0 ? (int)n : 0;
}

static void symbols_and_prefix_are_read(void **state)
{
    struct seen seen;
    struct soth_module prefix = {0};
    (void)state;
    assert_int_equal(walk(whole, &seen, &prefix), sizeof(struct soth_module));
    assert_int_equal(prefix.magic, SOTH_MAGIC);
    assert_int_equal(prefix.size, sizeof(struct soth_module));
    assert_int_equal(prefix.kind, SOTH_KIND_SINK);
    assert_true(seen.has_fopen);
    assert_true(seen.wanted > 3);
    assert_true(seen.exported >= 1);
}

static void another_machine_is_told_apart(void **state)
{
    struct seen seen;
    struct soth_module prefix;
    char err[512];
    int error;
    unsigned char saved = bytes[18];
    (void)state;
    bytes[18] = EM_RISCV & 255;
    write_copy(bytes, size);
    bytes[18] = saved;
    assert_null(object_open(copy, &error, err, sizeof err));
    assert_non_null(strstr(err, "another kind of machine"));
    saved = bytes[16];
    bytes[16] = ET_EXEC;
    write_copy(bytes, size);
    bytes[16] = saved;
    assert_null(object_open(copy, &error, err, sizeof err));
    assert_non_null(strstr(err, "-shared"));
    write_copy(bytes, size);
    assert_true(walk(copy, &seen, &prefix) > 0);
}

static void a_file_that_was_cut_is_damaged(void **state)
{
    struct seen seen;
    struct soth_module prefix;
    (void)state;
    for (size_t n = 0; n < size; n += n < 200 ? 1 : 211) {
        write_copy(bytes, n);
        assert_int_equal(walk(copy, &seen, &prefix), -SOTH_EABI);
    }
}

/* Flips bytes where they matter: the header, the section headers, the symbols. Anything may come out, but not a crash. */
static void a_file_with_other_bytes_is_survived(void **state)
{
    struct seen seen;
    struct soth_module prefix;
    Elf64_Ehdr header;
    const char *cases = getenv("PROP_CASES");
    (void)state;
    memcpy(&header, bytes, sizeof header);
    srand(1);
    for (int i = 0; i < (cases ? atoi(cases) : 2000); i++) {
        size_t at = rand() % 2 ? header.e_shoff + (size_t)rand() % (size - header.e_shoff) : (size_t)rand() % (rand() % 2 ? 64 : size);
        unsigned char saved = bytes[at];
        bytes[at] = (unsigned char)(rand() % 3 ? rand() : 255);
        write_copy(bytes, size);
        walk(copy, &seen, &prefix);
        bytes[at] = saved;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(symbols_and_prefix_are_read),
        cmocka_unit_test(another_machine_is_told_apart),
        cmocka_unit_test(a_file_that_was_cut_is_damaged),
        cmocka_unit_test(a_file_with_other_bytes_is_survived),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
