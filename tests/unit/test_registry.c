/* SPDX-License-Identifier: MPL-2.0 */
/* From conf.d to instances: what is made, in which order, what is said when something is wrong, and all of it taken back again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf_text.h"
#include "host/event/bus.h"
#include "host/module/instance.h"
#include "module_build.h"

static char *modules, *folder;
static struct settings settings;
static const char *modules_list[1];
static char conf_d[512], journal_path[512];

static int build_modules(void **state)
{
    (void)state;
    modules = scratch_new();
    modules_list[0] = modules;
    return module_build("tests/fixtures/module.c", modules, "fixture", "") ||
           module_build("tests/fixtures/module.c", modules, "judge", "-DNAME='\"judge\"' -DPOLICY -DKIND=SOTH_KIND_POLICY") ||
           module_build("tests/fixtures/life.c", modules, "watcher", "-DNAME='\"watcher\"' -DKIND=SOTH_KIND_POLICY") ||
           module_build("tests/fixtures/life.c", modules, "teller", "-DNAME='\"teller\"' -DKIND=SOTH_KIND_SOURCE");
}

static int drop_modules(void **state)
{
    (void)state;
    scratch_free(modules);
    return 0;
}

static int begin(void **state)
{
    (void)state;
    folder = scratch_new();
    snprintf(conf_d, sizeof conf_d, "%s/conf.d", folder);
    snprintf(journal_path, sizeof journal_path, "%s/journal", folder);
    settings = (struct settings){.modules_dir = {modules_list, 1}, .conf_d = conf_d};
    free(scratch_file(folder, "conf.d/00-nothing.yaml", "", 0600));
    return 0;
}

static int end(void **state)
{
    (void)state;
    scratch_free(folder);
    return 0;
}

/* A document; $J is the journal's path. */
static void document(const char *file, const char *text)
{
    char name[64], full[2048], *at = full;
    for (; *text; text++) {
        if (text[0] == '$' && text[1] == 'J') {
            at += sprintf(at, "%s", journal_path);
            text++;
        } else {
            *at++ = *text;
        }
    }
    *at = 0;
    snprintf(name, sizeof name, "conf.d/%s.yaml", file);
    free(scratch_file(folder, name, full, 0600));
}

static int open_registry(bool check_only, struct registry **out, char **messages)
{
    struct said said;
    said_begin(&said);
    int r = registry_open("soth-mitm.yaml", &settings, check_only, said.out, out);
    *messages = said_end(&said);
    return r;
}

static char *journal(void)
{
    static char text[4096];
    FILE *in = fopen(journal_path, "r");
    size_t n = in ? fread(text, 1, sizeof text - 1, in) : 0;
    if (in)
        fclose(in);
    text[n] = 0;
    return text;
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
    int r = open_registry(check_only, &registry, &messages);
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
    document("10", "module: fixture\nname: zebra\norder: 10\nconfig: {journal: $J}\n");
    document("20", "module: judge\nname: late\norder: 90\nconfig: {journal: $J}\n---\nmodule: judge\nname: early\norder: 5\nconfig: {journal: $J}\n");
    document("30", "module: fixture\nname: ant\norder: 10\nconfig: {journal: $J}\n");
    document("40", "module: fixture\nname: off\nenabled: false\nconfig: {journal: $J}\n");
    assert_int_equal(open_registry(false, &registry, &messages), SOTH_OK);
    assert_string_equal(messages, "");
    assert_string_equal(journal(), "create early\ncreate late\ncreate ant\ncreate zebra\n");
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
    assert_int_equal(lines(journal()), 8);
    assert_non_null(strstr(journal(), "destroy ant\n"));
}

static void check_makes_nothing(void **state)
{
    struct registry *registry;
    char *messages;
    (void)state;
    document("10", "module: fixture\nconfig: {journal: $J, fail_create: true}\n");
    assert_int_equal(open_registry(true, &registry, &messages), SOTH_OK);
    registry_free(registry);
    free(messages);
    assert_int_not_equal(access(journal_path, F_OK), 0);
}

static void what_was_made_before_a_failure_is_unmade(void **state)
{
    (void)state;
    document("10", "module: fixture\nname: first\norder: 1\nconfig: {journal: $J}\n");
    document("20", "module: fixture\nname: second\norder: 2\nconfig:\n  journal: $J\n  fail_create: true\n");
    WRONG(false, -SOTH_EIO, "20.yaml:1:9: module: the module could not be started");
    assert_string_equal(journal(), "create first\ndestroy first\n");
    document("20", "module: fixture\nname: second\nconfig:\n  fail_create: true\n  tell: true\n  journal: $J\n");
    WRONG(false, -SOTH_EIO, "20.yaml:6:12: config.journal: cannot be opened");
}

/* ---- mistakes ---- */

static void mistakes_have_a_place_and_one_run_shows_all(void **state)
{
    (void)state;
    document("10", "module: fixture\nconfig: {journal: $J, nonsense: 1}\n");
    document("20", "module: nowhere\n");
    document("30", "module: fixture\nname: other\nevents: [connect, conect]\nconfig: {journal: $J}\n");
    WRONG(true, -SOTH_ECONFIG, "10.yaml:2:", "config.nonsense: unknown key", "20.yaml:1:9: module: there is no module nowhere.so in", modules,
          "30.yaml:3:", "'conect' is neither an event kind nor a group");
    WRONG(false, -SOTH_ECONFIG, "config.nonsense");
    assert_int_not_equal(access(journal_path, F_OK), 0); /* nothing was made for what was right */
}

static void an_unknown_module_is_told_apart(void **state)
{
    (void)state;
    document("20", "module: nowhere\n");
    WRONG(false, -SOTH_ENOENT, "there is no module nowhere.so in", modules);
}

static void what_check_says_is_at_its_key(void **state)
{
    (void)state;
    document("10", "module: fixture\nconfig:\n  journal: $J\n  tell: true\n  fail_check: true\n");
    WRONG(true, -SOTH_ECONFIG, "10.yaml:5:15: config.fail_check: is true");
    document("10", "module: fixture\nconfig:\n  journal: $J\n  fail_check: true\n");
    WRONG(true, -SOTH_ECONFIG, "10.yaml:3:3: config: the module does not accept this configuration");
}

static void a_required_key_is_missed_without_config_too(void **state)
{
    (void)state;
    document("10", "module: fixture\n");
    WRONG(true, -SOTH_ECONFIG, "10.yaml:1:1: config.journal: is required");
}

static void names_are_unique_and_events_are_for_sinks(void **state)
{
    (void)state;
    document("10", "module: fixture\nconfig: {journal: $J}\n---\nmodule: fixture\nconfig: {journal: $J}\n");
    WRONG(true, -SOTH_ECONFIG, "10.yaml:4:9: module: another instance has this name");
    document("10", "module: judge\nevents: [all]\nconfig: {journal: $J}\n");
    WRONG(true, -SOTH_ECONFIG, "10.yaml:2:9: events: only sinks take events");
    document("10", "module: judge\npayload: full\nconfig: {journal: $J}\n");
    WRONG(true, -SOTH_ECONFIG, "10.yaml:2:10: payload: only sinks take events");
}

/* ---- sinks ---- */

static struct registry_shared shared;

static struct registry *next(struct registry *previous)
{
    struct registry *registry;
    struct said said;
    said_begin(&said);
    int r = registry_open_next(&settings, &shared, previous, said.out, &registry);
    char *messages = said_end(&said);
    if (r != SOTH_OK)
        fail_msg("%s", messages);
    free(messages);
    return registry;
}

/* As a reload does it, without workers. */
static void take_over(struct registry *registry, struct registry *previous)
{
    char err[256];
    struct bus_change *change = bus_change_new(shared.bus);
    assert_int_equal(registry_change_sinks(registry, previous, change), SOTH_OK);
    assert_int_equal(registry_start_sources(registry, previous, err, sizeof err), SOTH_OK);
    bus_change_commit(change, 5000);
    registry_make_current(&shared, registry);
}

static struct registry *with_sinks(struct bus **bus)
{
    *bus = bus_new();
    registry_shared_init(&shared, *bus);
    struct registry *registry = next(NULL);
    take_over(registry, NULL);
    return registry;
}

static void without_sinks(struct registry *registry, struct bus *bus)
{
    bus_stop(bus, 5000);
    registry_stop_sources(registry);
    bus_reap(bus, registry_sink_ended);
    registry_make_current(&shared, NULL);
    registry_free(registry);
    bus_free(bus);
    registry_shared_fini(&shared);
}

static void publish(struct bus *bus)
{
    struct bus_port *port = bus_port_new(bus, NULL, NULL);
    struct event_source source = {.flow_id = 1, .next_sequence = 1};
    for (unsigned kind = 1; kind < SOTH_EV_COUNT; kind++)
        bus_emit(port, &source, kind, NULL, 0);
    bus_port_free(port);
}

static void a_sink_gets_what_it_subscribed_to(void **state)
{
    struct bus *bus;
    (void)state;
    document("10", "module: fixture\nevents: [request_trailers, system]\nconfig: {journal: $J}\n");
    struct registry *registry = with_sinks(&bus);
    publish(bus);
    assert_int_equal(bus_stop(bus, 5000), 0);
    without_sinks(registry, bus);
    assert_string_equal(journal(), "create fixture\nevent request_trailers\nevent budget_denied\nevent events_lost\nevent module_fault\nevent config_reloaded\nflush\n"
                                   "destroy fixture\n");
}

static void without_events_its_own_subscription_counts(void **state)
{
    struct bus *bus;
    (void)state;
    document("10", "module: fixture\nconfig: {journal: $J}\n"); /* the group connect */
    struct registry *registry = with_sinks(&bus);
    publish(bus);
    without_sinks(registry, bus);
    assert_string_equal(journal(), "create fixture\nevent connect_received\nevent connect_parse_failed\nevent connect_decision\n"
                                   "event stream_closed\nflush\ndestroy fixture\n");
}

static bool held_after(const char *failure, const char *on_error)
{
    char text[256];
    struct bus *bus;
    snprintf(text, sizeof text, "module: fixture\n%sconfig: {journal: $J, %s}\n", on_error, failure);
    document("10", text);
    struct registry *registry = with_sinks(&bus);
    assert_false(registry_flows_held(&shared));
    publish(bus);
    bus_stop(bus, 5000);
    bool held = registry_flows_held(&shared);
    without_sinks(registry, bus);
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
    document("10", "module: fixture\nconfig: {journal: $J, hold: true}\n");
    struct registry *registry = with_sinks(&bus);
    publish(bus);
    bus_stop(bus, 5000);
    assert_true(registry_flows_held(&shared));
    without_sinks(registry, bus);
}

static void counters_are_prometheus_text(void **state)
{
    struct bus *bus;
    char *text = NULL;
    size_t size = 0;
    (void)state;
    document("10", "module: fixture\nname: a\nconfig: {journal: $J}\n---\nmodule: fixture\nname: b\nconfig: {journal: $J}\n");
    struct registry *registry = with_sinks(&bus);
    publish(bus);
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
    without_sinks(registry, bus);
}

/* ---- one after another ---- */

static struct registry *follow(struct registry *previous)
{
    struct registry *registry = next(previous);
    take_over(registry, previous);
    return registry;
}

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
    for (const char *at = journal(); (at = strstr(at, line)); at++)
        n++;
    return n;
}

static void what_did_not_change_goes_on(void **state)
{
    struct bus *bus;
    (void)state;
    document("10", "module: fixture\nname: same\nconfig: {journal: $J}\n---\nmodule: fixture\nname: other\nconfig: {journal: $J}\n");
    document("20", "module: judge\nconfig: {journal: $J}\n");
    struct registry *first = with_sinks(&bus);
    assert_string_equal(journal(), "create judge\ncreate other\ncreate same\n");
    document("10", "# moved down, not changed\nmodule: fixture\nname: same\nconfig: {journal: $J}\n---\nmodule: fixture\nname: other\n"
                   "order: 7\nconfig: {journal: $J}\n");
    struct registry *second = follow(first);
    reap(bus);
    assert_non_null(strstr(journal(), "flush\ndestroy other\n")); /* the sink at once, */
    assert_null(strstr(journal(), "destroy judge"));                /* the policy with its flows */
    registry_free(first);
    assert_non_null(strstr(journal(), "destroy judge\n"));
    assert_null(strstr(journal(), "destroy same"));
    struct registry *third = follow(second);
    registry_free(second);
    publish(bus);
    without_sinks(third, bus);
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
    document("10", "module: fixture\nconfig: {journal: $J}\n");
    struct registry *first = with_sinks(&bus);
    document("10", "");
    document("11", "module: fixture\nconfig: {journal: $J}\n");
    struct registry *second = follow(first);
    reap(bus);
    registry_free(first);
    assert_string_equal(journal(), "create fixture\ncreate fixture\nflush\ndestroy fixture\n");
    without_sinks(second, bus);
}

static void a_failure_leaves_the_previous_as_it_was(void **state)
{
    struct bus *bus;
    struct registry *registry;
    char *messages;
    struct said said;
    (void)state;
    document("10", "module: fixture\nname: same\nconfig: {journal: $J}\n");
    struct registry *first = with_sinks(&bus);
    document("20", "module: fixture\nname: late\norder: 99\nconfig: {journal: $J, fail_create: true}\n");
    said_begin(&said);
    assert_int_equal(registry_open_next(&settings, &shared, first, said.out, &registry), -SOTH_EIO);
    messages = said_end(&said);
    assert_non_null(strstr(messages, "20.yaml:1:9"));
    free(messages);
    publish(bus);
    without_sinks(first, bus);
    assert_string_equal(journal(), "create same\nevent connect_received\nevent connect_parse_failed\nevent connect_decision\n"
                                   "event stream_closed\nflush\ndestroy same\n");
}

static void a_sink_that_was_taken_out_holds_nothing(void **state)
{
    struct bus *bus;
    (void)state;
    document("10", "module: fixture\nconfig: {journal: $J, hold: true}\n");
    struct registry *first = with_sinks(&bus);
    publish(bus);
    for (unsigned i = 0; i < 1000 && !registry_flows_held(&shared); i++)
        usleep(10000);
    assert_true(registry_flows_held(&shared));
    struct registry *second = follow(first);
    assert_true(registry_flows_held(&shared)); /* it goes on */
    document("10", "");
    struct registry *third = follow(second);
    assert_false(registry_flows_held(&shared));
    reap(bus);
    registry_free(first);
    registry_free(second);
    without_sinks(third, bus);
    assert_false(registry_flows_held(&shared));
}

static void a_sink_that_is_off_is_made_anew(void **state)
{
    struct bus *bus;
    (void)state;
    document("10", "module: fixture\nconfig: {journal: $J}\n");
    struct registry *first = with_sinks(&bus);
    atomic_store(&first->v[0]->failures, INSTANCE_MAX_FAILURES - 1);
    struct registry *second = follow(first);
    assert_ptr_equal(second->v[0], first->v[0]); /* it only failed */
    atomic_store(&first->v[0]->failures, INSTANCE_MAX_FAILURES);
    struct registry *third = follow(second);
    assert_ptr_not_equal(third->v[0], first->v[0]);
    registry_free(first);
    registry_free(second);
    reap(bus);
    assert_string_equal(journal(), "create fixture\ncreate fixture\nflush\ndestroy fixture\n");
    without_sinks(third, bus);
}

static void what_was_never_used_holds_nothing(void **state)
{
    struct bus *bus;
    (void)state;
    document("10", "module: fixture\nconfig: {journal: $J}\n");
    struct registry *first = with_sinks(&bus);
    document("20", "module: fixture\nname: eager\nconfig: {journal: $J}\n");
    struct registry *second = next(first);
    hostapi.hold_flows(second->v[0]->self, 1); /* as it may in create */
    assert_true(registry_flows_held(&shared));
    registry_free(second);
    assert_false(registry_flows_held(&shared));
    without_sinks(first, bus);
}

static void sources_start_and_stop(void **state)
{
    struct bus *bus;
    char err[256];
    (void)state;
    document("10", "module: teller\nconfig: {journal: $J, word: one}\n");
    struct registry *first = with_sinks(&bus);
    struct registry *second = follow(first);
    registry_free(first);
    assert_string_equal(journal(), "teller one create\nteller one start\n");
    document("10", "module: teller\nconfig: {journal: $J, word: two, fail_start: true}\n");
    struct registry *bad = next(second);
    assert_int_equal(registry_start_sources(bad, second, err, sizeof err), -SOTH_EIO);
    assert_string_equal(err, "teller: the source could not be started");
    registry_free(bad);
    assert_string_equal(journal() + strlen("teller one create\nteller one start\n"),
                        "teller two create\nteller one stop\nteller two start\nteller one start\nteller two destroy\n");
    without_sinks(second, bus);
    assert_non_null(strstr(journal(), "teller two destroy\nteller one stop\nteller one destroy\n"));
}

static void signals_go_to_the_current_policies(void **state)
{
    struct bus *bus;
    (void)state;
    document("10", "module: watcher\nconfig: {journal: $J, word: one}\n");
    struct registry *first = with_sinks(&bus);
    assert_int_equal(registry_hooks(first), SOTH_HOOK_CONNECT | SOTH_HOOK_SIGNAL);
    struct soth_signal signal = {.size = sizeof signal, .peer = "upstream", .reason = "other", .source = "x", .provider = "y", .alert = 42};
    registry_signal(first, &signal);
    const char *said = "watcher one signal flow=0 peer=upstream reason=other source=x provider=y authoritative=0 host= alert=42\n";
    assert_non_null(strstr(journal(), said));
    without_sinks(first, bus);
}

static char heard[1024];

static void hear(void *arg, const struct soth_signal *s)
{
    (void)arg;
    snprintf(heard, sizeof heard, "phase=%u flow=%d peer=%s reason=%s source=%s provider=%s authoritative=%u rejected=%s lesson=%s", s->phase,
             s->flow_id != 0, s->peer, s->reason, s->source, s->provider, s->authoritative, s->rejected_ca,
             s->lesson->reason_code ? s->lesson->reason_code : "");
}

/* Whatever a source claims: its signals come in the host's words, and are of another engine. */
static void what_sources_say_is_normalised(void **state)
{
    static const struct {
        struct soth_signal said;
        const char *heard; /* NULL: refused */
    } rows[] = {
        {{.peer = "downstream", .reason = "unknown_ca", .source = "mitmproxy_authoritative", .provider = "soth-mitm", .authoritative = 7, .flow_id = 9,
          .rejected_ca = "certain"},
         "phase=0 flow=0 peer=downstream reason=unknown_ca source=mitmproxy_authoritative provider=mitmproxy authoritative=1 rejected=certain lesson="},
        {{.peer = "upstream", .reason = "timeout", .source = "mitmproxy_authoritative", .rejected_ca = "certain"},
         "phase=0 flow=0 peer=upstream reason=timeout source=mitmproxy_authoritative provider=mitmproxy authoritative=0 rejected=no lesson="},
        {{.peer = "downstream", .reason = "other", .source = "hudsucker_inferred", .authoritative = 1, .rejected_ca = "surely"},
         "phase=0 flow=0 peer=downstream reason=other source=hudsucker_inferred provider=hudsucker authoritative=0 rejected=no lesson="},
        {{.peer = "downstream", .source = "mitmproxy_authoritative", .phase = SOTH_TLS_STARTED},
         "phase=1 flow=0 peer=downstream reason= source=mitmproxy_authoritative provider=mitmproxy authoritative=0 rejected=no lesson="},
        {{.peer = "downstream", .reason = "other", .source = "native_authoritative", .authoritative = 1}, NULL},
        {{.peer = "sideways", .reason = "other", .source = "mitmproxy_authoritative"}, NULL},
        {{.peer = "upstream", .reason = "bad luck", .source = "mitmproxy_authoritative"}, NULL},
        {{.peer = "upstream", .source = "mitmproxy_authoritative"}, NULL},
        {{.peer = "upstream", .source = "mitmproxy_authoritative", .phase = 3}, NULL},
    };
    struct bus *bus;
    (void)state;
    document("10", "module: watcher\nconfig: {journal: $J, word: one}\n");
    struct registry *registry = with_sinks(&bus);
    shared.heard = hear;
    struct instance source = *registry->v[0];
    source.module.kind = SOTH_KIND_SOURCE;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct soth_signal signal = rows[i].said;
        signal.size = sizeof signal;
        heard[0] = 0;
        assert_int_equal(hostapi.signal(source.self, &signal), rows[i].heard ? SOTH_OK : -SOTH_EINVALID);
        assert_string_equal(heard, rows[i].heard ? rows[i].heard : "");
    }
    struct soth_signal old = {.size = offsetof(struct soth_signal, alert), .peer = "upstream", .reason = "other", .source = "mitmproxy_authoritative",
                              .phase = 77, .verify_code = 77}; /* what an older module does not have is not read */
    assert_int_equal(hostapi.signal(source.self, &old), SOTH_OK);
    assert_int_equal(hostapi.signal(registry->v[0]->self, &old), -SOTH_EPERM);
    shared.heard = NULL;
    without_sinks(registry, bus);
}

static void modules_read_settings(void **state)
{
    struct bus *bus;
    uint64_t value = 0;
    (void)state;
    document("10", "module: watcher\nconfig: {journal: $J, word: one}\n");
    settings.tls_learning = LEARNING_OBSERVE;
    settings.tls_bypass_ttl = 900000;
    settings.strict_header_mode = 1;
    settings.workers = 7;
    struct registry *registry = with_sinks(&bus);
    void *self = registry->v[0]->self;
    assert_int_equal(hostapi.setting(self, "tls_learning", &value), SOTH_OK);
    assert_int_equal(value, 1);
    assert_int_equal(hostapi.setting(self, "tls_bypass_ttl", &value), SOTH_OK);
    assert_int_equal(value, 900000);
    assert_int_equal(hostapi.setting(self, "strict_header_mode", &value), SOTH_OK);
    assert_int_equal(value, 1);
    assert_int_equal(hostapi.setting(self, "workers", &value), SOTH_OK);
    assert_int_equal(value, 7);
    assert_int_equal(hostapi.setting(self, "ca", &value), -SOTH_ENOENT);
    assert_int_equal(hostapi.setting(self, "conf_d", &value), -SOTH_ENOENT); /* no text */
    assert_int_equal(hostapi.setting(self, "tls_learning_", &value), -SOTH_ENOENT);
    without_sinks(registry, bus);
}

static void bypass_needs_its_module(void **state)
{
    (void)state;
    struct conf_file *file = conf_file_from_text("soth-mitm.yaml", "workers: 1\ntls_learning: bypass\n", stderr);
    settings.document = conf_file_document(file, 0);
    settings.tls_learning = LEARNING_BYPASS;
    document("10", "module: watcher\nconfig: {journal: $J, word: one}\n");
    WRONG(true, -SOTH_ECONFIG, "soth-mitm.yaml:2:15: tls_learning: 'bypass' needs the module policy_tls_learning: enable it in conf.d, with the hosts "
                               "that may be bypassed");
    settings.document = NULL;
    conf_file_free(file);
}

static void workers_come_and_go(void **state)
{
    struct bus *bus;
    char err[256];
    (void)state;
    document("10", "module: watcher\nname: a\norder: 1\nconfig: {journal: $J}\n---\nmodule: watcher\nname: b\norder: 2\n"
                   "config: {journal: $J, fail_worker_init: true}\n");
    struct registry *registry = with_sinks(&bus);
    assert_int_equal(registry_worker_init(registry, 0, err, sizeof err), SOTH_OK);
    assert_int_equal(registry_worker_init(registry, 1, err, sizeof err), -SOTH_EIO);
    assert_string_equal(err, "b: its worker_init failed on worker 1");
    registry_worker_fini(registry, 0);
    without_sinks(registry, bus);
    assert_string_equal(journal(), "a  create\nb  create\na  worker_init 0\nb  worker_init 0\na  worker_init 1\nb  worker_init 1\n"
                                   "a  worker_fini 1\nb  worker_fini 0\na  worker_fini 0\na  destroy\nb  destroy\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(instances_are_made_in_order_and_unmade, begin, end),
        cmocka_unit_test_setup_teardown(check_makes_nothing, begin, end),
        cmocka_unit_test_setup_teardown(what_was_made_before_a_failure_is_unmade, begin, end),
        cmocka_unit_test_setup_teardown(mistakes_have_a_place_and_one_run_shows_all, begin, end),
        cmocka_unit_test_setup_teardown(an_unknown_module_is_told_apart, begin, end),
        cmocka_unit_test_setup_teardown(what_check_says_is_at_its_key, begin, end),
        cmocka_unit_test_setup_teardown(a_required_key_is_missed_without_config_too, begin, end),
        cmocka_unit_test_setup_teardown(names_are_unique_and_events_are_for_sinks, begin, end),
        cmocka_unit_test_setup_teardown(a_sink_gets_what_it_subscribed_to, begin, end),
        cmocka_unit_test_setup_teardown(without_events_its_own_subscription_counts, begin, end),
        cmocka_unit_test_setup_teardown(a_sink_closed_on_error_holds_flows, begin, end),
        cmocka_unit_test_setup_teardown(a_sink_may_hold_flows_itself, begin, end),
        cmocka_unit_test_setup_teardown(counters_are_prometheus_text, begin, end),
        cmocka_unit_test_setup_teardown(what_did_not_change_goes_on, begin, end),
        cmocka_unit_test_setup_teardown(a_document_in_another_file_is_another_one, begin, end),
        cmocka_unit_test_setup_teardown(a_failure_leaves_the_previous_as_it_was, begin, end),
        cmocka_unit_test_setup_teardown(a_sink_that_was_taken_out_holds_nothing, begin, end),
        cmocka_unit_test_setup_teardown(a_sink_that_is_off_is_made_anew, begin, end),
        cmocka_unit_test_setup_teardown(what_was_never_used_holds_nothing, begin, end),
        cmocka_unit_test_setup_teardown(sources_start_and_stop, begin, end),
        cmocka_unit_test_setup_teardown(signals_go_to_the_current_policies, begin, end),
        cmocka_unit_test_setup_teardown(what_sources_say_is_normalised, begin, end),
        cmocka_unit_test_setup_teardown(modules_read_settings, begin, end),
        cmocka_unit_test_setup_teardown(bypass_needs_its_module, begin, end),
        cmocka_unit_test_setup_teardown(workers_come_and_go, begin, end),
    };
    return cmocka_run_group_tests(tests, build_modules, drop_modules);
}
