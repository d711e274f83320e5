/* SPDX-License-Identifier: MPL-2.0 */
/* What instances have of each other and of the host: sources and their signals, settings, workers. */
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
        {"tests/fixtures/life.c", "watcher", "-DNAME='\"watcher\"' -DKIND=SOTH_KIND_POLICY"},
        {"tests/fixtures/life.c", "teller", "-DNAME='\"teller\"' -DKIND=SOTH_KIND_SOURCE"},
    };
    (void)state;
    return confd_build(modules, sizeof modules / sizeof *modules);
}

static void sources_start_and_stop(void **state)
{
    struct bus *bus;
    char err[256];
    (void)state;
    confd_document("10", "module: teller\nconfig: {journal: $J, word: one}\n");
    struct registry *first = confd_start(&bus);
    struct registry *second = confd_follow(first);
    registry_free(first);
    assert_string_equal(confd_journal(), "teller one create\nteller one start\n");
    confd_document("10", "module: teller\nconfig: {journal: $J, word: two, fail_start: true}\n");
    struct registry *bad = confd_next(second);
    assert_int_equal(registry_start_sources(bad, second, err, sizeof err), -SOTH_EIO);
    assert_string_equal(err, "teller: the source could not be started");
    registry_free(bad);
    assert_string_equal(confd_journal() + strlen("teller one create\nteller one start\n"),
                        "teller two create\nteller one stop\nteller two start\nteller one start\nteller two destroy\n");
    confd_stop(second, bus);
    assert_non_null(strstr(confd_journal(), "teller two destroy\nteller one stop\nteller one destroy\n"));
}

static void signals_go_to_the_current_policies(void **state)
{
    struct bus *bus;
    (void)state;
    confd_document("10", "module: watcher\nconfig: {journal: $J, word: one}\n");
    struct registry *first = confd_start(&bus);
    assert_int_equal(registry_hooks(first), SOTH_HOOK_CONNECT | SOTH_HOOK_SIGNAL);
    struct soth_signal signal = {.size = sizeof signal, .peer = "upstream", .reason = "other", .source = "x", .provider = "y", .alert = 42};
    registry_signal(first, &signal);
    const char *said = "watcher one signal flow=0 peer=upstream reason=other source=x provider=y authoritative=0 host= alert=42\n";
    assert_non_null(strstr(confd_journal(), said));
    confd_stop(first, bus);
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
    confd_document("10", "module: watcher\nconfig: {journal: $J, word: one}\n");
    struct registry *registry = confd_start(&bus);
    confd_shared.heard = hear;
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
    confd_shared.heard = NULL;
    confd_stop(registry, bus);
}

static void modules_read_settings(void **state)
{
    struct bus *bus;
    uint64_t value = 0;
    (void)state;
    confd_document("10", "module: watcher\nconfig: {journal: $J, word: one}\n");
    confd_settings.tls_learning = LEARNING_OBSERVE;
    confd_settings.tls_bypass_ttl = 900000;
    confd_settings.strict_header_mode = 1;
    confd_settings.workers = 7;
    struct registry *registry = confd_start(&bus);
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
    confd_stop(registry, bus);
}

static void workers_come_and_go(void **state)
{
    struct bus *bus;
    char err[256];
    (void)state;
    confd_document("10", "module: watcher\nname: a\norder: 1\nconfig: {journal: $J}\n---\nmodule: watcher\nname: b\norder: 2\n"
                   "config: {journal: $J, fail_worker_init: true}\n");
    struct registry *registry = confd_start(&bus);
    assert_int_equal(registry_worker_init(registry, 0, err, sizeof err), SOTH_OK);
    assert_int_equal(registry_worker_init(registry, 1, err, sizeof err), -SOTH_EIO);
    assert_string_equal(err, "b: its worker_init failed on worker 1");
    registry_worker_fini(registry, 0);
    confd_stop(registry, bus);
    assert_string_equal(confd_journal(), "a  create\nb  create\na  worker_init 0\nb  worker_init 0\na  worker_init 1\nb  worker_init 1\n"
                                   "a  worker_fini 1\nb  worker_fini 0\na  worker_fini 0\na  destroy\nb  destroy\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, confd_begin, confd_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sources_start_and_stop),
        TEST(signals_go_to_the_current_policies),
        TEST(what_sources_say_is_normalised),
        TEST(modules_read_settings),
        TEST(workers_come_and_go),
    };
    return cmocka_run_group_tests(tests, build, confd_drop);
}
