/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Random valid messages, written in random ways, read in random pieces: the codec must report what was meant, and what it relays must read
 * the same again. The model is the message before it was written. PROP_CASES (default 2000) and PROP_SEED are read from the environment; the
 * seed of a failing case is printed, and the smallest number of messages that still fails.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "draw.h"
#include "host/http/h1.h"
#include "host/http/rewrite.h"

#define MAX_FIELDS 12
#define MAX_BODY 3000
#define MAX_MESSAGES 4

struct model {
    bool response, head_request;
    char method[12], target[40];
    unsigned status;
    struct {
        char name[24], value[48];
    } fields[MAX_FIELDS];
    unsigned field_count;
    enum framing framing;
    bool close;
    char body[MAX_BODY];
    size_t body_size;
    unsigned trailer_count; /* X-T: 1 */
};

static void word(char *to, size_t least, size_t most, const char *alphabet)
{
    size_t n = least + draw_below((unsigned)(most - least + 1)), letters = strlen(alphabet);
    for (size_t i = 0; i < n; i++)
        to[i] = alphabet[draw_below((unsigned)letters)];
    to[n] = '\0';
}

/* ---- a message is thought up ---- */

static void think_of_fields(struct model *m)
{
    static const char token[] = "abcXYZ019-_.!~", value[] = "abc XYZ,;=\"/\t\xe9\xff";
    m->field_count = draw_below(MAX_FIELDS);
    for (unsigned i = 0; i < m->field_count; i++) {
        m->fields[i].name[0] = 'q'; /* no name that means something */
        word(m->fields[i].name + 1, 0, 20, token);
        word(m->fields[i].value, 0, 45, value);
        size_t n = strlen(m->fields[i].value);
        while (n > 0 && (m->fields[i].value[n - 1] == ' ' || m->fields[i].value[n - 1] == '\t'))
            m->fields[i].value[--n] = '\0';
        size_t blank = strspn(m->fields[i].value, " \t");
        memmove(m->fields[i].value, m->fields[i].value + blank, n - blank + 1);
    }
}

static void think_of_body(struct model *m, bool last)
{
    static const enum framing of_requests[] = {FRAMING_NONE, FRAMING_LENGTH, FRAMING_CHUNKED};
    bool none = m->response && (m->head_request || m->status < 200 || m->status == 204 || m->status == 304);
    m->framing = of_requests[draw_below(3)];
    if (m->response && m->framing == FRAMING_NONE)
        m->framing = last ? FRAMING_UNTIL_CLOSE : FRAMING_LENGTH;
    if (none)
        m->framing = FRAMING_NONE;
    if (m->framing != FRAMING_NONE)
        m->body_size = draw_below(3) ? draw_below(40) : draw_below(MAX_BODY);
    if (m->framing == FRAMING_LENGTH && m->body_size == 0)
        m->body_size = 1;
    for (size_t i = 0; i < m->body_size; i++)
        m->body[i] = (char)draw();
    m->trailer_count = m->framing == FRAMING_CHUNKED ? draw_below(3) : 0;
}

static void think_of(struct model *m, bool response, bool last)
{
    static const unsigned statuses[] = {100, 103, 200, 200, 200, 204, 304, 404, 500, 999};
    memset(m, 0, sizeof *m);
    m->response = response;
    m->head_request = response && draw_below(8) == 0;
    word(m->method, 1, 10, "GETPOSTabc!#-");
    m->target[0] = '/';
    word(m->target + 1, 0, 38, "abc/?&=%20:@[]*");
    m->status = statuses[draw_below(sizeof statuses / sizeof *statuses)];
    m->close = draw_below(4) == 0 && (!response || m->status >= 200);
    think_of_fields(m);
    think_of_body(m, last);
}

/* ---- it is written, in one of many ways ---- */

static void text(struct buffer *out, const char *t)
{
    assert_int_equal(buffer_append_text(out, t), 0);
}

static void write_chunks(struct buffer *out, const struct model *m)
{
    char line[64];
    for (size_t at = 0; at < m->body_size;) {
        size_t n = 1 + draw_below((unsigned)(m->body_size - at));
        snprintf(line, sizeof line, draw_below(2) ? "%.*s%zx%s\r\n" : "%.*s%zX%s\r\n", (int)draw_below(4), "000", n, draw_below(3) ? "" : ";a=\"b;c\"");
        text(out, line);
        buffer_append(out, m->body + at, n);
        text(out, "\r\n");
        at += n;
    }
    text(out, draw_below(2) ? "0\r\n" : "000;x\r\n");
    for (unsigned i = 0; i < m->trailer_count; i++)
        text(out, "X-T: 1\r\n");
    text(out, "\r\n");
}

static void write_framing(struct buffer *out, const struct model *m)
{
    static const char *const chunked[] = {"Transfer-Encoding: chunked\r\n", "transfer-encoding:CHUNKED\r\n", "TRANSFER-ENCODING: \t chunked  \r\n"};
    char line[64];
    if (m->framing == FRAMING_CHUNKED)
        text(out, chunked[draw_below(3)]);
    if (m->framing == FRAMING_LENGTH) {
        snprintf(line, sizeof line, draw_below(2) ? "Content-Length: %zu\r\n" : "content-length:000%zu \r\n", m->body_size);
        text(out, line);
    }
}

static void write_model(struct buffer *out, const struct model *m)
{
    char line[128];
    unsigned where = draw_below(m->field_count + 1);
    if (m->response)
        snprintf(line, sizeof line, "HTTP/1.1 %u%s\r\n", m->status, draw_below(2) ? " Fine" : "");
    else
        snprintf(line, sizeof line, "%s%s %s HTTP/1.1\r\nHost: a.test\r\n", draw_below(4) ? "" : "\r\n", m->method, m->target);
    text(out, line);
    for (unsigned i = 0; i <= m->field_count; i++) {
        if (i == where)
            write_framing(out, m);
        if (i == where && m->close)
            text(out, draw_below(2) ? "Connection: close\r\n" : "connection:  CLOSE , te\r\n");
        if (i < m->field_count) {
            snprintf(line, sizeof line, "%s:%s%s%s\r\n", m->fields[i].name, draw_below(2) ? " " : " \t ", m->fields[i].value, draw_below(2) ? "" : "  ");
            text(out, line);
        }
    }
    text(out, "\r\n");
    if (m->framing == FRAMING_CHUNKED)
        write_chunks(out, m);
    else
        buffer_append(out, m->body, m->body_size);
}

/* ---- what was read is what was meant ---- */

struct reader {
    struct h1 *h1;
    const struct model *m, *end; /* the message that is read */
    size_t body;
    bool in_message, trailers, again; /* again: reads what the first reader relayed */
    struct buffer relayed; /* heads and bodies as they go on */
    char wrong[160];
};

static bool expect(struct reader *r, bool condition, const char *what)
{
    if (!condition && !r->wrong[0])
        snprintf(r->wrong, sizeof r->wrong, "%s (message %ld from the end)", what, (long)(r->end - r->m));
    return condition;
}

static void read_fields(struct reader *r, const struct message *msg)
{
    unsigned found = 0;
    for (uint32_t i = 0; i < msg->field_count; i++) {
        if (msg->fields[i].name.p[0] != 'q' || found == r->m->field_count)
            continue;
        expect(r, soth_span_is(msg->fields[i].name, r->m->fields[found].name), "a name");
        expect(r, soth_span_is(msg->fields[i].value, r->m->fields[found].value), "a value");
        found++;
    }
    expect(r, found == r->m->field_count, "the number of fields");
}

static void relay_head(struct reader *r, const struct message *msg)
{
    struct rewrite_request request = {.target = msg->target};
    struct rewrite_response response = {.client_minor = 1, .no_body = r->m->head_request};
    if (msg->is_request) {
        assert_int_equal(rewrite_request_head(&r->relayed, msg, &request), 0);
        return;
    }
    rewrite_plan_response(msg, &response);
    response.close = response.close || r->m->close;
    assert_int_equal(rewrite_response_head(&r->relayed, msg, &response), 0);
}

static void read_head(struct reader *r, const struct message *msg)
{
    const struct model *m = r->m;
    if (!expect(r, m < r->end && !r->in_message, "a head where none should be"))
        return;
    if (m->response) {
        expect(r, msg->status == m->status, "the status");
    } else {
        expect(r, soth_span_is(msg->method, m->method), "the method");
        expect(r, soth_span_is(msg->target, m->target), "the target");
    }
    expect(r, msg->framing == m->framing, "the framing");
    expect(r, msg->framing != FRAMING_LENGTH || msg->content_length == m->body_size, "the length");
    bool close = (m->close && (m->response || !r->again)) || m->framing == FRAMING_UNTIL_CLOSE; /* a client's close is not the origin's */
    expect(r, msg->keep_alive == !close, "whether it stays open");
    read_fields(r, msg);
    relay_head(r, msg);
    r->in_message = true;
    r->body = 0;
    r->trailers = false;
}

static void read_body(struct reader *r, struct soth_span data)
{
    const struct model *m = r->m;
    if (!expect(r, r->in_message && r->body + data.n <= m->body_size, "more body than there is") ||
        !expect(r, memcmp(m->body + r->body, data.p, data.n) == 0, "the body"))
        return;
    r->body += data.n;
    if (m->framing == FRAMING_CHUNKED)
        rewrite_chunk_begin(&r->relayed, data.n);
    buffer_append(&r->relayed, data.p, data.n);
    if (m->framing == FRAMING_CHUNKED)
        rewrite_chunk_end(&r->relayed);
}

static void read_end(struct reader *r, const struct message *trailers)
{
    const struct model *m = r->m;
    if (!expect(r, r->in_message && m < r->end, "an end where none should be"))
        return;
    if (trailers || !r->trailers) {
        expect(r, (trailers ? trailers->field_count : 0) == m->trailer_count, "the number of trailers");
        if (m->framing == FRAMING_CHUNKED)
            rewrite_last_chunk(&r->relayed, trailers);
    }
    r->trailers = trailers != NULL;
    if (trailers)
        return;
    expect(r, r->body == m->body_size, "less body than there is");
    r->in_message = false;
    if (++r->m < r->end)
        h1_answers(r->h1, r->m->head_request, false);
}

static void read_event(struct reader *r, const struct h1_event *event)
{
    if (event->type == H1_HEAD)
        read_head(r, event->message);
    else if (event->type == H1_BODY)
        read_body(r, event->data);
    else if (event->type == H1_TRAILERS)
        read_end(r, event->message);
    else if (event->type == H1_END)
        read_end(r, NULL);
}

static void read_piece(struct reader *r, const uint8_t *p, size_t n)
{
    struct h1_event event = {.type = H1_HEAD};
    while (event.type != H1_NONE && !r->wrong[0]) {
        ssize_t used = h1_take(r->h1, p, n, &event);
        if (used < 0) {
            expect(r, false, h1_fault(r->h1));
            return;
        }
        p += used;
        n -= (size_t)used;
        read_event(r, &event);
    }
    expect(r, n == 0, "bytes left over");
}

/* Reads bytes against the models in random pieces; false with r->wrong. */
static bool read_all(struct reader *r, const struct model *models, unsigned count, const struct buffer *bytes, bool strict, bool again)
{
    struct h1_limits limits = {.max_head_bytes = 65536, .strict_responses = strict};
    struct h1_event event;
    unsigned most = 1u << draw_below(13);
    *r = (struct reader){.m = models, .end = models + count, .again = again};
    r->h1 = models->response ? h1_new_response(&limits) : h1_new_request(&limits);
    assert_non_null(r->h1);
    h1_answers(r->h1, models->head_request, false);
    for (size_t at = 0; at < buffer_size(bytes) && !r->wrong[0];) {
        size_t n = 1 + draw_below(most);
        n = n < buffer_size(bytes) - at ? n : buffer_size(bytes) - at;
        uint8_t *exact = malloc(n);
        assert_non_null(exact);
        memcpy(exact, buffer_data(bytes) + at, n);
        read_piece(r, exact, n);
        free(exact);
        at += n;
    }
    if (!r->wrong[0] && h1_eof(r->h1, &event) == 1)
        read_event(r, &event);
    expect(r, r->wrong[0] || r->m == r->end, "a message is missing");
    h1_free(r->h1);
    return !r->wrong[0];
}

/* What was relayed says the same as what was read. */
static bool read_twice(struct reader *r, const struct model *models, unsigned count, const struct buffer *bytes)
{
    struct reader first;
    bool good = read_all(&first, models, count, bytes, draw_below(2), false);
    *r = first;
    if (good) {
        good = read_all(r, models, count, &first.relayed, true, true);
        buffer_fini(&r->relayed);
    }
    buffer_fini(&first.relayed);
    return good;
}

static bool play(uint64_t seed, unsigned most, char *wrong, size_t size)
{
    static struct model models[MAX_MESSAGES];
    struct buffer bytes = {0};
    struct reader reader;
    draw_begin(seed);
    bool response = draw_below(2);
    unsigned count = 1 + draw_below(MAX_MESSAGES);
    count = count < most ? count : most;
    for (unsigned i = 0; i < count; i++) {
        think_of(&models[i], response, i + 1 == count);
        write_model(&bytes, &models[i]);
    }
    bool good = read_twice(&reader, models, count, &bytes);
    snprintf(wrong, size, "%s", reader.wrong);
    buffer_fini(&bytes);
    return good;
}

static void messages_are_what_was_meant(void **state)
{
    unsigned long count = 2000;
    const uint64_t seed = draw_seed(&count);
    char wrong[160];
    (void)state;
    for (unsigned long i = 0; i < count; i++) {
        unsigned most = MAX_MESSAGES;
        if (play(seed + i, most, wrong, sizeof wrong))
            continue;
        while (most > 1 && !play(seed + i, most - 1, wrong, sizeof wrong))
            most--;
        play(seed + i, most, wrong, sizeof wrong);
        fail_msg("PROP_SEED=%llu, %u messages: %s", (unsigned long long)(seed + i), most, wrong);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(messages_are_what_was_meant)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
