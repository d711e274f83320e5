/* SPDX-License-Identifier: MPL-2.0 */
/* Sinks of conf.d: what each is given, what its failure means, and how it goes on, or not, when one registry follows another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "confd_rig.h"
#include "host/module/instance.h"

static int build(void **state)
{
    static const struct confd_module modules[] = {
        {"tests/fixtures/module.c", "fixture", ""},
        {"tests/fixtures/module.c", "judge", "-DNAME='\"judge\"' -DPOLICY -DKIND=SOTH_KIND_POLICY"},
    };
    (void)state;
    return confd_build(modules, sizeof modules / sizeof *modules);
}

static void a_sink_gets_what_it_subscribed_to(void **state)
{
    struct bus *bus;
    (void)state;
    confd_document("10", "module: fixture\nevents: [request_trailers, system]\nconfig: {journal: $J}\n");
    struct registry *registry = confd_start(&bus);
    confd_publish(bus);
    assert_int_equal(bus_stop(bus, 5000), 0);
    confd_stop(registry, bus);
    assert_string_equal(confd_journal(), "create fixture\nevent request_trailers\nevent budget_denied\nevent events_lost\nevent module_fault\nevent config_reloaded\nflush\n"
                                   "destroy fixture\n");
}

static void without_events_its_own_subscription_counts(void **state)
{
    struct bus *bus;
    (void)state;
    confd_document("10", "module: fixture\nconfig: {journal: $J}\n"); /* the group connect */
    struct registry *registry = confd_start(&bus);
    confd_publish(bus);
    confd_stop(registry, bus);
    assert_string_equal(confd_journal(), "create fixture\nevent connect_received\nevent connect_parse_failed\nevent connect_decision\n"
                                   "event stream_closed\nflush\ndestroy fixture\n");
}

static bool held_after(const char *failure, const char *on_error)
{
    char text[256];
    struct bus *bus;
    snprintf(text, sizeof text, "module: fixture\n%sconfig: {journal: $J, %s}\n", on_error, failure);
    confd_document("10", text);
    struct registry *registry = confd_start(&bus);
    assert_false(registry_flows_held(&confd_shared));
    confd_publish(bus);
    bus_stop(bus, 5000);
    bool held = registry_flows_held(&confd_shared);
    confd_stop(registry, bus);
    return held;
}

static void a_sink_closed_on_error_holds_flows(void **state)
{
    (void)state;
    static const char *const failures[] = {"fail_writes: 1", "dead: true"};
    for (size_t i = 0; i < 2; i++) {
        assert_false(held_after(failures[i], ""));
        assert_false(held_after(failures[i], "on_error: open\n"));
        assert_true(held_after(failures[i], "on_error: closed\n"));
    }
}

static void a_sink_may_hold_flows_itself(void **state)
{
    struct bus *bus;
    (void)state;
    confd_document("10", "module: fixture\nconfig: {journal: $J, hold: true}\n");
    struct registry *registry = confd_start(&bus);
    confd_publish(bus);
    bus_stop(bus, 5000);
    assert_true(registry_flows_held(&confd_shared));
    confd_stop(registry, bus);
}

static void counters_are_prometheus_text(void **state)
{
    struct bus *bus;
    char *text = NULL;
    size_t size = 0;
    (void)state;
    confd_document("10", "module: fixture\nname: a\nconfig: {journal: $J}\n---\nmodule: fixture\nname: b\nconfig: {journal: $J}\n");
    struct registry *registry = confd_start(&bus);
    confd_publish(bus);
    bus_stop(bus, 5000);
    FILE *out = open_memstream(&text, &size);
    registry_print_metrics(registry, out);
    fclose(out);
    assert_string_equal(text, "# HELP soth_fixture_odd_total odd ones\n# TYPE soth_fixture_odd_total counter\n"
                              "soth_fixture_odd_total{instance=\"a\",label=\"a \\\"quoted\\\" \\\\ label\"} 2\n"
                              "soth_fixture_odd_total{instance=\"b\",label=\"a \\\"quoted\\\" \\\\ label\"} 2\n"
                              "# HELP soth_fixture_events_total events seen\n# TYPE soth_fixture_events_total counter\n"
                              "soth_fixture_events_total{instance=\"a\"} 4\nsoth_fixture_events_total{instance=\"b\"} 4\n");
    free(text);
    confd_stop(registry, bus);
}

/* ---- one after another ---- */

/* Reaps until no sink is leaving. */
static void reap(struct bus *bus)
{
    for (unsigned i = 0; i < 1000 && bus_reap(bus, registry_sink_ended) > 0; i++)
        usleep(10000);
    assert_int_equal(bus_reap(bus, registry_sink_ended), 0);
}

static size_t occurrences(const char *line)
{
    size_t n = 0;
    for (const char *at = confd_journal(); (at = strstr(at, line)); at++)
        n++;
    return n;
}

static void what_did_not_change_goes_on(void **state)
{
    struct bus *bus;
    (void)state;
    confd_document("10", "module: fixture\nname: same\nconfig: {journal: $J}\n---\nmodule: fixture\nname: other\nconfig: {journal: $J}\n");
    confd_document("20", "module: judge\nconfig: {journal: $J}\n");
    struct registry *first = confd_start(&bus);
    assert_string_equal(confd_journal(), "create judge\ncreate other\ncreate same\n");
    confd_document("10", "# moved down, not changed\nmodule: fixture\nname: same\nconfig: {journal: $J}\n---\nmodule: fixture\nname: other\n"
                   "order: 7\nconfig: {journal: $J}\n");
    struct registry *second = confd_follow(first);
    reap(bus);
    assert_non_null(strstr(confd_journal(), "flush\ndestroy other\n")); /* the sink at once, */
    assert_null(strstr(confd_journal(), "destroy judge"));                /* the policy with its flows */
    registry_free(first);
    assert_non_null(strstr(confd_journal(), "destroy judge\n"));
    assert_null(strstr(confd_journal(), "destroy same"));
    struct registry *third = confd_follow(second);
    registry_free(second);
    confd_publish(bus);
    confd_stop(third, bus);
    assert_int_equal(occurrences("create same"), 1);
    assert_int_equal(occurrences("create other"), 2);
    assert_int_equal(occurrences("create judge"), 3);
    assert_int_equal(occurrences("destroy same"), 1);
    assert_int_equal(occurrences("destroy other"), 2);
    assert_int_equal(occurrences("destroy judge"), 3);
    assert_int_equal(occurrences("event connect_received"), 2);
}

static void a_document_in_another_file_is_another_one(void **state)
{
    struct bus *bus;
    (void)state;
    confd_document("10", "module: fixture\nconfig: {journal: $J}\n");
    struct registry *first = confd_start(&bus);
    confd_document("10", "");
    confd_document("11", "module: fixture\nconfig: {journal: $J}\n");
    struct registry *second = confd_follow(first);
    reap(bus);
    registry_free(first);
    assert_string_equal(confd_journal(), "create fixture\ncreate fixture\nflush\ndestroy fixture\n");
    confd_stop(second, bus);
}

static void a_failure_leaves_the_previous_as_it_was(void **state)
{
    struct bus *bus;
    struct registry *registry;
    char *messages;
    struct said said;
    (void)state;
    confd_document("10", "module: fixture\nname: same\nconfig: {journal: $J}\n");
    struct registry *first = confd_start(&bus);
    confd_document("20", "module: fixture\nname: late\norder: 99\nconfig: {journal: $J, fail_create: true}\n");
    said_begin(&said);
    assert_int_equal(registry_open_next(&confd_settings, &confd_shared, first, said.out, &registry), -SOTH_EIO);
    messages = said_end(&said);
    assert_non_null(strstr(messages, "20.yaml:1:9"));
    free(messages);
    confd_publish(bus);
    confd_stop(first, bus);
    assert_string_equal(confd_journal(), "create same\nevent connect_received\nevent connect_parse_failed\nevent connect_decision\n"
                                   "event stream_closed\nflush\ndestroy same\n");
}

static void a_sink_that_was_taken_out_holds_nothing(void **state)
{
    struct bus *bus;
    (void)state;
    confd_document("10", "module: fixture\nconfig: {journal: $J, hold: true}\n");
    struct registry *first = confd_start(&bus);
    confd_publish(bus);
    for (unsigned i = 0; i < 1000 && !registry_flows_held(&confd_shared); i++)
        usleep(10000);
    assert_true(registry_flows_held(&confd_shared));
    struct registry *second = confd_follow(first);
    assert_true(registry_flows_held(&confd_shared)); /* it goes on */
    confd_document("10", "");
    struct registry *third = confd_follow(second);
    assert_false(registry_flows_held(&confd_shared));
    reap(bus);
    registry_free(first);
    registry_free(second);
    confd_stop(third, bus);
    assert_false(registry_flows_held(&confd_shared));
}

static void a_sink_that_is_off_is_made_anew(void **state)
{
    struct bus *bus;
    (void)state;
    confd_document("10", "module: fixture\nconfig: {journal: $J}\n");
    struct registry *first = confd_start(&bus);
    atomic_store(&first->v[0]->failures, INSTANCE_MAX_FAILURES - 1);
    struct registry *second = confd_follow(first);
    assert_ptr_equal(second->v[0], first->v[0]); /* it only failed */
    atomic_store(&first->v[0]->failures, INSTANCE_MAX_FAILURES);
    struct registry *third = confd_follow(second);
    assert_ptr_not_equal(third->v[0], first->v[0]);
    registry_free(first);
    registry_free(second);
    reap(bus);
    assert_string_equal(confd_journal(), "create fixture\ncreate fixture\nflush\ndestroy fixture\n");
    confd_stop(third, bus);
}

static void what_was_never_used_holds_nothing(void **state)
{
    struct bus *bus;
    (void)state;
    confd_document("10", "module: fixture\nconfig: {journal: $J}\n");
    struct registry *first = confd_start(&bus);
    confd_document("20", "module: fixture\nname: eager\nconfig: {journal: $J}\n");
    struct registry *second = confd_next(first);
    hostapi.hold_flows(second->v[0]->self, 1); /* as it may in create */
    assert_true(registry_flows_held(&confd_shared));
    registry_free(second);
    assert_false(registry_flows_held(&confd_shared));
    confd_stop(first, bus);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, confd_begin, confd_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_sink_gets_what_it_subscribed_to),
        TEST(without_events_its_own_subscription_counts),
        TEST(a_sink_closed_on_error_holds_flows),
        TEST(a_sink_may_hold_flows_itself),
        TEST(counters_are_prometheus_text),
        TEST(what_did_not_change_goes_on),
        TEST(a_document_in_another_file_is_another_one),
        TEST(a_failure_leaves_the_previous_as_it_was),
        TEST(a_sink_that_was_taken_out_holds_nothing),
        TEST(a_sink_that_is_off_is_made_anew),
        TEST(what_was_never_used_holds_nothing),
    };
    return cmocka_run_group_tests(tests, build, confd_drop);
}
