/* SPDX-License-Identifier: MPL-2.0 */
/*
 * See pack.h. Each text has its length in front, seven bits a byte, plus two: zero is an absent text, one is the text before it (Host and
 * :authority). A pack's own are method and target; the others and the fields, with a byte for their number, are common. One thread.
 */
#include "host/http/pack.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define ABSENT 0u
#define SAME 1u
#define LENGTH 2u /* of nothing */
#define OWN_TEXTS 2u
#define TEXTS 10u

struct pack_common {
    uint32_t refs, size; /* of all that follows */
    uint16_t field_count, status;
    uint8_t framing, minor;
    bool is_request : 1, keep_alive : 1, expect_continue : 1, wants_upgrade : 1, connection_names : 1, http2 : 1, has_declared_length : 1;
    bool has_lengths : 1; /* content_length and declared_length come before the texts */
    uint8_t text[];
};

struct pack {
    struct pack_common *common;
    uint32_t head_bytes, size;
    uint8_t text[];
};

/* Own ones first; the first four are the names of pack_names. */
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

static size_t put_text(uint8_t *at, struct soth_span text, struct soth_span before)
{
    if (!text.p)
        return put_number(at, ABSENT);
    if (before.p && text.n == before.n && memcmp(text.p, before.p, text.n) == 0)
        return put_number(at, SAME);
    size_t n = put_number(at, text.n + LENGTH);
    if (at && text.n)
        memcpy(at + n, text.p, text.n);
    return n + text.n;
}

static size_t put_texts(uint8_t *at, const struct message *msg, unsigned from, unsigned to)
{
    struct message m = *msg;
    struct soth_span *texts[TEXTS], none = {NULL, 0};
    size_t n = 0;
    texts_of(&m, texts);
    for (unsigned i = from; i < to; i++)
        n += put_text(at ? at + n : NULL, *texts[i], i > from ? *texts[i - 1] : none);
    return n;
}

static bool has_lengths(const struct message *msg)
{
    return msg->content_length || msg->declared_length;
}

static size_t put_common(uint8_t *at, const struct message *msg)
{
    const struct soth_span none = {NULL, 0};
    const uint64_t lengths[2] = {msg->content_length, msg->declared_length};
    size_t n = has_lengths(msg) ? sizeof lengths : 0;
    if (at)
        memcpy(at, lengths, n);
    n += put_texts(at ? at + n : NULL, msg, OWN_TEXTS, TEXTS);
    for (uint32_t i = 0; i < msg->field_count; i++) {
        if (at)
            at[n] = msg->ids[i];
        n++;
        n += put_text(at ? at + n : NULL, msg->fields[i].name, none);
        n += put_text(at ? at + n : NULL, msg->fields[i].value, none);
    }
    return n;
}

static void put_down(struct pack_common *common)
{
    if (common && --common->refs == 0)
        free(common);
}

void pack_forget(struct pack_common **last)
{
    put_down(*last);
    *last = NULL;
}

/* Everything behind the count of references is compared: calloc has made the gaps equal. */
static bool is_same(const struct pack_common *a, const struct pack_common *b)
{
    const size_t head = offsetof(struct pack_common, size);
    return a && a->size == b->size && memcmp(&a->size, &b->size, offsetof(struct pack_common, text) - head + a->size) == 0;
}

/* NULL without memory; else with a reference for the caller. */
static struct pack_common *common_of(const struct message *msg, struct pack_common **last)
{
    const size_t size = put_common(NULL, msg);
    struct pack_common *common = calloc(1, sizeof *common + size);
    if (!common)
        return NULL;
    common->refs = 1;
    common->size = (uint32_t)size;
    common->field_count = (uint16_t)msg->field_count;
    common->status = msg->status;
    common->framing = (uint8_t)msg->framing;
    common->minor = msg->minor;
    common->is_request = msg->is_request;
    common->keep_alive = msg->keep_alive;
    common->expect_continue = msg->expect_continue;
    common->wants_upgrade = msg->wants_upgrade;
    common->connection_names = msg->connection_names;
    common->http2 = msg->http2;
    common->has_declared_length = msg->has_declared_length;
    common->has_lengths = has_lengths(msg);
    put_common(common->text, msg);
    if (is_same(*last, common)) {
        free(common);
        common = *last;
    } else {
        pack_forget(last);
        *last = common;
    }
    common->refs++;
    return common;
}

struct pack *pack_make(const struct message *msg, struct pack_common **last)
{
    const size_t size = put_texts(NULL, msg, 0, OWN_TEXTS);
    struct pack *pack = malloc(sizeof *pack + size);
    if (!pack)
        return NULL;
    *pack = (struct pack){.common = common_of(msg, last), .head_bytes = msg->head_bytes, .size = (uint32_t)size};
    put_texts(pack->text, msg, 0, OWN_TEXTS);
    if (pack->common)
        return pack;
    free(pack);
    return NULL;
}

void pack_free(struct pack *pack)
{
    if (pack)
        put_down(pack->common);
    free(pack);
}

/* ---- reading ---- */

static const uint8_t *get_text(const uint8_t *at, struct soth_span before, struct soth_span *text)
{
    size_t number = 0;
    unsigned shift = 0;
    do
        number |= (size_t)(*at & 0x7f) << shift;
    while (shift += 7, *at++ & 0x80);
    *text = number == ABSENT ? (struct soth_span){NULL, 0} : number == SAME ? before : (struct soth_span){(const char *)at, number - LENGTH};
    return number < LENGTH ? at : at + text->n;
}

static size_t size_of_lengths(const struct pack_common *common)
{
    return common->has_lengths ? 2 * sizeof(uint64_t) : 0;
}

void pack_names(const struct pack *pack, struct soth_span names[PACK_NAMES])
{
    const struct soth_span none = {NULL, 0};
    get_text(get_text(pack->text, none, &names[0]), names[0], &names[1]);
    get_text(get_text(pack->common->text + size_of_lengths(pack->common), none, &names[2]), names[2], &names[3]);
}

/* Points into the two texts. */
static void read_texts(struct message *msg, const uint8_t *own, const uint8_t *common, struct soth_field *fields, uint8_t *ids)
{
    const struct soth_span none = {NULL, 0};
    struct soth_span *texts[TEXTS];
    texts_of(msg, texts);
    for (unsigned i = 0; i < TEXTS; i++) {
        const uint8_t **at = i < OWN_TEXTS ? &own : &common;
        *at = get_text(*at, i == 0 || i == OWN_TEXTS ? none : *texts[i - 1], texts[i]);
    }
    for (unsigned i = 0; i < msg->field_count; i++) {
        ids[i] = *common++;
        common = get_text(common, none, &fields[i].name);
        common = get_text(common, none, &fields[i].value);
    }
}

struct message *pack_open(const struct pack *pack)
{
    const struct pack_common *common = pack->common;
    const size_t fields = common->field_count * sizeof(struct soth_field);
    struct message *msg = malloc(sizeof *msg + fields + common->field_count + pack->size + common->size);
    uint64_t lengths[2] = {0, 0};
    if (!msg)
        return NULL;
    struct soth_field *field = (struct soth_field *)(void *)(msg + 1);
    uint8_t *ids = (uint8_t *)field + fields;
    const uint8_t *own = memcpy(ids + common->field_count, pack->text, pack->size);
    const uint8_t *text = memcpy(ids + common->field_count + pack->size, common->text, common->size);
    memcpy(lengths, text, size_of_lengths(common));
    *msg = (struct message){
        .content_length = lengths[0],
        .declared_length = lengths[1],
        .head_bytes = pack->head_bytes,
        .field_count = common->field_count,
        .status = common->status,
        .framing = (enum framing)common->framing,
        .minor = common->minor,
        .is_request = common->is_request,
        .keep_alive = common->keep_alive,
        .expect_continue = common->expect_continue,
        .wants_upgrade = common->wants_upgrade,
        .connection_names = common->connection_names,
        .http2 = common->http2,
        .has_declared_length = common->has_declared_length,
        .fields = field,
        .ids = ids,
    };
    read_texts(msg, own, text + size_of_lengths(common), field, ids);
    return msg;
}
