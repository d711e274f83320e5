/* SPDX-License-Identifier: MPL-2.0 */
/* See h2_play.h. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "h2_play.h"
#include "h2_wire.h"
#include "host/http/h1.h"
#include "http_play.h"

struct play {
    struct h2 *h2;
    struct h2_wire wire;
    struct buffer *out;
    struct buffer sent;
    struct buffer body;
    int32_t body_of;     /* 0 = none */
    uint64_t now_ns;
    bool over;
};

/* ---- events as text ---- */

static void say_fields(struct buffer *out, const struct message *msg)
{
    for (uint32_t i = 0; i < msg->field_count; i++) {
        assert_int_equal(msg->ids[i], message_field_id(msg->fields[i].name));
        http_say(out, "  ");
        http_say_bytes(out, msg->fields[i].name.p, msg->fields[i].name.n);
        http_say(out, ": ");
        http_say_bytes(out, msg->fields[i].value.p, msg->fields[i].value.n);
        http_say(out, "\n");
    }
}

static void say_span(struct buffer *out, const char *name, struct soth_span span)
{
    if (!span.p)
        return;
    http_say(out, " %s", name);
    http_say_bytes(out, span.p, span.n);
}

static void say_head(struct buffer *out, const struct h2_event *event)
{
    static const char *const framings[] = {"none", "length", "chunked", "until_close"};
    const struct message *msg = event->message;
    assert_true(msg->http2 && msg->minor == 1 && msg->keep_alive);
    http_say(out, "%s %d", event->type == H2_INTERIM ? "interim" : "head", event->stream);
    if (msg->is_request) {
        say_span(out, "", msg->method);
        say_span(out, "", msg->target);
        say_span(out, "scheme=", msg->scheme);
        say_span(out, "authority=", msg->authority);
        say_span(out, "host=", msg->host);
        say_span(out, "protocol=", msg->protocol);
    } else {
        http_say(out, " %u", msg->status);
    }
    http_say(out, " %s", framings[msg->framing]);
    if (msg->framing == FRAMING_LENGTH)
        http_say(out, "=%llu", (unsigned long long)msg->content_length);
    http_say(out, "%s%s %u\n", event->end ? " end" : "", msg->expect_continue ? " expects" : "", msg->head_bytes);
    say_fields(out, msg);
}

static void say_closed(struct buffer *out, const struct h2_event *event)
{
    static const char *const causes[] = {"end", "peer", "fault", "loss"};
    http_say(out, "closed %d by %s %s", event->stream, causes[event->cause], h2_code_name(event->code));
    const char *fault = event->cause == H2_BY_FAULT ? event->fault : NULL; /* the connection's stands where it was refused */
    http_say(out, "%s%s%s\n", fault ? " " : "", fault ? fault : "", event->unprocessed ? " unprocessed" : "");
}

void h2_play_say(struct buffer *out, const struct h2_event *event)
{
    switch (event->type) {
    case H2_HEAD:
    case H2_INTERIM:
        say_head(out, event);
        break;
    case H2_BODY:
        http_say(out, "body %d %zu\n", event->stream, event->data.n);
        break;
    case H2_TRAILERS:
        http_say(out, "trailers %d\n", event->stream);
        say_fields(out, event->message);
        break;
    case H2_END:
        http_say(out, "end %d\n", event->stream);
        break;
    case H2_CLOSED:
        say_closed(out, event);
        break;
    case H2_WRITABLE:
        http_say(out, "writable %d\n", event->stream);
        break;
    case H2_PRIORITY:
        http_say(out, "priority %d ", event->stream);
        http_say_bytes(out, event->data.p, event->data.n);
        http_say(out, "\n");
        break;
    case H2_SETTINGS:
        http_say(out, "settings\n");
        break;
    case H2_GOAWAY:
        http_say(out, "goaway %d %s\n", event->last_id, h2_code_name(event->code));
        break;
    case H2_PONG:
        http_say(out, "pong %llu\n", (unsigned long long)event->number);
        break;
    default:
        fail_msg("an event that there is not");
    }
}

static void say_body(struct play *play)
{
    size_t n = buffer_size(&play->body);
    if (play->body_of == 0)
        return;
    http_say(play->out, "body %d %zu", play->body_of, n);
    if (n <= 64) {
        http_say(play->out, " ");
        http_say_bytes(play->out, (const char *)buffer_data(&play->body), n);
    }
    http_say(play->out, "\n");
    buffer_clear(&play->body);
    play->body_of = 0;
}

static void say(struct play *play, const struct h2_event *event)
{
    if (event->type != H2_BODY || play->body_of != event->stream)
        say_body(play);
    if (event->type != H2_BODY) {
        h2_play_say(play->out, event);
        return;
    }
    play->body_of = event->stream;
    assert_int_equal(buffer_append(&play->body, event->data.p, event->data.n), 0);
}

/* ---- what the peer sends ---- */

static void send_due(struct play *play)
{
    if (h2_wants_output(play->h2))
        assert_int_equal(h2_output(play->h2, &play->sent), 0);
    assert_false(h2_wants_output(play->h2));
}

static void take(struct play *play, const uint8_t *p, size_t n)
{
    struct h2_event event;
    uint8_t *exact = malloc(n ? n : 1);
    size_t at = 0;
    assert_non_null(exact);
    memcpy(exact, p ? p : (const uint8_t *)"", n);
    while (!play->over) {
        ssize_t used = h2_take(play->h2, exact + at, n - at, play->now_ns, &event);
        if (used < 0) {
            say_body(play);
            http_say(play->out, "refused %zd %s\n", used, h2_fault(play->h2));
            assert_int_equal(h2_stream_count(play->h2), 0);
            assert_int_equal(h2_take(play->h2, NULL, 0, play->now_ns, &event), used);
            play->over = true;
            break;
        }
        at += (size_t)used;
        assert_true(at <= n);
        if (event.type == H2_NONE) {
            assert_int_equal(at, n);
            assert_false(h2_has_event(play->h2));
            break;
        }
        say(play, &event);
    }
    free(exact);
    send_due(play);
}

/* ---- what the owner does ---- */

struct command {
    char line[256], *word[12];
    size_t n;
    const char *rest; /* the line behind its first two words */
};

static void parse(const char *text, size_t n, struct command *out)
{
    static char rest[256];
    assert_true(n < sizeof out->line);
    memcpy(out->line, text, n);
    out->line[n] = 0;
    memcpy(rest, out->line, sizeof rest);
    out->n = 0;
    for (char *word = strtok(out->line, " "); word; word = strtok(NULL, " "))
        out->word[out->n++] = word;
    out->rest = out->n > 2 ? rest + (out->word[2] - out->line) : "";
}

static bool has(const struct command *c, const char *word)
{
    for (size_t i = 1; i < c->n; i++)
        if (strcmp(c->word[i], word) == 0)
            return true;
    return false;
}

static const char *option(const struct command *c, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 1; i < c->n; i++)
        if (strncmp(c->word[i], name, n) == 0 && c->word[i][n] == '=')
            return c->word[i] + n + 1;
    return NULL;
}

static int32_t id_of(const struct command *c)
{
    return (int32_t)strtol(c->word[1], NULL, 10);
}

static uint32_t code_of(const char *name)
{
    uint32_t code = 0;
    while (strcmp(h2_code_name(code), name) != 0)
        assert_true(++code < 14);
    return code;
}

/* The indented lines as a head of HTTP/1, through its codec. */
static struct h1 *head_below(const char **text, bool response, bool trailers, const struct message **out, struct buffer *bytes)
{
    static const struct h1_limits limits = {.max_head_bytes = 65536, .strict_responses = true};
    struct h1 *h1 = response ? h1_new_response(&limits) : h1_new_request(&limits);
    struct h1_event event;
    size_t n, used = 0;
    if (trailers)
        buffer_append_text(bytes, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
    while (**text == ' ') {
        const char *line = h2_wire_line(text, &n);
        buffer_append(bytes, line, n);
        buffer_append_text(bytes, "\r\n");
    }
    buffer_append_text(bytes, "\r\n");
    do {
        ssize_t r = h1_take(h1, buffer_data(bytes) + used, buffer_size(bytes) - used, &event);
        if (r < 0)
            fail_msg("the head is refused: %s", h1_fault(h1));
        used += (size_t)r;
    } while (event.type != (trailers ? H1_TRAILERS : H1_HEAD));
    *out = event.message;
    return h1;
}

static void result(struct play *play, const struct command *c, ssize_t r)
{
    if (r == 0)
        return;
    say_body(play);
    http_say(play->out, "%s: %zd\n", c->word[0], r);
}

static void request(struct play *play, const struct command *c, const char **text)
{
    struct buffer bytes = {0};
    const struct message *msg;
    struct h1 *h1 = head_below(text, false, false, &msg, &bytes);
    const char *protocol = option(c, "protocol");
    struct h2_request how = {.scheme = {"https", 5}, .end = has(c, "end"), .reframe = has(c, "reframe"), .protocol = soth_span(protocol)};
    result(play, c, h2_request(play->h2, msg, &how, play));
    h1_free(h1);
    buffer_fini(&bytes);
}

static void response(struct play *play, const struct command *c, const char **text)
{
    struct buffer bytes = {0};
    const struct message *msg;
    struct h1 *h1 = head_below(text, true, false, &msg, &bytes);
    struct h2_response how = {.end = has(c, "end"), .reframe = has(c, "reframe")};
    result(play, c, h2_response(play->h2, id_of(c), msg, &how));
    h1_free(h1);
    buffer_fini(&bytes);
}

static void trailers(struct play *play, const struct command *c, const char **text)
{
    struct buffer bytes = {0};
    const struct message *msg;
    struct h1 *h1 = head_below(text, false, true, &msg, &bytes);
    result(play, c, h2_trailers(play->h2, id_of(c), msg));
    h1_free(h1);
    buffer_fini(&bytes);
}

static void body(struct play *play, const struct command *c)
{
    const char *bytes = option(c, "bytes");
    struct buffer data = {0};
    bool end = has(c, "end");
    if (bytes)
        for (size_t i = strtoul(bytes, NULL, 10); i > 0; i--)
            buffer_append(&data, "y", 1);
    else if (!end || c->n > 3)
        buffer_append_text(&data, c->rest + (end ? 4 : 0));
    size_t n = buffer_size(&data);
    ssize_t r = h2_body(play->h2, id_of(c), (struct soth_span){(const char *)data.p, n}, end, &play->sent);
    result(play, c, r == (ssize_t)n ? 0 : r);
    if (r == 0 && n > 0)
        http_say(play->out, "!body: 0\n");
    buffer_fini(&data);
}

static void reply(struct play *play, const struct command *c)
{
    struct reply made = {.status = atoi(c->word[2]), .error = "http_request_denied", .content_type = "text/plain", .body = soth_span("no\n")};
    made.extra = "Retry-After: 1\r\nX-Why: because\r\n";
    made.head_only = has(c, "head_only");
    result(play, c, h2_reply(play->h2, id_of(c), &made));
}

static void do_other(struct play *play, const struct command *c)
{
    const char *what = c->word[0] + 1;
    if (strcmp(what, "reset") == 0)
        result(play, c, h2_reset(play->h2, id_of(c), code_of(c->word[2])));
    else if (strcmp(what, "leave") == 0)
        result(play, c, h2_leave(play->h2, id_of(c)));
    else if (strcmp(what, "consume") == 0)
        h2_consume(play->h2, id_of(c), strtoul(c->word[2], NULL, 10));
    else if (strcmp(what, "goaway") == 0)
        result(play, c,
               h2_goaway(play->h2, has(c, "soon") ? H2_GOAWAY_SOON : has(c, "last") ? H2_GOAWAY_LAST : H2_GOAWAY_NOW, code_of(c->word[2])));
    else if (strcmp(what, "ping") == 0)
        result(play, c, h2_ping(play->h2, strtoull(c->word[1], NULL, 10)));
    else if (strcmp(what, "priority") == 0)
        result(play, c, h2_priority(play->h2, id_of(c), soth_span(c->word[2])));
    else if (strcmp(what, "windows") == 0)
        result(play, c, h2_set_windows(play->h2, (uint32_t)strtoul(c->word[1], NULL, 10), (uint32_t)strtoul(c->word[2], NULL, 10)));
    else if (strcmp(what, "lost") == 0)
        h2_lost(play->h2);
    else if (strcmp(what, "wait") == 0)
        play->now_ns += strtoull(c->word[1], NULL, 10) * 1000000;
    else if (strcmp(what, "check") == 0)
        result(play, c, h2_check(play->h2, play->now_ns));
    else
        fail_msg("no such command: %s", c->word[0]);
}

static void act(struct play *play, const char **text)
{
    struct command c;
    size_t n;
    const char *line = h2_wire_line(text, &n);
    parse(line, n, &c);
    if (strcmp(c.word[0], "!request") == 0)
        request(play, &c, text);
    else if (strcmp(c.word[0], "!response") == 0)
        response(play, &c, text);
    else if (strcmp(c.word[0], "!trailers") == 0)
        trailers(play, &c, text);
    else if (strcmp(c.word[0], "!body") == 0)
        body(play, &c);
    else if (strcmp(c.word[0], "!reply") == 0)
        reply(play, &c);
    else
        do_other(play, &c);
    send_due(play);
    take(play, NULL, 0);
}

/* ---- a case ---- */

static uint32_t setting(const char *with, const char *name, uint32_t otherwise)
{
    const char *at = with ? strstr(with, name) : NULL;
    return at ? (uint32_t)strtoul(at + strlen(name), NULL, 10) : otherwise;
}

static struct h2 *codec(const char *with)
{
    struct h2_limits limits = {
        .max_header_list = setting(with, "max_header_list", 65536),
        .max_concurrent_streams = setting(with, "max_streams", 100),
        .stream_window = setting(with, "\nwindow", 0),
        .zero_window_ns = setting(with, "zero_window", 0) * 1000000ull,
        .strict_responses = !(with && strstr(with, "lenient")),
        .connect_protocol = with && strstr(with, "connect_protocol"),
    };
    return with && strstr(with, "client") ? h2_new_client(&limits) : h2_new_server(&limits);
}

/* The input as a whole is cut; what the owner does stays where it is. */
static void play_case(const struct golden_case *c, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out)
{
    struct play play = {.out = out, .now_ns = 1000000000};
    const char *text = golden_text(c, "frames");
    size_t at = 0, upto = 0;
    struct buffer seen = {0};
    play.h2 = codec(golden_text(c, "with"));
    assert_non_null(play.h2);
    h2_wire_init(&play.wire);
    send_due(&play);
    while (*text) {
        if (*text == '!') {
            act(&play, &text);
            continue;
        }
        h2_wire_write(&play.wire, &text, &seen); /* for its length */
        upto = buffer_size(&seen);
        while (at < upto && !play.over) {
            size_t piece = golden_piece(cut, at, n);
            if (cut->every == 0 && *text && *text != '!' && at + piece > upto)
                break; /* more frames follow in this piece */
            piece = piece < upto - at ? piece : upto - at;
            take(&play, p + at, piece);
            at += piece;
        }
    }
    say_body(&play);
    h2_wire_say(&play.wire, buffer_data(&play.sent), buffer_size(&play.sent), "> ", out);
    h2_free(play.h2);
    h2_wire_fini(&play.wire);
    buffer_fini(&play.sent);
    buffer_fini(&play.body);
    buffer_fini(&seen);
}

static void input_of(const struct golden_case *c, struct buffer *in)
{
    struct h2_wire wire;
    const char *text = golden_text(c, "frames");
    size_t n;
    if (!text)
        fail_msg("%s: has no block of frames", c->title);
    h2_wire_init(&wire);
    while (*text) {
        if (*text != '!') {
            h2_wire_write(&wire, &text, in);
            continue;
        }
        h2_wire_line(&text, &n);
        while (*text == ' ')
            h2_wire_line(&text, &n);
    }
    h2_wire_fini(&wire);
}

void h2_play_all(const char *path)
{
    struct golden golden;
    golden_open(&golden, path);
    for (size_t i = 0; i < golden.count; i++) {
        struct buffer in = {0};
        input_of(&golden.cases[i], &in);
        golden_check_input(&golden.cases[i], &in, play_case);
        buffer_fini(&in);
    }
    golden_close(&golden);
}
