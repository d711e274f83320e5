/* SPDX-License-Identifier: MPL-2.0 */
/* Events of modules: which kinds they may publish, and what becomes of attributes that the kind does not have. */
#include <string.h>

#include "bus_probe.h"

static void attributes_of_the_kind_are_taken(void **state)
{
    char name[] = "offset"; /* of the module; what comes out is ours */
    const struct soth_attr attrs[] = {
        {"bytes", {"garbage", 7}, 7, SOTH_ATTR_U64, 0},
        {name, {"", 0}, 9, SOTH_ATTR_U64, 6},
        {"payload", {"abc", 3}, 0, SOTH_ATTR_BYTES | SOTH_ATTR_PAYLOAD, 0},
    };
    struct soth_attr out[EVENT_ATTRS_MOST];
    unsigned left_out = 0;
    (void)state;
    assert_int_equal(event_attrs_check(SOTH_EV_REQUEST_BODY_CHUNK, attrs, 3, out, &left_out), 3);
    assert_int_equal(left_out, 0);
    memset(name, '?', sizeof name - 1);
    assert_string_equal(out[0].name, "bytes");
    assert_int_equal(out[0].name_len, 5);
    assert_int_equal(out[0].number, 7);
    assert_int_equal(out[0].text.n, 0);
    assert_string_equal(out[1].name, "offset");
    assert_int_equal(out[2].type, SOTH_ATTR_BYTES | SOTH_ATTR_PAYLOAD);
    assert_int_equal(out[2].text.n, 3);
}

static void others_are_left_out_and_counted(void **state)
{
    const struct soth_attr attrs[] = {
        ATTR_NUMBER("byte", 1),    ATTR_NUMBER("bytess", 1), {"bytes", {"", 0}, 1, SOTH_ATTR_U64, 4}, {NULL, {"x", 1}, 0, SOTH_ATTR_TEXT, 0},
        ATTR_NUMBER("bytes", 2),   ATTR_NUMBER("bytes", 3), /* the first counts */
        ATTR_WORD("method", "GET"), /* of another kind */
        {"offset", {"x", 1}, 0, 32, 0}, /* of a type that there is not */
    };
    struct soth_attr out[EVENT_ATTRS_MOST];
    unsigned left_out = 10;
    (void)state;
    assert_int_equal(event_attrs_check(SOTH_EV_REQUEST_BODY_CHUNK, attrs, sizeof attrs / sizeof *attrs, out, &left_out), 1);
    assert_int_equal(out[0].number, 2);
    assert_int_equal(left_out, 17);
}

static void what_has_no_value_is_absent(void **state)
{
    const struct soth_attr attrs[] = {ATTR_TEXT("payload", ((struct soth_span){NULL, 0})), ATTR_TEXT("payload", ((struct soth_span){"", 0}))};
    struct soth_attr out[EVENT_ATTRS_MOST];
    unsigned left_out = 0;
    (void)state;
    assert_int_equal(event_attrs_check(SOTH_EV_REQUEST_BODY_CHUNK, attrs, 2, out, &left_out), 0);
    assert_int_equal(event_attrs_check(SOTH_EV_REQUEST_BODY_CHUNK, NULL, 0, out, &left_out), 0);
    assert_int_equal(left_out, 0);
}

static void kinds_must_be_known_and_not_the_hosts_own(void **state)
{
    static const uint32_t own[] = {SOTH_EV_CONNECT_RECEIVED, SOTH_EV_CONNECT_DECISION, SOTH_EV_TLS_HANDSHAKE_FAILED, SOTH_EV_STREAM_CLOSED,
                                   SOTH_EV_BUDGET_DENIED,    SOTH_EV_EVENTS_LOST,      SOTH_EV_MODULE_FAULT,
                                   SOTH_EV_CONFIG_RELOADED};
    struct soth_attr out[EVENT_ATTRS_MOST];
    unsigned left_out = 0;
    (void)state;
    assert_int_equal(event_attrs_check(0, NULL, 0, out, &left_out), -SOTH_EINVALID);
    assert_int_equal(event_attrs_check(SOTH_EV_COUNT, NULL, 0, out, &left_out), -SOTH_EINVALID);
    assert_int_equal(event_attrs_check(UINT32_MAX, NULL, 0, out, &left_out), -SOTH_EINVALID);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        assert_int_equal(event_attrs_check(own[i], NULL, 0, out, &left_out), -SOTH_EPERM);
}

/* Every name of the table is found again, so none is cut off by a limit. */
static void the_whole_table_is_known(void **state)
{
    static const struct {
        uint32_t kind;
        const char *attributes;
    } table[] = {
#define SOTH_EVENT(id, NAME, name, groups, attributes, text) {id, attributes},
#include <soth/events.def>
#undef SOTH_EVENT
    };
    struct soth_attr attrs[EVENT_ATTRS_MOST], out[EVENT_ATTRS_MOST];
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int n = 0;
        unsigned left_out = 0;
        for (const char *at = table[i].attributes; *at; at += strcspn(at, " ") + (at[strcspn(at, " ")] == ' '))
            attrs[n++] = (struct soth_attr){at, {"v", 1}, 0, SOTH_ATTR_TEXT, (uint32_t)strcspn(at, " ")};
        int r = event_attrs_check(table[i].kind, attrs, (size_t)n, out, &left_out);
        assert_true(r == n || r == -SOTH_EPERM);
        assert_int_equal(left_out, 0);
        for (int k = 0; k < r; k++)
            assert_memory_equal(out[k].name, attrs[k].name, out[k].name_len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attributes_of_the_kind_are_taken),
        cmocka_unit_test(others_are_left_out_and_counted),
        cmocka_unit_test(what_has_no_value_is_absent),
        cmocka_unit_test(kinds_must_be_known_and_not_the_hosts_own),
        cmocka_unit_test(the_whole_table_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
