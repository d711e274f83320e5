/* SPDX-License-Identifier: MPL-2.0 */
/* See http_play.h. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/http/connect.h"
#include "host/http/rewrite.h"
#include "http_play.h"

struct play {
    const struct http_setting *setting;
    struct h1 *h1;
    struct buffer *out;
    struct buffer body; /* of the message so far */
    bool any_body;
};

void http_say(struct buffer *out, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    assert_true(n >= 0 && (size_t)n < sizeof line);
    assert_int_equal(buffer_append(out, line, (size_t)n), 0);
}

void http_say_bytes(struct buffer *out, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c == '\r' || c == '\n' || c == '\\')
            http_say(out, c == '\\' ? "\\\\" : c == '\r' ? "\\r" : "\\n");
        else
            http_say(out, c < 32 || c > 126 ? "\\x%02x" : "%c", c);
    }
}

void http_play_setting(const char *text, struct http_setting *out)
{
    *out = (struct http_setting){.limit = 65536};
    while (text && *text) {
        size_t n = strcspn(text, "\n");
        struct soth_span line = {text, n};
        if (soth_span_is(line, "response"))
            out->response = true;
        else if (soth_span_is(line, "lenient"))
            out->lenient = true;
        else if (soth_span_is(line, "answers HEAD"))
            out->answers_head = true;
        else if (soth_span_is(line, "answers CONNECT"))
            out->answers_connect = true;
        else if (soth_span_is(line, "client HTTP/1.0"))
            out->client_10 = true;
        else if (soth_span_is(line, "eof"))
            out->eof = true;
        else if (sscanf(text, "limit %u", &out->limit) != 1)
            fail_msg("unknown setting: %.*s", SOTH_SPAN(line));
        text += n + (text[n] == '\n');
    }
}

static void say_lines(struct buffer *out, const struct buffer *head)
{
    const char *at = (const char *)buffer_data(head), *end = at + buffer_size(head);
    while (at < end) {
        const char *crlf = memmem(at, (size_t)(end - at), "\r\n", 2);
        assert_non_null(crlf);
        if (crlf > at) {
            http_say(out, "> ");
            http_say_bytes(out, at, (size_t)(crlf - at));
            http_say(out, "\n");
        }
        at = crlf + 2;
    }
}

static void say_framing(struct buffer *out, const struct message *msg)
{
    static const char *const words[] = {"", " length", " chunked", " until_close"};
    http_say(out, "%s", words[msg->framing]);
    if (msg->framing == FRAMING_LENGTH)
        http_say(out, "=%llu", (unsigned long long)msg->content_length);
    else if (msg->has_declared_length)
        http_say(out, " declared=%llu", (unsigned long long)msg->declared_length);
    http_say(out, "%s%s%s\n", msg->keep_alive ? " keep_alive" : " close", msg->wants_upgrade ? " upgrade" : "",
             msg->expect_continue ? " expect" : "");
}

static void say_head(struct play *play, const struct message *msg)
{
    struct buffer head = {0};
    if (msg->is_request) {
        struct rewrite_request how = {.target = msg->target, .keep_upgrade = msg->wants_upgrade};
        http_say(play->out, "request");
        assert_int_equal(rewrite_request_head(&head, msg, &how), 0);
    } else {
        struct rewrite_response how = {.client_minor = !play->setting->client_10,
                                       .keep_alive_10 = play->setting->client_10,
                                       .keep_upgrade = msg->status == 101,
                                       .no_body = play->setting->answers_head};
        http_say(play->out, "response %u", msg->status);
        rewrite_plan_response(msg, &how);
        assert_int_equal(rewrite_response_head(&head, msg, &how), 0);
    }
    say_framing(play->out, msg);
    say_lines(play->out, &head);
    buffer_fini(&head);
}

static void say_body(struct play *play)
{
    if (!play->any_body)
        return;
    http_say(play->out, "body %zu ", buffer_size(&play->body));
    http_say_bytes(play->out, (const char *)buffer_data(&play->body), buffer_size(&play->body));
    http_say(play->out, "\n");
    buffer_clear(&play->body);
    play->any_body = false;
}

static void say_trailers(struct play *play, const struct message *trailers)
{
    struct buffer last = {0};
    http_say(play->out, "trailers %u\n", trailers->field_count);
    assert_int_equal(rewrite_last_chunk(&last, trailers), 0);
    say_lines(play->out, &last);
    buffer_fini(&last);
}

static void say_event(struct play *play, const struct h1_event *event)
{
    if (event->type != H1_BODY)
        say_body(play);
    switch (event->type) {
    case H1_HEAD:
        say_head(play, event->message);
        break;
    case H1_BODY:
        assert_true(event->data.n > 0);
        play->any_body = true;
        assert_int_equal(buffer_append(&play->body, event->data.p, event->data.n), 0);
        break;
    case H1_TRAILERS:
        say_trailers(play, event->message);
        break;
    default:
        http_say(play->out, "end\n");
        break;
    }
}

/* One read. false: refused. */
static bool take_all(struct play *play, const uint8_t *p, size_t n)
{
    struct h1_event event;
    for (;;) {
        ssize_t used = h1_take(play->h1, p, n, &event);
        if (used < 0) {
            say_body(play);
            http_say(play->out, "refused %d %s\n", h1_status(play->h1), h1_fault(play->h1));
            assert_int_equal(h1_take(play->h1, p, n, &event), -SOTH_EINVALID);
            return false;
        }
        assert_true((size_t)used <= n);
        p += used;
        n -= (size_t)used;
        if (event.type == H1_NONE) {
            assert_int_equal(n, 0);
            return true;
        }
        say_event(play, &event);
    }
}

static void take_eof(struct play *play)
{
    struct h1_event event;
    bool idle = h1_idle(play->h1);
    int r = h1_eof(play->h1, &event);
    say_body(play);
    assert_true(!idle || r == 0);
    if (r == 1)
        http_say(play->out, "eof ends the body\n");
    else
        http_say(play->out, "eof %s\n", r == 0 ? "between messages" : h1_fault(play->h1));
}

void http_play(const struct http_setting *setting, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out)
{
    struct h1_limits limits = {.max_head_bytes = setting->limit, .strict_responses = !setting->lenient};
    struct play play = {.setting = setting, .out = out};
    play.h1 = setting->response ? h1_new_response(&limits) : h1_new_request(&limits);
    assert_non_null(play.h1);
    if (setting->response)
        h1_answers(play.h1, setting->answers_head, setting->answers_connect);
    bool good = true;
    for (size_t at = 0; at < n && good;) {
        size_t piece = golden_piece(cut, at, n);
        uint8_t *exact = malloc(piece);
        assert_non_null(exact);
        memcpy(exact, p + at, piece);
        good = take_all(&play, exact, piece);
        free(exact);
        at += piece;
    }
    if (good)
        take_eof(&play);
    h1_free(play.h1);
    buffer_fini(&play.body);
}

void http_play_case(const struct golden_case *c, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out)
{
    struct http_setting setting;
    http_play_setting(golden_text(c, "with"), &setting);
    http_play(&setting, p, n, cut, out);
}

static enum connect_result connect_exact(const struct http_setting *setting, const uint8_t *p, size_t n, bool eof, struct connect_request *out,
                                         enum connect_error *error, const char **detail)
{
    uint8_t *exact = malloc(n ? n : 1);
    assert_non_null(exact);
    memcpy(exact, p, n);
    enum connect_result r = connect_parse(exact, n, eof, setting->lenient, setting->limit, out, error, detail);
    free(exact);
    return r;
}

static void say_target(struct buffer *out, const char *what, const struct target *target)
{
    assert_int_equal(strlen(target->host), target->host_len);
    http_say(out, " %s=%s port=%u", what, target->host, target->port);
    if (target->addr.family)
        http_say(out, " ipv%u", target->addr.family);
}

void http_play_connect(const struct golden_case *c, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out)
{
    struct http_setting setting;
    struct connect_request request;
    enum connect_error error = CONNECT_OK;
    const char *detail = NULL;
    enum connect_result r = CONNECT_MORE;
    http_play_setting(golden_text(c, "with"), &setting);
    for (size_t at = 0; at < n && r == CONNECT_MORE;) {
        at += golden_piece(cut, at, n);
        r = connect_exact(&setting, p, at, false, &request, &error, &detail);
    }
    if (r == CONNECT_MORE && setting.eof)
        r = connect_exact(&setting, p, n, true, &request, &error, &detail);
    if (r == CONNECT_DONE) {
        http_say(out, "connect HTTP/1.%u", request.minor);
        say_target(out, "to", &request.target);
        if (request.host.host_len)
            say_target(out, "host", &request.host);
        http_say(out, " behind=%zu\n", n - request.head_bytes);
    } else if (r == CONNECT_FAILED) {
        assert_non_null(detail);
        http_say(out, "%s: %s\n", connect_error_name(error), detail);
    } else {
        http_say(out, r == CONNECT_IS_HTTP ? "http\n" : "more\n");
    }
}
