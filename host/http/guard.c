/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What llhttp lets through and a proxy must not: one reading of where a message ends, for whoever reads it next. Requests are refused,
 * never repaired. Pure; the table of vectors is docs/testing/smuggling.md.
 */
#include <stdlib.h>
#include <string.h>

#include "host/http/head.h"

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

static bool connection_has(const struct message *msg, const char *token)
{
    for (uint32_t i = 0; i < msg->field_count; i++)
        if (msg->ids[i] == FIELD_CONNECTION && message_list_has(msg->fields[i].value, token))
            return true;
    return false;
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

static void persistence(struct message *msg)
{
    bool close = connection_has(msg, "close");
    msg->keep_alive = msg->minor == 1 ? !close : !close && connection_has(msg, "keep-alive");
    if (msg->is_request && msg->minor == 0 && !close) {
        struct soth_span proxy = message_field(msg, "proxy-connection", 0);
        if (proxy.p && message_list_has(proxy, "keep-alive"))
            msg->keep_alive = true;
    }
}

static int request_target(const struct message *msg, const char **fault)
{
    struct soth_span t = msg->target;
    if (t.n == 0 || t.p[-1] != ' ' || t.p[-2] == ' ')
        return refuse(fault, "invalid_request_line");
    if (memchr(t.p, '#', t.n))
        return refuse(fault, "invalid_target");
    if (soth_span_is(t, "*") && !soth_span_is(msg->method, "OPTIONS"))
        return refuse(fault, "invalid_target");
    return SOTH_OK;
}

int guard_request(struct message *msg, const char **fault)
{
    struct framing_fields f;
    int r = request_target(msg, fault);
    if (r < 0)
        return r;
    count_framing(msg, &f);
    if (f.host_count > 1)
        return refuse(fault, "duplicate_host");
    if (f.host_count == 0 && msg->minor == 1)
        return refuse(fault, "missing_host");
    if (msg->host.p && (memchr(msg->host.p, ',', msg->host.n) || memchr(msg->host.p, '@', msg->host.n) ||
                        memchr(msg->host.p, '/', msg->host.n) || memchr(msg->host.p, ' ', msg->host.n)))
        return refuse(fault, "invalid_host");
    if (msg->host.p && msg->host.n == 0 && msg->target.p[0] == '/')
        return refuse(fault, "invalid_host");
    if (soth_span_is(msg->method, "CONNECT") && (f.coding_count || f.length_count))
        return refuse(fault, "connect_with_body");
    r = body_framing(msg, &f, fault);
    if (r < 0)
        return r;
    persistence(msg);
    struct soth_span expect = message_field(msg, "expect", 0);
    msg->expect_continue = msg->minor == 1 && expect.p && message_list_has(expect, "100-continue");
    /* h2c is never relayed: who speaks it would leave our sight */
    msg->wants_upgrade = msg->minor == 1 && msg->upgrade.n > 0 && connection_has(msg, "upgrade") && !message_list_has(msg->upgrade, "h2c");
    return SOTH_OK;
}

int guard_response(struct message *msg, bool answers_head, const char **fault)
{
    struct framing_fields f;
    count_framing(msg, &f);
    if (msg->status < 100 || msg->status > 999)
        return refuse(fault, "invalid_status");
    int r = body_framing(msg, &f, fault);
    if (r < 0)
        return r;
    persistence(msg);
    bool bodyless = answers_head || msg->status < 200 || msg->status == 204 || msg->status == 304;
    if (bodyless && msg->status < 200 && f.coding_count)
        return refuse(fault, "transfer_encoding");
    if (bodyless)
        msg->framing = FRAMING_NONE;
    else if (!f.coding_count && !f.length_count)
        msg->framing = FRAMING_UNTIL_CLOSE;
    if (bodyless)
        msg->content_length = 0;
    if (msg->framing == FRAMING_UNTIL_CLOSE)
        msg->keep_alive = false;
    return SOTH_OK;
}

int guard_trailers(const struct message *msg, const char **fault)
{
    for (uint32_t i = 0; i < msg->field_count; i++)
        if (msg->ids[i] == FIELD_CONTENT_LENGTH || msg->ids[i] == FIELD_TRANSFER_ENCODING)
            return refuse(fault, "framing_in_trailers");
    return SOTH_OK;
}

/* ---- why was it refused? ---- */

struct line {
    const char *p;
    size_t n; /* without CRLF */
};

static bool next_line(const char **at, const char *end, struct line *line)
{
    const char *lf = *at < end ? memchr(*at, '\n', (size_t)(end - *at)) : NULL;
    if (!lf)
        return false;
    line->p = *at;
    line->n = (size_t)(lf - *at);
    if (line->n && line->p[line->n - 1] == '\r')
        line->n--;
    *at = lf + 1;
    return true;
}

static const char *explain_value(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c == '\r')
            return "bare_cr";
        if (c == 0)
            return "nul";
        if ((c < 32 && c != '\t') || c == 127)
            return "control_character";
    }
    return NULL;
}

static const char *explain_field(const struct line *line)
{
    if (line->p[0] == ' ' || line->p[0] == '\t')
        return "obs_fold";
    const char *colon = memchr(line->p, ':', line->n);
    if (!colon)
        return "missing_colon";
    if (colon == line->p)
        return "empty_field_name";
    if (colon[-1] == ' ' || colon[-1] == '\t')
        return "space_before_colon";
    for (const char *c = line->p; c < colon; c++)
        if (!guard_token_char((unsigned char)*c))
            return *c == 0 ? "nul" : *c == '\r' ? "bare_cr" : "invalid_field_name";
    return explain_value(colon + 1, line->n - (size_t)(colon + 1 - line->p));
}

static const char *explain_start(enum head_kind kind, const struct line *line)
{
    const char *words = kind == HEAD_REQUEST ? "invalid_request_line" : "invalid_status_line";
    const char *value = explain_value(line->p, line->n);
    if (value)
        return value;
    const char *version = line->n > 8 ? line->p + line->n - 8 : NULL;
    if (kind == HEAD_REQUEST && version && memcmp(version, "HTTP/", 5) == 0 && memcmp(version, "HTTP/1.1", 8) != 0 &&
        memcmp(version, "HTTP/1.0", 8) != 0)
        return "http_version";
    return words;
}

static bool is_name(const struct line *line, const char *name)
{
    size_t n = strlen(name);
    return line->n > n && line->p[n] == ':' && message_list_has((struct soth_span){line->p, n}, name);
}

const char *guard_explain(enum head_kind kind, const char *p, size_t n)
{
    const char *at = p, *end = p + n, *found;
    struct line line;
    unsigned lengths = 0, codings = 0;
    if (kind != HEAD_TRAILERS && !next_line(&at, end, &line))
        return "invalid_head";
    struct line start = kind != HEAD_TRAILERS ? line : (struct line){p, 0};
    while (next_line(&at, end, &line) && line.n > 0) {
        if ((found = explain_field(&line)))
            return found;
        lengths += is_name(&line, "content-length");
        codings += is_name(&line, "transfer-encoding");
    }
    if (kind == HEAD_TRAILERS && (lengths || codings))
        return "framing_in_trailers";
    if (lengths && codings)
        return "te_and_cl";
    if (kind != HEAD_TRAILERS && (found = explain_start(kind, &start)) && !lengths && !codings)
        return found;
    return codings ? "transfer_encoding" : lengths ? "content_length" : "invalid_head";
}

/* ---- lenient responses ---- */

struct repair {
    char *out;
    size_t n;
    char length[24]; /* the first Content-Length */
    size_t length_size;
};

/* One unfolded line: the space before the colon goes, a second identical Content-Length goes. */
static void repair_line(struct repair *r, const char *p, size_t n, bool first)
{
    const char *colon = first ? NULL : memchr(p, ':', n);
    size_t name = colon ? (size_t)(colon - p) : 0;
    while (name && (p[name - 1] == ' ' || p[name - 1] == '\t'))
        name--;
    if (colon && name == 14 && message_list_has((struct soth_span){p, name}, "content-length")) {
        const char *value = colon + 1;
        while (value < p + n && (*value == ' ' || *value == '\t'))
            value++;
        size_t size = (size_t)(p + n - value);
        if (size > 0 && size == r->length_size && memcmp(value, r->length, size) == 0)
            return;
        if (size <= sizeof r->length && r->length_size == 0) {
            memcpy(r->length, value, size);
            r->length_size = size;
        }
    }
    if (colon) {
        memcpy(r->out + r->n, p, name);
        r->n += name;
        n -= (size_t)(colon - p);
        p = colon;
    }
    memcpy(r->out + r->n, p, n);
    r->n += n;
    memcpy(r->out + r->n, "\r\n", 2);
    r->n += 2;
}

char *guard_repair(const char *p, size_t *size)
{
    struct repair r = {.out = malloc(*size * 2 + 4)};
    char *unfolded = malloc(*size + 1);
    const char *at = p, *end = p + *size;
    struct line line;
    size_t have = 0;
    bool first = true, open = false;
    if (!r.out || !unfolded) {
        free(r.out);
        free(unfolded);
        return NULL;
    }
    while (next_line(&at, end, &line)) {
        bool fold = line.n > 0 && (line.p[0] == ' ' || line.p[0] == '\t') && open && !first;
        if (open && !fold) {
            repair_line(&r, unfolded, have, first);
            first = false;
            have = 0;
        }
        if (line.n == 0)
            break;
        if (fold) {
            while (line.n && (line.p[0] == ' ' || line.p[0] == '\t'))
                line.p++, line.n--;
            unfolded[have++] = ' ';
        }
        memcpy(unfolded + have, line.p, line.n);
        have += line.n;
        open = true;
    }
    memcpy(r.out + r.n, "\r\n", 2);
    *size = r.n + 2;
    free(unfolded);
    return r.out;
}
