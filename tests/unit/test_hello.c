/* SPDX-License-Identifier: MPL-2.0 */
/* host/tls/hello.h: the documents of tests/golden/tls, the guess at first bytes, and the hello in one record. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "golden.h"
#include "host/tls/hello.h"
#include "http_play.h"

/* hello_parse on an allocation of exactly n bytes, so that a sanitizer sees a look beyond. */
static int parse_exact(const uint8_t *p, size_t n, struct hello *hello, const char **fault)
{
    uint8_t *exact = malloc(n ? n : 1);
    assert_non_null(exact);
    memcpy(exact, p, n);
    int r = hello_parse(exact, n, hello, fault);
    free(exact);
    return r;
}

static void play(const struct golden_case *c, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out)
{
    struct hello h;
    const char *fault = NULL;
    int r = HELLO_MORE;
    (void)c;
    for (size_t at = 0; at < n && r == HELLO_MORE;) {
        at += golden_piece(cut, at, n);
        r = parse_exact(p, at, &h, &fault);
    }
    if (r == HELLO_DONE) {
        assert_int_equal(h.sni_len, strlen(h.sni));
        http_say(out, "done sni=%s alpn=%s version=%04x tickets=%d bytes=%zu records=%zu", h.sni, h.alpn_text, h.max_version, h.has_tickets,
            h.bytes, h.records);
    } else {
        http_say(out, r == HELLO_MORE ? "more" : r == -SOTH_EINVALID ? "invalid: %s" : r == -SOTH_ELIMIT ? "limit: %s" : "?", fault);
    }
}

static void documents(void **state)
{
    (void)state;
    golden_check_all("tests/golden/tls/hello.md", play);
}

/* A hello in many records and the same one in a single record must read alike. */
static void check_rerecorded(const struct golden_case *c)
{
    struct buffer in = {0}, one = {0};
    struct hello before, after;
    const char *fault;
    assert_int_equal(golden_bytes(c, "in", &in), 0);
    if (hello_parse(buffer_data(&in), buffer_size(&in), &before, &fault) == HELLO_DONE) {
        assert_int_equal(hello_rerecord(buffer_data(&in), before.bytes, &one), 0);
        assert_int_equal(hello_parse(buffer_data(&one), buffer_size(&one), &after, &fault), HELLO_DONE);
        assert_int_equal(after.records, 1);
        assert_int_equal(after.bytes, buffer_size(&one));
        assert_int_equal(after.bytes, before.bytes - 5 * (before.records - 1));
        before.bytes = after.bytes;
        before.records = after.records;
        assert_memory_equal(&before, &after, sizeof before);
    }
    buffer_fini(&in);
    buffer_fini(&one);
}

static void rerecord(void **state)
{
    struct golden golden;
    (void)state;
    golden_open(&golden, "tests/golden/tls/hello.md");
    for (size_t i = 0; i < golden.count; i++)
        check_rerecorded(&golden.cases[i]);
    golden_close(&golden);
}

/* A hello of the greatest size that is taken: several full records, and one byte more. */
static void greatest(void **state)
{
    static const uint8_t lead[] = {3, 3};
    size_t records = 4, message = HELLO_MAX_BYTES - 5 * records;
    uint8_t *p = calloc(1, HELLO_MAX_BYTES + 1), *m = calloc(1, message);
    struct hello h;
    const char *fault;
    (void)state;
    assert_non_null(p);
    assert_non_null(m);
    m[0] = 1;
    m[2] = (uint8_t)((message - 4) >> 8);
    m[3] = (uint8_t)(message - 4);
    memcpy(m + 4, lead, sizeof lead);
    m[39 + 1] = 2;     /* one suite */
    m[43] = 1;         /* one compression method */
    size_t extensions = message - 47;
    m[45] = (uint8_t)(extensions >> 8);
    m[46] = (uint8_t)extensions;
    m[47] = m[48] = 0x2a;
    m[49] = (uint8_t)((extensions - 4) >> 8);
    m[50] = (uint8_t)(extensions - 4);
    size_t at = 0, from = 0;
    for (size_t i = 0; i < records; i++) {
        size_t n = i + 1 < records ? 16384 : message - from;
        const uint8_t head[5] = {22, 3, 1, (uint8_t)(n >> 8), (uint8_t)n};
        memcpy(p + at, head, sizeof head);
        memcpy(p + at + 5, m + from, n);
        at += 5 + n;
        from += n;
    }
    assert_int_equal(at, HELLO_MAX_BYTES);
    assert_int_equal(hello_parse(p, at - 1, &h, &fault), HELLO_MORE);
    assert_int_equal(hello_parse(p, at, &h, &fault), HELLO_DONE);
    assert_int_equal(h.bytes, HELLO_MAX_BYTES);
    m[3]++;
    memcpy(p + 5, m, 4); /* one byte more is announced, and its record is one longer */
    size_t last = 3 * (16384 + 5);
    p[last + 4]++;
    assert_int_equal(hello_parse(p, at, &h, &fault), -SOTH_ELIMIT);
    free(p);
    free(m);
}

static void guesses(void **state)
{
    static char long_word[257];
    memset(long_word, 'A', sizeof long_word);
    const struct {
        const char *text;
        size_t n;
        enum hello_guess guess;
    } rows[] = {
        {"", 0, GUESS_MORE}, {"\x16", 1, GUESS_MORE}, {"\x16\x03", 2, GUESS_TLS}, {"\x16\x03\x01", 3, GUESS_TLS},
        {"\x16\x02", 2, GUESS_OTHER}, {"G", 1, GUESS_MORE}, {"GET", 3, GUESS_MORE}, {"GET ", 4, GUESS_HTTP1},
        {"GET\t", 4, GUESS_HTTP1}, {"GET  / HTTP/1.1", 15, GUESS_HTTP1}, {"\r\nGET ", 6, GUESS_HTTP1}, {"\r\n\r\n", 4, GUESS_MORE},
        {"PRI * HTTP/2.0\r\n", 16, GUESS_HTTP2}, {"PRI * HTTP/2.0\r", 15, GUESS_MORE}, {"PRI * HTTP/2.1\r\n", 16, GUESS_HTTP1},
        {"P", 1, GUESS_MORE}, {"PROPFIND /x HTTP/1.1", 20, GUESS_HTTP1}, {"M-SEARCH * HTTP/1.1", 19, GUESS_HTTP1},
        {"FOO http://a/ HTTP/1.1", 22, GUESS_HTTP1}, {"FOO htt", 7, GUESS_MORE}, {"get / HTTP/1.1", 14, GUESS_HTTP1},
        {"EHLO mail.test\r\n", 16, GUESS_OTHER}, {"SSH-2.0-x\r\n", 11, GUESS_OTHER}, {"\x00\x01", 2, GUESS_OTHER},
        {"USER x\r\n", 8, GUESS_OTHER}, {"GET\r\n", 5, GUESS_OTHER}, {" GET /", 6, GUESS_OTHER}, {"\x80\x2e\x01", 3, GUESS_OTHER},
        {"X!#$%&'*+-.^_`|~09 /x HTTP/1.1", 30, GUESS_HTTP1}, {"SSH-2.0-x", 9, GUESS_MORE}, {"X(Y /x HTTP/1.1", 15, GUESS_OTHER},
        {"*1\r\n", 4, GUESS_OTHER}, {"+OK ready\r\n", 11, GUESS_OTHER}, {long_word, 256, GUESS_MORE}, {long_word, 257, GUESS_OTHER},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum hello_guess guess = hello_guess((const uint8_t *)rows[i].text, rows[i].n);
        if (guess != rows[i].guess)
            fail_msg("\"%s\": %d, expected %d", rows[i].text, (int)guess, (int)rows[i].guess);
        /* a guess once made stays */
        for (size_t n = 0; n < rows[i].n; n++) {
            enum hello_guess earlier = hello_guess((const uint8_t *)rows[i].text, n);
            assert_true(earlier == GUESS_MORE || earlier == guess);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents),
        cmocka_unit_test(rerecord),
        cmocka_unit_test(greatest),
        cmocka_unit_test(guesses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
