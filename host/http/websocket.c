/* SPDX-License-Identifier: MPL-2.0 */
/* See websocket.h. The digest is SHA-1 (RFC 3174) because RFC 6455 says so: it shows that a server has understood, and secures nothing. */
#include "host/http/websocket.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "host/http/edit.h"

/* ---- the digest ---- */

#define DIGEST 20u
#define BLOCK 64u

static uint32_t turned(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

static void digest_block(uint32_t h[5], const uint8_t block[BLOCK])
{
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (unsigned i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (unsigned i = 16; i < 80; i++)
        w[i] = turned(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (unsigned i = 0; i < 80; i++) {
        uint32_t f = i < 20 ? (b & c) | (~b & d) : i < 40 || i >= 60 ? b ^ c ^ d : (b & c) | (b & d) | (c & d);
        uint32_t k = i < 20 ? 0x5a827999 : i < 40 ? 0x6ed9eba1 : i < 60 ? 0x8f1bbcdc : 0xca62c1d6;
        uint32_t next = turned(a, 5) + f + e + k + w[i];
        e = d;
        d = c;
        c = turned(b, 30);
        b = a;
        a = next;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

/* Of two pieces, one after the other. */
static void digest(struct soth_span first, struct soth_span second, uint8_t out[DIGEST])
{
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t block[BLOCK];
    size_t n = first.n + second.n, padded = (n + 9 + BLOCK - 1) / BLOCK * BLOCK;
    for (size_t i = 0; i < padded; i++) {
        uint8_t byte = i < first.n ? (uint8_t)first.p[i] : i < n ? (uint8_t)second.p[i - first.n] : i == n ? 0x80 : 0;
        if (i >= padded - 8)
            byte = (uint8_t)((uint64_t)n * 8 >> 8 * (padded - 1 - i));
        block[i % BLOCK] = byte;
        if (i % BLOCK == BLOCK - 1)
            digest_block(h, block);
    }
    for (unsigned i = 0; i < DIGEST; i++)
        out[i] = (uint8_t)(h[i / 4] >> 8 * (3 - i % 4));
}

/* With NUL. */
static void base64(const uint8_t *p, size_t n, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t three = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0u);
        for (unsigned k = 0; k < 4; k++)
            *out++ = i + k > n ? '=' : digits[three >> (18 - 6 * k) & 63];
    }
    *out = 0;
}

void websocket_key(const uint8_t random[WEBSOCKET_RANDOM], char key[WEBSOCKET_KEY_SIZE])
{
    base64(random, WEBSOCKET_RANDOM, key);
}

void websocket_accept(struct soth_span key, char accept[WEBSOCKET_ACCEPT_SIZE])
{
    uint8_t sum[DIGEST];
    digest(key, soth_span("258EAFA5-E914-47DA-95CA-C5AB0DC85B11"), sum);
    base64(sum, DIGEST, accept);
}

/* ---- which it is ---- */

bool websocket_is_named(struct soth_span protocol)
{
    return protocol.n == 9 && strncasecmp(protocol.p, "websocket", 9) == 0;
}

bool websocket_is_asked(const struct message *msg)
{
    return msg->wants_upgrade && websocket_is_named(msg->upgrade) && soth_span_is(msg->method, "GET") && msg->framing == FRAMING_NONE &&
           message_field(msg, "sec-websocket-key", 0).p;
}

bool websocket_is_answer(const struct message *msg, const char *accept)
{
    struct soth_span said = message_field(msg, "sec-websocket-accept", 0);
    return msg->wants_upgrade && websocket_is_named(msg->upgrade) && said.p && soth_span_is(said, accept);
}

/* ---- from one form into the other ---- */

#define MORE_FIELDS 3u

struct draft {
    struct message msg;
    struct soth_field *fields;
    uint8_t *ids;
};

static void add(struct draft *draft, const char *name, struct soth_span value)
{
    uint32_t i = draft->msg.field_count++;
    draft->fields[i] = (struct soth_field){soth_span(name), value};
    draft->ids[i] = (uint8_t)message_field_id(draft->fields[i].name);
}

/* The same without a field of that name, and without a body. false: no memory. */
static bool begin(struct draft *draft, const struct message *msg, const char *without)
{
    size_t room = msg->field_count + MORE_FIELDS;
    *draft = (struct draft){.msg = *msg, .fields = malloc(room * sizeof *draft->fields), .ids = malloc(room)};
    if (!draft->fields || !draft->ids)
        return false;
    draft->msg.fields = draft->fields;
    draft->msg.ids = draft->ids;
    draft->msg.field_count = 0;
    draft->msg.framing = FRAMING_NONE;
    draft->msg.content_length = draft->msg.declared_length = 0;
    draft->msg.has_declared_length = false;
    for (uint32_t i = 0; i < msg->field_count; i++) {
        struct soth_span name = msg->fields[i].name;
        if (msg->ids[i] == FIELD_CONTENT_LENGTH || (name.n == strlen(without) && strncasecmp(name.p, without, name.n) == 0))
            continue;
        draft->fields[draft->msg.field_count] = msg->fields[i];
        draft->ids[draft->msg.field_count++] = msg->ids[i];
    }
    return true;
}

static struct message *end(struct draft *draft, bool done)
{
    struct message *copy = done ? message_copy(&draft->msg) : NULL;
    free(draft->fields);
    free(draft->ids);
    return copy;
}

static void add_upgrade(struct draft *draft)
{
    draft->msg.upgrade = soth_span("websocket");
    draft->msg.wants_upgrade = true;
    add(draft, "upgrade", draft->msg.upgrade);
    add(draft, "connection", soth_span("Upgrade"));
}

struct message *websocket_from_connect(const struct message *connect, const char *key)
{
    struct draft draft;
    if (!begin(&draft, connect, "sec-websocket-key"))
        return end(&draft, false);
    draft.msg.method = soth_span("GET");
    draft.msg.protocol = (struct soth_span){NULL, 0};
    add_upgrade(&draft);
    add(&draft, "sec-websocket-key", soth_span(key));
    return end(&draft, true);
}

struct message *websocket_to_connect(const struct message *get)
{
    struct draft draft;
    return end(&draft, begin(&draft, get, "sec-websocket-key"));
}

struct message *websocket_from_ok(const struct message *ok, const char *accept)
{
    struct draft draft;
    if (!begin(&draft, ok, "sec-websocket-accept"))
        return end(&draft, false);
    draft.msg.status = 101;
    draft.msg.reason = soth_span("Switching Protocols");
    add_upgrade(&draft);
    add(&draft, "sec-websocket-accept", soth_span(accept));
    return end(&draft, true);
}

struct message *websocket_to_ok(const struct message *switching)
{
    struct draft draft;
    if (!begin(&draft, switching, "sec-websocket-accept"))
        return end(&draft, false);
    draft.msg.status = 200;
    return end(&draft, true);
}
