/* SPDX-License-Identifier: MPL-2.0 */
/*
 * See pack.h. Behind the fixed part come the spans of struct message, then the fields with a byte for their number; every text has its length
 * in front, seven bits a byte, plus one: zero is an absent text. A text that is the same as the one before it (Host and :authority) is not
 * written again.
 */
#include "host/http/pack.h"

#include <stdlib.h>
#include <string.h>

#define TEXTS 10u
#define SAME 1u /* in front: the text before it. Lengths begin behind it */

struct pack {
    uint64_t content_length, declared_length;
    uint32_t head_bytes, size; /* of the text */
    uint16_t field_count, status;
    uint8_t framing, minor;
    bool is_request : 1, keep_alive : 1, expect_continue : 1, wants_upgrade : 1, connection_names : 1, http2 : 1, has_declared_length : 1;
    uint8_t text[];
};

/* The first four are the names of pack_names. */
static void texts_of(struct message *msg, struct soth_span *texts[TEXTS])
{
    struct soth_span *const all[TEXTS] = {&msg->method,       &msg->target,           &msg->host,    &msg->authority, &msg->scheme,
                                          &msg->content_type, &msg->content_encoding, &msg->upgrade, &msg->protocol,  &msg->reason};
    memcpy(texts, all, sizeof all);
}

/* ---- writing: `at` is NULL while it is only counted ---- */

static size_t put_number(uint8_t *at, size_t number)
{
    size_t n = 0;
    for (; number >= 0x80; number >>= 7, n++)
        if (at)
            at[n] = (uint8_t)(number | 0x80);
    if (at)
        at[n] = (uint8_t)number;
    return n + 1;
}

static size_t put_text(uint8_t *at, struct soth_span text)
{
    if (!text.p)
        return put_number(at, 0);
    size_t n = put_number(at, text.n + SAME + 1);
    if (at && text.n)
        memcpy(at + n, text.p, text.n);
    return n + text.n;
}

static size_t put_all(uint8_t *at, const struct message *msg)
{
    struct message m = *msg;
    struct soth_span *texts[TEXTS];
    size_t n = 0;
    texts_of(&m, texts);
    for (unsigned i = 0; i < TEXTS; i++) {
        bool same = i > 0 && texts[i]->p && texts[i - 1]->p && texts[i]->n == texts[i - 1]->n && memcmp(texts[i]->p, texts[i - 1]->p, texts[i]->n) == 0;
        n += same ? put_number(at ? at + n : NULL, SAME) : put_text(at ? at + n : NULL, *texts[i]);
    }
    for (uint32_t i = 0; i < msg->field_count; i++) {
        if (at)
            at[n] = msg->ids[i];
        n++;
        n += put_text(at ? at + n : NULL, msg->fields[i].name);
        n += put_text(at ? at + n : NULL, msg->fields[i].value);
    }
    return n;
}

struct pack *pack_make(const struct message *msg)
{
    const size_t size = put_all(NULL, msg);
    struct pack *pack = malloc(sizeof *pack + size);
    if (!pack)
        return NULL;
    *pack = (struct pack){
        .content_length = msg->content_length,
        .declared_length = msg->declared_length,
        .head_bytes = msg->head_bytes,
        .size = (uint32_t)size,
        .field_count = (uint16_t)msg->field_count,
        .status = msg->status,
        .framing = (uint8_t)msg->framing,
        .minor = msg->minor,
        .is_request = msg->is_request,
        .keep_alive = msg->keep_alive,
        .expect_continue = msg->expect_continue,
        .wants_upgrade = msg->wants_upgrade,
        .connection_names = msg->connection_names,
        .http2 = msg->http2,
        .has_declared_length = msg->has_declared_length,
    };
    put_all(pack->text, msg);
    return pack;
}

/* ---- reading ---- */

static const uint8_t *get_text(const uint8_t *at, struct soth_span before, struct soth_span *text)
{
    size_t number = 0;
    unsigned shift = 0;
    do
        number |= (size_t)(*at & 0x7f) << shift;
    while (shift += 7, *at++ & 0x80);
    *text = number == 0 ? (struct soth_span){NULL, 0} : number == SAME ? before : (struct soth_span){(const char *)at, number - SAME - 1};
    return number > SAME ? at + text->n : at;
}

void pack_names(const struct pack *pack, struct soth_span names[PACK_NAMES])
{
    const uint8_t *at = pack->text;
    for (unsigned i = 0; i < PACK_NAMES; i++)
        at = get_text(at, names[i ? i - 1 : 0], &names[i]);
}

/* The text is copied as it is, and the message points into it. */
struct message *pack_open(const struct pack *pack)
{
    const size_t fields = pack->field_count * sizeof(struct soth_field);
    struct message *msg = malloc(sizeof *msg + fields + pack->field_count + pack->size);
    if (!msg)
        return NULL;
    struct soth_field *field = (struct soth_field *)(void *)(msg + 1);
    uint8_t *ids = (uint8_t *)field + fields;
    const uint8_t *at = memcpy(ids + pack->field_count, pack->text, pack->size);
    struct soth_span *texts[TEXTS];
    *msg = (struct message){
        .content_length = pack->content_length,
        .declared_length = pack->declared_length,
        .head_bytes = pack->head_bytes,
        .field_count = pack->field_count,
        .status = pack->status,
        .framing = (enum framing)pack->framing,
        .minor = pack->minor,
        .is_request = pack->is_request,
        .keep_alive = pack->keep_alive,
        .expect_continue = pack->expect_continue,
        .wants_upgrade = pack->wants_upgrade,
        .connection_names = pack->connection_names,
        .http2 = pack->http2,
        .has_declared_length = pack->has_declared_length,
        .fields = field,
        .ids = ids,
    };
    texts_of(msg, texts);
    for (unsigned i = 0; i < TEXTS; i++)
        at = get_text(at, *texts[i ? i - 1 : 0], texts[i]);
    for (unsigned i = 0; i < pack->field_count; i++) {
        ids[i] = *at++;
        at = get_text(at, (struct soth_span){NULL, 0}, &field[i].name);
        at = get_text(at, (struct soth_span){NULL, 0}, &field[i].value);
    }
    return msg;
}
