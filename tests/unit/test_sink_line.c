/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/sink_file/line.c modules/sink_file/form.c modules/sink_file/json.c */
/* One event as one line of the event log v2, byte by byte, and its stream key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_host.h"
#include "host/event/bus.h"
#include "modules/sink_file/form.h"
#include "modules/sink_file/line.h"

static struct text line;

static void write_line(struct text *to, struct forms *forms, const struct soth_event *e, const char *key)
{
    struct line made;
    to->n = 0;
    assert_int_equal(line_event(to, forms, e, soth_span(key), &made), SOTH_OK);
    assert_int_equal(made.n, to->n);
    assert_true(to->n > 0 && to->p[to->n - 1] == '\n');
    to->p[to->n - 1] = 0;
}

/* Word by word, by a form that is made for it, by one that is there: the same. */
static const char *written(const struct soth_event *e, const char *key, int with_timestamps)
{
    struct forms forms = {.with_timestamps = with_timestamps};
    struct soth_event shaped = *e;
    struct text again = {NULL, 0, 0};
    shaped.shape = e;
    write_line(&line, &forms, e, key);
    for (unsigned i = 0; i < 2; i++) {
        write_line(&again, &forms, &shaped, key);
        assert_string_equal(again.p, line.p);
    }
    free(again.p);
    forms_fini(&forms);
    return line.p;
}

/* The attributes of an event with one text. */
static const char *text_of(struct soth_span text)
{
    struct soth_event *e = FAKE_EVENT(SOTH_EV_REQUEST_HEADERS, 1, ATTR_BYTES("t", text), );
    const char *at = strstr(written(e, "k", 0), ",\"attributes\":");
    assert_non_null(at);
    return at + strlen(",\"attributes\":");
}
#define TEXT(literal) text_of((struct soth_span){literal, sizeof(literal) - 1})

static int drop_line(void **state)
{
    (void)state;
    free(line.p);
    line = (struct text){NULL, 0, 0};
    return 0;
}

static void keys_have_an_order(void **state)
{
    (void)state;
    struct soth_event *e = FAKE_EVENT(SOTH_EV_STREAM_CLOSED, 7, ATTR_NUMBER("bytes_from_client", 12), ATTR_NUMBER("duration_ms", 34),
                                      ATTR_WORD("reason_code", "relay_eof"), ATTR_BOOL("x", true), ATTR_BOOL("y", false), );
    e->sequence_id = UINT64_MAX;
    e->parent_flow_id = 6;
    assert_string_equal(written(e, "flow:7:1", 0),
                        "{\"schema\":\"soth-mitm-event-log-v2\",\"sequence_id\":18446744073709551615,\"flow_id\":7,\"flow_sequence_id\":1,"
                        "\"parent_flow_id\":6,\"kind\":\"stream_closed\",\"protocol\":\"http1\",\"stream_key\":\"flow:7:1\","
                        "\"client_addr\":\"127.0.0.1:4711\",\"server_host\":\"example.com\",\"server_port\":443,"
                        "\"attributes\":{\"bytes_from_client\":\"12\",\"reason_code\":\"relay_eof\",\"x\":\"true\",\"y\":\"false\"}}");
}

static void numbers_of_every_length(void **state)
{
    (void)state;
    uint64_t power = 1;
    for (unsigned digits = 1; digits <= 20; digits++, power *= 10) {
        const uint64_t values[] = {power - 1, power, power + 1, power / 10 * 37 + 9};
        for (size_t i = 0; i < 4; i++) {
            struct soth_event *e = FAKE_EVENT(SOTH_EV_WS_FRAME, 1, ATTR_NUMBER("sequence_no", values[i]), );
            char want[128], key[SOTH_STREAM_KEY_MAX];
            snprintf(want, sizeof want, "\"attributes\":{\"sequence_no\":\"%llu\"}}", (unsigned long long)values[i]);
            assert_non_null(strstr(written(e, "k", 0), want));
            snprintf(want, sizeof want, "sequence:%llu", (unsigned long long)values[i]);
            assert_int_equal(event_stream_key(e, key), strlen(want));
            assert_string_equal(key, want);
        }
    }
}

/* Words are copied and looked at eight bytes at a time: each length, with what has to be escaped at each place. */
static void texts_of_every_length(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 40; n++)
        for (size_t at = 0; at <= n; at++) {
            char text[41], want[128], *to = want;
            memset(text, 'x', n);
            if (at < n)
                text[at] = at % 2 ? '"' : '\n';
            to += sprintf(to, ",\"attributes\":{\"t\":\"");
            for (size_t i = 0; i < n; i++)
                to += sprintf(to, "%s", text[i] == 'x' ? "x" : text[i] == '"' ? "\\\"" : "\\n");
            sprintf(to, "\"}}");
            assert_string_equal(text_of((struct soth_span){text, n}), want + strlen(",\"attributes\":"));
        }
}

static void times_come_on_request(void **state)
{
    (void)state;
    struct soth_event *e = FAKE_EVENT(SOTH_EV_STREAM_CLOSED, 7, ATTR_NUMBER("duration_ms", 34), ATTR_NUMBER("ended_at_unix_ms", 5),
                                      ATTR_NUMBER("started_at_unix_ms", 6), );
    e->monotonic_ns = 99;
    const char *text = written(e, "k", 1);
    assert_non_null(strstr(text, "\"attributes\":{\"duration_ms\":\"34\",\"ended_at_unix_ms\":\"5\",\"started_at_unix_ms\":\"6\"},\"monotonic_ns\":99,\"unix_ms\":1700000000000,\"run_id\":"
                                 "\"0123456789abcdef0123456789abcdef\"}"));
    assert_non_null(strstr(written(e, "k", 0), "\"attributes\":{}}"));
}

static void what_is_absent_is_absent(void **state)
{
    (void)state;
    struct soth_event *e = FAKE_EVENT(SOTH_EV_CONNECT_RECEIVED, 0, );
    e->client_addr = e->server_host = (struct soth_span){NULL, 0};
    e->server_port = 0;
    assert_non_null(strstr(written(e, "k", 0), "\"stream_key\":\"k\",\"attributes\":{}}"));
    assert_null(strstr(line.p, "parent_flow_id"));
}

static void text_is_escaped(void **state)
{
    (void)state;
    assert_string_equal(TEXT("plain text of some length / without anything"), "{\"t\":\"plain text of some length / without anything\"}}");
    assert_string_equal(TEXT("a\"b\\c\nd\re\tf\x01g\x1fh\x7f"), "{\"t\":\"a\\\"b\\\\c\\nd\\re\\tf\\u0001g\\u001fh\x7f\"}}");
    assert_string_equal(TEXT("\0"), "{\"t\":\"\\u0000\"}}");
    assert_string_equal(TEXT(""), "{\"t\":\"\"}}");
}

/* JSON's form of one byte among x, the plain way. */
static void expect_among(char *out, unsigned c, size_t n, size_t at)
{
    static const char special[] = "\"\\\n\r\t", letter[] = "\"\\nrt";
    for (size_t i = 0; i < n; i++) {
        const char *found = c ? strchr(special, (int)c) : NULL;
        if (i != at)
            *out++ = 'x';
        else if (found)
            out += sprintf(out, "\\%c", letter[found - special]);
        else
            out += sprintf(out, c < 0x20 ? "\\u%04x" : "%c", c);
    }
    strcpy(out, "\"}}");
}

static void every_byte_at_every_place(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) /* the scan looks at eight bytes at once */
        for (size_t n = 1; n <= 20; n++)
            for (size_t at = 0; at < n; at++) {
                char text[20], wanted[200];
                memset(text, 'x', sizeof text);
                text[at] = (char)c;
                const char *out = text_of((struct soth_span){text, n});
                expect_among(wanted + sprintf(wanted, "{\"t\":\""), c, n, at);
                if (c < 128 ? strcmp(out, wanted) != 0 : strncmp(out, "{\"t_b64\":\"", 10) != 0)
                    fail_msg("byte %02x at %zu of %zu: %s", c, at, n, out);
            }
}

static void what_is_utf8_stays(void **state)
{
    (void)state;
    assert_string_equal(TEXT("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80\n"), "{\"t\":\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80\\n\"}}");
}

static void what_is_not_is_base64(void **state)
{
    (void)state;
    assert_string_equal(TEXT("\xff"), "{\"t_b64\":\"/w==\"}}");
    assert_string_equal(text_of((struct soth_span){"\xff\xff\xff", 1}), "{\"t_b64\":\"/w==\"}}"); /* what is behind is not read */
    assert_string_equal(text_of((struct soth_span){"\xff\xff\xff", 2}), "{\"t_b64\":\"//8=\"}}");
    assert_string_equal(TEXT("ab\x80"), "{\"t_b64\":\"YWKA\"}}");
    assert_string_equal(TEXT("a\xc3"), "{\"t_b64\":\"YcM=\"}}");
    assert_string_equal(TEXT("\xc0\xaf"), "{\"t_b64\":\"wK8=\"}}");         /* overlong */
    assert_string_equal(TEXT("\xed\xa0\x80"), "{\"t_b64\":\"7aCA\"}}");     /* surrogate */
    assert_string_equal(TEXT("\xf4\x90\x80\x80"), "{\"t_b64\":\"9JCAgA==\"}}"); /* beyond U+10FFFF */
}

/* The envelope has no _b64 names: a client's address may be the path of a socket. */
static void the_envelope_is_utf8_always(void **state)
{
    (void)state;
    struct soth_event *e = FAKE_EVENT(SOTH_EV_CONNECT_RECEIVED, 1, );
    e->client_addr = soth_span("unix:/tmp/\xff");
    assert_non_null(strstr(written(e, "k", 0), "\"client_addr\":\"unix:/tmp/\xef\xbf\xbd\""));
}

static void the_longest_line_has_room(void **state)
{
    static char bytes[200000];
    (void)state;
    memset(bytes, 1, sizeof bytes); /* each becomes six */
    const char *out = text_of((struct soth_span){bytes, sizeof bytes});
    assert_int_equal(strlen(out), 6 * sizeof bytes + strlen("{\"t\":\"\"}}"));
}

/* Behind a line that was there before. */
static void an_index_row(void **state)
{
    static const char key[] = "grpc:/a\tb:1";
    char wanted[256];
    (void)state;
    struct text rows = {NULL, 0, 0};
    struct forms forms = {.with_timestamps = 0};
    struct soth_event *e = FAKE_EVENT(SOTH_EV_REQUEST_HEADERS, UINT64_MAX, );
    e->sequence_id = 3;
    e->flow_sequence_id = 45;
    line.n = 0;
    for (unsigned i = 0; i < 3; i++) {
        const size_t before = line.n;
        struct line made;
        assert_int_equal(line_event(&line, &forms, e, soth_span(key), &made), SOTH_OK);
        const struct line_place place = {line.p + before, 2, 1000};
        rows.n = 0;
        assert_int_equal(line_index(&rows, e, soth_span(key), &made, &place), SOTH_OK);
        snprintf(wanted, sizeof wanted, "3\t18446744073709551615\t45\trequest_headers\thttp1\tgrpc:/a?b:1\t2\t1000\t%zu\n", line.n - before);
        assert_int_equal(rows.n, strlen(wanted));
        assert_memory_equal(rows.p, wanted, rows.n);
        e->shape = e;
    }
    forms_fini(&forms);
    free(rows.p);
}

/* ---- forms ---- */

/* With what is kept of the events before, and with nothing kept. */
static void expect_as_words(struct forms *forms, struct soth_event *e, const void *shape)
{
    struct text by_form = {NULL, 0, 0};
    e->shape = NULL;
    write_line(&line, forms, e, "flow:1:2");
    e->shape = shape;
    write_line(&by_form, forms, e, "flow:1:2");
    assert_string_equal(by_form.p, line.p);
    free(by_form.p);
}

static void what_is_kept_is_of_this_event(void **state)
{
    static const char *const names[] = {"127.0.0.1:1", "127.0.0.1:2", "[2001:db8::1]:65535", "unix:/a\"b", "unix:", "", NULL};
    static const char shapes[2];
    (void)state;
    struct forms forms = {.with_timestamps = 0};
    for (unsigned i = 0; i < 7 * 7 * 3 * 2 * 2; i++) { /* flows 1 and 65 have their addresses in the same place */
        const char *client = names[i % 7], *host = names[i / 7 % 7];
        struct soth_event *e = i & 1 ? FAKE_EVENT(SOTH_EV_WS_CLOSED, 1, ATTR_NUMBER("close_code", i), ATTR_WORD("reason", "bye"), )
                                     : FAKE_EVENT(SOTH_EV_WS_FRAME, 1, ATTR_WORD("direction", "x"), ATTR_BOOL("fin", i & 2), );
        e->flow_id = i / 294 ? 1 : 65;
        e->client_addr = client ? soth_span(client) : (struct soth_span){NULL, 0};
        e->server_host = host ? soth_span(host) : (struct soth_span){NULL, 0};
        e->server_port = i / 49 % 3 * 443;
        e->protocol = i % 5 ? SOTH_PROTO_WS : SOTH_PROTO_HTTP2;
        e->protocol_name = i % 5 ? "ws" : "http2";
        expect_as_words(&forms, e, &shapes[i & 1]);
    }
    forms_fini(&forms);
}

/* Events of one turn of a loop share what their lines end with; each line has that of its own event, with or without a form. */
static void the_end_of_a_line_is_of_this_event(void **state)
{
    static const char shape, run_a[] = "0123456789abcdef0123456789abcdef", run_b[] = "0123456789abcdef0123456789abcdeF";
    static const struct {
        uint64_t monotonic_ns, unix_ms;
        struct soth_span run_id;
    } ends[] = {
        {0, 0, {run_a, 32}}, /* the first, when nothing is kept */
        {0, 0, {run_a, 32}},
        {99, 1700000000000, {run_a, 32}},
        {99, 1700000000000, {run_a, 32}},
        {100, 1700000000000, {run_a, 32}},
        {100, 1700000000001, {run_a, 32}},
        {100, 1700000000001, {run_b, 32}},
        {100, 1700000000001, {run_b, 31}},
        {100, 1700000000001, {run_b + 16, 16}},
        {100, 1700000000001, {NULL, 0}},
        {UINT64_MAX, UINT64_MAX, {run_a, 32}},
        {1700000000001, 100, {run_a, 32}},
        {99, 1700000000000, {run_a, 32}}, /* another worker's */
        {0, 0, {run_a, 32}},
    };
    (void)state;
    struct forms forms = {.with_timestamps = 1};
    struct soth_event *e = FAKE_EVENT(SOTH_EV_WS_FRAME, 1, ATTR_NUMBER("sequence_no", 5), );
    for (size_t i = 0; i < 4 * (sizeof ends / sizeof *ends); i++) {
        char want[256];
        e->monotonic_ns = ends[i / 4].monotonic_ns;
        e->unix_ms = ends[i / 4].unix_ms;
        e->run_id = ends[i / 4].run_id;
        e->shape = i % 2 ? &shape : NULL;
        write_line(&line, &forms, e, "k");
        snprintf(want, sizeof want, "\"sequence_no\":\"5\"},\"monotonic_ns\":%llu,\"unix_ms\":%llu,\"run_id\":\"%.*s\"}",
                 (unsigned long long)e->monotonic_ns, (unsigned long long)e->unix_ms, (int)e->run_id.n, e->run_id.n ? e->run_id.p : "");
        assert_true(strlen(line.p) > strlen(want));
        assert_string_equal(line.p + strlen(line.p) - strlen(want), want);
        struct forms without = {.with_timestamps = 0};
        write_line(&line, &without, e, "k");
        assert_string_equal(strstr(line.p, "\"sequence_no\""), "\"sequence_no\":\"5\"}}");
        forms_fini(&without);
    }
    forms_fini(&forms);
}

/* More shapes than there are places, more attributes than a form has, names too long for one, values longer than is worth it. */
static void what_has_no_form_has_its_line(void **state)
{
    static char shapes[3 * FORMS][16], long_name[3000], value[FORM_VALUE_MOST + 2];
    struct soth_attr attrs[FORM_PIECES + 1], one = ATTR_NUMBER("placeholder", 1);
    (void)state;
    struct forms forms = {.with_timestamps = 0};
    struct soth_event *e = FAKE_EVENT(SOTH_EV_WS_FRAME, 1, ATTR_NUMBER("a", 1), );
    for (size_t i = 0; i < 3 * FORMS; i++)
        expect_as_words(&forms, e, shapes[i]);
    forms_fini(&forms);
    memset(&forms, 0, sizeof forms);
    for (size_t i = 0; i < FORM_PIECES + 1; i++)
        attrs[i] = (struct soth_attr)ATTR_NUMBER("number", i);
    e->attrs = attrs;
    e->attr_count = FORM_PIECES;
    expect_as_words(&forms, e, shapes[0]);
    e->attr_count = FORM_PIECES + 1;
    expect_as_words(&forms, e, shapes[1]);
    memset(long_name, 'n', sizeof long_name - 1);
    one.name = long_name;
    one.name_len = sizeof long_name - 1;
    e->attrs = &one;
    e->attr_count = 1;
    expect_as_words(&forms, e, shapes[2]);
    for (size_t n = FORM_PIECE_MOST - 10; n <= FORM_PIECE_MOST + 1; n++) {
        one.name_len = (uint32_t)n;
        attrs[0] = attrs[1] = one;
        e->attrs = attrs;
        e->attr_count = 2;
        expect_as_words(&forms, e, shapes[4 + n]);
    }
    e->attrs = &one;
    e->attr_count = 1;
    memset(value, 'v', sizeof value);
    for (size_t n = FORM_VALUE_MOST - 1; n <= sizeof value; n++) {
        one = (struct soth_attr)ATTR_BYTES("t", ((struct soth_span){value, n}));
        expect_as_words(&forms, e, shapes[3]);
    }
    forms_fini(&forms);
}

/* ---- stream keys ---- */

static const char *key_of(const struct soth_event *e)
{
    static char key[SOTH_STREAM_KEY_MAX];
    size_t n = event_stream_key(e, key);
    assert_int_equal(n, strlen(key));
    return key;
}

static void the_first_form_that_applies(void **state)
{
    (void)state;
    struct soth_event *e = FAKE_EVENT(SOTH_EV_REQUEST_HEADERS, 12, ATTR_NUMBER("turn_xx", 1), ATTR_WORD("grpc_method", "/a/b"), );
    e->flow_sequence_id = 34;
    assert_string_equal(key_of(e), "flow:12:34");
    assert_string_equal(key_of(FAKE_EVENT(SOTH_EV_REQUEST_HEADERS, 1, ATTR_NUMBER("grpc_event_sequence", 5), ATTR_WORD("grpc_method", "/a/b"), )),
                        "grpc:/a/b:5");
    assert_string_equal(key_of(FAKE_EVENT(SOTH_EV_REQUEST_HEADERS, 1, ATTR_NUMBER("grpc_event_sequence", 5), ATTR_WORD("grpc_method", "/a/b"),
                                          ATTR_NUMBER("sequence_no", 6), )), "sequence:6");
    assert_string_equal(key_of(FAKE_EVENT(SOTH_EV_REQUEST_HEADERS, 1, ATTR_NUMBER("sequence_no", 6), ATTR_NUMBER("turn_id", 7), )), "ws_turn:7");
    assert_string_equal(key_of(FAKE_EVENT(SOTH_EV_REQUEST_HEADERS, 1, ATTR_NUMBER("http2_stream_id", 0), ATTR_NUMBER("turn_id", 7), )), "h2:0");
}

static void a_key_has_its_bound(void **state)
{
    static char path[4000];
    (void)state;
    memset(path, 'p', sizeof path);
    struct soth_event *e = FAKE_EVENT(SOTH_EV_REQUEST_HEADERS, 1, ATTR_NUMBER("grpc_event_sequence", UINT64_MAX),
                                      ATTR_TEXT("grpc_method", ((struct soth_span){path, sizeof path})), );
    const char *key = key_of(e);
    assert_true(strlen(key) < SOTH_STREAM_KEY_MAX);
    assert_string_equal(key + 5 + 400, ":18446744073709551615");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_have_an_order),          cmocka_unit_test(times_come_on_request),
        cmocka_unit_test(numbers_of_every_length),     cmocka_unit_test(texts_of_every_length),
        cmocka_unit_test(what_is_absent_is_absent),    cmocka_unit_test(text_is_escaped),
        cmocka_unit_test(every_byte_at_every_place),   cmocka_unit_test(what_is_utf8_stays),
        cmocka_unit_test(what_is_not_is_base64),       cmocka_unit_test(the_envelope_is_utf8_always),
        cmocka_unit_test(the_longest_line_has_room),   cmocka_unit_test(an_index_row),
        cmocka_unit_test(what_is_kept_is_of_this_event),
        cmocka_unit_test(the_end_of_a_line_is_of_this_event),
        cmocka_unit_test(what_has_no_form_has_its_line),
        cmocka_unit_test(the_first_form_that_applies), cmocka_unit_test(a_key_has_its_bound),
    };
    return cmocka_run_group_tests(tests, NULL, drop_line);
}
