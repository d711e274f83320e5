/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One validator for both: each head is sent over HTTP/1 and over HTTP/2, and what one refuses the other refuses. Where they must differ the
 * table says why; such a row fails when they agree.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "h2_wire.h"
#include "host/http/h1.h"
#include "host/http/h2.h"

/* NULL: the ordinary. "" in a value: nothing. */
struct head {
    const char *method, *target, *host;
    struct soth_field fields[3];
    const char *status; /* not NULL: a response */
};

enum verdict { TAKEN, REFUSED };

struct row {
    const char *what;
    struct head head;
    enum verdict verdict;  /* over HTTP/1 */
    const char *differs;   /* why HTTP/2 says the opposite */
};

#define F(name, value) {{name, sizeof name - 1}, {value, sizeof value - 1}}

static const struct row rows[] = {
    {"an ordinary request", {.method = "GET"}, TAKEN, NULL},
    {"any token is a method", {.method = "M-SEARCH"}, TAKEN, NULL},
    {"a method with a space", {.method = "GE T"}, REFUSED, NULL},
    {"a method with a colon", {.method = "GET:"}, REFUSED, NULL},
    {"an empty method", {.method = ""}, REFUSED, NULL},
    {"a target with a space", {.target = "/a b"}, REFUSED, NULL},
    {"a target with a fragment", {.target = "/a#b"}, REFUSED, NULL},
    {"a target with bytes above 127", {.target = "/\xc3\xa9"}, REFUSED, NULL},
    {"a target with a control character", {.target = "/\x01"}, REFUSED, NULL},
    {"a target with DEL", {.target = "/\x7f"}, REFUSED, NULL},
    {"a target with every visible kind", {.target = "/a-b_c~!$&'()*+,;=:@%2F?q=[]{}|\\^`\"<>"}, TAKEN, NULL},
    {"a target without a slash", {.target = "a"}, REFUSED, NULL},
    {"an empty target", {.target = ""}, REFUSED, NULL},
    {"an absolute target", {.target = "http://a.test/"}, TAKEN, "HTTP/2 has :scheme and :authority instead (RFC 9113 8.3.1)"},
    {"an asterisk for OPTIONS", {.method = "OPTIONS", .target = "*"}, TAKEN, NULL},
    {"an asterisk for others", {.target = "*"}, REFUSED, NULL},
    {"a host with a port", {.host = "a.test:8080"}, TAKEN, NULL},
    {"a host in brackets", {.host = "[2001:db8::1]:443"}, TAKEN, NULL},
    {"an empty host", {.host = ""}, REFUSED, NULL},
    {"a host with a user", {.host = "u@a.test"}, REFUSED, NULL},
    {"a host with a space", {.host = "a test"}, REFUSED, NULL},
    {"a host with a slash", {.host = "a.test/"}, REFUSED, NULL},
    {"a host with a comma", {.host = "a.test,b.test"}, REFUSED, NULL},
    {"a host with a port of letters", {.host = "a.test:x"}, REFUSED, NULL},
    {"a host with a port of six digits", {.host = "a.test:123456"}, REFUSED, NULL},
    {"a host with an open bracket", {.host = "[::1"}, REFUSED, NULL},
    {"a host with bytes above 127", {.host = "\xc3\xa9.test"}, REFUSED, NULL},
    {"an ordinary field", {.fields = {F("x-name", "value")}}, TAKEN, NULL},
    {"an empty value", {.fields = {F("x-name", "")}}, TAKEN, NULL},
    {"a value with bytes above 127", {.fields = {F("x-name", "\xe9t\xe9")}}, TAKEN, NULL},
    {"a value with a tab inside", {.fields = {F("x-name", "a\tb")}}, TAKEN, NULL},
    {"a value with NUL", {.fields = {F("x-name", "a\0b")}}, REFUSED, NULL},
    {"a value with CR", {.fields = {F("x-name", "a\rb")}}, REFUSED, NULL},
    {"a value with LF", {.fields = {F("x-name", "a\nb")}}, REFUSED, NULL},
    {"a value with a control character", {.fields = {F("x-name", "a\x01z")}}, REFUSED, NULL},
    {"a value with DEL", {.fields = {F("x-name", "a\x7fz")}}, REFUSED, NULL},
    {"blanks around a value", {.fields = {F("x-name", " a ")}}, TAKEN, "HTTP/1 has them around every value, in HTTP/2 they are wrong (RFC 9113 8.2.1)"},
    {"a name with a space", {.fields = {F("x name", "a")}}, REFUSED, NULL},
    {"a name with a blank at its end", {.fields = {F("x-name ", "a")}}, REFUSED, NULL},
    {"a name with a control character", {.fields = {F("x\x01", "a")}}, REFUSED, NULL},
    {"a name with bytes above 127", {.fields = {F("x\xe9", "a")}}, REFUSED, NULL},
    {"a name with a parenthesis", {.fields = {F("x(", "a")}}, REFUSED, NULL},
    {"an empty name", {.fields = {F("", "a")}}, REFUSED, NULL},
    {"a name with upper case", {.fields = {F("X-Name", "a")}}, TAKEN, "names are in lower case in HTTP/2 (RFC 9113 8.2)"},
    {"a length", {.method = "POST", .fields = {F("content-length", "2")}}, TAKEN, NULL},
    {"two lengths that differ", {.method = "POST", .fields = {F("content-length", "2"), F("content-length", "3")}}, REFUSED, NULL},
    {"two lengths that are the same", {.method = "POST", .fields = {F("content-length", "2"), F("content-length", "2")}}, REFUSED, NULL},
    {"a list of lengths", {.method = "POST", .fields = {F("content-length", "2, 2")}}, REFUSED, NULL},
    {"a length with a sign", {.method = "POST", .fields = {F("content-length", "+2")}}, REFUSED, NULL},
    {"a negative length", {.method = "POST", .fields = {F("content-length", "-2")}}, REFUSED, NULL},
    {"a length in hex", {.method = "POST", .fields = {F("content-length", "0x2")}}, REFUSED, NULL},
    {"an empty length", {.method = "POST", .fields = {F("content-length", "")}}, REFUSED, NULL},
    {"a length beyond 64 bits", {.method = "POST", .fields = {F("content-length", "18446744073709551616")}}, REFUSED, NULL},
    {"chunked", {.method = "POST", .fields = {F("transfer-encoding", "chunked")}}, TAKEN, "frames frame bodies in HTTP/2 (RFC 9113 8.1)"},
    {"chunked with a length", {.method = "POST", .fields = {F("transfer-encoding", "chunked"), F("content-length", "2")}}, REFUSED, NULL},
    {"a transfer coding that is not known", {.method = "POST", .fields = {F("transfer-encoding", "gzip")}}, REFUSED, NULL},
    {"chunked twice", {.method = "POST", .fields = {F("transfer-encoding", "chunked"), F("transfer-encoding", "chunked")}}, REFUSED, NULL},
    {"Connection", {.fields = {F("connection", "close")}}, TAKEN, "HTTP/2 has no fields of the connection (RFC 9113 8.2.2)"},
    {"Keep-Alive", {.fields = {F("keep-alive", "timeout=5")}}, TAKEN, "the same"},
    {"Proxy-Connection", {.fields = {F("proxy-connection", "keep-alive")}}, TAKEN, "the same"},
    {"Upgrade", {.fields = {F("upgrade", "websocket")}}, TAKEN, "the same"},
    {"TE: trailers", {.fields = {F("te", "trailers")}}, TAKEN, NULL},
    {"TE with a coding", {.fields = {F("te", "gzip")}}, TAKEN, "in HTTP/2 it says trailers or nothing (RFC 9113 8.2.2)"},
    {"a second Host", {.fields = {F("host", "b.test")}}, REFUSED, "in HTTP/2 it stands beside :authority, and the flow compares them (RFC 9113 8.3.1)"},
    {"two Hosts more", {.fields = {F("host", "b.test"), F("host", "c.test")}}, REFUSED, NULL},
    {"a second Host that is none", {.fields = {F("host", "b test")}}, REFUSED, NULL},
    {"CONNECT with a length", {.method = "CONNECT", .target = "a.test:443", .host = "a.test:443", .fields = {F("content-length", "2")}}, REFUSED, NULL},
    {"an ordinary response", {.status = "200"}, TAKEN, NULL},
    {"a status of 999", {.status = "999"}, TAKEN, NULL},
    {"a status below 100", {.status = "099"}, REFUSED, NULL},
    {"a status of two digits", {.status = "20"}, REFUSED, NULL},
    {"a status of letters", {.status = "2xx"}, REFUSED, NULL},
    {"a response with two lengths", {.status = "200", .fields = {F("content-length", "2"), F("content-length", "3")}}, REFUSED, NULL},
    {"a response with a bad length", {.status = "200", .fields = {F("content-length", "2x")}}, REFUSED, NULL},
    {"a response with a coding that is not known", {.status = "200", .fields = {F("transfer-encoding", "gzip")}}, REFUSED, NULL},
    {"a response with CR in a value", {.status = "200", .fields = {F("x-name", "a\rb")}}, REFUSED, NULL},
    {"a response with a space in a name", {.status = "200", .fields = {F("x name", "b")}}, REFUSED, NULL},
    {"an interim response with a coding", {.status = "103", .fields = {F("transfer-encoding", "chunked")}}, REFUSED, NULL},
};

static const char *or_else(const char *text, const char *otherwise)
{
    return text ? text : otherwise;
}

/* ---- HTTP/1 ---- */

static void put(struct buffer *out, const char *text)
{
    assert_int_equal(buffer_append_text(out, text), 0);
}

static enum verdict over_h1(const struct head *head)
{
    static const struct h1_limits limits = {.max_head_bytes = 65536, .strict_responses = true};
    struct h1 *h1 = head->status ? h1_new_response(&limits) : h1_new_request(&limits);
    struct buffer text = {0};
    struct h1_event event;
    if (head->status) {
        put(&text, "HTTP/1.1 ");
        put(&text, head->status);
        put(&text, " OK\r\n");
    } else {
        put(&text, or_else(head->method, "GET"));
        put(&text, " ");
        put(&text, or_else(head->target, "/"));
        put(&text, " HTTP/1.1\r\nHost: ");
        put(&text, or_else(head->host, "a.test"));
        put(&text, "\r\n");
    }
    for (size_t i = 0; i < 3 && head->fields[i].name.p; i++) {
        buffer_append(&text, head->fields[i].name.p, head->fields[i].name.n);
        put(&text, ":");
        buffer_append(&text, head->fields[i].value.p, head->fields[i].value.n);
        put(&text, "\r\n");
    }
    put(&text, "\r\n");
    ssize_t r = h1_take(h1, buffer_data(&text), buffer_size(&text), &event);
    assert_true(r < 0 || event.type == H1_HEAD);
    buffer_fini(&text);
    h1_free(h1);
    return r < 0 ? REFUSED : TAKEN;
}

/* ---- HTTP/2 ---- */

static void add(nghttp2_nv *list, size_t *n, const char *name, const char *value)
{
    list[(*n)++] = (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value), 0};
}

static void block_of(const struct head *head, nghttp2_hd_deflater *deflater, struct buffer *out)
{
    nghttp2_nv list[8];
    size_t n = 0;
    bool tunnel = head->method && strcmp(head->method, "CONNECT") == 0;
    if (head->status) {
        add(list, &n, ":status", head->status);
    } else {
        add(list, &n, ":method", or_else(head->method, "GET"));
        if (!tunnel) {
            add(list, &n, ":scheme", "https");
            add(list, &n, ":path", or_else(head->target, "/"));
        }
        add(list, &n, ":authority", or_else(head->host, "a.test"));
    }
    for (size_t i = 0; i < 3 && head->fields[i].name.p; i++)
        list[n++] = (nghttp2_nv){(uint8_t *)(uintptr_t)head->fields[i].name.p, (uint8_t *)(uintptr_t)head->fields[i].value.p,
                                 head->fields[i].name.n, head->fields[i].value.n, 0};
    size_t bound = nghttp2_hd_deflate_bound(deflater, list, n);
    assert_int_equal(buffer_reserve(out, bound), 0);
    ssize_t size = nghttp2_hd_deflate_hd(deflater, out->p, bound, list, n);
    assert_true(size > 0);
    buffer_commit(out, (size_t)size);
}

/* Takes all of it: what became of stream 1? */
static enum verdict stream_verdict(struct h2 *h2, const struct buffer *in, const char *what)
{
    struct h2_event event;
    size_t at = 0;
    for (;;) {
        ssize_t used = h2_take(h2, buffer_data(in) + at, buffer_size(in) - at, 1, &event);
        if (used < 0)
            fail_msg("%s: costs the connection (%s)", what, h2_fault(h2));
        at += (size_t)used;
        if (event.type == H2_HEAD || event.type == H2_INTERIM)
            return TAKEN;
        if (event.type == H2_CLOSED) {
            assert_int_equal(event.cause, H2_BY_FAULT);
            assert_non_null(event.fault);
            return REFUSED;
        }
        if (event.type == H2_NONE)
            fail_msg("%s: nothing comes of it", what);
    }
}

static void open_request(struct h2 *h2)
{
    struct message msg = {.is_request = true, .method = {"GET", 3}, .target = {"/", 1}};
    struct h2_request how = {.scheme = {"https", 5}, .authority = {"a.test", 6}, .end = true};
    assert_int_equal(h2_request(h2, &msg, &how, NULL), 1);
}

static enum verdict over_h2(const struct row *row)
{
    struct h2_limits limits = {.max_header_list = 65536, .max_concurrent_streams = 10, .strict_responses = true};
    const struct head *head = &row->head;
    struct h2 *h2 = head->status ? h2_new_client(&limits) : h2_new_server(&limits);
    struct h2_wire wire;
    struct buffer in = {0}, block = {0};
    h2_wire_init(&wire);
    h2_wire_write_all(&wire, head->status ? "SETTINGS" : "PREFACE\nSETTINGS", &in);
    block_of(head, wire.deflater, &block);
    h2_wire_frame(&in, 1, 4, 1, buffer_data(&block), buffer_size(&block));
    if (head->status)
        open_request(h2);
    enum verdict verdict = stream_verdict(h2, &in, row->what);
    h2_wire_fini(&wire);
    buffer_fini(&in);
    buffer_fini(&block);
    h2_free(h2);
    return verdict;
}

static void one_refuses_what_the_other_refuses(void **state)
{
    unsigned bad = 0;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        enum verdict h1 = over_h1(&row->head), h2 = over_h2(row);
        if (h1 == row->verdict && (h1 != h2) == (row->differs != NULL))
            continue;
        fprintf(stderr, "%s: HTTP/1 %s it, HTTP/2 %s it\n", row->what, h1 == REFUSED ? "refuses" : "takes", h2 == REFUSED ? "refuses" : "takes");
        bad++;
    }
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_refuses_what_the_other_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
