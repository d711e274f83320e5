/* SPDX-License-Identifier: MPL-2.0 */
/* From conf.d to instances: what is made, in which order, what is said when something is wrong, and all of it taken back again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "confd_rig.h"
#include "host/module/instance.h"

static int build(void **state)
{
    static const struct confd_module modules[] = {
        {"tests/fixtures/module.c", "fixture", ""},
        {"tests/fixtures/module.c", "judge", "-DNAME='\"judge\"' -DPOLICY -DKIND=SOTH_KIND_POLICY"},
        {"tests/fixtures/life.c", "watcher", "-DNAME='\"watcher\"' -DKIND=SOTH_KIND_POLICY"},
        {"tests/fixtures/module.c", "former", "-DNAME='\"former\"' -DFORM_KIND=SOTH_EV_WS_FRAME -DFORM_NAME='\"masked\"'"},
        {"tests/fixtures/module.c", "typo", "-DNAME='\"typo\"' -DFORM_KIND=SOTH_EV_WS_FRAME -DFORM_NAME='\"mask\"'"},
        {"tests/fixtures/module.c", "usurper", "-DNAME='\"usurper\"' -DFORM_KIND=SOTH_EV_STREAM_CLOSED -DFORM_NAME='\"masked\"'"},
        {"tests/fixtures/module.c", "dreamer", "-DNAME='\"dreamer\"' -DFORM_KIND=SOTH_EV_COUNT -DFORM_NAME='\"masked\"'"},
        {"tests/fixtures/module.c", "blank", "-DNAME='\"blank\"' -DFORM_KIND=SOTH_EV_WS_FRAME -DFORM_NAME='\"masked\"' -DFORM_COUNT=0"},
    };
    (void)state;
    return confd_build(modules, sizeof modules / sizeof *modules);
}

static size_t lines(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void wrong(bool check_only, int error, const char *const *words)
{
    struct registry *registry = NULL;
    char *messages;
    int r = confd_open(check_only, &registry, &messages);
    assert_null(registry);
    assert_int_equal(r, error);
    for (; *words; words++)
        if (!strstr(messages, *words))
            fail_msg("'%s' is not in: %s", *words, messages);
    free(messages);
}
#define WRONG(check_only, error, ...) wrong(check_only, error, (const char *const[]){__VA_ARGS__, NULL})

/* ---- order and life ---- */

static void instances_are_made_in_order_and_unmade(void **state)
{
    struct registry *registry;
    char *messages, *text = NULL;
    size_t size = 0;
    (void)state;
    confd_document("10", "module: fixture\nname: zebra\norder: 10\nconfig: {journal: $J}\n");
    confd_document("20", "module: judge\nname: late\norder: 90\nconfig: {journal: $J}\n---\nmodule: judge\nname: early\norder: 5\nconfig: {journal: $J}\n");
    confd_document("30", "module: fixture\nname: ant\norder: 10\nconfig: {journal: $J}\n");
    confd_document("40", "module: fixture\nname: off\nenabled: false\nconfig: {journal: $J}\n");
    assert_int_equal(confd_open(false, &registry, &messages), SOTH_OK);
    assert_string_equal(messages, "");
    assert_string_equal(confd_journal(), "create early\ncreate late\ncreate ant\ncreate zebra\n");
    assert_int_equal(registry_hooks(registry), SOTH_HOOK_CONNECT);
    FILE *out = open_memstream(&text, &size);
    registry_print(registry, out);
    fclose(out);
    assert_int_equal(lines(text), 5);
    assert_true(strstr(text, "early") < strstr(text, "late") && strstr(text, "late") < strstr(text, "ant") &&
                strstr(text, "ant") < strstr(text, "zebra"));
    assert_null(strstr(text, "off"));
    free(text);
    free(messages);
    registry_free(registry);
    assert_int_equal(lines(confd_journal()), 8);
    assert_non_null(strstr(confd_journal(), "destroy ant\n"));
}

static void check_makes_nothing(void **state)
{
    struct registry *registry;
    char *messages;
    (void)state;
    confd_document("10", "module: fixture\nconfig: {journal: $J, fail_create: true}\n");
    assert_int_equal(confd_open(true, &registry, &messages), SOTH_OK);
    registry_free(registry);
    free(messages);
    assert_int_not_equal(access(confd_journal_path, F_OK), 0);
}

static void what_was_made_before_a_failure_is_unmade(void **state)
{
    (void)state;
    confd_document("10", "module: fixture\nname: first\norder: 1\nconfig: {journal: $J}\n");
    confd_document("20", "module: fixture\nname: second\norder: 2\nconfig:\n  journal: $J\n  fail_create: true\n");
    WRONG(false, -SOTH_EIO, "20.yaml:1:9: module: the module could not be started");
    assert_string_equal(confd_journal(), "create first\ndestroy first\n");
    confd_document("20", "module: fixture\nname: second\nconfig:\n  fail_create: true\n  tell: true\n  journal: $J\n");
    WRONG(false, -SOTH_EIO, "20.yaml:6:12: config.journal: cannot be opened");
}

/* ---- mistakes ---- */

static void forms_are_looked_at_in_create(void **state)
{
    struct registry *registry;
    char *messages;
    (void)state;
    confd_document("10", "module: former\nconfig: {journal: $J}\n");
    assert_int_equal(confd_open(false, &registry, &messages), SOTH_OK);
    assert_string_equal(messages, "");
    registry_free(registry);
    free(messages);
    confd_document("10", "module: typo\nconfig: {journal: $J}\n");
    WRONG(false, -SOTH_EIO, "10.yaml:1:9: module: a form of ws_frame: attribute 2 of 2, \"mask\", is none of that kind");
    confd_document("10", "module: usurper\nconfig: {journal: $J}\n");
    WRONG(false, -SOTH_EIO, "10.yaml:1:9: module: a form of stream_closed: events of this kind are the host's alone");
    confd_document("10", "module: dreamer\nconfig: {journal: $J}\n");
    WRONG(false, -SOTH_EIO, "10.yaml:1:9: module: a form of kind ", "there is no such kind of event");
    confd_document("10", "module: blank\nconfig: {journal: $J}\n");
    WRONG(false, -SOTH_EIO, "10.yaml:1:9: module: a form of ws_frame with 0 attributes: it needs 1 to 48");
}

static void mistakes_have_a_place_and_one_run_shows_all(void **state)
{
    (void)state;
    confd_document("10", "module: fixture\nconfig: {journal: $J, nonsense: 1}\n");
    confd_document("20", "module: nowhere\n");
    confd_document("30", "module: fixture\nname: other\nevents: [connect, conect]\nconfig: {journal: $J}\n");
    WRONG(true, -SOTH_ECONFIG, "10.yaml:2:", "config.nonsense: unknown key", "20.yaml:1:9: module: there is no module nowhere.so in", confd_modules,
          "30.yaml:3:", "'conect' is neither an event kind nor a group");
    WRONG(false, -SOTH_ECONFIG, "config.nonsense");
    assert_int_not_equal(access(confd_journal_path, F_OK), 0); /* nothing was made for what was right */
}

static void an_unknown_module_is_told_apart(void **state)
{
    (void)state;
    confd_document("20", "module: nowhere\n");
    WRONG(false, -SOTH_ENOENT, "there is no module nowhere.so in", confd_modules);
}

static void what_check_says_is_at_its_key(void **state)
{
    (void)state;
    confd_document("10", "module: fixture\nconfig:\n  journal: $J\n  tell: true\n  fail_check: true\n");
    WRONG(true, -SOTH_ECONFIG, "10.yaml:5:15: config.fail_check: is true");
    confd_document("10", "module: fixture\nconfig:\n  journal: $J\n  fail_check: true\n");
    WRONG(true, -SOTH_ECONFIG, "10.yaml:3:3: config: the module does not accept this configuration");
}

static void a_required_key_is_missed_without_config_too(void **state)
{
    (void)state;
    confd_document("10", "module: fixture\n");
    WRONG(true, -SOTH_ECONFIG, "10.yaml:1:1: config.journal: is required");
}

static void names_are_unique_and_events_are_for_sinks(void **state)
{
    (void)state;
    confd_document("10", "module: fixture\nconfig: {journal: $J}\n---\nmodule: fixture\nconfig: {journal: $J}\n");
    WRONG(true, -SOTH_ECONFIG, "10.yaml:4:9: module: another instance has this name");
    confd_document("10", "module: judge\nevents: [all]\nconfig: {journal: $J}\n");
    WRONG(true, -SOTH_ECONFIG, "10.yaml:2:9: events: only sinks take events");
    confd_document("10", "module: judge\npayload: full\nconfig: {journal: $J}\n");
    WRONG(true, -SOTH_ECONFIG, "10.yaml:2:10: payload: only sinks take events");
}

/* The first one's output, then the second one's; $J in a path is a folder that exists. */
static const char *two_outputs(const char *first, const char *second, int error)
{
    static char said[2048];
    struct registry *registry = NULL;
    char document[1024], *messages;
    snprintf(document, sizeof document, "module: fixture\nname: one\nconfig:\n  journal: $J\n  output: %s\n", first);
    confd_document("10", document);
    snprintf(document, sizeof document, "module: fixture\nname: two\nconfig:\n  journal: $J\n  output: %s\n", second);
    confd_document("20", document);
    assert_int_equal(confd_open(true, &registry, &messages), error);
    snprintf(said, sizeof said, "%s", messages);
    free(messages);
    registry_free(registry);
    return said;
}

/* Where two instances write is one place, however it is spelt and whether or not it is there yet. */
static void two_do_not_write_to_one_place(void **state)
{
    static const char *const pairs[][2] = {
        {"a.log", "a.log"}, {"a.log", "./a.log"}, {"a.log", "real//../a.log"}, {"real/a.log", "link/a.log"}, {"real/new/deep/a.log", "link/new/./deep//a.log"},
        {"real", "link"}, {"real", "real/"}, {"real/bodies", "link/bodies/"}, {"real/there.log", "link/there.log"}, {"pipe", "link/../pipe"},
    };
    static const char *const others[][2] = {
        {"a.log", "b.log"}, {"a.log", "real/a.log"}, {"real", "real/a.log"}, {"/dev/null", "/dev/null"}, {"\"\"", "\"\""},
    };
    char where[600], text[1024], *slash;
    (void)state;
    snprintf(where, sizeof where, "%s", confd_journal_path); /* conf.d/../journal: relative paths are below conf.d */
    slash = strrchr(where, '/');
    snprintf(slash, 32, "/conf.d/real");
    assert_int_equal(mkdir(where, 0700), 0);
    snprintf(slash, 32, "/conf.d/link");
    assert_int_equal(symlink("real", where), 0);
    snprintf(slash, 32, "/conf.d/pipe");
    assert_int_equal(mkfifo(where, 0600), 0);
    snprintf(slash, 32, "/conf.d/real/there.log");
    fclose(fopen(where, "w"));
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const char *said = two_outputs(pairs[i][0], pairs[i][1], -SOTH_ECONFIG);
        snprintf(text, sizeof text, "20.yaml:5:11: config.output: '");
        if (!strstr(said, text) || !strstr(said, "is also output of 'one' (") || !strstr(said, "give each its own"))
            fail_msg("%s, %s: %s", pairs[i][0], pairs[i][1], said);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_string_equal(two_outputs(others[i][0], others[i][1], SOTH_OK), "");
}

static void bypass_needs_its_module(void **state)
{
    (void)state;
    struct conf_file *file = conf_file_from_text("soth-mitm.yaml", "workers: 1\ntls_learning: bypass\n", stderr);
    confd_settings.document = conf_file_document(file, 0);
    confd_settings.tls_learning = LEARNING_BYPASS;
    confd_document("10", "module: watcher\nconfig: {journal: $J, word: one}\n");
    WRONG(true, -SOTH_ECONFIG, "soth-mitm.yaml:2:15: tls_learning: 'bypass' needs the module policy_tls_learning: enable it in conf.d, with the hosts "
                               "that may be bypassed");
    confd_settings.document = NULL;
    conf_file_free(file);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, confd_begin, confd_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(instances_are_made_in_order_and_unmade),
        TEST(check_makes_nothing),
        TEST(what_was_made_before_a_failure_is_unmade),
        TEST(forms_are_looked_at_in_create),
        TEST(mistakes_have_a_place_and_one_run_shows_all),
        TEST(an_unknown_module_is_told_apart),
        TEST(what_check_says_is_at_its_key),
        TEST(a_required_key_is_missed_without_config_too),
        TEST(names_are_unique_and_events_are_for_sinks),
        TEST(two_do_not_write_to_one_place),
        TEST(bypass_needs_its_module),
    };
    return cmocka_run_group_tests(tests, build, confd_drop);
}
