/* SPDX-License-Identifier: MPL-2.0 */
/* See h2_peer.h. */
#include "h2_peer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS_MOST 64u

static void init(struct h2_peer *p, struct driver *d, enum side side, int kin, uint32_t window, bool connects)
{
    struct h2_limits limits = {.connect_protocol = connects, .max_header_list = 65536, .max_concurrent_streams = 100, .stream_window = window, .strict_responses = true};
    *p = (struct h2_peer){.driver = d, .is_client = side == SIDE_CLIENT, .end = kin < 0 ? &d->end[side] : &d->kin[kin].origin};
    h2_meter_init(&p->meter, p->is_client);
    p->h2 = p->is_client ? h2_new_client(&limits) : h2_new_server(&limits);
}

void h2_peer_init(struct h2_peer *p, struct driver *d, enum side side, int kin, uint32_t window)
{
    init(p, d, side, kin, window, false);
}

void h2_peer_init_connecting(struct h2_peer *p, struct driver *d, int kin)
{
    init(p, d, SIDE_ORIGIN, kin, 0, true);
}

void h2_peer_fini(struct h2_peer *p)
{
    h2_free(p->h2);
    buffer_fini(&p->log);
}

__attribute__((format(printf, 2, 3))) static void note(struct h2_peer *p, const char *format, ...)
{
    char line[512];
    va_list args;
    if (p->last_body)
        buffer_append(&p->log, "\n", 1);
    p->last_body = 0;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    buffer_append_text(&p->log, line);
}

static void note_fields(struct h2_peer *p, const struct message *msg)
{
    for (uint32_t i = 0; i < msg->field_count; i++) {
        buffer_append(&p->log, " ", 1);
        buffer_append(&p->log, msg->fields[i].name.p, msg->fields[i].name.n);
        buffer_append(&p->log, "=", 1);
        buffer_append(&p->log, msg->fields[i].value.p, msg->fields[i].value.n);
    }
    buffer_append(&p->log, "\n", 1);
}

static void note_body(struct h2_peer *p, const struct h2_event *e)
{
    if (p->last_body != e->stream)
        note(p, "%d body ", e->stream);
    p->last_body = e->stream;
    buffer_append(&p->log, e->data.p, e->data.n);
    p->body_bytes += e->data.n;
    if (p->holds)
        p->held += e->data.n;
    else
        h2_consume(p->h2, e->stream, e->data.n);
}

static void accuse(struct h2_peer *p, const char *what, const char *detail)
{
    if (!p->driver->fault[0])
        snprintf(p->driver->fault, sizeof p->driver->fault, "the %s of HTTP/2 gets %s%s", p->is_client ? "client" : "origin", what, detail);
}

static void hear(struct h2_peer *p, const struct h2_event *e)
{
    switch (e->type) {
    case H2_HEAD:
    case H2_INTERIM:
        if (!p->is_client && p->heard_count < sizeof p->heard / sizeof *p->heard)
            p->heard[p->heard_count++] = e->stream;
        if (p->is_client)
            note(p, "%d %s %u", e->stream, e->type == H2_HEAD ? "head" : "interim", e->message->status);
        else
            note(p, "%d head %.*s %.*s %.*s", e->stream, SOTH_SPAN(e->message->method), SOTH_SPAN(e->message->target),
                 SOTH_SPAN(e->message->authority));
        if (!p->is_client && p->unwanted && soth_span_is(e->message->target, p->unwanted))
            accuse(p, "a request that is blocked", "");
        if (e->message->protocol.p)
            note(p, " :protocol=%.*s", SOTH_SPAN(e->message->protocol));
        note_fields(p, e->message);
        break;
    case H2_BODY:
        note_body(p, e);
        break;
    case H2_TRAILERS:
        note(p, "%d trailers", e->stream);
        note_fields(p, e->message);
        break;
    case H2_END:
        note(p, "%d end\n", e->stream);
        break;
    case H2_CLOSED:
        if (e->cause != H2_BY_END)
            note(p, "%d closed %s\n", e->stream, e->cause == H2_BY_LOSS ? "lost" : h2_code_name(e->code));
        break;
    case H2_GOAWAY:
        note(p, "goaway %s %d\n", h2_code_name(e->code), e->last_id == INT32_MAX ? -1 : e->last_id);
        break;
    default:
        break;
    }
}

/* Floods are the other peer's: what it does reaches this one. */
static void judge_fault(struct h2_peer *p)
{
    const char *fault = h2_fault(p->h2);
    if (!p->lies && fault[0] && strncmp(fault, "h2_flood", 8) != 0)
        accuse(p, "what its codec refuses: ", fault);
}

static bool take(struct h2_peer *p)
{
    struct h2_event event;
    const uint8_t *at = buffer_size(&p->end->got) ? buffer_data(&p->end->got) : (const uint8_t *)"";
    size_t n = buffer_size(&p->end->got), all = n;
    h2_meter_got(&p->meter, at, n);
    if (p->meter.fault)
        accuse(p, p->meter.fault, "");
    for (;;) {
        ssize_t used = h2_take(p->h2, at, n, p->driver->world->port->monotonic_ns, &event);
        if (used < 0) {
            note(p, "broken %s\n", h2_fault(p->h2));
            judge_fault(p);
            break;
        }
        at += used;
        n -= (size_t)used;
        if (event.type == H2_NONE)
            break;
        hear(p, &event);
    }
    buffer_clear(&p->end->got);
    return all > 0;
}

static enum side side_of(const struct h2_peer *p)
{
    return p->is_client ? SIDE_CLIENT : SIDE_ORIGIN;
}

static void say(struct h2_peer *p, const void *data, size_t n)
{
    h2_meter_said(&p->meter, data, n);
    if (p->end == &p->driver->end[side_of(p)])
        driver_say(p->driver, side_of(p), data, n);
    else
        buffer_append(&p->end->inbox, data, n);
}

static bool flush(struct h2_peer *p, struct buffer *out)
{
    h2_output(p->h2, out);
    bool any = buffer_size(out) > 0;
    if (any)
        say(p, buffer_data(out), buffer_size(out));
    buffer_fini(out);
    return any;
}

void h2_peer_raw(struct h2_peer *p, const void *data, size_t n)
{
    struct buffer out = {0};
    flush(p, &out); /* its preface first */
    p->lies = true;
    say(p, data, n);
}

bool h2_peer_turn(struct h2_peer *p)
{
    struct buffer out = {0};
    if (!p->end->open)
        return false;
    bool heard = !p->mute && take(p);
    return flush(p, &out) || heard;
}

/* "name: value\n" for each. */
static void fields_of(struct message *msg, const char *text, struct soth_field *fields, uint8_t *ids)
{
    msg->fields = fields;
    msg->ids = ids;
    while (text && *text && msg->field_count < FIELDS_MOST) {
        const char *colon = strchr(text, ':'), *end = strchr(text, '\n');
        struct soth_span name = {text, (size_t)(colon - text)};
        ids[msg->field_count] = (uint8_t)message_field_id(name);
        if (ids[msg->field_count] == FIELD_CONTENT_LENGTH) { /* the codec writes it as it is declared */
            msg->has_declared_length = true;
            msg->declared_length = strtoull(colon + 2, NULL, 10);
        }
        fields[msg->field_count++] = (struct soth_field){name, {colon + 2, (size_t)(end - colon - 2)}};
        text = end + 1;
    }
}

int32_t h2_peer_ask(struct h2_peer *p, const char *method, const char *path, const char *authority, const char *fields, bool end)
{
    struct soth_field f[FIELDS_MOST];
    uint8_t ids[FIELDS_MOST];
    struct message msg = {.is_request = true, .http2 = true, .method = soth_span(method), .target = soth_span(path), .minor = 1};
    struct h2_request how = {.scheme = soth_span(p->end->tls ? "https" : "http"), .authority = soth_span(authority), .end = end};
    fields_of(&msg, fields, f, ids);
    return h2_request(p->h2, &msg, &how, NULL);
}

int32_t h2_peer_connect(struct h2_peer *p, const char *protocol, const char *path, const char *authority, const char *fields)
{
    struct soth_field f[FIELDS_MOST];
    uint8_t ids[FIELDS_MOST];
    struct message msg = {.is_request = true, .http2 = true, .method = soth_span("CONNECT"), .target = soth_span(path), .minor = 1};
    struct h2_request how = {.scheme = soth_span(p->end->tls ? "https" : "http"), .authority = soth_span(authority), .protocol = soth_span(protocol)};
    fields_of(&msg, fields, f, ids);
    return h2_request(p->h2, &msg, &how, NULL);
}

void h2_peer_respond(struct h2_peer *p, int32_t stream, unsigned status, const char *fields, bool end)
{
    struct soth_field f[FIELDS_MOST];
    uint8_t ids[FIELDS_MOST];
    struct message msg = {.http2 = true, .status = (uint16_t)status, .minor = 1};
    fields_of(&msg, fields, f, ids);
    h2_response(p->h2, stream, &msg, &(struct h2_response){.end = end});
}

size_t h2_peer_body(struct h2_peer *p, int32_t stream, const char *data, size_t n, bool end)
{
    struct buffer out = {0};
    ssize_t taken = h2_body(p->h2, stream, (struct soth_span){data, n}, end, &out);
    flush(p, &out);
    return taken < 0 ? 0 : (size_t)taken;
}

void h2_peer_trailers(struct h2_peer *p, int32_t stream, const char *fields)
{
    struct soth_field f[FIELDS_MOST];
    uint8_t ids[FIELDS_MOST];
    struct message msg = {.http2 = true};
    fields_of(&msg, fields, f, ids);
    h2_trailers(p->h2, stream, &msg);
}

void h2_peer_consume(struct h2_peer *p)
{
    /* of whatever stream: tests that hold have one */
    if (p->held)
        h2_consume(p->h2, p->last_body ? p->last_body : 1, p->held);
    p->held = 0;
}

const char *h2_peer_log(struct h2_peer *p)
{
    static char text[4][65536];
    static unsigned turn;
    char *at = text[turn++ % 4];
    if (p->last_body)
        buffer_append(&p->log, "\n", 1);
    p->last_body = 0;
    snprintf(at, sizeof text[0], "%.*s", (int)buffer_size(&p->log), buffer_size(&p->log) ? (const char *)buffer_data(&p->log) : "");
    buffer_clear(&p->log);
    return at;
}
