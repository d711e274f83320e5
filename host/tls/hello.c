/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Raw client bytes come in, the few facts of a ClientHello that we decide by go out. Two passes: the records are walked until they
 * hold the whole message, then the message is read across record boundaries without a copy. The message itself is never altered,
 * never interpreted beyond these facts, and nothing here knows wolfSSL.
 */
#include "host/tls/hello.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "host/tls/hello_read.h"

#define RECORD_MAX 16384u

static int refuse(const char **fault, const char *text)
{
    *fault = text;
    return -SOTH_EINVALID;
}

/* ---- records --------------------------------------------------------------------------------------------------- */

struct walk {
    size_t bytes;   /* of the records passed */
    size_t records;
    size_t have;    /* bytes of the message in them */
    size_t need;    /* bytes of the whole message, 0 = not known yet */
    uint8_t header[HELLO_MESSAGE_HEADER];
};

static int check_record_header(const uint8_t *p, size_t n, const char **fault)
{
    if (n > 0 && p[0] != 22)
        return refuse(fault, "not a TLS handshake record");
    if (n > 1 && p[1] != 3)
        return refuse(fault, "record of an unknown TLS version");
    if (n < HELLO_RECORD_HEADER)
        return HELLO_MORE;
    if (hello_be16(p + 3) == 0 || hello_be16(p + 3) > RECORD_MAX)
        return refuse(fault, "record length out of range");
    return HELLO_DONE;
}

static int check_message_header(struct walk *w, const uint8_t *p, size_t n, const char **fault)
{
    for (size_t i = 0; i < n && w->have + i < HELLO_MESSAGE_HEADER; i++) {
        size_t at = w->have + i;
        w->header[at] = p[i];
        if (at == 0 && p[i] != 1)
            return refuse(fault, "the first message is not a ClientHello");
        if (at == HELLO_MESSAGE_HEADER - 1)
            w->need = HELLO_MESSAGE_HEADER + ((size_t)w->header[1] << 16 | hello_be16(w->header + 2));
    }
    return w->need > HELLO_MAX_BYTES ? -SOTH_ELIMIT : HELLO_DONE;
}

static int walk_records(struct walk *w, const uint8_t *p, size_t n, const char **fault)
{
    while (w->need == 0 || w->have < w->need) {
        const uint8_t *record = p + w->bytes;
        size_t left = n - w->bytes;
        int r = check_record_header(record, left, fault);
        if (r != HELLO_DONE)
            return r;
        size_t length = hello_be16(record + 3);
        if (w->bytes + HELLO_RECORD_HEADER + length > HELLO_MAX_BYTES)
            return -SOTH_ELIMIT;
        left -= HELLO_RECORD_HEADER;
        r = check_message_header(w, record + HELLO_RECORD_HEADER, left < length ? left : length, fault);
        if (r != HELLO_DONE)
            return r;
        if (w->need > 0 && w->have + length > w->need)
            return refuse(fault, "more bytes than the hello in its last record");
        if (left < length)
            return HELLO_MORE;
        w->have += length;
        w->bytes += HELLO_RECORD_HEADER + length;
        w->records++;
    }
    return HELLO_DONE;
}

/* ---- the message ----------------------------------------------------------------------------------------------- */

static bool read_name(struct hello_reader *r, struct hello *out)
{
    size_t label = 0, n = r->left;
    if (n == 0 || n > HELLO_MAX_NAME || !hello_read_bytes(r, out->sni, n))
        return false;
    if (out->sni[n - 1] == '.')
        n--;
    if (n == HELLO_MAX_NAME)
        return false;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)out->sni[i];
        if (c == '.') {
            if (label == 0)
                return false;
            label = 0;
        } else if (c >= 0x80 || !(isalnum(c) || c == '-' || c == '_') || ++label > 63) {
            return false;
        }
        out->sni[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    }
    out->sni[n] = '\0';
    out->sni_len = n;
    return label > 0;
}

static void read_server_name(struct hello_reader *r, struct hello *out)
{
    size_t outer = hello_enter(r, 2);
    if (r->left == 0 && !r->fault)
        r->fault = "empty server name list";
    while (r->left > 0 && !r->fault) {
        size_t type = hello_read_number(r, 1);
        size_t list = hello_enter(r, 2);
        if (type != 0)
            hello_read_bytes(r, NULL, r->left);
        else if (out->sni_len > 0)
            r->fault = "two server names";
        else if (!read_name(r, out) && !r->fault)
            r->fault = "the server name is not a host name";
        hello_leave(r, list, "the server name is not a host name");
    }
    hello_leave(r, outer, "bytes after the server name list");
}

static void keep_protocol(struct hello *out, const uint8_t *name, size_t n)
{
    static const char hex[] = "0123456789ABCDEF";
    char text[3 * 255 + 1];
    size_t len = 0, have = strlen(out->alpn_text);
    for (size_t i = 0; i < n; i++) {
        if (name[i] > 0x20 && name[i] < 0x7f && name[i] != ',' && name[i] != '%') {
            text[len++] = (char)name[i];
        } else {
            text[len++] = '%';
            text[len++] = hex[name[i] >> 4];
            text[len++] = hex[name[i] & 15];
        }
    }
    if (out->alpn_len + 1 + n <= sizeof out->alpn) {
        out->alpn[out->alpn_len] = (uint8_t)n;
        memcpy(out->alpn + out->alpn_len + 1, name, n);
        out->alpn_len += 1 + n;
    }
    if (have + (have > 0) + len < sizeof out->alpn_text) {
        if (have > 0)
            out->alpn_text[have++] = ',';
        memcpy(out->alpn_text + have, text, len);
        out->alpn_text[have + len] = '\0';
    }
}

static void read_alpn(struct hello_reader *r, struct hello *out)
{
    uint8_t name[255];
    size_t outer = hello_enter(r, 2);
    if (r->left == 0 && !r->fault)
        r->fault = "empty protocol list";
    while (r->left > 0 && !r->fault) {
        size_t n = hello_read_number(r, 1);
        if (n == 0 && !r->fault)
            r->fault = "empty protocol name";
        if (hello_read_bytes(r, name, n))
            keep_protocol(out, name, n);
    }
    hello_leave(r, outer, "bytes after the protocol list");
}

static void read_versions(struct hello_reader *r, struct hello *out)
{
    uint16_t max = 0;
    size_t outer = hello_enter(r, 1);
    while (r->left > 0 && !r->fault) {
        uint16_t version = (uint16_t)hello_read_number(r, 2);
        if (version >= 0x0300 && version <= 0x0304 && version > max) /* the rest is GREASE or drafts */
            max = version;
    }
    hello_leave(r, outer, "bytes after the version list");
    out->max_version = max;
}

static void read_extension(struct hello_reader *r, size_t type, struct hello *out)
{
    switch (type) {
    case HELLO_EXT_SERVER_NAME:
        read_server_name(r, out);
        break;
    case HELLO_EXT_ALPN:
        read_alpn(r, out);
        break;
    case HELLO_EXT_SUPPORTED_VERSIONS:
        read_versions(r, out);
        break;
    case HELLO_EXT_SESSION_TICKET:
    case HELLO_EXT_PRE_SHARED_KEY:
        out->has_tickets |= r->left > 0;
        hello_read_bytes(r, NULL, r->left);
        break;
    default:
        hello_read_bytes(r, NULL, r->left);
    }
}

static void read_extensions(struct hello_reader *r, struct hello *out)
{
    uint8_t seen[65536 / 8] = {0};
    size_t outer = hello_enter(r, 2);
    while (r->left > 0 && !r->fault) {
        size_t type = hello_read_number(r, 2);
        size_t list = hello_enter(r, 2);
        if (seen[type / 8] & 1u << type % 8 && !r->fault)
            r->fault = "an extension comes twice";
        seen[type / 8] = (uint8_t)(seen[type / 8] | 1u << type % 8);
        if (!r->fault)
            read_extension(r, type, out);
        hello_leave(r, list, "an extension has bytes left over");
    }
    hello_leave(r, outer, "bytes after the extensions");
}

static void skip_vector(struct hello_reader *r, size_t length_bytes, size_t min, size_t max, size_t multiple)
{
    size_t outer = hello_enter(r, length_bytes);
    if (!r->fault && (r->left < min || r->left > max || r->left % multiple))
        r->fault = "a list in the hello has an impossible length";
    hello_read_bytes(r, NULL, r->left);
    hello_leave(r, outer, "");
}

static void read_message(struct hello_reader *r, struct hello *out)
{
    hello_read_bytes(r, NULL, HELLO_MESSAGE_HEADER);
    size_t version = hello_read_number(r, 2);
    if (!r->fault && version >> 8 != 3)
        r->fault = "hello of an unknown TLS version";
    out->max_version = (uint16_t)(version > 0x0303 ? 0x0303 : version);
    hello_read_bytes(r, NULL, 32);           /* random */
    skip_vector(r, 1, 0, 32, 1);       /* session id */
    skip_vector(r, 2, 2, 65534, 2);    /* cipher suites */
    skip_vector(r, 1, 1, 255, 1);      /* compression methods */
    if (r->left > 0 && !r->fault)
        read_extensions(r, out);
    if (r->left > 0 && !r->fault)
        r->fault = "bytes after the extensions";
}

int hello_parse(const uint8_t *p, size_t n, struct hello *out, const char **fault)
{
    struct walk w = {0};
    *fault = NULL;
    int r = walk_records(&w, p, n, fault);
    if (r == -SOTH_ELIMIT)
        *fault = "the hello is longer than 65536 bytes";
    if (r != HELLO_DONE)
        return r;
    memset(out, 0, sizeof *out);
    struct hello_reader reader = {.p = p, .left = w.need};
    read_message(&reader, out);
    if (reader.fault)
        return refuse(fault, reader.fault);
    out->bytes = w.bytes;
    out->records = w.records;
    return HELLO_DONE;
}

int hello_rerecord(const uint8_t *p, size_t n, struct buffer *out)
{
    struct hello_reader reader = {.p = p, .left = hello_message_size(p, n)};
    while (reader.left > 0) {
        size_t part = reader.left < RECORD_MAX ? reader.left : RECORD_MAX;
        if (buffer_reserve(out, HELLO_RECORD_HEADER + part) < 0)
            return -SOTH_ENOMEM;
        uint8_t *to = out->p + out->len;
        memcpy(to, p, 3);
        to[3] = (uint8_t)(part >> 8);
        to[4] = (uint8_t)part;
        hello_read_bytes(&reader, to + HELLO_RECORD_HEADER, part);
        buffer_commit(out, HELLO_RECORD_HEADER + part);
    }
    return SOTH_OK;
}
