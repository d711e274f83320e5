/* SPDX-License-Identifier: MPL-2.0 */
/*
 * host/flow/fsm.c: docs/testing/flow-fsm-transition-table.md shows exactly this table, and an event that is illegal where it comes is counted and
 * closes its flow. Where a row of the document is missing or wrong, the test prints the one that belongs there.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "flow_rig.h"
#include "host/flow/stage.h"

#define DOCUMENT "docs/testing/flow-fsm-transition-table.md"

static char *document(void)
{
    char path[4096];
    const char *top = getenv("srcdir");
    snprintf(path, sizeof path, "%s/" DOCUMENT, top ? top : ".");
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s cannot be opened", path);
    char *text = calloc(1, 1 << 16);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 16) - 1, file) > 0);
    fclose(file);
    return text;
}

/* "accepted, protocol_active": where a machine takes the event; *next gets the state it leads to, if it leads anywhere. */
static bool say_states(struct buffer *row, unsigned protocol, unsigned kind, enum flow_state *next)
{
    bool any = false;
    for (enum flow_state state = 0; state < FLOW_STATE_COUNT; state++) {
        enum flow_state at = state;
        if (!fsm_event(&at, protocol, kind))
            continue;
        buffer_append_text(row, any ? ", " : " ");
        buffer_append_text(row, flow_state_name(state));
        any = true;
        if (at != state)
            *next = at;
    }
    buffer_append_text(row, any ? " |" : " - |");
    return any;
}

/* The row up to the reasons; false: the event is none of a flow. */
static bool say_row(struct buffer *row, unsigned kind)
{
    enum flow_state next = FLOW_STATE_COUNT;
    buffer_clear(row);
    buffer_append_text(row, "| `");
    buffer_append_text(row, event_kind_name(kind));
    buffer_append_text(row, "` |");
    bool tunnel = say_states(row, SOTH_PROTO_TUNNEL, kind, &next), http1 = say_states(row, SOTH_PROTO_HTTP1, kind, &next);
    bool http2 = say_states(row, SOTH_PROTO_HTTP2, kind, &next);
    buffer_append_text(row, " ");
    buffer_append_text(row, next == FLOW_STATE_COUNT ? "stays" : flow_state_name(next));
    buffer_append(row, " |", 3);
    return tunnel || http1 || http2;
}

static void the_document_shows_the_table(void **state)
{
    struct buffer row = {0};
    char *text = document();
    unsigned wrong = 0, rows = 0, found = 0;
    (void)state;
    for (unsigned kind = 1; kind < SOTH_EV_COUNT; kind++) {
        if (!say_row(&row, kind))
            continue;
        rows++;
        if (strstr(text, (const char *)buffer_data(&row)))
            continue;
        print_message("%s\n", (const char *)buffer_data(&row));
        wrong++;
    }
    for (const char *at = text; (at = strstr(at, "\n| `")) != NULL; at++)
        found++;
    buffer_fini(&row);
    free(text);
    assert_int_equal(wrong, 0);
    assert_int_equal(found, rows + FLOW_STATE_COUNT); /* the table of states has one each, too */
}

static void the_document_names_every_state(void **state)
{
    char *text = document(), wanted[64];
    (void)state;
    for (enum flow_state s = 0; s < FLOW_STATE_COUNT; s++) {
        snprintf(wanted, sizeof wanted, "\n| `%s` | ", flow_state_name(s));
        if (!strstr(text, wanted))
            fail_msg("%s is not in the table of states", flow_state_name(s));
    }
    free(text);
}

static void closed_is_the_end(void **state)
{
    (void)state;
    for (unsigned kind = 1; kind < SOTH_EV_COUNT; kind++) {
        enum flow_state at = FLOW_CLOSED;
        assert_false(fsm_event(&at, SOTH_PROTO_TUNNEL, kind));
        assert_false(fsm_event(&at, SOTH_PROTO_HTTP1, kind));
    }
}

/* It cannot happen; so it is made to. */
static void an_illegal_event_closes_its_flow(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.listen.mode = LISTEN_REVERSE;
    driver_accept(&d);
    d.flow->state = FLOW_ACCEPTED; /* no request_headers from there */
    driver_say(&d, SIDE_CLIENT, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", 32);
    driver_read(&d, SIDE_CLIENT, SIZE_MAX);
    rig_expect_closed(&d, "relay_error", "illegal_transition");
    assert_int_equal(d.counters.illegal_transitions, 1);
    assert_int_equal(d.dials, 0);
    driver_fini(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_document_shows_the_table),
        cmocka_unit_test(the_document_names_every_state),
        cmocka_unit_test(closed_is_the_end),
        cmocka_unit_test(an_illegal_event_closes_its_flow),
    };
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
