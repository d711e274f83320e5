/* SPDX-License-Identifier: MPL-2.0 */
/* host/conf/conf_modules.c: the documents of conf.d, their order, their defaults and what is wrong with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf_text.h"
#include "host/conf/load.h"
#include "host/event/bus.h"

struct loaded {
    char *directory, *messages;
    struct conf_modules modules;
    int r;
};

/* Loads a directory of files, name and text by turns, NULL at the end. Messages have the directory left out. */
static void load(struct loaded *l, const char *const *files)
{
    struct said said;
    l->directory = scratch_new();
    for (; *files; files += 2)
        free(scratch_file(l->directory, files[0], files[1], 0644));
    said_begin(&said);
    l->r = conf_modules_load(l->directory, NULL, &l->modules, said.out);
    l->messages = said_end(&said);
    size_t n = strlen(l->directory) + 1;
    for (char *at = l->messages; (at = strstr(at, l->directory));)
        memmove(at, at + n, strlen(at + n) + 1);
}

static void done(struct loaded *l)
{
    conf_modules_fini(&l->modules);
    scratch_free(l->directory);
    free(l->messages);
}

static void test_order_and_defaults(void **state)
{
    (void)state;
    static const char *const files[] = {"50-b.yaml", "module: sink_file\nname: audit\n---\n---\nmodule: sink_console\nenabled: false\n",
                                        "10-a.yaml", "# the policy\nmodule: policy_rules\norder: 7\nconfig:\n  default: block\n",
                                        "9-late.yaml", "{module: other, on_error: closed, events: [all, stream_closed], queue: {max_events: 16, "
                                                       "max_bytes: 64k, on_full: pause_flow}}",
                                        "empty.yaml", "# nothing\n", ".hidden.yaml", "nonsense", "README.md", "nonsense",
                                        "old.yaml~", "nonsense", "x.yml", "nonsense", NULL};
    struct loaded l;
    load(&l, files);
    assert_string_equal(l.messages, "");
    assert_int_equal(l.r, 0);
    assert_int_equal(l.modules.n, 4);
    const struct conf_module *m = l.modules.v;
    assert_string_equal(m[0].module, "policy_rules");
    assert_string_equal(m[0].name, "policy_rules");
    assert_int_equal(m[0].enabled, 1);
    assert_int_equal(m[0].order, 7);
    assert_int_equal(m[0].on_error, 2);
    assert_int_equal(m[0].events.n, 0);
    assert_string_equal(m[1].module, "sink_file");
    assert_string_equal(m[1].name, "audit");
    assert_int_equal(m[1].order, 50);
    assert_int_equal(m[1].queue.max_events, 65536);
    assert_int_equal(m[1].queue.max_bytes, 64 * 1024 * 1024);
    assert_int_equal(m[1].queue.on_full, QUEUE_DROP_NEWEST);
    assert_non_null(m[1].config);
    assert_string_equal(m[2].name, "sink_console");
    assert_int_equal(m[2].enabled, 0);
    assert_int_equal(m[3].on_error, 1);
    assert_int_equal(m[3].queue.max_events, 16);
    assert_int_equal(m[3].queue.max_bytes, 65536);
    assert_int_equal(m[3].queue.on_full, QUEUE_PAUSE_FLOW);
    assert_int_equal(m[3].events.n, 2);
    assert_string_equal(m[3].events.v[1], "stream_closed");
    done(&l);
}

struct config {
    const char *path;
};
static const struct soth_opt config_options[] = {SOTH_OPT_PATH(struct config, path, SOTH_REQUIRED, "where to"), SOTH_OPT_END};

/* A module's own mapping: its keys have `config.` in front and their place in the file, even when there is none. */
static void test_config(void **state)
{
    (void)state;
    static const struct {
        const char *text, *wanted;
    } cases[] = {
        {"module: m\nconfig:\n  path: p\n", ""},
        {"module: m\nconfig:\n  path: p\n  pth: q\n", "m.yaml:4:3: config.pth: unknown key, did you mean path?\n"},
        {"# first\nmodule: m\n", "m.yaml:2:1: config.path: is required: where to\n"},
        {"module: m\nconfig:\n", "m.yaml:2:8: config.path: is required: where to\n"},
        {"module: m\nconfig: {}\n", "m.yaml:2:9: config.path: is required: where to\n"},
        {"module: m\nconfig: [p]\n", "m.yaml:2:9: config: expected is a mapping (key: value)\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const files[] = {"m.yaml", cases[i].text, NULL};
        struct loaded l;
        struct said said;
        struct config config;
        struct options_owned *owned = NULL;
        load(&l, files);
        assert_string_equal(l.messages, "");
        assert_int_equal(l.modules.n, 1);
        said_begin(&said);
        options_fill(config_options, l.modules.v[0].config, &config, &owned, said.out, "config.");
        char *messages = said_end(&said);
        assert_string_equal(messages + (*messages ? strlen(l.directory) + 1 : 0), cases[i].wanted);
        if (!*messages) {
            size_t n = strlen(l.directory);
            assert_memory_equal(config.path, l.directory, n);
            assert_string_equal(config.path + n, "/p");
        }
        free(messages);
        options_fini(owned);
        done(&l);
    }
}

static void test_payload(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {
        {"module: x\n", 0}, {"module: x\npayload: none\n", 0}, {"module: x\npayload: full\n", BUS_PAYLOAD_FULL},
        {"module: x\npayload: sample:1\n", 1}, {"module: x\npayload: sample:4k\n", 4096}, {"module: x\npayload: \"sample:1G\"\n", 1 << 30},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const files[] = {"m.yaml", cases[i].text, NULL};
        struct loaded l;
        load(&l, files);
        assert_string_equal(l.messages, "");
        assert_true(l.modules.v[0].payload_bytes == cases[i].bytes);
        done(&l);
    }
}

#define PAYLOAD_ALLOWED "allowed is none, full, or sample:N with a size of 1 to 1G, as sample:4k\n"

static void test_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text, *wanted;
    } cases[] = {
        {"name: x", "m.yaml:1:1: module: is required: the module: NAME.so in modules_dir\n"},
        {"module: ''", "m.yaml:1:9: module: must not be empty\n"},
        {"- module: x", "m.yaml:1:1: module: expected is a mapping with module: NAME\n"},
        {"module: x\nconfg: {}", "m.yaml:2:1: confg: unknown key, did you mean config?\n"},
        {"module: x\npayload: all", "m.yaml:2:10: payload: " PAYLOAD_ALLOWED},
        {"module: x\npayload: sample", "m.yaml:2:10: payload: " PAYLOAD_ALLOWED},
        {"module: x\npayload: sample:0", "m.yaml:2:10: payload: " PAYLOAD_ALLOWED},
        {"module: x\npayload: sample:-1", "m.yaml:2:10: payload: " PAYLOAD_ALLOWED},
        {"module: x\npayload: sample:2G", "m.yaml:2:10: payload: " PAYLOAD_ALLOWED},
        {"module: x\npayload: sample:1kB", "m.yaml:2:10: payload: " PAYLOAD_ALLOWED},
        {"module: ../x", "m.yaml:1:9: module: a module's name has letters, digits, _ and - only\n"},
        {"module: x\nname: a b", "m.yaml:2:7: name: an instance's name has letters, digits, _ and - only\n"},
        {"module: x\norder: first", "m.yaml:2:8: order: 'first' is not a whole number\n"},
        {"module: x\nenabled: 1", "m.yaml:2:10: enabled: '1' is neither true nor false\n"},
        {"module: x\nqueue: {max_events: 1}", "m.yaml:2:21: queue.max_events: 1 is out of range, allowed is 16 to 100000000\n"},
        {"module: x\nqueue: {on_full: x}", "m.yaml:2:18: queue.on_full: 'x' is not allowed, allowed is one of: drop_newest, drop_oldest, pause_flow\n"},
        {"module: x\nevents: {a: b}", "m.yaml:2:9: events: a mapping is not allowed here, expected is text or a list of texts\n"},
        {"module: x\n---\nmodule: x", "m.yaml:3:9: module: another instance has this name, give one of them a name: of its own\n"},
        {"module: x\n---\nmodule: y\nname: x", "m.yaml:4:7: name: another instance has this name, give one of them a name: of its own\n"},
        {"module: x\nmodule: y", "m.yaml:2:1: module: this key is here twice, remove one\n"},
        {"module: x\nconfig: {}\nconfig: {}", "m.yaml:3:1: config: this key is here twice, remove one\n"},
        {"module: [", "m.yaml:2:1: yaml: did not find expected node content\n"},
        {"order: x\n---\nname: y",
         "m.yaml:1:8: order: 'x' is not a whole number\nm.yaml:1:1: module: is required: the module: NAME.so in modules_dir\n"
         "m.yaml:3:1: module: is required: the module: NAME.so in modules_dir\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const files[] = {"m.yaml", cases[i].text, NULL};
        struct loaded l;
        load(&l, files);
        assert_string_equal(l.messages, cases[i].wanted);
        assert_int_equal(l.r, -SOTH_ECONFIG);
        done(&l);
    }
}

static void test_every_file_is_told_about(void **state)
{
    (void)state;
    static const char *const files[] = {"1.yaml", "module: [", "2.yaml", "module: good", "3.yaml", "name: x", NULL};
    struct loaded l;
    load(&l, files);
    assert_int_equal(l.r, -SOTH_ECONFIG);
    assert_non_null(strstr(l.messages, "1.yaml:2:1: "));
    assert_non_null(strstr(l.messages, "3.yaml:1:1: "));
    assert_null(strstr(l.messages, "2.yaml"));
    done(&l);
}

static void test_no_directory(void **state)
{
    (void)state;
    struct conf_modules modules;
    struct said said;
    said_begin(&said);
    assert_int_equal(conf_modules_load("/nonexistent/conf.d", NULL, &modules, said.out), SOTH_OK);
    assert_int_equal(modules.n, 0);
    conf_modules_fini(&modules);
    assert_int_equal(conf_modules_load("/dev/null", NULL, &modules, said.out), -SOTH_ECONFIG);
    conf_modules_fini(&modules);
    struct conf_file *file = conf_file_from_text("host.yaml", "workers: 1\nconf_d: /nonexistent/conf.d\n", said.out);
    assert_int_equal(conf_modules_load("/nonexistent/conf.d", conf_file_document(file, 0), &modules, said.out), -SOTH_ECONFIG);
    conf_modules_fini(&modules);
    conf_file_free(file);
    char *messages = said_end(&said);
    assert_string_equal(messages, "/dev/null:1:1: conf_d: cannot be read: Not a directory\n"
                                  "host.yaml:2:9: conf_d: cannot read the directory /nonexistent/conf.d: No such file or directory\n");
    free(messages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_defaults),       cmocka_unit_test(test_config),       cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_every_file_is_told_about), cmocka_unit_test(test_no_directory), cmocka_unit_test(test_payload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
