/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What llhttp and nghttp2 let through and a proxy must not: one reading of where a message ends, for whoever reads it next, whichever
 * HTTP it came with. Requests are refused, never repaired. Pure; the table of vectors is docs/testing/smuggling.md.
 */
#include <string.h>
#include <strings.h>

#include "host/http/head.h"
#include "host/http/line.h"

#define MAX_CONNECTION_OPTIONS 32 /* each is compared with each field when a head goes out */

struct framing_fields {
    unsigned length_count, coding_count, host_count;
    struct soth_span length, coding;
};

static void count_framing(const struct message *msg, struct framing_fields *out)
{
    memset(out, 0, sizeof *out);
    for (uint32_t i = 0; i < msg->field_count; i++) {
        switch (msg->ids[i]) {
        case FIELD_CONTENT_LENGTH:
            out->length_count++;
            out->length = msg->fields[i].value;
            break;
        case FIELD_TRANSFER_ENCODING:
            out->coding_count++;
            out->coding = msg->fields[i].value;
            break;
        case FIELD_HOST:
            out->host_count++;
            break;
        default:
            break;
        }
    }
}

static bool parse_length(struct soth_span text, uint64_t *out)
{
    uint64_t value = 0;
    if (text.n == 0)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        unsigned digit = (unsigned char)text.p[i] - (unsigned)'0';
        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

struct connection_options {
    bool close, keep_alive, upgrade, names_fields;
    unsigned count;
};

static bool is(struct soth_span token, const char *text, size_t n)
{
    return token.n == n && strncasecmp(token.p, text, n) == 0;
}

static void note_option(struct connection_options *out, struct soth_span token)
{
    out->count++;
    if (is(token, "close", 5))
        out->close = true;
    else if (is(token, "keep-alive", 10))
        out->keep_alive = true;
    else if (is(token, "upgrade", 7))
        out->upgrade = true;
    else if (!is(token, "te", 2))
        out->names_fields = true;
}

static void connection_options(const struct message *msg, struct connection_options *out)
{
    *out = (struct connection_options){.count = 0};
    for (uint32_t i = 0; i < msg->field_count; i++) {
        struct soth_span rest = msg->fields[i].value, token;
        while (msg->ids[i] == FIELD_CONNECTION && message_list_next(&rest, &token))
            note_option(out, token);
    }
}

static int refuse(const char **fault, const char *class)
{
    *fault = class;
    return -SOTH_EINVALID;
}

/* RFC 9112 6: exactly one of the ways to say how long a body is, in exactly one spelling. */
static int body_framing(struct message *msg, const struct framing_fields *f, const char **fault)
{
    if (f->coding_count && f->length_count)
        return refuse(fault, "te_and_cl");
    if (f->coding_count > 1)
        return refuse(fault, "transfer_encoding");
    if (f->length_count > 1)
        return refuse(fault, "content_length");
    if (f->coding_count) {
        if (msg->minor == 0)
            return refuse(fault, "te_in_http10");
        if (f->coding.n != 7 || !message_list_has(f->coding, "chunked"))
            return refuse(fault, "transfer_encoding");
        msg->framing = FRAMING_CHUNKED;
    } else if (f->length_count) {
        if (!parse_length(f->length, &msg->content_length))
            return refuse(fault, "content_length");
        msg->has_declared_length = true;
        msg->declared_length = msg->content_length;
        msg->framing = msg->content_length ? FRAMING_LENGTH : FRAMING_NONE;
    }
    return SOTH_OK;
}

static int persistence(struct message *msg, bool *upgrade, const char **fault)
{
    struct connection_options options;
    connection_options(msg, &options);
    if (options.count > MAX_CONNECTION_OPTIONS)
        return refuse(fault, "connection_options");
    msg->keep_alive = !options.close && (msg->minor == 1 || options.keep_alive);
    msg->connection_names = options.names_fields;
    *upgrade = options.upgrade;
    if (msg->is_request && msg->minor == 0 && !options.close) {
        struct soth_span proxy = message_field(msg, "proxy-connection", 0);
        if (proxy.p && message_list_has(proxy, "keep-alive"))
            msg->keep_alive = true;
    }
    return SOTH_OK;
}

/* scheme "://": what comes behind is judged by whoever looks for a target there. */
static bool is_absolute(struct soth_span t)
{
    size_t at = 0;
    while (at < t.n && ((t.p[at] | 0x20) >= 'a' && (t.p[at] | 0x20) <= 'z'))
        at++;
    return at > 0 && t.n > at + 3 && memcmp(t.p + at, "://", 3) == 0;
}

static int request_target(const struct message *msg, const char **fault)
{
    struct soth_span t = msg->target;
    bool fits = t.p[0] == '/' || soth_span_is(msg->method, "CONNECT") ||
                (t.p[0] == '*' ? t.n == 1 && soth_span_is(msg->method, "OPTIONS") : is_absolute(t));
    return fits ? SOTH_OK : refuse(fault, "invalid_target");
}

/* uri-host [":" port] (RFC 9110 7.2), no more than its characters: which host it is, the flow asks. */
static bool host_is_possible(struct soth_span host)
{
    size_t at = 0, digits = 0;
    if (host.n > 0 && host.p[0] == '[') {
        while (at < host.n && host.p[at] != ']')
            at++;
        if (at++ == host.n)
            return false;
    }
    for (; at < host.n && host.p[at] != ':'; at++) {
        unsigned char c = (unsigned char)host.p[at];
        if (!((c | 0x20) >= 'a' && (c | 0x20) <= 'z') && !(c >= '0' && c <= '9') && !(c && strchr("-._~%!$&'()*+;=", c)))
            return false;
    }
    if (at == host.n)
        return true;
    while (++at < host.n && digits < 5 && host.p[at] >= '0' && host.p[at] <= '9')
        digits++;
    return at == host.n;
}

static bool names_no_host(const struct message *msg, struct soth_span host)
{
    return !host_is_possible(host) || (host.n == 0 && msg->target.p[0] == '/');
}

static int request_host(const struct message *msg, unsigned count, const char **fault)
{
    if (count > 1)
        return refuse(fault, "duplicate_host");
    if (count == 0 && !msg->authority.p)
        return msg->minor == 1 ? refuse(fault, "missing_host") : SOTH_OK;
    if ((count && names_no_host(msg, msg->host)) || (msg->authority.p && names_no_host(msg, msg->authority)))
        return refuse(fault, "invalid_host");
    return SOTH_OK;
}

static void note_expectation(struct message *msg)
{
    struct soth_span expect = message_field(msg, "expect", 0);
    msg->expect_continue = msg->minor == 1 && expect.p && message_list_has(expect, "100-continue");
}

int guard_request(struct message *msg, const char **fault)
{
    struct framing_fields f;
    bool upgrade;
    count_framing(msg, &f);
    if (request_target(msg, fault) < 0 || request_host(msg, f.host_count, fault) < 0)
        return -SOTH_EINVALID;
    if (soth_span_is(msg->method, "CONNECT") && (f.coding_count || f.length_count))
        return refuse(fault, "connect_with_body");
    if (body_framing(msg, &f, fault) < 0 || persistence(msg, &upgrade, fault) < 0)
        return -SOTH_EINVALID;
    note_expectation(msg);
    /* h2c is never relayed: who speaks it would leave our sight */
    msg->wants_upgrade = msg->minor == 1 && upgrade && msg->upgrade.n > 0 && !message_list_has(msg->upgrade, "h2c");
    return SOTH_OK;
}

int guard_response(struct message *msg, bool answers_head, const char **fault)
{
    struct framing_fields f;
    bool upgrade;
    count_framing(msg, &f);
    if (body_framing(msg, &f, fault) < 0 || persistence(msg, &upgrade, fault) < 0)
        return -SOTH_EINVALID;
    if (msg->status < 200 && f.coding_count)
        return refuse(fault, "transfer_encoding");
    msg->wants_upgrade = msg->status == 101 && upgrade && msg->upgrade.n > 0;
    if (answers_head || msg->status < 200 || msg->status == 204 || msg->status == 304) {
        msg->framing = FRAMING_NONE;
        msg->content_length = 0;
    } else if (!f.coding_count && !f.length_count) {
        msg->framing = FRAMING_UNTIL_CLOSE;
        msg->keep_alive = false;
    }
    return SOTH_OK;
}

int guard_trailers(const struct message *msg, const char **fault)
{
    for (uint32_t i = 0; i < msg->field_count; i++)
        if (msg->ids[i] == FIELD_CONTENT_LENGTH || msg->ids[i] == FIELD_TRANSFER_ENCODING)
            return refuse(fault, "framing_in_trailers");
    return SOTH_OK;
}

/* ---- HTTP/2: the same questions, and those that its own syntax asks (RFC 9113 8.2, 8.3) ---- */

int guard_h2_field(struct soth_span name, struct soth_span value, const char **fault)
{
    if (name.n == 0)
        return refuse(fault, "empty_field_name");
    for (size_t i = 0; i < name.n; i++)
        if (!line_is_token((unsigned char)name.p[i]) || (name.p[i] >= 'A' && name.p[i] <= 'Z'))
            return refuse(fault, "invalid_field_name");
    const char *bad = value.n ? line_bad_byte(value.p, value.n) : NULL;
    return bad ? refuse(fault, bad) : SOTH_OK;
}

/* Fields of an HTTP/1 connection have no place here; who relays them smuggles. */
static int no_connection_fields(const struct message *msg, const char **fault)
{
    for (uint32_t i = 0; i < msg->field_count; i++) {
        unsigned id = msg->ids[i];
        if (id == FIELD_TRANSFER_ENCODING)
            return refuse(fault, "transfer_encoding");
        if (id == FIELD_CONNECTION || id == FIELD_KEEP_ALIVE || id == FIELD_PROXY_CONNECTION || id == FIELD_UPGRADE)
            return refuse(fault, "connection_field");
        if (id == FIELD_TE && !is(msg->fields[i].value, "trailers", 8))
            return refuse(fault, "te");
    }
    return SOTH_OK;
}

/* A length or none; without one the frames tell. */
static int h2_framing(struct message *msg, const struct framing_fields *f, bool end, const char **fault)
{
    msg->keep_alive = true;
    if (body_framing(msg, f, fault) < 0)
        return -SOTH_EINVALID;
    if (end) {
        msg->framing = FRAMING_NONE;
        msg->content_length = 0;
    } else if (!f->length_count) {
        msg->framing = FRAMING_CHUNKED;
    }
    return SOTH_OK;
}

int guard_h2_request(struct message *msg, bool end, const char **fault)
{
    struct framing_fields f;
    bool tunnel = soth_span_is(msg->method, "CONNECT"), web = is(msg->scheme, "http", 4) || is(msg->scheme, "https", 5);
    count_framing(msg, &f);
    if (!line_is_method(msg->method))
        return refuse(fault, "invalid_method");
    if (msg->protocol.p ? !tunnel || !web : tunnel ? msg->scheme.p != NULL : !web)
        return refuse(fault, "invalid_scheme");
    if (!line_is_target(msg->target) || (tunnel ? msg->protocol.p && msg->target.p[0] != '/' : is_absolute(msg->target)))
        return refuse(fault, "invalid_target");
    if (no_connection_fields(msg, fault) < 0 || request_target(msg, fault) < 0 || request_host(msg, f.host_count, fault) < 0)
        return -SOTH_EINVALID;
    if (tunnel && f.length_count)
        return refuse(fault, "connect_with_body");
    note_expectation(msg);
    return h2_framing(msg, &f, end, fault);
}

int guard_h2_response(struct message *msg, bool end, const char **fault)
{
    struct framing_fields f;
    count_framing(msg, &f);
    if (msg->status < 100 || msg->status > 999)
        return refuse(fault, "invalid_status");
    bool never = msg->status == 204 || msg->status == 304; /* its end may come in a frame of its own */
    return no_connection_fields(msg, fault) < 0 ? -SOTH_EINVALID : h2_framing(msg, &f, end || never, fault);
}

int guard_h2_trailers(const struct message *msg, const char **fault)
{
    return no_connection_fields(msg, fault) < 0 ? -SOTH_EINVALID : guard_trailers(msg, fault);
}
