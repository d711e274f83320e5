/* SPDX-License-Identifier: MPL-2.0 */
/* What modules count, from any thread, and the text that it becomes. Also run under TSan. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/module/instance.h"
#include "host/module/registry.h"

#define INSTANCES 3
struct stand {
    struct registry registry;
    struct instance *v[INSTANCES];
    struct conf_module conf[INSTANCES];
};

static void add_instance(struct stand *s, const char *module, const char *name)
{
    size_t i = s->registry.n++;
    struct instance *in = calloc(1, sizeof *in + 16);
    assert_non_null(in);
    s->conf[i] = (struct conf_module){.name = name};
    in->conf = &s->conf[i];
    in->module.name = module;
    in->registry = &s->registry;
    s->v[i] = in;
    s->registry.v = s->v;
}

static void stand_fini(struct stand *s)
{
    for (size_t i = 0; i < s->registry.n; i++) {
        metrics_fini(&s->v[i]->metrics);
        free(s->v[i]);
    }
}

static char *text_of(const struct stand *s)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    registry_print_metrics(&s->registry, out);
    fclose(out);
    return text;
}

/* ---- the text ---- */

static void every_type_is_printed_as_prometheus_wants_it(void **state)
{
    static const uint64_t bounds[] = {10, 100};
    struct stand s = {.registry = {.n = 0}};
    (void)state;
    add_instance(&s, "my-sink", "a");
    void *self = s.v[0]->self;
    int sent = hostapi.counter(self, "sent", NULL, "what was sent\nand \\ more");
    int open = hostapi.gauge(self, "open", "x\"y\\z\n", "open now");
    int took = hostapi.histogram(self, "took_ms", "w", "how long it took", bounds, 2);
    hostapi.count(self, sent, 3);
    hostapi.count(self, sent, 4);
    hostapi.set(self, open, 9);
    hostapi.set(self, open, 5);
    for (uint64_t v = 0; v < 12; v++)
        hostapi.observe(self, took, v); /* 0 to 10 and 11 */
    hostapi.observe(self, took, 1000);
    char *text = text_of(&s);
    assert_string_equal(text, "# HELP soth_my_sink_sent_total what was sent\\nand \\\\ more\n# TYPE soth_my_sink_sent_total counter\n"
                              "soth_my_sink_sent_total{instance=\"a\"} 7\n"
                              "# HELP soth_my_sink_open open now\n# TYPE soth_my_sink_open gauge\n"
                              "soth_my_sink_open{instance=\"a\",label=\"x\\\"y\\\\z\\n\"} 5\n"
                              "# HELP soth_my_sink_took_ms how long it took\n# TYPE soth_my_sink_took_ms histogram\n"
                              "soth_my_sink_took_ms_bucket{instance=\"a\",label=\"w\",le=\"10\"} 11\n"
                              "soth_my_sink_took_ms_bucket{instance=\"a\",label=\"w\",le=\"100\"} 12\n"
                              "soth_my_sink_took_ms_bucket{instance=\"a\",label=\"w\",le=\"+Inf\"} 13\n"
                              "soth_my_sink_took_ms_sum{instance=\"a\",label=\"w\"} 1066\n"
                              "soth_my_sink_took_ms_count{instance=\"a\",label=\"w\"} 13\n");
    free(text);
    stand_fini(&s);
}

/* Prometheus refuses a text in which a name comes twice. */
static void samples_of_a_name_stand_together(void **state)
{
    struct stand s = {.registry = {.n = 0}};
    (void)state;
    add_instance(&s, "m", "a");
    add_instance(&s, "other", "b");
    add_instance(&s, "m", "c");
    for (size_t i = 0; i < 3; i++) {
        hostapi.counter(s.v[i]->self, "n", "x", "help");
        hostapi.gauge(s.v[i]->self, "g", NULL, NULL);
        hostapi.counter(s.v[i]->self, "n", "y", "help");
    }
    char *text = text_of(&s);
    assert_string_equal(text, "# HELP soth_m_n_total help\n# TYPE soth_m_n_total counter\n"
                              "soth_m_n_total{instance=\"a\",label=\"x\"} 0\nsoth_m_n_total{instance=\"a\",label=\"y\"} 0\n"
                              "soth_m_n_total{instance=\"c\",label=\"x\"} 0\nsoth_m_n_total{instance=\"c\",label=\"y\"} 0\n"
                              "# HELP soth_m_g \n# TYPE soth_m_g gauge\nsoth_m_g{instance=\"a\"} 0\nsoth_m_g{instance=\"c\"} 0\n"
                              "# HELP soth_other_n_total help\n# TYPE soth_other_n_total counter\n"
                              "soth_other_n_total{instance=\"b\",label=\"x\"} 0\nsoth_other_n_total{instance=\"b\",label=\"y\"} 0\n"
                              "# HELP soth_other_g \n# TYPE soth_other_g gauge\nsoth_other_g{instance=\"b\"} 0\n");
    free(text);
    stand_fini(&s);
}

static void attributes_that_were_left_out_are_told(void **state)
{
    struct stand s = {.registry = {.n = 0}};
    (void)state;
    add_instance(&s, "m", "a");
    add_instance(&s, "m", "b");
    s.v[1]->attrs_left_out = 12;
    char *text = text_of(&s);
    assert_non_null(strstr(text, "\nsoth_module_attributes_left_out_total{instance=\"b\"} 12\n"));
    assert_null(strstr(text, "instance=\"a\""));
    free(text);
    stand_fini(&s);
}

/* ---- what cannot be made ---- */

static void what_is_made_twice_is_the_same(void **state)
{
    static const uint64_t bounds[] = {1, 2, 3};
    struct stand s = {.registry = {.n = 0}};
    (void)state;
    add_instance(&s, "m", "a");
    void *self = s.v[0]->self;
    int n = hostapi.counter(self, "n", NULL, "help");
    assert_int_equal(hostapi.counter(self, "n", NULL, "other words"), n);
    assert_int_not_equal(hostapi.counter(self, "n", "x", "help"), n);
    assert_int_equal(hostapi.gauge(self, "n", "y", "help"), -SOTH_EINVALID); /* a name has one type */
    int h = hostapi.histogram(self, "h", NULL, "help", bounds, 3);
    assert_int_equal(hostapi.histogram(self, "h", NULL, "help", bounds, 3), h);
    assert_int_equal(hostapi.histogram(self, "h", "x", "help", bounds, 2), -SOTH_EINVALID); /* and the same buckets */
    stand_fini(&s);
}

static void names_bounds_and_time_are_judged(void **state)
{
    static const char *const bad[] = {"", "1st", "a-b", "a b", "a\n", "\xc3\xa4"};
    static const uint64_t falling[] = {2, 1}, equal[] = {2, 2};
    struct stand s = {.registry = {.n = 0}};
    (void)state;
    add_instance(&s, "m", "a");
    void *self = s.v[0]->self;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(hostapi.counter(self, bad[i], NULL, ""), -SOTH_EINVALID);
    assert_int_equal(hostapi.counter(self, NULL, NULL, ""), -SOTH_EINVALID);
    assert_int_equal(hostapi.histogram(self, "h", NULL, "", falling, 2), -SOTH_EINVALID);
    assert_int_equal(hostapi.histogram(self, "h", NULL, "", equal, 2), -SOTH_EINVALID);
    assert_int_equal(hostapi.histogram(self, "h", NULL, "", NULL, 2), -SOTH_EINVALID);
    assert_true(hostapi.histogram(self, "h", NULL, "", NULL, 0) >= 0); /* +Inf alone */
    s.v[0]->created = true;
    assert_int_equal(hostapi.counter(self, "late", NULL, ""), -SOTH_EPERM);
    assert_int_equal(s.v[0]->metrics.count, 1);
    stand_fini(&s);
}

static void an_instance_has_so_many_and_no_more(void **state)
{
    struct stand s = {.registry = {.n = 0}};
    (void)state;
    add_instance(&s, "m", "a");
    for (int i = 0; i <= METRICS_MOST; i++) {
        char label[16];
        snprintf(label, sizeof label, "%d", i);
        assert_int_equal(hostapi.counter(s.v[0]->self, "n", label, ""), i < METRICS_MOST ? i : -SOTH_ELIMIT);
    }
    stand_fini(&s);
}

/* A number that the module made up, or one of another type, counts nowhere. */
static void wrong_numbers_do_nothing(void **state)
{
    struct stand s = {.registry = {.n = 0}};
    (void)state;
    add_instance(&s, "m", "a");
    void *self = s.v[0]->self;
    int c = hostapi.counter(self, "c", NULL, ""), g = hostapi.gauge(self, "g", NULL, ""), h = hostapi.histogram(self, "h", NULL, "", NULL, 0);
    hostapi.count(self, g, 1);
    hostapi.count(self, h, 1);
    hostapi.set(self, c, 1);
    hostapi.set(self, h, 1);
    hostapi.observe(self, c, 1);
    hostapi.observe(self, g, 1);
    hostapi.count(self, -SOTH_ENOMEM, 1);
    hostapi.count(self, 3, 1);
    hostapi.set(self, METRICS_MOST, 1);
    for (int i = 0; i < 3; i++)
        for (size_t cell = 0; cell < (i == h ? 2 : 1); cell++)
            assert_int_equal(metric_sum(s.v[0]->metrics.v[i], cell), 0);
    stand_fini(&s);
}

/* ---- threads ---- */

#define THREADS 12
#define TIMES 20000u

struct counting {
    void *self;
    int counter, histogram, gauge;
};

static void *count(void *arg)
{
    const struct counting *c = arg;
    for (unsigned i = 0; i < TIMES; i++) {
        hostapi.count(c->self, c->counter, 2);
        hostapi.observe(c->self, c->histogram, i % 3);
        hostapi.set(c->self, c->gauge, i);
    }
    return NULL;
}

static void nothing_that_any_thread_counted_is_lost(void **state)
{
    static const uint64_t bounds[] = {0, 1};
    struct stand s = {.registry = {.n = 0}};
    pthread_t threads[THREADS];
    (void)state;
    add_instance(&s, "m", "a");
    struct counting c = {.self = s.v[0]->self};
    c.counter = hostapi.counter(c.self, "c", NULL, "");
    c.histogram = hostapi.histogram(c.self, "h", NULL, "", bounds, 2);
    c.gauge = hostapi.gauge(c.self, "g", NULL, "");
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, &c), 0);
    free(text_of(&s)); /* while they count */
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    const struct metric *h = s.v[0]->metrics.v[c.histogram];
    assert_int_equal(metric_sum(s.v[0]->metrics.v[c.counter], 0), 2 * THREADS * TIMES);
    assert_int_equal(metric_sum(h, 0) + metric_sum(h, 1) + metric_sum(h, 2), THREADS * TIMES);
    assert_int_equal(metric_sum(h, 1), THREADS * (TIMES / 3 + 1));
    assert_int_equal(metric_sum(h, 3), metric_sum(h, 1) + 2 * metric_sum(h, 2));
    assert_int_equal(metric_sum(s.v[0]->metrics.v[c.gauge], 0), TIMES - 1);
    stand_fini(&s);
}

/* Threads do not write to each other's cache lines. */
static void shards_lie_apart(void **state)
{
    struct stand s = {.registry = {.n = 0}};
    (void)state;
    add_instance(&s, "m", "a");
    hostapi.counter(s.v[0]->self, "c", NULL, "");
    const struct metric *m = s.v[0]->metrics.v[0];
    assert_int_equal((uintptr_t)m->cells % 64, 0);
    assert_int_equal(m->stride * sizeof *m->cells % 64, 0);
    assert_true(m->shards >= 8);
    stand_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_printed_as_prometheus_wants_it),
        cmocka_unit_test(samples_of_a_name_stand_together),
        cmocka_unit_test(attributes_that_were_left_out_are_told),
        cmocka_unit_test(what_is_made_twice_is_the_same),
        cmocka_unit_test(names_bounds_and_time_are_judged),
        cmocka_unit_test(an_instance_has_so_many_and_no_more),
        cmocka_unit_test(wrong_numbers_do_nothing),
        cmocka_unit_test(nothing_that_any_thread_counted_is_lost),
        cmocka_unit_test(shards_lie_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
