/* SPDX-License-Identifier: MPL-2.0 */
/* Heads that are kept and changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/http/edit.h"
#include "host/http/h1.h"
#include "host/http/rewrite.h"

#define HEAD                                                                                                    \
    "POST /x?y HTTP/1.1\r\nHost: a.test\r\nX-One: 1\r\nContent-Type: text/plain\r\nx-one: 2\r\nX-Two: \r\n" \
    "Content-Length: 3\r\nAuthorization: old\r\n\r\n"

static const struct message *parse(struct h1 **h1, char *bytes)
{
    struct h1_limits limits = {65536, true};
    struct h1_event event;
    *h1 = h1_new_request(&limits);
    assert_true(h1_take(*h1, (const uint8_t *)bytes, strlen(bytes), &event) > 0);
    assert_int_equal(event.type, H1_HEAD);
    return event.message;
}

/* A copy of the head whose original is gone. */
static struct head_edit *edit_of(const char *head)
{
    struct h1 *h1;
    char *bytes = strdup(head);
    struct head_edit *edit = head_edit_new(parse(&h1, bytes));
    assert_non_null(edit);
    memset(bytes, '!', strlen(bytes));
    free(bytes);
    h1_free(h1);
    return edit;
}

static struct soth_span span(const char *text)
{
    return soth_span(text);
}

static void assert_written(struct head_edit *edit, const char *expected)
{
    struct buffer out = {0};
    const struct message *msg = head_edit_message(edit);
    struct rewrite_request how = {.target = msg->target};
    assert_int_equal(rewrite_request_head(&out, msg, &how), 0);
    assert_int_equal(buffer_append(&out, "", 1), 0);
    assert_string_equal((const char *)buffer_data(&out), expected);
    buffer_fini(&out);
}

static void a_copy_is_whole(void **state)
{
    (void)state;
    struct head_edit *edit = edit_of(HEAD);
    const struct message *msg = head_edit_message(edit);
    assert_true(soth_span_is(msg->method, "POST") && soth_span_is(msg->target, "/x?y") && soth_span_is(msg->host, "a.test"));
    assert_true(soth_span_is(msg->content_type, "text/plain") && msg->upgrade.p == NULL);
    assert_written(edit, HEAD);
    head_edit_free(edit);
    head_edit_free(NULL);
}

static void set_add_del(void **state)
{
    (void)state;
    struct head_edit *edit = edit_of(HEAD);
    assert_int_equal(head_edit_set(edit, "X-ONE", span("  new\t")), 0);
    assert_int_equal(head_edit_set(edit, "X-Fresh", span("f")), 0);
    assert_int_equal(head_edit_add(edit, "X-Fresh", span("g")), 0);
    assert_int_equal(head_edit_del(edit, "x-two"), 1);
    assert_int_equal(head_edit_del(edit, "nothing"), 0);
    assert_int_equal(head_edit_set(edit, "authorization", span("Bearer s")), 0);
    assert_int_equal(head_edit_set(edit, "Content-Type", span("application/json")), 0);
    assert_true(soth_span_is(head_edit_message(edit)->content_type, "application/json"));
    assert_written(edit, "POST /x?y HTTP/1.1\r\nHost: a.test\r\nX-ONE: new\r\nContent-Type: application/json\r\nContent-Length: 3\r\n"
                         "authorization: Bearer s\r\nX-Fresh: f\r\nX-Fresh: g\r\n\r\n");
    assert_int_equal(head_edit_del(edit, "X-Fresh"), 2);
    head_edit_free(edit);
}

static void what_is_the_hosts_is_not_changed(void **state)
{
    static const char *const ours[] = {"Host", "content-length", "Transfer-Encoding", "Connection", "TE", "Trailer", "Upgrade", "Expect",
                                       "Keep-Alive", "Proxy-Authorization", "Proxy-Anything", "HTTP2-Settings"};
    (void)state;
    struct head_edit *edit = edit_of(HEAD);
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        assert_int_equal(head_edit_set(edit, ours[i], span("x")), -SOTH_EPERM);
        assert_int_equal(head_edit_add(edit, ours[i], span("x")), -SOTH_EPERM);
        assert_int_equal(head_edit_del(edit, ours[i]), -SOTH_EPERM);
    }
    assert_written(edit, HEAD);
    head_edit_free(edit);
}

static void nothing_is_smuggled_in(void **state)
{
    static const char *const names[] = {"", "a b", "a:b", "a\r\nb", "\xc3\xa4"};
    static const struct soth_span values[] = {{"a\r\nX: y", 7}, {"a\nb", 3}, {"a\rb", 3}, {"a\0b", 3}};
    (void)state;
    struct head_edit *edit = edit_of(HEAD);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(head_edit_set(edit, names[i], span("x")), -SOTH_EINVALID);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        assert_int_equal(head_edit_add(edit, "X", values[i]), -SOTH_EINVALID);
    assert_written(edit, HEAD);
    head_edit_free(edit);
}

static void fields_are_bounded(void **state)
{
    int r = 0, n = 0;
    (void)state;
    struct head_edit *edit = edit_of(HEAD);
    while ((r = head_edit_add(edit, "X-Many", span("m"))) == 0 && n < 5000)
        n++;
    assert_int_equal(r, -SOTH_ELIMIT);
    assert_int_equal(head_edit_message(edit)->field_count, 1000);
    assert_int_equal(head_edit_set(edit, "X-One", span("still")), 0);
    assert_int_equal(head_edit_del(edit, "X-Many"), n);
    head_edit_free(edit);
}

/* ---- another body ---- */

static void assert_changed(const char *fields, const char *expected)
{
    char head[512], wanted[512];
    struct buffer out = {0};
    struct h1 *h1;
    snprintf(head, sizeof head, "POST / HTTP/1.1\r\nHost: a.test\r\n%s\r\n", fields);
    snprintf(wanted, sizeof wanted, "POST / HTTP/1.1\r\nHost: a.test\r\n%s\r\n", expected);
    struct message *copy = message_copy_changed(parse(&h1, head));
    memset(head, '!', sizeof head);
    h1_free(h1);
    assert_non_null(copy);
    assert_int_equal(rewrite_request_head(&out, copy, &(struct rewrite_request){.target = copy->target}), 0);
    assert_int_equal(buffer_append(&out, "", 1), 0);
    assert_string_equal((const char *)buffer_data(&out), wanted);
    buffer_fini(&out);
    free(copy);
}

static void what_holds_for_the_old_body_alone_goes(void **state)
{
    (void)state;
    assert_changed("A: 1\r\nContent-Digest: x\r\nRepr-Digest: x\r\nB: 2\r\ndigest: x\r\nDigest: y\r\nCONTENT-MD5: x\r\n"
                   "Accept-Ranges: bytes\r\nC: 3\r\n",
                   "A: 1\r\nB: 2\r\nC: 3\r\n");
    assert_changed("Want-Digest: sha-256\r\nX-Digest: x\r\nLast-Modified: x\r\n", "Want-Digest: sha-256\r\nX-Digest: x\r\nLast-Modified: x\r\n");
    assert_changed("", "");
}

static void a_strong_etag_becomes_weak(void **state)
{
    (void)state;
    assert_changed("ETag: \"a b\"\r\nA: 1\r\n", "ETag: W/\"a b\"\r\nA: 1\r\n");
    assert_changed("ETag: \"\"\r\n", "ETag: W/\"\"\r\n");
    assert_changed("etag: W/\"a\"\r\n", "etag: W/\"a\"\r\n");
    assert_changed("ETag: a\r\nA: 1\r\n", "A: 1\r\n"); /* none */
    assert_changed("ETag: \r\nA: 1\r\n", "A: 1\r\n");
    assert_changed("ETag: W\r\n", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_is_whole),
        cmocka_unit_test(set_add_del),
        cmocka_unit_test(what_is_the_hosts_is_not_changed),
        cmocka_unit_test(nothing_is_smuggled_in),
        cmocka_unit_test(fields_are_bounded),
        cmocka_unit_test(what_holds_for_the_old_body_alone_goes),
        cmocka_unit_test(a_strong_etag_becomes_weak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
