/* SPDX-License-Identifier: MPL-2.0 */
/* host/conf/document.c: YAML into nodes with their places, and everything that is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conf_text.h"
#include "host/conf/document.h"

/* Parses text as t.yaml; the messages are in *messages. */
static struct conf_file *parse(const char *text, char **messages)
{
    struct said said;
    said_begin(&said);
    struct conf_file *file = conf_file_from_text("t.yaml", text, said.out);
    *messages = said_end(&said);
    return file;
}

static void refused(const char *text, const char *wanted)
{
    char *messages;
    struct conf_file *file = parse(text, &messages);
    assert_null(file);
    assert_string_equal(messages, wanted);
    free(messages);
}

static struct conf_file *accepted(const char *text)
{
    char *messages;
    struct conf_file *file = parse(text, &messages);
    assert_string_equal(messages, "");
    assert_non_null(file);
    free(messages);
    return file;
}

static void is_at(const struct conf_node *node, enum node_type type, unsigned line, unsigned column)
{
    assert_non_null(node);
    assert_int_equal(node->type, type);
    assert_int_equal(node->line, line);
    assert_int_equal(node->column, column);
}

static void test_places(void **state)
{
    (void)state;
    struct conf_file *file = accepted("# first\nlisten:\n  - {addr: \"x\", port: 1}\n  -   addr: 'y'\nname: \xc3\xa4\xc3\xb6 # two characters\n"
                                      "flow: [a, bc,\n  d]\n");
    const struct conf_node *root = conf_file_document(file, 0), *listen = node_get(root, "listen");
    is_at(root, NODE_MAP, 2, 1);
    is_at(&root->keys[1], NODE_SCALAR, 5, 1);
    is_at(listen, NODE_LIST, 3, 3);
    assert_int_equal(listen->count, 2);
    is_at(&listen->items[0], NODE_MAP, 3, 5);
    is_at(node_get(&listen->items[0], "port"), NODE_SCALAR, 3, 23);
    assert_true(node_get(&listen->items[0], "addr")->quoted);
    assert_false(node_get(&listen->items[0], "port")->quoted);
    is_at(node_get(&listen->items[1], "addr"), NODE_SCALAR, 4, 13);
    assert_string_equal(node_get(root, "name")->text, "\xc3\xa4\xc3\xb6");
    is_at(&node_get(root, "flow")->items[2], NODE_SCALAR, 7, 3);
    assert_null(node_get(root, "nothing"));
    assert_null(node_get(listen, "nothing"));
    assert_string_equal(conf_file_path(root->file), "t.yaml");
    conf_file_free(file);
}

static void test_documents(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t count;
        const char *empty; /* a letter a document: e empty, f full */
    } cases[] = {
        {"", 0, ""}, {"# nothing\n", 0, ""}, {"---\n", 1, "e"}, {"null\n", 1, "e"}, {"a: 1\n", 1, "f"}, {"a: 1\n---\n---\nb: 2\n", 3, "fef"},
        {"--- \n# only words\n---\na: 1\n...\n", 2, "ef"}, {"\"\"\n", 1, "f"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct conf_file *file = accepted(cases[i].text);
        assert_int_equal(conf_file_documents(file), cases[i].count);
        for (size_t k = 0; k < cases[i].count; k++)
            assert_int_equal(conf_file_document(file, k) ? 'f' : 'e', cases[i].empty[k]);
        assert_null(conf_file_document(file, cases[i].count));
        conf_file_free(file);
    }
}

static void test_refused(void **state)
{
    (void)state;
    refused("a: &x 1\n", "t.yaml:1:4: yaml: anchors are not supported, write the value out\n");
    refused("a: &x [1]\n", "t.yaml:1:4: yaml: anchors are not supported, write the value out\n");
    refused("a: &x {b: 1}\n", "t.yaml:1:4: yaml: anchors are not supported, write the value out\n");
    refused("a: 1\nb: *x\n", "t.yaml:2:4: yaml: aliases are not supported, write the value out\n");
    refused("*x\n", "t.yaml:1:1: yaml: aliases are not supported, write the value out\n");
    refused("a: [1, *x]\n", "t.yaml:1:8: yaml: aliases are not supported, write the value out\n");
    refused("a: !!str 1\n", "t.yaml:1:4: yaml: tags are not supported, the type follows from the key\n");
    refused("a: !mine {b: 1}\n", "t.yaml:1:4: yaml: tags are not supported, the type follows from the key\n");
    refused("a: !!seq [b]\n", "t.yaml:1:4: yaml: tags are not supported, the type follows from the key\n");
    refused("b: 1\n<<: {a: 1}\n", "t.yaml:2:1: yaml: merge keys are not supported, write the keys out\n");
    refused("? [a, b]\n: c\n", "t.yaml:1:3: yaml: a key must be plain text\n");
    refused("? *a\n: c\n", "t.yaml:1:3: yaml: a key must be plain text\n");
    refused("a: \"x\\0y\"\n", "t.yaml:1:4: yaml: a NUL has no place here\n");
    refused("a: [1\n", "t.yaml:2:1: yaml: did not find expected ',' or ']'\n");
    refused("a: 1\n  b: 2\n", "t.yaml:2:4: yaml: mapping values are not allowed in this context\n");
    refused("\ta: 1\n", "t.yaml:1:1: yaml: found character that cannot start any token\n");
    refused("a: 1\n---\nb: [\n", "t.yaml:4:1: yaml: did not find expected node content\n");
    refused("a: \xc3(\n", "t.yaml:1:1: yaml: not valid UTF-8 text: invalid trailing UTF-8 octet at byte 4\n");
    refused("a: \x01\n", "t.yaml:1:1: yaml: not valid UTF-8 text: control characters are not allowed at byte 3\n");
}

static void test_depth(void **state)
{
    (void)state;
    struct conf_file *file = accepted("[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]"); /* 16 lists and what is in them */
    conf_file_free(file);
    refused("[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", "t.yaml:1:18: yaml: nested too deeply, at most 16 levels are allowed\n");
    refused("{a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: 1}}}}}}}}}}}}}}}}}}",
            "t.yaml:1:66: yaml: nested too deeply, at most 16 levels are allowed\n");
}

static void test_many_keys(void **state)
{
    (void)state;
    for (unsigned n = 1000; n <= 1001; n++) {
        char *text = NULL, *messages;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);
        for (unsigned i = 0; i < n; i++)
            fprintf(out, "k%u: 1\n", i);
        fclose(out);
        struct conf_file *file = parse(text, &messages);
        assert_string_equal(messages, n == 1000 ? "" : "t.yaml:1001:1: yaml: this mapping has too many keys\n");
        assert_int_equal(n == 1000, file != NULL);
        conf_file_free(file);
        free(messages);
        free(text);
    }
}

/* What conf_file_open says about a file, with its path left out. */
static void opens(const char *path, bool check_mode, const char *wanted)
{
    struct said said;
    said_begin(&said);
    struct conf_file *file = conf_file_open(path, check_mode, said.out);
    char *messages = said_end(&said);
    if (*wanted) {
        assert_null(file);
        assert_memory_equal(messages, path, strlen(path));
        assert_string_equal(messages + strlen(path), wanted);
    } else {
        assert_string_equal(messages, "");
        assert_non_null(file);
    }
    conf_file_free(file);
    free(messages);
}

static void test_files(void **state)
{
    (void)state;
    char *directory = scratch_new();
    static const struct {
        const char *name;
        mode_t mode;
        const char *wanted;
    } cases[] = {
        {"private.yaml", 0600, ""},
        {"readable.yaml", 0644, ""},
        {"executable.yaml", 0755, ""},
        {"group.yaml", 0664, ":1:1: file: its mode is 0664, but group and others must not be able to write it: chmod go-w\n"},
        {"others.yaml", 0606, ":1:1: file: its mode is 0606, but group and others must not be able to write it: chmod go-w\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = scratch_file(directory, cases[i].name, "a: 1\n", cases[i].mode);
        opens(path, true, cases[i].wanted);
        opens(path, false, "");
        free(path);
    }
    opens(directory, true, ":1:1: file: not a regular file\n");
    opens("/nonexistent/x.yaml", true, ":1:1: file: No such file or directory\n");
    scratch_free(directory);
}

static void test_same(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {
        {"a: 1\nb: [x, {c: d}]\n", "# moved\n\na:   1\nb:\n  - x\n  - c: d\n", true},
        {"a: 1\n", "a: 2\n", false},
        {"a: 1\n", "a: '1'\n", false}, /* text, not a number */
        {"a: 1\n", "b: 1\n", false},
        {"a: [1]\n", "a: [1, 2]\n", false},
        {"a: [1]\n", "a: 1\n", false},
        {"a: {b: 1}\n", "a: {b: 1, c: 2}\n", false},
        {"a: {b: {c: d}}\n", "a: {b: {c: e}}\n", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct conf_file *a = accepted(cases[i].a), *b = accepted(cases[i].b);
        assert_int_equal(conf_same_document(conf_file_document(a, 0), conf_file_document(b, 0)), cases[i].same);
        conf_file_free(a);
        conf_file_free(b);
    }
    struct conf_file *here = conf_file_from_text("here.yaml", "a: 1\n", stderr), *there = conf_file_from_text("there.yaml", "a: 1\n", stderr);
    assert_false(conf_same_document(conf_file_document(here, 0), conf_file_document(there, 0)));
    conf_file_free(here);
    conf_file_free(there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same), cmocka_unit_test(test_places), cmocka_unit_test(test_documents), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_depth),  cmocka_unit_test(test_many_keys), cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
