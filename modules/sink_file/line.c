/* SPDX-License-Identifier: MPL-2.0 */
/*
 * See line.h. Written by hand, since this runs three times a request and six times an echo of a WebSocket: room for the longest possible line
 * is made once, then everything is put behind `at` without a further look at it.
 */
#include "line.h"

#include <stdlib.h>

#include "form.h"
#include "json.h"

const char line_index_header[] =
    "sequence_id\tflow_id\tflow_sequence_id\tkind\tprotocol\tstream_key\tsegment_id\tbyte_offset\tline_bytes\n";

#define FIXED_MOST 512 /* keys and punctuation of the envelope, its numbers, the run_id, what moves may write behind their text */

static __attribute__((noinline)) char *text_grow(struct text *t, size_t more)
{
    size_t room = t->room ? t->room * 2 : 65536;
    while (room - t->n < more)
        room *= 2;
    char *p = realloc(t->p, room);
    if (!p)
        return NULL;
    t->p = p;
    t->room = room;
    return p + t->n;
}

static inline char *text_room(struct text *t, size_t more)
{
    return t->room - t->n >= more ? t->p + t->n : text_grow(t, more);
}

/* ---- the envelope ---- */

/* A line begins with its three numbers, which its row has, too. */
#define BEFORE_SEQUENCE "{\"schema\":\"soth-mitm-event-log-v2\",\"sequence_id\":"
#define BEFORE_FLOW ",\"flow_id\":"
#define BEFORE_FLOW_SEQUENCE ",\"flow_sequence_id\":"

static inline char *put_counted(char *at, uint64_t value, uint8_t *digits)
{
    char *end = put_number(at, value);
    *digits = (uint8_t)(end - at);
    return end;
}

static inline char *put_numbers(char *at, const struct soth_event *e, struct line *line)
{
    at = put_counted(PUT(at, BEFORE_SEQUENCE), e->sequence_id, &line->digits[0]);
    at = put_counted(PUT(at, BEFORE_FLOW), e->flow_id, &line->digits[1]);
    at = put_counted(PUT(at, BEFORE_FLOW_SEQUENCE), e->flow_sequence_id, &line->digits[2]);
    return e->parent_flow_id ? put_number(PUT(at, ",\"parent_flow_id\":"), e->parent_flow_id) : at;
}

static inline void put_end(char *at, struct forms *forms, const struct soth_event *e, struct text *t, struct line *line)
{
    if (forms->with_timestamps) {
        const struct form_clocks *clocks = form_clocks_of(forms, e);
        at = put_padded(at, clocks->text, clocks->n);
        at = PUT(put_word(at, e->run_id.p, e->run_id.n < 64 ? e->run_id.n : 64), "\"");
    }
    at = PUT(at, "}\n");
    line->n = (size_t)(at - t->p) - t->n;
    t->n += line->n;
}

/* ---- word by word ---- */

static int has_text(const struct soth_attr *a)
{
    return a->type == SOTH_ATTR_TEXT || a->type == SOTH_ATTR_BYTES;
}

static char *put_text_attribute(char *at, const struct soth_attr *a)
{
    if (!json_is_utf8(a->text))
        return json_put_base64(PUT(at, "_b64\":"), a->text);
    return json_put_string(PUT(at, "\":"), a->text);
}

static inline char *put_value(char *at, uint32_t type, uint64_t number)
{
    if (type == SOTH_ATTR_BOOL)
        return number ? PUT(at, "true") : PUT(at, "false");
    return put_number(at, number);
}

static char *put_attribute(char *at, const struct soth_attr *a)
{
    at = put_word(PUT(at, "\""), a->name, a->name_len);
    if (has_text(a))
        return put_text_attribute(at, a);
    return PUT(put_value(PUT(at, "\":\""), a->type, a->number), "\"");
}

static char *put_attributes(char *at, const struct soth_event *e, int with_timestamps)
{
    for (uint32_t i = 0, written = 0; i < e->attr_count; i++) {
        const struct soth_attr *a = &e->attrs[i];
        if (!with_timestamps && form_is_time(a))
            continue;
        if (written++)
            *at++ = ',';
        at = put_attribute(at, a);
    }
    return PUT(at, "}");
}

static size_t longest(const struct soth_event *e, struct soth_span stream_key)
{
    size_t text = stream_key.n + e->client_addr.n + e->server_host.n, names = strlen(e->kind_name) + strlen(e->protocol_name);
    for (uint32_t i = 0; i < e->attr_count; i++) {
        names += e->attrs[i].name_len + sizeof "\"_b64\":\"\"," + PUT_NUMBER_MOST;
        text += has_text(&e->attrs[i]) ? e->attrs[i].text.n : 0;
    }
    return FIXED_MOST + names + JSON_ESCAPE_MOST * text;
}

static __attribute__((noinline)) int line_in_words(struct text *t, struct forms *forms, const struct soth_event *e,
                                                   struct soth_span stream_key, struct line *line)
{
    char *at = text_room(t, longest(e, stream_key));
    if (!at)
        return -SOTH_ENOMEM;
    at = form_put_kind(put_numbers(at, e, line), e);
    line->plain_key = put_is_plain(stream_key);
    at = json_put_string(at, stream_key);
    at = form_put_peers(at, e, NULL);
    at = put_attributes(at, e, forms->with_timestamps);
    put_end(at, forms, e, t, line);
    return SOTH_OK;
}

/* ---- by its form ---- */

/* NULL: a text is none to be put as it is. */
static inline char *put_pieces(char *at, const struct form *form, const struct soth_attr *attrs)
{
    const char *text = form->text + form->pieces_at;
    for (const struct form_piece *piece = form->pieces, *end = piece + form->count; piece < end; piece++) {
        const struct soth_attr *a = &attrs[piece->attr];
        memcpy(at, text, FORM_PIECE_MOST);
        at += piece->n;
        text += piece->n;
        if (piece->type != SOTH_ATTR_TEXT && piece->type != SOTH_ATTR_BYTES)
            at = put_value(at, piece->type, a->number);
        else if (a->text.n <= FORM_VALUE_MOST && put_is_plain(a->text))
            at = put_word(at, a->text.p, a->text.n);
        else
            return NULL;
    }
    return form->count ? PUT(at, "\"}") : PUT(at, "}");
}

static int line_in_form(struct text *t, struct forms *forms, const struct form_peers *peers, const struct soth_event *e,
                        struct soth_span stream_key, struct line *line)
{
    const struct form *form = line->form;
    char *at = text_room(t, FIXED_MOST + form->most + FORM_PEERS_MOST + stream_key.n);
    if (!at)
        return -SOTH_ENOMEM;
    at = put_padded(put_numbers(at, e, line), form->text, form->kind_n);
    line->plain_key = put_is_plain(stream_key); /* not before: it has just been written, and the processor would wait for that */
    at = put_padded(put_word(at, stream_key.p, stream_key.n), peers->text, peers->n);
    at = line->plain_key ? put_pieces(at, form, e->attrs) : NULL;
    if (!at)
        return line_in_words(t, forms, e, stream_key, line);
    put_end(at, forms, e, t, line);
    return SOTH_OK;
}

/* ---- the line and its row ---- */

int line_event(struct text *t, struct forms *forms, const struct soth_event *e, struct soth_span stream_key, struct line *line)
{
    line->form = form_of(forms, e);
    const struct form_peers *peers = line->form ? form_peers_of(forms, e) : NULL;
    if (peers)
        return line_in_form(t, forms, peers, e, stream_key, line);
    return line_in_words(t, forms, e, stream_key, line);
}

/* A tab or a line end in a stream key would be a column or a row. */
static char *put_cell(char *at, struct soth_span s, int is_plain)
{
    if (is_plain)
        return put_word(at, s.p, s.n);
    for (size_t i = 0; i < s.n; i++)
        *at++ = (unsigned char)s.p[i] < 0x20 ? '?' : s.p[i];
    return at;
}

/* As digits that stand in the line, which is longer than that by far. */
static inline char *put_digits(char *at, const char *digits, unsigned n)
{
    memcpy(at, digits, PUT_NUMBER_MOST);
    return at + n;
}

/* Numbers of the line, a tab behind each. */
static inline char *put_numbers_again(char *at, const char *text, const uint8_t digits[3])
{
    const char *sequence = text + sizeof BEFORE_SEQUENCE - 1, *flow = sequence + digits[0] + sizeof BEFORE_FLOW - 1;
    at = PUT(put_digits(at, sequence, digits[0]), "\t");
    at = PUT(put_digits(at, flow, digits[1]), "\t");
    return PUT(put_digits(at, flow + digits[1] + sizeof BEFORE_FLOW_SEQUENCE - 1, digits[2]), "\t");
}

int line_index(struct text *t, const struct soth_event *e, struct soth_span stream_key, const struct line *line, const struct line_place *place)
{
    const struct form *form = line->form;
    size_t cells = form ? form->cells_n : strlen(e->kind_name) + strlen(e->protocol_name);
    char *at = text_room(t, 6 * PUT_NUMBER_MOST + 16 + PUT_SLACK + cells + stream_key.n);
    if (!at)
        return -SOTH_ENOMEM;
    at = put_numbers_again(at, place->line, line->digits);
    at = form ? put_padded(at, form->text + form->kind_n, form->cells_n) : form_put_cells(at, e);
    at = put_cell(at, stream_key, line->plain_key);
    at = put_number(PUT(at, "\t"), place->segment);
    at = put_number(PUT(at, "\t"), place->offset);
    at = PUT(put_number(PUT(at, "\t"), line->n), "\n");
    t->n = (size_t)(at - t->p);
    return SOTH_OK;
}
