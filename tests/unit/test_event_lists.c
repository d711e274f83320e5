/* SPDX-License-Identifier: MPL-2.0 */
/* Forms, and lists of attributes that a port knows again: what comes of their values is what comes of attributes that are checked name by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/event/private.h"

#define LINE 768u
#define ATTR(name_, text_, number_, type_) {name_, {text_, sizeof(text_) - 1}, number_, type_, sizeof(name_) - 1}

static uint32_t draw(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* ---- what sinks see ---- */

static char lines[2][LINE];
static unsigned seen, wrong;

static void describe(char line[LINE], const struct soth_event *e)
{
    int n = snprintf(line, LINE, "%u %.*s %.*s %u", e->kind, SOTH_SPAN(e->client_addr), SOTH_SPAN(e->server_host), e->server_port);
    for (uint32_t i = 0; i < e->attr_count; i++) {
        const struct soth_attr *a = &e->attrs[i];
        n += snprintf(line + n, LINE - (size_t)n, " %.*s/%u=%.*s/%llu", (int)a->name_len, a->name, a->type, SOTH_SPAN(a->text),
                      event_type_is_text(a->type) ? 0 : (unsigned long long)a->number);
    }
    assert_true((size_t)n < LINE);
}

/* Events come in pairs. */
static int compare(void *instance, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    (void)instance;
    (void)retry_ms;
    for (*done = 0; *done < batch->count; ++*done) {
        describe(lines[seen & 1], batch->events[*done]);
        if ((seen++ & 1) && strcmp(lines[0], lines[1]) != 0 && wrong++ == 0)
            print_error("event %u: %s\n  checked: %s\n", seen, lines[1], lines[0]);
    }
    return SOTH_OK;
}

struct rig {
    struct bus *bus;
    struct bus_port *port;
    struct event_source source;
};

static void rig_init(struct rig *rig, uint64_t payload)
{
    static const struct bus_sink_ops ops = {compare, NULL, NULL};
    struct bus_queue_config queue = {.max_events = 100000, .max_bytes = 64 << 20, .payload = payload};
    seen = wrong = 0;
    *rig = (struct rig){.bus = bus_new(), .source = {.flow_id = 1, .next_sequence = 1, .client_addr = soth_span("192.0.2.1:4711"), .server_port = 443}};
    assert_int_equal(bus_add_sink(rig->bus, "compare", NULL, &ops, ~UINT64_C(1), &queue), SOTH_OK);
    assert_int_equal(bus_start(rig->bus), SOTH_OK);
    rig->port = bus_port_new(rig->bus, NULL, NULL);
}

static void rig_fini(struct rig *rig, unsigned events)
{
    bus_port_free(rig->port);
    assert_int_equal(bus_stop(rig->bus, 5000), 0);
    assert_int_equal(seen, events);
    assert_int_equal(wrong, 0);
    bus_free(rig->bus);
}

static bool is_known(struct rig *rig, uint32_t kind, const struct soth_attr *attrs, size_t n)
{
    union soth_value values[EVENT_VALUES_MOST];
    uint64_t present;
    return bus_list_form(rig->port, kind, attrs, n, values, &present) != NULL;
}

/* Twice: as if it had never been seen, and as the port has it. Returns whether the port knew it. */
static bool emit_both(struct rig *rig, unsigned kind, const struct soth_attr *attrs, size_t n, const struct soth_attr *extra)
{
    struct soth_attr with[EVENT_ATTRS_MOST + 1];
    unsigned left_out = 0;
    int count = event_attrs_check(kind, attrs, n, with, &left_out);
    assert_true(count >= 0);
    with[count] = *extra;
    bus_emit(rig->port, &rig->source, kind, with, (size_t)count + 1);
    union soth_value values[EVENT_VALUES_MOST];
    uint64_t present;
    const struct form *form = bus_list_form(rig->port, kind, attrs, n, values, &present);
    if (form) {
        assert_int_equal(left_out, 0);
        bus_emit_form(rig->port, &rig->source, kind, form, values, present, extra);
    } else {
        bus_emit(rig->port, &rig->source, kind, with, (size_t)count + 1);
    }
    return form != NULL;
}

/* ---- tests ---- */

/* As the decoders give them: the same list with other values, of which some are absent, with and without one of the host's; mostly as it came
 * last, or all but one. */
static void random_values(uint64_t payload, uint32_t seed)
{
    const struct soth_attr extras[] = {ATTR_NUMBER("exchange_no", 3), ATTR_NUMBER("http2_stream_id", 5), {NULL, {NULL, 0}, 0, 0, 0},
                                       {"exchange_no", {NULL, 0}, 4, SOTH_ATTR_U64, 11}};
    const struct soth_attr *extra = extras;
    struct rig rig;
    uint32_t state = seed, absent = 1u << 3 | 1u << 5;
    unsigned known = 0, events = 300;
    rig_init(&rig, payload);
    for (unsigned i = 0; i < events; i++) {
        struct soth_attr attrs[] = { /* not in order, and a number with a text that is nobody's */
            {"frame_count", {"", 0}, 1, SOTH_ATTR_U64, 0}, ATTR("payload_len", "", 1024, SOTH_ATTR_U64),
            ATTR("direction", "client_to_server", 0, SOTH_ATTR_TEXT),
            ATTR("data", "one two three", 0, SOTH_ATTR_BYTES | SOTH_ATTR_PAYLOAD), ATTR("message_no", "garbage", i, SOTH_ATTR_U64),
            ATTR("violation", "invalid_utf8", 0, SOTH_ATTR_TEXT),
        };
        const size_t n = sizeof attrs / sizeof *attrs;
        if (draw(&state) % 3 == 0)
            absent = draw(&state) % 4 ? absent ^ 1u << draw(&state) % n : draw(&state);
        if (draw(&state) % 4 == 0)
            extra = &extras[draw(&state) % 4];
        for (size_t k = 0; k < n; k++)
            if (absent >> k & 1)
                attrs[k].text = draw(&state) % 2 || attrs[k].type == SOTH_ATTR_U64 ? (struct soth_span){NULL, draw(&state) % 2 ? SIZE_MAX / 2 : 0} : (struct soth_span){"", 0};
        known += emit_both(&rig, SOTH_EV_WS_MESSAGE, attrs, n, extra);
        if (i % 11 == 0)
            bus_flush(rig.port);
    }
    rig_fini(&rig, 2 * events);
    assert_true(payload ? known > 0 && known < events : known == events); /* content that is wanted has its place in the message */
}

static void values_differ_and_some_are_absent(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed < 40; seed++) /* a port keeps few shapes of a list */
        random_values(0, seed);
}

static void payload_is_seen_as_far_as_it_is_wanted(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed < 10; seed++) {
        random_values(5, seed);
        random_values(BUS_PAYLOAD_FULL, seed);
    }
}

/* Random lists out of good and bad attributes, whatever came before. */
static void other_lists_of_the_kind_are_checked(void **state)
{
    static const struct soth_attr some[] = {
        ATTR("bytes", "", 7, SOTH_ATTR_U64), {"bytes", {"garbage", 7}, 8, SOTH_ATTR_U64, 0}, {"bytes", {NULL, 0}, 8, SOTH_ATTR_U64, 5},
        ATTR("offset", "", 9, SOTH_ATTR_U64), ATTR("offset", "x", 0, SOTH_ATTR_TEXT), ATTR("offset", "x", 0, 32), ATTR("bites", "x", 0, SOTH_ATTR_TEXT),
        ATTR("payload", "abc", 0, SOTH_ATTR_BYTES | SOTH_ATTR_PAYLOAD), {"payloads", {"abc", 3}, 0, SOTH_ATTR_BYTES, 7},
        {"payloads", {"abc", 3}, 0, SOTH_ATTR_BYTES, 8}, {NULL, {"x", 1}, 0, SOTH_ATTR_TEXT, 0}, ATTR("decoded_bytes", "", 3, SOTH_ATTR_U64),
    };
    const struct soth_attr extra = ATTR_NUMBER("exchange_no", 1);
    uint32_t seed = 1;
    unsigned known = 0, unknown = 0;
    (void)state;
    for (unsigned life = 0; life < 200; life++) {
        struct rig rig;
        rig_init(&rig, 0);
        struct soth_attr first[3], attrs[3];
        size_t n = 0, first_n = 0;
        for (unsigned i = 0; i < 40; i++) {
            bool again = i > 0 && draw(&seed) % 2;
            n = again ? first_n : draw(&seed) % 4;
            for (size_t k = 0; k < n; k++)
                attrs[k] = again ? first[k] : some[draw(&seed) % (sizeof some / sizeof *some)];
            if (i == 0)
                memcpy(first, attrs, (first_n = n) * sizeof *attrs);
            *(emit_both(&rig, SOTH_EV_RESPONSE_BODY_CHUNK, attrs, n, &extra) ? &known : &unknown) += 1;
        }
        rig_fini(&rig, 80);
    }
    assert_true(known > 200 && unknown > 200);
}

/* They are for forms: of a list the span is on somebody's stack. */
static void lists_have_no_words(void **state)
{
    static const struct soth_attr attrs[] = {ATTR("direction", "client_to_server", 0, SOTH_ATTR_TEXT | SOTH_ATTR_WORD)};
    struct soth_attr out[EVENT_ATTRS_MOST];
    unsigned left_out = 0;
    struct rig rig;
    (void)state;
    rig_init(&rig, 0);
    assert_false(is_known(&rig, SOTH_EV_WS_FRAME, attrs, 1));
    assert_int_equal(event_attrs_check(SOTH_EV_WS_FRAME, attrs, 1, out, &left_out), 0);
    assert_int_equal(left_out, 1);
    rig_fini(&rig, 0);
}

/* A name that the module keeps where it can write is read each time. */
static void names_that_may_change_are_read_again(void **state)
{
    char name[] = "offset";
    const struct soth_attr attrs[] = {{name, {"", 0}, 9, SOTH_ATTR_U64, 6}}, extra = ATTR_NUMBER("exchange_no", 1);
    struct soth_attr out[EVENT_ATTRS_MOST];
    unsigned left_out = 0;
    struct rig rig;
    (void)state;
    rig_init(&rig, 0);
    assert_false(emit_both(&rig, SOTH_EV_REQUEST_BODY_CHUNK, attrs, 1, &extra));
    memcpy(name, "offsat", 6);
    assert_false(is_known(&rig, SOTH_EV_REQUEST_BODY_CHUNK, attrs, 1));
    assert_int_equal(event_attrs_check(SOTH_EV_REQUEST_BODY_CHUNK, attrs, 1, out, &left_out), 0);
    rig_fini(&rig, 2);
}

static void kinds_that_modules_may_not_emit_have_no_lists(void **state)
{
    static const struct soth_attr attrs[] = {ATTR("reason_code", "x", 0, SOTH_ATTR_TEXT)};
    struct rig rig;
    (void)state;
    rig_init(&rig, 0);
    assert_false(is_known(&rig, SOTH_EV_STREAM_CLOSED, attrs, 1));
    assert_false(is_known(&rig, SOTH_EV_COUNT, attrs, 1));
    assert_false(is_known(&rig, UINT32_MAX, attrs, 1));
    assert_false(is_known(&rig, 0, attrs, 1));
    assert_false(is_known(&rig, SOTH_EV_WS_FRAME, NULL, 0));
    rig_fini(&rig, 0);
}

/* ---- forms ---- */

static int form_of(uint32_t kind, const struct soth_attr *attrs, size_t n, const struct form **form)
{
    size_t bad = SIZE_MAX;
    int r = event_form(kind, attrs, n, form, &bad);
    return r < 0 && bad != 0 ? (int)bad : r; /* which one, if not the first */
}

static void forms_are_of_what_the_kind_has(void **state)
{
    static const struct soth_attr good[] = {ATTR("fin", "", 0, SOTH_ATTR_BOOL), {"direction", {NULL, 0}, 0, SOTH_ATTR_TEXT, 0}};
    static const struct soth_attr twice[] = {ATTR("fin", "", 0, SOTH_ATTR_BOOL), ATTR("rsv", "", 0, SOTH_ATTR_U64), ATTR("fin", "", 0, SOTH_ATTR_U64)};
    static const struct soth_attr unknown[] = {ATTR("fin", "", 0, SOTH_ATTR_BOOL), ATTR("fins", "", 0, SOTH_ATTR_BOOL)};
    static const struct soth_attr untyped[] = {ATTR("fin", "", 0, SOTH_ATTR_BOOL), ATTR("rsv", "", 0, 32)};
    static const struct soth_attr wordless[] = {ATTR("fin", "", 0, SOTH_ATTR_BOOL | SOTH_ATTR_WORD)};
    static const struct soth_attr nameless[] = {{NULL, {NULL, 0}, 0, SOTH_ATTR_U64, 0}};
    static const struct soth_attr reason[] = {ATTR("reason_code", "", 0, SOTH_ATTR_TEXT)};
    const struct form *form = NULL, *again = NULL, *other = NULL;
    (void)state;
    assert_int_equal(form_of(SOTH_EV_WS_FRAME, good, 2, &form), SOTH_OK);
    assert_int_equal(form_of(SOTH_EV_WS_FRAME, good, 2, &again), SOTH_OK);
    assert_int_equal(form_of(SOTH_EV_WS_FRAME, good, 1, &other), SOTH_OK);
    assert_ptr_equal(form, again);
    assert_ptr_not_equal(form, other);
    assert_int_equal(event_form_kind(form), SOTH_EV_WS_FRAME);
    assert_int_equal(form_of(SOTH_EV_WS_FRAME, twice, 3, &form), 2);
    assert_int_equal(form_of(SOTH_EV_WS_FRAME, unknown, 2, &form), 1);
    assert_int_equal(form_of(SOTH_EV_WS_FRAME, untyped, 2, &form), 1);
    assert_int_equal(form_of(SOTH_EV_WS_FRAME, wordless, 1, &form), -SOTH_EINVALID);
    assert_int_equal(form_of(SOTH_EV_WS_FRAME, nameless, 1, &form), -SOTH_EINVALID);
    assert_int_equal(form_of(SOTH_EV_WS_FRAME, good, 0, &form), -SOTH_EINVALID);
    assert_int_equal(form_of(SOTH_EV_WS_FRAME, good, EVENT_VALUES_MOST + 1, &form), -SOTH_EINVALID);
    assert_int_equal(form_of(SOTH_EV_STREAM_CLOSED, reason, 1, &form), -SOTH_EPERM);
    assert_int_equal(form_of(SOTH_EV_COUNT, good, 2, &form), -SOTH_EINVALID);
    assert_int_equal(form_of(0, good, 2, &form), -SOTH_EINVALID);
    assert_int_equal(form_of(UINT32_MAX, good, 2, &form), -SOTH_EINVALID);
    assert_ptr_equal(form, again); /* what is refused is no form */
}

static const struct soth_span words[] = {{"text", 4}, {"binary", 6}, {"continuation", 12}};

static const struct soth_span *word_or(const struct soth_attr *attr)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if ((attr->type & SOTH_ATTR_WORD) && attr->text.p == words[i].p)
            return &words[i];
    return &attr->text;
}

/* Twice: name by name, and as values of a form. What is not present is not read. */
static void emit_formed(struct rig *rig, const struct form *form, const struct soth_attr *attrs, size_t n, uint64_t present,
                        const struct soth_attr *extra)
{
    struct soth_attr with[EVENT_ATTRS_MOST + 1];
    union soth_value values[EVENT_VALUES_MOST];
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        const bool is_there = present >> i & 1;
        if (is_there) {
            with[count] = attrs[i];
            with[count++].type &= ~(uint32_t)SOTH_ATTR_WORD;
        }
        if (event_type_is_text(attrs[i].type))
            values[i].text = is_there ? word_or(&attrs[i]) : (const struct soth_span *)8;
        else
            values[i].number = is_there ? attrs[i].number : 99;
    }
    unsigned left_out = 0;
    int proper = event_attrs_check(event_form_kind(form), with, count, with, &left_out);
    assert_true(proper >= 0 && left_out == 0);
    with[proper] = *extra;
    bus_emit(rig->port, &rig->source, event_form_kind(form), with, (size_t)proper + 1);
    bus_emit_form(rig->port, &rig->source, event_form_kind(form), form, values, present, extra);
}

static void values_of_a_form(uint64_t payload, uint32_t seed)
{
    static const char letters[] = "a text of at most fifty-one letters, and of any less";
    static struct soth_attr attrs[] = { /* not in order */
        ATTR("payload_len", "", 1024, SOTH_ATTR_U64), ATTR("direction", "", 0, SOTH_ATTR_TEXT), ATTR("data", "", 0, SOTH_ATTR_BYTES | SOTH_ATTR_PAYLOAD),
        ATTR("opcode_label", "", 0, SOTH_ATTR_TEXT | SOTH_ATTR_WORD), ATTR("message_no", "", 0, SOTH_ATTR_U64),
        ATTR("violation", "", 0, SOTH_ATTR_BYTES),
    };
    const size_t n = sizeof attrs / sizeof *attrs;
    const struct soth_attr extras[] = {ATTR_NUMBER("exchange_no", 3), ATTR_NUMBER("http2_stream_id", 5), {NULL, {NULL, 0}, 0, 0, 0}};
    const struct soth_attr *extra = extras;
    const struct form *form;
    struct rig rig;
    uint32_t state = seed;
    uint64_t present = UINT64_MAX;
    rig_init(&rig, payload);
    assert_int_equal(form_of(SOTH_EV_WS_MESSAGE, attrs, n, &form), SOTH_OK);
    for (unsigned i = 0; i < 300; i++) {
        if (draw(&state) % 3 == 0) /* mostly as the last one was, or all but one */
            present = draw(&state) % 4 ? present ^ UINT64_C(1) << draw(&state) % n : (uint64_t)draw(&state) << 40 | draw(&state);
        if (draw(&state) % 4 == 0)
            extra = &extras[draw(&state) % 3];
        for (size_t k = 0; k < n; k++) {
            attrs[k].number = draw(&state);
            if (attrs[k].type & SOTH_ATTR_WORD) {
                attrs[k].text = words[draw(&state) % 3];
                attrs[k].number = 0;
            } else if (event_type_is_text(attrs[k].type)) {
                attrs[k].number = 0;
                attrs[k].text = (struct soth_span){draw(&state) % 20 ? letters : NULL, draw(&state) % 20 ? 1 + draw(&state) % 50 : 0};
            }
        }
        emit_formed(&rig, form, attrs, n, present, extra);
        if (i % 11 == 0)
            bus_flush(rig.port);
    }
    rig_fini(&rig, 600);
}

static void values_of_forms_are_what_attributes_are(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed < 30; seed++) {
        values_of_a_form(0, seed);
        values_of_a_form(5, seed);
        values_of_a_form(BUS_PAYLOAD_FULL, seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_are_of_what_the_kind_has),
        cmocka_unit_test(values_of_forms_are_what_attributes_are),
        cmocka_unit_test(values_differ_and_some_are_absent),
        cmocka_unit_test(payload_is_seen_as_far_as_it_is_wanted),
        cmocka_unit_test(other_lists_of_the_kind_are_checked),
        cmocka_unit_test(lists_have_no_words),
        cmocka_unit_test(names_that_may_change_are_read_again),
        cmocka_unit_test(kinds_that_modules_may_not_emit_have_no_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
