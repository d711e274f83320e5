/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/policy_webhook/reply.c */
/* The responses of a decision service, each read whole, byte by byte and at every split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "modules/policy_webhook/reply.h"

#define OK "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"
#define TO_THE_END 1u

static const struct {
    const char *bytes;
    const char *body; /* NULL: a fault */
    const char *fault;
    unsigned closes, ends; /* TO_THE_END: the connection ends behind the bytes */
    size_t left_over;
} cases[] = {
    {OK "Content-Length: 2\r\n\r\n{}", "{}", NULL, 0, 0, 0},
    {OK "content-length:\t2 \r\n\r\n{}", "{}", NULL, 0, 0, 0},
    {OK "Content-Length: 0\r\n\r\n", "", NULL, 0, 0, 0},
    {"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\n{}", "{}", NULL, 0, 0, 0},
    {"HTTP/1.1 200\nContent-Length: 2\n\n{}", "{}", NULL, 0, 0, 0},
    {OK "Content-Length: 2\r\n\r\n{}more", "{}", NULL, 0, 0, 4},
    {OK "Content-Length: 2\r\nConnection: close\r\n\r\n{}", "{}", NULL, 1, 0, 0},
    {OK "Content-Length: 2\r\nConnection: x, Close\r\n\r\n{}", "{}", NULL, 1, 0, 0},
    {OK "Content-Length: 2\r\nConnection: closed, keep-alive\r\n\r\n{}", "{}", NULL, 0, 0, 0},
    {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", "{}", NULL, 1, 0, 0},
    {OK "\r\n{}", "{}", NULL, 1, TO_THE_END, 0},
    {OK "\r\n", "", NULL, 1, TO_THE_END, 0},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\nContent-Length: 7\r\n\r\n" OK "Content-Length: 2\r\n\r\n{}",
     "{}", NULL, 0, 0, 0},
    {CHUNKED "2\r\n{}\r\n0\r\n\r\n", "{}", NULL, 0, 0, 0},
    {CHUNKED "1;a=b\r\n{\r\n01 \r\n}\r\n0\r\nTrailer: x\r\n\r\nrest", "{}", NULL, 0, 0, 4},
    {CHUNKED "a\r\n0123456789\r\nA\r\n0123456789\r\n000\r\n\r\n", "01234567890123456789", NULL, 0, 0, 0},
    {"HTTP/1.1 500 Sorry\r\nContent-Length: 2\r\n\r\n{}", NULL, "its status is not 200", 0, 0, 0},
    {"HTTP/1.1 204 No Content\r\n\r\n", NULL, "its status is not 200", 0, 0, 0},
    {"HTTP/1.1 2000 OK\r\n\r\n", NULL, "what it answers is not HTTP/1.1", 0, 0, 0},
    {"HTTP/1.1 2x0 OK\r\n\r\n", NULL, "what it answers is not HTTP/1.1", 0, 0, 0},
    {"HTTP/2 200 OK\r\n\r\n", NULL, "what it answers is not HTTP/1.1", 0, 0, 0},
    {"garbage\r\n", NULL, "what it answers is not HTTP/1.1", 0, 0, 0},
    {"\r\n\r\n", NULL, "what it answers is not HTTP/1.1", 0, 0, 0},
    {OK "Content-Length: 2x\r\n\r\n", NULL, "its Content-Length is wrong", 0, 0, 0},
    {OK "Content-Length: -2\r\n\r\n", NULL, "its Content-Length is wrong", 0, 0, 0},
    {OK "Content-Length:\r\n\r\n", NULL, "its Content-Length is wrong", 0, 0, 0},
    {OK "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", NULL, "its Content-Length is wrong", 0, 0, 0},
    {OK "Content-Length: 65537\r\n\r\n", NULL, "its answer is too long", 0, 0, 0},
    {OK "Content-Length: 99999999999999999999999\r\n\r\n", NULL, "its answer is too long", 0, 0, 0},
    {OK "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", NULL, "its answer has a Content-Length and is chunked", 0, 0, 0},
    {OK "Transfer-Encoding: gzip, chunked\r\n\r\n", NULL, "its Transfer-Encoding is not chunked", 0, 0, 0},
    {OK "no colon\r\n\r\n", NULL, "a field of its answer is malformed", 0, 0, 0},
    {OK "Name : x\r\n\r\n", NULL, "a field of its answer is malformed", 0, 0, 0},
    {OK "A: x\r\n folded\r\n\r\n", NULL, "a field of its answer is malformed", 0, 0, 0},
    {OK ": x\r\n\r\n", NULL, "a field of its answer is malformed", 0, 0, 0},
    {CHUNKED "x\r\n", NULL, "a chunk of its answer is malformed", 0, 0, 0},
    {CHUNKED "\r\n", NULL, "a chunk of its answer is malformed", 0, 0, 0},
    {CHUNKED "2\r\n{}0\r\n\r\n", NULL, "a chunk of its answer is malformed", 0, 0, 0},
    {CHUNKED "10001\r\n", NULL, "its answer is too long", 0, 0, 0},
    {CHUNKED "fffffffffffffffff\r\n", NULL, "its answer is too long", 0, 0, 0},
    {OK "Content-Length: 3\r\n\r\n{}", NULL, "it ends the connection in the middle of its answer", 1, TO_THE_END, 0},
    {OK "Content-Le", NULL, "it ends the connection in the middle of its answer", 1, TO_THE_END, 0},
    {CHUNKED "2\r\n{}\r\n", NULL, "it ends the connection in the middle of its answer", 1, TO_THE_END, 0},
};
#define CASES (sizeof cases / sizeof *cases)

/* Each piece lies at the end of its own memory: reading past it is seen by the sanitizer. */
static int feed(struct reply *reply, const char *p, size_t n, size_t *used)
{
    char *copy = malloc(n ? n : 1);
    size_t took = 0;
    assert_non_null(copy);
    memcpy(copy, p, n);
    int r = reply_feed(reply, copy, n, &took);
    *used += took;
    free(copy);
    return r;
}

static void check(size_t i, struct reply *reply, int r, size_t used)
{
    if (r == 0 && cases[i].ends)
        r = reply_end(reply);
    if (cases[i].fault) {
        if (r >= 0)
            print_error("case %zu is taken\n", i);
        assert_true(r < 0);
        assert_string_equal(reply->fault, cases[i].fault);
    } else {
        if (r != 1)
            print_error("case %zu: %d, %s\n", i, r, reply->fault ? reply->fault : "not complete");
        assert_int_equal(r, 1);
        assert_int_equal(reply->body_n, strlen(cases[i].body));
        assert_true(reply->body_n == 0 || memcmp(reply->body, cases[i].body, reply->body_n) == 0);
        assert_int_equal(reply->closes, cases[i].closes);
        assert_int_equal(strlen(cases[i].bytes) - used, cases[i].left_over);
    }
    reply_fini(reply);
}

/* In pieces of so many bytes, the first of them of another size. */
static void in_pieces(size_t i, size_t first, size_t size)
{
    struct reply reply;
    size_t used = 0, at = 0, n = strlen(cases[i].bytes);
    int r = 0;
    reply_init(&reply);
    for (size_t piece = first; r == 0 && at < n; at += piece, piece = size)
        r = feed(&reply, cases[i].bytes + at, piece < n - at ? piece : n - at, &used);
    check(i, &reply, r, used);
}

static void whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < CASES; i++)
        in_pieces(i, SIZE_MAX / 2, SIZE_MAX / 2);
}

static void byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < CASES; i++)
        in_pieces(i, 1, 1);
}

static void every_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < CASES; i++)
        for (size_t split = 0; split <= strlen(cases[i].bytes); split++)
            in_pieces(i, split, SIZE_MAX / 2);
}

static int feed_all(struct reply *reply, const char *head, size_t repeat, const char *piece)
{
    size_t used = 0;
    int r = feed(reply, head, strlen(head), &used);
    for (size_t i = 0; r == 0 && i < repeat; i++)
        r = feed(reply, piece, strlen(piece), &used);
    return r;
}

/* Nothing that a service sends makes it use more memory than its limits. */
static void endless_answers(void **state)
{
    (void)state;
    static const struct {
        const char *head, *piece, *fault;
    } endless[] = {
        {"HTTP/1.1 200 ", "xxxxxxxx", "the head of its answer is too long"},
        {OK, "Name: value\r\n", "the head of its answer is too long"},
        {"", "HTTP/1.1 100 Continue\r\n\r\n", "the head of its answer is too long"},
        {OK "\r\n", "xxxxxxxxxxxxxxxx", "its answer is too long"},
        {CHUNKED, "8000\r\n", "its answer is too long"},
        {CHUNKED "0\r\n", "Trailer: value\r\n", "the head of its answer is too long"},
    };
    for (size_t i = 0; i < sizeof endless / sizeof *endless; i++) {
        struct reply reply;
        reply_init(&reply);
        if (i == 4) { /* two chunks fit, one byte more does not */
            char *chunk = malloc(32769);
            assert_non_null(chunk);
            memset(chunk, 'x', 32768);
            chunk[32768] = 0;
            assert_int_equal(feed_all(&reply, CHUNKED "8000\r\n", 1, chunk), 0);
            assert_int_equal(feed_all(&reply, "\r\n8000\r\n", 1, chunk), 0);
            free(chunk);
            assert_true(feed_all(&reply, "\r\n1\r\n", 1, "x") < 0);
        } else {
            assert_true(feed_all(&reply, endless[i].head, 8192, endless[i].piece) < 0);
        }
        assert_string_equal(reply.fault, endless[i].fault);
        assert_true(reply.body_room <= 2 * REPLY_BODY_MOST);
        reply_fini(&reply);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole),
        cmocka_unit_test(byte_by_byte),
        cmocka_unit_test(every_split),
        cmocka_unit_test(endless_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
