/* SPDX-License-Identifier: MPL-2.0 */
/*
 * An HTTP message head as every codec reports it (RFC 9110). Spans are borrowed from the codec and valid until its next
 * take. Fields keep their order and their case; what has a name in field.def also has its number in `ids`.
 */
#ifndef HOST_HTTP_MESSAGE_H
#define HOST_HTTP_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include <soth/sdk.h>

enum field_id {
    FIELD_OTHER,
#define FIELD(NAME, text) FIELD_##NAME,
#include "host/http/field.def" /* HOST CONNECTION CONTENT_LENGTH TRANSFER_ENCODING TE TRAILER UPGRADE EXPECT KEEP_ALIVE PROXY_* ... */
#undef FIELD
};

/* How the end of the body is known (RFC 9112 6.3). */
enum framing { FRAMING_NONE, FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_UNTIL_CLOSE };

struct message {
    bool is_request;
    bool keep_alive;      /* the sender will take another message on this connection */
    bool expect_continue; /* Expect: 100-continue (requests, HTTP/1.1) */
    bool wants_upgrade;   /* Connection: upgrade together with Upgrade */
    bool connection_names; /* Connection names fields, not only close, keep-alive, upgrade, te */
    bool http2;           /* came over HTTP/2 (h2.h says what is different) */
    uint8_t minor;        /* HTTP/1.minor: 0 or 1; 1 over HTTP/2 */
    uint16_t status;      /* responses */
    enum framing framing;
    uint64_t content_length; /* with FRAMING_LENGTH; for HEAD and 304 replies `declared_length` has what the field said */
    bool has_declared_length;
    uint64_t declared_length;
    struct soth_span method; /* requests: any token */
    struct soth_span target; /* requests: as sent */
    struct soth_span reason; /* responses: may be empty */
    struct soth_span host;   /* requests: value of Host, p == NULL when absent */
    struct soth_span content_type, content_encoding;
    struct soth_span upgrade; /* value of Upgrade */
    struct soth_span scheme, authority, protocol; /* requests over HTTP/2: :scheme, :authority, :protocol; p == NULL when absent */
    const struct soth_field *fields;
    const uint8_t *ids; /* enum field_id of each field */
    uint32_t field_count;
    uint32_t head_bytes; /* as read from the wire */
};

/* A value without the white space around it. */
static inline struct soth_span message_trimmed(struct soth_span value)
{
    while (value.n && (value.p[0] == ' ' || value.p[0] == '\t')) {
        value.p++;
        value.n--;
    }
    while (value.n && (value.p[value.n - 1] == ' ' || value.p[value.n - 1] == '\t'))
        value.n--;
    return value;
}

/* Case-insensitive look-up of the nth field of that name; p == NULL when there is none. */
struct soth_span message_field(const struct message *msg, const char *name, unsigned nth);
enum field_id message_field_id(struct soth_span name);
/* Takes the next token off a comma-separated list (empty ones are passed over); false at its end. */
bool message_list_next(struct soth_span *rest, struct soth_span *token);
/* True when the field's comma-separated list has the token, compared without case (RFC 9110 5.6.1). */
bool message_list_has(struct soth_span value, const char *token);

#endif
