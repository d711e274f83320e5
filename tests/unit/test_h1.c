/* SPDX-License-Identifier: MPL-2.0 */
/* host/http/h1.h: the documents of requests and responses, and what a document cannot say: when something is refused, what is used up,
 * how little an idle codec holds. */
#include <stdarg.h>
#include <setjmp.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http_play.h"

static const struct h1_limits strict = {.max_head_bytes = 65536, .strict_responses = true};

static void documents(void **state)
{
    (void)state;
    golden_check_all("tests/golden/http/h1_request.md", http_play_case);
    golden_check_all("tests/golden/http/h1_response.md", http_play_case);
}

static ssize_t take(struct h1 *h1, const char *text, struct h1_event *event)
{
    return h1_take(h1, (const uint8_t *)text, strlen(text), event);
}

/* Bytes of text, one by one, until the codec refuses; 0 = it never does. */
static size_t refused_at(struct h1 *h1, const char *text)
{
    struct h1_event event;
    for (size_t i = 0; text[i]; i++) {
        uint8_t byte = (uint8_t)text[i];
        size_t used = 0;
        do {
            ssize_t r = h1_take(h1, &byte + used, 1 - used, &event);
            if (r < 0)
                return i + 1;
            used += (size_t)r;
        } while (event.type != H1_NONE);
    }
    return 0;
}

/* More bytes would not make it a head: nobody waits for them. */
static void garbage_is_refused_at_once(void **state)
{
    static const struct {
        bool response;
        const char *text, *fault;
        size_t at;
    } cases[] = {
        {false, "\x16\x03\x01", "invalid_request_line", 1},
        {false, "GET@", "invalid_request_line", 4},
        {false, "\rG", "invalid_request_line", 2},
        {false, "GET /\r\nHost", "http_version", 7},
        {false, "GET / HTTP/1.1\nHost", "bare_lf", 15},
        {false, "GET / HTTP/1.1\r\nX : 1\r\nHost", "space_before_colon", 23},
        {false, "GET / HTTP/1.1\r\nX: 1\nHost", "bare_lf", 21},
        {false, "GET / HTTP/1.1\r\nX: 1\r\n y\r\nHost", "obs_fold", 26},
        {false, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx", "chunk_size", 57},
        {true, "SSH", "invalid_status_line", 1},
        {true, "HTTP/2", "http_version", 6},
        {true, "HTTP/1.1 20\r\n", "invalid_status_line", 13},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct h1 *h1 = cases[i].response ? h1_new_response(&strict) : h1_new_request(&strict);
        assert_int_equal(refused_at(h1, cases[i].text), cases[i].at);
        assert_string_equal(h1_fault(h1), cases[i].fault);
        assert_int_equal(h1_status(h1), cases[i].response ? 0 : 400);
        h1_free(h1);
    }
}

/* What lies behind a message stays the caller's: it may not be HTTP. */
static void uses_no_more_than_its_message(void **state)
{
    static const char head[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    struct h1 *h1 = h1_new_request(&strict);
    struct h1_event event;
    char text[128];
    (void)state;
    snprintf(text, sizeof text, "%s\x81\x05masked", head);
    assert_int_equal(take(h1, text, &event), sizeof head - 1);
    assert_int_equal(event.type, H1_HEAD);
    assert_int_equal(event.message->head_bytes, sizeof head - 1);
    assert_int_equal(take(h1, "\x81", &event), 0);
    assert_int_equal(event.type, H1_END);
    h1_free(h1);

    h1 = h1_new_request(&strict); /* the same in two reads */
    assert_int_equal(h1_take(h1, (const uint8_t *)text, 7, &event), 7);
    assert_false(h1_idle(h1));
    assert_int_equal(take(h1, text + 7, &event), sizeof head - 1 - 7);
    assert_int_equal(event.type, H1_HEAD);
    assert_int_equal(event.message->head_bytes, sizeof head - 1);
    assert_int_equal(h1_take(h1, NULL, 0, &event), 0);
    assert_int_equal(event.type, H1_END);
    assert_true(h1_idle(h1));
    h1_free(h1);
}

/* A body is a part of the input, never a copy. */
static void bodies_lie_where_they_came(void **state)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    struct h1 *h1 = h1_new_response(&strict);
    struct h1_event event;
    const char *at = text;
    (void)state;
    at += take(h1, at, &event);
    assert_int_equal(event.type, H1_HEAD);
    at += take(h1, at, &event);
    assert_int_equal(event.type, H1_BODY);
    assert_ptr_equal(event.data.p, strstr(text, "hello"));
    assert_int_equal(event.data.n, 5);
    at += take(h1, at, &event);
    assert_int_equal(event.type, H1_END);
    assert_int_equal(*at, 0);
    h1_free(h1);
}

static void an_idle_codec_is_small(void **state)
{
    struct h1 *h1 = h1_new_request(&strict);
    struct h1_event event;
    (void)state;
    assert_true(malloc_usable_size(h1) <= 256);
    struct mallinfo2 before = mallinfo2();
    assert_int_equal(take(h1, "GET / HTT", &event), 9);
    assert_int_equal(take(h1, "P/1.1\r\nHost: a\r\n\r\n", &event), 18);
    assert_int_equal(take(h1, "", &event), 0);
    assert_int_equal(event.type, H1_END);
    assert_true(mallinfo2().uordblks <= before.uordblks); /* what was collected is given back */
    h1_free(h1);
}

/* h1_answers is told once per response: a HEAD in the middle changes that answer alone. */
static void answers_are_told_apart(void **state)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    struct h1 *h1 = h1_new_response(&strict);
    struct h1_event event;
    (void)state;
    h1_answers(h1, true, false);
    assert_int_equal(take(h1, head, &event), sizeof head - 1);
    assert_int_equal(event.message->framing, FRAMING_NONE);
    assert_int_equal(event.message->declared_length, 2);
    assert_int_equal(take(h1, "", &event), 0);
    h1_answers(h1, false, false);
    assert_int_equal(take(h1, head, &event), sizeof head - 1);
    assert_int_equal(event.message->framing, FRAMING_LENGTH);
    assert_int_equal(take(h1, "hi", &event), 2);
    assert_int_equal(event.type, H1_BODY);
    h1_free(h1);
}

static void more_fields_than_there_is_room_for(void **state)
{
    struct buffer head = {0};
    struct h1_event event;
    (void)state;
    for (unsigned count = 1024; count <= 1025; count++) {
        struct h1 *h1 = h1_new_request(&strict);
        buffer_clear(&head);
        buffer_append_text(&head, "GET / HTTP/1.1\r\nHost: a\r\n");
        for (unsigned i = 1; i < count; i++)
            buffer_append_text(&head, "X: 1\r\n");
        buffer_append_text(&head, "\r\n");
        ssize_t r = h1_take(h1, buffer_data(&head), buffer_size(&head), &event);
        if (count == 1024) {
            assert_int_equal(r, buffer_size(&head));
            assert_int_equal(event.message->field_count, count);
        } else {
            assert_int_equal(r, -SOTH_ELIMIT);
            assert_string_equal(h1_fault(h1), "too_many_fields");
            assert_int_equal(h1_status(h1), 431);
        }
        h1_free(h1);
    }
    buffer_fini(&head);
}

static void a_failed_codec_stays_failed(void **state)
{
    struct h1 *h1 = h1_new_request(&strict);
    struct h1_event event;
    (void)state;
    assert_int_equal(take(h1, "@", &event), -SOTH_EINVALID);
    assert_int_equal(take(h1, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", &event), -SOTH_EINVALID);
    assert_int_equal(h1_eof(h1, &event), -SOTH_EEOF);
    assert_string_equal(h1_fault(h1), "invalid_request_line");
    assert_false(h1_idle(h1));
    h1_free(h1);
    h1_free(NULL);
}

static void the_end_of_a_message_that_nobody_took(void **state)
{
    struct h1 *h1 = h1_new_request(&strict);
    struct h1_event event;
    (void)state;
    assert_int_equal(h1_eof(h1, &event), 0);
    take(h1, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", &event);
    assert_int_equal(h1_eof(h1, &event), 1);
    assert_int_equal(event.type, H1_END);
    assert_int_equal(h1_eof(h1, &event), 0);
    h1_free(h1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents),
        cmocka_unit_test(garbage_is_refused_at_once),
        cmocka_unit_test(uses_no_more_than_its_message),
        cmocka_unit_test(bodies_lie_where_they_came),
        cmocka_unit_test(an_idle_codec_is_small),
        cmocka_unit_test(answers_are_told_apart),
        cmocka_unit_test(more_fields_than_there_is_room_for),
        cmocka_unit_test(a_failed_codec_stays_failed),
        cmocka_unit_test(the_end_of_a_message_that_nobody_took),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
