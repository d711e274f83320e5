/* SPDX-License-Identifier: MPL-2.0 */
/* See rewrite.h. */
#include "host/http/rewrite.h"

#include <string.h>
#include <strings.h>

static void field(struct buffer *out, struct soth_span name, struct soth_span value)
{
    buffer_append(out, name.p, name.n);
    buffer_append(out, ": ", 2);
    buffer_append(out, value.p, value.n);
    buffer_append(out, "\r\n", 2);
}

/* Does some Connection field name this one? Framing, routing and content fields are end-to-end whatever it says. */
static bool named_by_connection(const struct message *msg, const struct soth_field *f)
{
    char name[64];
    if (f->name.n >= sizeof name || f->name.n == 0)
        return false;
    memcpy(name, f->name.p, f->name.n);
    name[f->name.n] = 0;
    if (strncasecmp(name, "content-", 8) == 0)
        return false;
    for (uint32_t i = 0; i < msg->field_count; i++)
        if (msg->ids[i] == FIELD_CONNECTION && message_list_has(msg->fields[i].value, name))
            return true;
    return false;
}

static bool has_connection(const struct message *msg)
{
    for (uint32_t i = 0; i < msg->field_count; i++)
        if (msg->ids[i] == FIELD_CONNECTION)
            return true;
    return false;
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

static bool accepts_trailers(const struct message *msg)
{
    for (uint32_t i = 0; i < msg->field_count; i++)
        if (msg->ids[i] == FIELD_TE && message_list_has(msg->fields[i].value, "trailers"))
            return true;
    return false;
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

int rewrite_request_head(struct buffer *out, const struct message *msg, const struct rewrite_request *how)
{
    static const struct soth_span host = {"Host", 4};
    bool connection = has_connection(msg), host_written = false;
    buffer_append(out, msg->method.p, msg->method.n);
    buffer_append(out, " ", 1);
    buffer_append(out, how->target.p, how->target.n);
    buffer_append_text(out, " HTTP/1.1\r\n");
    if (how->host.p && msg->host.p == NULL) {
        field(out, host, how->host);
        host_written = true;
    }
    for (uint32_t i = 0; i < msg->field_count; i++) {
        const struct soth_field *f = &msg->fields[i];
        unsigned id = msg->ids[i];
        if (id == FIELD_HOST) {
            if (!host_written)
                field(out, f->name, how->host.p ? how->host : f->value);
            host_written = true;
            continue;
        }
        if (is_hop_field(id))
            continue;
        if (connection && id != FIELD_TRANSFER_ENCODING && id != FIELD_EXPECT && id != FIELD_TRAILER && named_by_connection(msg, f))
            continue;
        field(out, f->name, f->value);
    }
    connection_fields(out, how->keep_upgrade && msg->wants_upgrade, msg->upgrade, accepts_trailers(msg));
    return done(out);
}

void rewrite_plan_response(const struct message *msg, struct rewrite_response *how)
{
    switch (msg->framing) {
    case FRAMING_CHUNKED:
        how->framing = how->client_minor == 0 ? REWRITE_UNTIL_CLOSE : REWRITE_CHUNKED;
        break;
    case FRAMING_LENGTH:
        how->framing = REWRITE_LENGTH;
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

static bool response_field_goes(const struct message *msg, uint32_t i, const struct rewrite_response *how, bool connection)
{
    unsigned id = msg->ids[i];
    if (is_hop_field(id))
        return false;
    if (id == FIELD_TRANSFER_ENCODING)
        return how->framing == REWRITE_CHUNKED || (how->no_body && how->client_minor == 1);
    return !(connection && named_by_connection(msg, &msg->fields[i]));
}

int rewrite_response_head(struct buffer *out, const struct message *msg, const struct rewrite_response *how)
{
    bool connection = has_connection(msg);
    buffer_append_text(out, "HTTP/1.1 ");
    buffer_append_number(out, msg->status);
    buffer_append(out, " ", 1);
    buffer_append(out, msg->reason.p, msg->reason.n);
    buffer_append(out, "\r\n", 2);
    for (uint32_t i = 0; i < msg->field_count; i++)
        if (response_field_goes(msg, i, how, connection))
            field(out, msg->fields[i].name, msg->fields[i].value);
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
static bool may_be_trailer(const struct soth_field *f)
{
    static const char *const never[] = {
        "host", "authorization", "proxy-authorization", "www-authenticate", "proxy-authenticate", "set-cookie", "cookie", "connection",
        "keep-alive", "te", "trailer", "transfer-encoding", "content-length", "content-type", "content-encoding", "content-range",
        "cache-control", "expect", "max-forwards", "pragma", "range", "if-match", "if-none-match", "if-modified-since",
        "if-unmodified-since", "if-range", "age", "date", "expires", "location", "retry-after", "vary", "warning", "upgrade",
    };
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (strlen(never[i]) == f->name.n && strncasecmp(never[i], f->name.p, f->name.n) == 0)
            return false;
    return true;
}

int rewrite_last_chunk(struct buffer *out, const struct message *trailers)
{
    buffer_append(out, "0\r\n", 3);
    for (uint32_t i = 0; trailers && i < trailers->field_count; i++)
        if (may_be_trailer(&trailers->fields[i]))
            field(out, trailers->fields[i].name, trailers->fields[i].value);
    return done(out);
}
