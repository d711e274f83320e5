/* SPDX-License-Identifier: MPL-2.0 */
/*
 * host/http/guard.c: the document of smuggling vectors, and that docs/testing/smuggling.md says of each what the document shows. Where a row
 * is missing or wrong, the test prints the one that belongs there.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/http/head.h"
#include "http_play.h"

#define VECTORS "tests/golden/http/smuggling.md"

static void documents(void **state)
{
    (void)state;
    golden_check_all(VECTORS, http_play_case);
}

/* The head as it goes on, line by line in code quotes. */
static void say_relayed(struct buffer *row, const char *events)
{
    const char *between = "relayed as ";
    for (const char *line = events; *line;) {
        size_t n = strcspn(line, "\n");
        if (strncmp(line, "> ", 2) == 0) {
            http_say(row, "%s`%.*s`", between, (int)n - 2, line + 2);
            between = ", ";
        }
        line += n + (line[n] == '\n');
    }
}

static void say_row(struct buffer *row, const struct golden_case *c)
{
    const char *events = golden_text(c, "events");
    const char *refused = strstr(events, "refused "), *with = golden_text(c, "with");
    bool response = with && strncmp(with, "response", 8) == 0, begun = strncmp(events, "refused ", 8) != 0;
    buffer_clear(row);
    http_say(row, "| %s | ", c->title);
    if (!refused) {
        say_relayed(row, events);
    } else {
        const char *class = strchr(refused + 8, ' ') + 1;
        const char *status = response ? begun ? "cut" : "502" : "400";
        if (begun && strstr(events, "\nend\n")) {
            say_relayed(row, events);
            http_say(row, "; what follows is not relayed");
        } else {
            http_say(row, "%s `%.*s`%s", status, (int)strcspn(class, "\n"), class, begun && !response ? ", the origin's connection is cut" : "");
        }
    }
    http_say(row, " |");
    assert_int_equal(buffer_append(row, "", 1), 0);
}

static char *read_text(const char *path)
{
    char full[4096];
    const char *dir = getenv("srcdir");
    snprintf(full, sizeof full, "%s/%s", dir ? dir : ".", path);
    FILE *file = fopen(full, "rb");
    if (!file)
        fail_msg("%s cannot be opened", full);
    char *text = calloc(1, 1 << 18);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 18) - 1, file) > 0);
    fclose(file);
    return text;
}

static void the_table_says_what_happens(void **state)
{
    struct golden golden;
    struct buffer row = {0};
    char *table = read_text("docs/testing/smuggling.md");
    size_t wrong = 0, rows = 0;
    (void)state;
    golden_open(&golden, VECTORS);
    for (size_t i = 0; i < golden.count; i++) {
        say_row(&row, &golden.cases[i]);
        if (strstr(table, (const char *)buffer_data(&row)))
            continue;
        print_message("%s\n", (const char *)buffer_data(&row));
        wrong++;
    }
    for (const char *at = table; (at = strstr(at, "\n| ")) != NULL; at += 3)
        rows++;
    assert_int_equal(wrong, 0);
    size_t heads = 0; /* of the table's parts */
    for (const char *at = table; (at = strstr(at, "\n| vector | answer |")) != NULL; at += 3)
        heads++;
    assert_int_equal(rows, golden.count + heads);
    golden_close(&golden);
    buffer_fini(&row);
    free(table);
}

static int parse(const char *text, bool response, struct message *msg, const char **fault)
{
    int r = head_parse(response ? HEAD_RESPONSE : HEAD_REQUEST, text, strlen(text), msg, fault);
    if (r < 0)
        return r;
    return response ? guard_response(msg, false, fault) : guard_request(msg, fault);
}

static void lengths_up_to_64_bits(void **state)
{
    struct message msg;
    const char *fault = NULL;
    (void)state;
    assert_int_equal(parse("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n", false, &msg, &fault), 0);
    assert_true(msg.content_length == UINT64_MAX && msg.framing == FRAMING_LENGTH);
    assert_int_equal(parse("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n", false, &msg, &fault), -SOTH_EINVALID);
    assert_string_equal(fault, "content_length");
}

static void options_of_a_connection(void **state)
{
    static const struct {
        const char *head;
        bool keep_alive, names;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true, false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", false, false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n", false, false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n", false, true},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: TE, upgrade, keep-alive\r\n\r\n", true, false},
        {"GET / HTTP/1.0\r\nHost: a\r\n\r\n", false, false},
        {"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", true, false},
        {"GET / HTTP/1.0\r\nHost: a\r\nConnection: close\r\nProxy-Connection: keep-alive\r\n\r\n", false, false},
    };
    struct message msg;
    const char *fault;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(parse(cases[i].head, false, &msg, &fault), 0);
        assert_int_equal(msg.keep_alive, cases[i].keep_alive);
        assert_int_equal(msg.connection_names, cases[i].names);
    }
}

static void an_upgrade_is_asked_for_in_two_places(void **state)
{
    struct message msg;
    const char *fault;
    (void)state;
    assert_int_equal(parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", false, &msg, &fault), 0);
    assert_true(msg.wants_upgrade);
    assert_int_equal(parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade:\r\n\r\n", false, &msg, &fault), 0);
    assert_false(msg.wants_upgrade);
    assert_int_equal(parse("HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", true, &msg, &fault), 0);
    assert_true(msg.wants_upgrade);
    assert_int_equal(parse("HTTP/1.1 200 S\r\nConnection: upgrade\r\nUpgrade: h2\r\n\r\n", true, &msg, &fault), 0);
    assert_false(msg.wants_upgrade);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents),
        cmocka_unit_test(the_table_says_what_happens),
        cmocka_unit_test(lengths_up_to_64_bits),
        cmocka_unit_test(options_of_a_connection),
        cmocka_unit_test(an_upgrade_is_asked_for_in_two_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
