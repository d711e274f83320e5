/* SPDX-License-Identifier: MPL-2.0 */
/* See rewrite.h. */
#include "host/http/rewrite.h"

#include <string.h>
#include <strings.h>

/* "Name: value" CRLF in one step: this runs for each field of each message. */
static void field(struct buffer *out, struct soth_span name, struct soth_span value)
{
    if (name.n > SIZE_MAX / 2 || value.n > SIZE_MAX / 2 || buffer_reserve(out, name.n + value.n + 4) < 0) {
        out->failed = true;
        return;
    }
    uint8_t *p = out->p + out->len;
    memcpy(p, name.p, name.n);
    memcpy(p + name.n, ": ", 2);
    if (value.n)
        memcpy(p + name.n + 2, value.p, value.n);
    memcpy(p + name.n + 2 + value.n, "\r\n", 2);
    buffer_commit(out, name.n + value.n + 4);
}

static void number_field(struct buffer *out, struct soth_span name, uint64_t value)
{
    buffer_append(out, name.p, name.n);
    buffer_append(out, ": ", 2);
    buffer_append_number(out, value);
    buffer_append(out, "\r\n", 2);
}

static bool has_prefix(struct soth_span name, const char *prefix, size_t n)
{
    return name.n > n && (name.p[0] | 0x20) == prefix[0] && strncasecmp(name.p, prefix, n) == 0;
}

/* Does some Connection field name this one? Framing, routing and content fields are end-to-end whatever it says. */
static bool named_by_connection(const struct message *msg, uint32_t which)
{
    struct soth_span name = msg->fields[which].name;
    unsigned id = msg->ids[which];
    if (!msg->connection_names || id == FIELD_HOST || id == FIELD_CONTENT_LENGTH || id == FIELD_TRANSFER_ENCODING || id == FIELD_EXPECT ||
        id == FIELD_TRAILER || has_prefix(name, "content-", 8))
        return false;
    for (uint32_t i = 0; i < msg->field_count; i++) {
        struct soth_span rest = msg->fields[i].value, token;
        while (msg->ids[i] == FIELD_CONNECTION && message_list_next(&rest, &token))
            if (token.n == name.n && strncasecmp(token.p, name.p, name.n) == 0)
                return true;
    }
    return false;
}

/* Framing fields in the one spelling that all agree on, others as they came. */
static void relayed_field(struct buffer *out, const struct message *msg, uint32_t i)
{
    static const struct soth_span chunked = {"chunked", 7};
    const struct soth_field *f = &msg->fields[i];
    if (msg->ids[i] == FIELD_CONTENT_LENGTH && msg->has_declared_length)
        number_field(out, f->name, msg->declared_length);
    else
        field(out, f->name, msg->ids[i] == FIELD_TRANSFER_ENCODING ? chunked : f->value);
}

/* Fields of the sender's own connection (RFC 9110 7.6.1). */
static bool is_hop_field(unsigned id)
{
    switch (id) {
    case FIELD_CONNECTION:
    case FIELD_KEEP_ALIVE:
    case FIELD_TE:
    case FIELD_UPGRADE:
    case FIELD_HTTP2_SETTINGS:
    case FIELD_PROXY_CONNECTION:
    case FIELD_PROXY_AUTHENTICATE:
    case FIELD_PROXY_AUTHORIZATION:
    case FIELD_PROXY_AUTHENTICATION_INFO:
        return true;
    default:
        return false;
    }
}

bool rewrite_accepts_trailers(const struct message *msg)
{
    for (uint32_t i = 0; i < msg->field_count; i++)
        if (msg->ids[i] == FIELD_TE && message_list_has(msg->fields[i].value, "trailers"))
            return true;
    return false;
}

bool rewrite_field_goes(const struct message *msg, uint32_t i)
{
    unsigned id = msg->ids[i];
    return !is_hop_field(id) && id != FIELD_TRANSFER_ENCODING && !(msg->is_request && has_prefix(msg->fields[i].name, "proxy-", 6)) &&
           !named_by_connection(msg, i);
}

static int done(struct buffer *out)
{
    buffer_append(out, "\r\n", 2);
    return out->failed ? -SOTH_ENOMEM : SOTH_OK;
}

static void connection_fields(struct buffer *out, bool upgrade, struct soth_span protocol, bool te)
{
    if (upgrade) {
        buffer_append_text(out, "Upgrade: ");
        buffer_append(out, protocol.p, protocol.n);
        buffer_append_text(out, te ? "\r\nTE: trailers\r\nConnection: Upgrade, TE\r\n" : "\r\nConnection: Upgrade\r\n");
    } else if (te) {
        buffer_append_text(out, "TE: trailers\r\nConnection: TE\r\n");
    }
}

static bool is_framing(unsigned id)
{
    return id == FIELD_CONTENT_LENGTH || id == FIELD_TRANSFER_ENCODING;
}

static bool request_field_goes(const struct message *msg, uint32_t i)
{
    return !is_hop_field(msg->ids[i]) && !has_prefix(msg->fields[i].name, "proxy-", 6) && !named_by_connection(msg, i);
}

static bool has_field(const struct message *msg, unsigned id)
{
    return msg->field_count && memchr(msg->ids, (int)id, msg->field_count);
}

int rewrite_request_head(struct buffer *out, const struct message *msg, const struct rewrite_request *how)
{
    static const struct soth_span host = {"Host", 4};
    buffer_append(out, msg->method.p, msg->method.n);
    buffer_append(out, " ", 1);
    buffer_append(out, how->target.p, how->target.n);
    buffer_append(out, " HTTP/1.1\r\n", 11);
    if (how->host.p && !has_field(msg, FIELD_HOST))
        field(out, host, how->host);
    for (uint32_t i = 0; i < msg->field_count; i++) {
        if (msg->ids[i] == FIELD_HOST)
            field(out, msg->fields[i].name, how->host.p ? how->host : msg->fields[i].value);
        else if (request_field_goes(msg, i) && !(how->reframe && is_framing(msg->ids[i])))
            relayed_field(out, msg, i);
    }
    if (how->reframe)
        buffer_append_text(out, "Transfer-Encoding: chunked\r\n");
    connection_fields(out, how->keep_upgrade && msg->wants_upgrade, msg->upgrade, rewrite_accepts_trailers(msg));
    return done(out);
}

void rewrite_plan_response(const struct message *msg, struct rewrite_response *how)
{
    switch (how->no_body ? FRAMING_NONE : msg->framing) {
    case FRAMING_CHUNKED:
        how->framing = how->client_minor == 0 ? REWRITE_UNTIL_CLOSE : REWRITE_CHUNKED;
        break;
    case FRAMING_LENGTH:
        how->framing = !how->reframe ? REWRITE_LENGTH : how->client_minor == 0 ? REWRITE_UNTIL_CLOSE : REWRITE_CHUNKED;
        break;
    case FRAMING_UNTIL_CLOSE:
        how->framing = REWRITE_UNTIL_CLOSE;
        break;
    default:
        how->framing = REWRITE_NONE;
        break;
    }
    if (how->framing == REWRITE_UNTIL_CLOSE)
        how->close = true;
    if (how->close)
        how->keep_alive_10 = false;
}

static bool response_field_goes(const struct message *msg, uint32_t i, const struct rewrite_response *how)
{
    unsigned id = msg->ids[i];
    if (is_hop_field(id) || (how->reframe && is_framing(id)))
        return false;
    if (id == FIELD_TRANSFER_ENCODING)
        return how->framing == REWRITE_CHUNKED || (how->no_body && how->client_minor == 1);
    if (id == FIELD_CONTENT_LENGTH) /* RFC 9110 8.6: not in these; who believed it would wait for a body */
        return msg->status >= 200 && msg->status != 204;
    return !named_by_connection(msg, i);
}

int rewrite_response_head(struct buffer *out, const struct message *msg, const struct rewrite_response *how)
{
    buffer_append(out, "HTTP/1.1 ", 9);
    buffer_append_number(out, msg->status);
    buffer_append(out, " ", 1);
    buffer_append(out, msg->reason.p, msg->reason.n);
    buffer_append(out, "\r\n", 2);
    for (uint32_t i = 0; i < msg->field_count; i++)
        if (response_field_goes(msg, i, how))
            relayed_field(out, msg, i);
    if (how->reframe && how->framing == REWRITE_CHUNKED)
        buffer_append_text(out, "Transfer-Encoding: chunked\r\n");
    if (how->keep_upgrade)
        connection_fields(out, true, msg->upgrade, false);
    else if (how->close)
        buffer_append_text(out, "Connection: close\r\n");
    else if (how->keep_alive_10)
        buffer_append_text(out, "Connection: keep-alive\r\n");
    return done(out);
}

int rewrite_chunk_begin(struct buffer *out, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    char text[18];
    size_t at = sizeof text;
    text[--at] = '\n';
    text[--at] = '\r';
    do {
        text[--at] = digits[n & 15];
        n >>= 4;
    } while (n);
    return buffer_append(out, text + at, sizeof text - at);
}

int rewrite_chunk_end(struct buffer *out)
{
    return buffer_append(out, "\r\n", 2);
}

/* RFC 9110 6.5.1: what would change how a message is framed, routed, authenticated or read is no trailer. */
bool rewrite_may_be_trailer(const struct soth_field *f)
{
    static const char *const never[] = {
        "host", "authorization", "www-authenticate", "set-cookie", "cookie", "connection",
        "keep-alive", "te", "trailer", "transfer-encoding", "content-length", "content-type", "content-encoding", "content-range",
        "cache-control", "expect", "max-forwards", "pragma", "range", "if-match", "if-none-match", "if-modified-since",
        "if-unmodified-since", "if-range", "age", "date", "expires", "location", "retry-after", "vary", "warning", "upgrade",
    };
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (strlen(never[i]) == f->name.n && strncasecmp(never[i], f->name.p, f->name.n) == 0)
            return false;
    return !has_prefix(f->name, "proxy-", 6);
}

int rewrite_last_chunk(struct buffer *out, const struct message *trailers)
{
    buffer_append(out, "0\r\n", 3);
    for (uint32_t i = 0; trailers && i < trailers->field_count; i++)
        if (rewrite_may_be_trailer(&trailers->fields[i]))
            field(out, trailers->fields[i].name, trailers->fields[i].value);
    return done(out);
}
