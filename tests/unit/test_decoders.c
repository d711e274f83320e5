/* SPDX-License-Identifier: MPL-2.0 */
/* Decoder instances of conf.d as chains get them: their order, what happens to those that fail, and the numbers for Prometheus. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "confd_rig.h"
#include "host/log.h"
#include "host/module/instance.h"

static int build(void **state)
{
    static const struct confd_module modules[] = {
        {"tests/fixtures/lines.c", "lines", ""},
        {"tests/fixtures/lines.c", "content", "-DNAME='\"content\"' -DSTAGE=SOTH_STAGE_CONTENT"},
        {"tests/fixtures/transform.c", "transform", ""},
        {"tests/fixtures/module.c", "judge", "-DNAME='\"judge\"' -DPOLICY -DKIND=SOTH_KIND_POLICY"},
        {"tests/fixtures/module.c", "fixture", ""},
    };
    (void)state;
    log_level(-1);
    return confd_build(modules, sizeof modules / sizeof *modules);
}

static struct registry *opened(void)
{
    struct registry *registry = NULL;
    char *messages;
    if (confd_open(false, &registry, &messages) < 0)
        fail_msg("%s", messages);
    free(messages);
    return registry;
}

static void by_stage_then_order_then_name(void **state)
{
    struct chain_env env;
    (void)state;
    confd_document("a", "{module: transform, name: z, order: 5}");
    confd_document("b", "{module: transform, name: y, order: 5}");
    confd_document("c", "{module: transform, name: x, order: 9}");
    confd_document("d", "{module: lines, order: 50}");
    confd_document("e", "{module: content, order: 99}");
    confd_document("f", "{module: judge, config: {journal: /dev/null}}");
    confd_document("g", "{module: fixture, config: {journal: /dev/null}, order: 1}");
    confd_document("h", "{module: lines, name: off, enabled: false}");
    struct registry *registry = opened();
    registry_chain_env(registry, &env);
    static const char *const names[] = {"content", "lines", "y", "z", "x"};
    assert_int_equal(env.count, 5);
    for (size_t i = 0; i < env.count; i++) {
        assert_string_equal(env.decoders[i].name, names[i]);
        assert_int_equal(env.decoders[i].position, i + 1); /* the policy stands before them, the sink behind */
        assert_ptr_equal(registry->v[env.decoders[i].position]->self, env.decoders[i].self);
        assert_false(env.decoders[i].closed);
    }
    assert_false(env.gated);
    assert_string_equal(registry->v[0]->conf->name, "judge");
    assert_string_equal(registry->v[6]->conf->name, "fixture");
    registry_free(registry);
}

static void without_decoders(void **state)
{
    struct chain_env env;
    (void)state;
    confd_document("f", "{module: judge, config: {journal: /dev/null}}");
    struct registry *registry = opened();
    registry_chain_env(registry, &env);
    assert_int_equal(env.count, 0);
    registry_free(registry);
}

static void on_error_is_open_unless_told(void **state)
{
    struct chain_env env;
    (void)state;
    confd_document("a", "{module: lines, name: a}");
    confd_document("b", "{module: lines, name: b, on_error: closed}");
    confd_document("c", "{module: lines, name: c, on_error: open}");
    struct registry *registry = opened();
    registry_chain_env(registry, &env);
    assert_false(env.decoders[0].closed);
    assert_true(env.decoders[1].closed);
    assert_false(env.decoders[2].closed);
    registry_free(registry);
}

static void too_many_failures_in_a_row(void **state)
{
    struct chain_env env;
    (void)state;
    confd_document("a", "{module: lines}");
    struct registry *registry = opened();
    registry_chain_env(registry, &env);
    for (unsigned i = 0; i < INSTANCE_MAX_FAILURES - 1; i++)
        env.failed(&env.decoders[0], "data", "limit");
    assert_false(env.is_out(&env.decoders[0]));
    env.went_well(&env.decoders[0]); /* ends the row */
    for (unsigned i = 0; i < INSTANCE_MAX_FAILURES - 1; i++)
        env.failed(&env.decoders[0], "data", "limit");
    assert_false(env.is_out(&env.decoders[0]));
    env.failed(&env.decoders[0], "data", "limit");
    assert_true(env.is_out(&env.decoders[0]));
    env.went_well(&env.decoders[0]); /* too late */
    assert_true(env.is_out(&env.decoders[0]));
    registry_free(registry);
}

static void numbers_for_prometheus(void **state)
{
    struct chain_env env;
    struct said said;
    (void)state;
    confd_document("a", "{module: lines}");
    confd_document("b", "{module: transform, name: second}");
    struct registry *registry = opened();
    registry_chain_env(registry, &env);
    atomic_store(&env.decoders[0].counts.bytes_in, 12345);
    atomic_store(&env.decoders[1].counts.failures, 3);
    said_begin(&said);
    registry_print_decoders(registry, said.out);
    char *text = said_end(&said);
    assert_non_null(strstr(text, "# TYPE soth_decoder_bytes_in_total counter\n"
                                 "soth_decoder_bytes_in_total{instance=\"lines\",module=\"lines\",stage=\"protocol_frame_parse\"} 12345\n"
                                 "soth_decoder_bytes_in_total{instance=\"second\",module=\"transform\",stage=\"payload_sanitize\"} 0\n"));
    assert_non_null(strstr(text, "soth_decoder_failures_total{instance=\"second\",module=\"transform\",stage=\"payload_sanitize\"} 3\n"));
    free(text);
    registry_free(registry);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, confd_begin, confd_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(by_stage_then_order_then_name), TEST(without_decoders),        TEST(on_error_is_open_unless_told),
        TEST(too_many_failures_in_a_row),    TEST(numbers_for_prometheus),
    };
    return cmocka_run_group_tests(tests, build, confd_drop);
}
