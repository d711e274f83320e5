/* SPDX-License-Identifier: MPL-2.0 */
/* See form.h. */
#include "form.h"

#include <stdlib.h>

#include "json.h"

#define TRIES 8u         /* places of the table where one may be */
#define TEXT_MOST 2048u
#define VALUE_MOST (FORM_VALUE_MOST > PUT_NUMBER_MOST ? FORM_VALUE_MOST : PUT_NUMBER_MOST)

void forms_fini(struct forms *forms)
{
    for (size_t i = 0; i < FORMS; i++)
        free(forms->table[i]);
}

/* ---- words ---- */

int form_is_time(const struct soth_attr *a)
{
    const struct soth_span name = {a->name, a->name_len};
    return a->type == SOTH_ATTR_U64 &&
           (soth_span_is(name, "duration_ms") || soth_span_is(name, "ended_at_unix_ms") || soth_span_is(name, "started_at_unix_ms"));
}

char *form_put_kind(char *at, const struct soth_event *e)
{
    at = put_word(PUT(at, ",\"kind\":\""), e->kind_name, strlen(e->kind_name));
    at = put_word(PUT(at, "\",\"protocol\":\""), e->protocol_name, strlen(e->protocol_name));
    return PUT(at, "\",\"stream_key\":");
}

char *form_put_cells(char *at, const struct soth_event *e)
{
    at = put_word(at, e->kind_name, strlen(e->kind_name));
    at = put_word(PUT(at, "\t"), e->protocol_name, strlen(e->protocol_name));
    return PUT(at, "\t");
}

static char *put_peer(char *at, struct soth_span name, const char **place)
{
    *place = at + 1; /* behind the quote */
    return json_put_string(at, name);
}

char *form_put_peers(char *at, const struct soth_event *e, const char *places[2])
{
    const char *unused[2];
    if (!places)
        places = unused;
    if (e->client_addr.p)
        at = put_peer(PUT(at, ",\"client_addr\":"), e->client_addr, &places[0]);
    if (e->server_host.p)
        at = put_peer(PUT(at, ",\"server_host\":"), e->server_host, &places[1]);
    if (e->server_port)
        at = put_number(PUT(at, ",\"server_port\":"), e->server_port);
    return PUT(at, ",\"attributes\":{");
}

/* ---- forms ---- */

static size_t text_size(const struct soth_event *e)
{
    size_t n = 128 + 2 * (strlen(e->kind_name) + strlen(e->protocol_name));
    for (uint32_t i = 0; i < e->attr_count; i++)
        n += e->attrs[i].name_len + sizeof "\",\"\":\"";
    return n;
}

/* False: one is too long. */
static int put_pieces(struct form *form, char **at, const struct soth_event *e, int with_timestamps)
{
    for (uint32_t i = 0; i < e->attr_count; i++) {
        const struct soth_attr *a = &e->attrs[i];
        char *from = *at;
        if (!with_timestamps && form_is_time(a))
            continue;
        if (a->name_len + sizeof "\",\"\":\"" > FORM_PIECE_MOST)
            return 0;
        *at = form->count ? PUT(*at, "\",\"") : PUT(*at, "\"");
        *at = PUT(put_word(*at, a->name, a->name_len), "\":\"");
        form->pieces[form->count++] = (struct form_piece){(uint8_t)(*at - from), (uint8_t)a->type, (uint8_t)i};
    }
    return 1;
}

/* An event that is not one for a form gets one that says so. */
static struct form *form_new(const struct soth_event *e, int with_timestamps)
{
    size_t size = text_size(e);
    int fits = e->attr_count <= FORM_PIECES && size <= TEXT_MOST;
    struct form *form = calloc(1, sizeof *form + (fits ? size + FORM_PIECE_MOST : 0));
    if (!form)
        return NULL;
    form->shape = e->shape;
    form->kind = e->kind;
    form->protocol = e->protocol;
    if (!fits)
        return form;
    char *kind_end = PUT(form_put_kind(form->text, e), "\""), *cells_end = form_put_cells(kind_end, e), *at = cells_end;
    form->kind_n = (uint16_t)(kind_end - form->text);
    form->cells_n = (uint16_t)(cells_end - kind_end);
    form->pieces_at = (uint16_t)(cells_end - form->text);
    if (put_pieces(form, &at, e, with_timestamps))
        form->most = (uint32_t)((size_t)(at - form->text) + form->count * VALUE_MOST);
    return form;
}

/* They stay for good, as shapes do; when there are too many, those that come last have none. */
const struct form *form_look_for(struct forms *forms, const struct soth_event *event)
{
    for (size_t i = 0; i < TRIES; i++) {
        struct form **place = &forms->table[(form_place(event) + i) & (FORMS - 1)];
        if (!*place)
            return *place = form_new(event, forms->with_timestamps);
        if (form_is_of(*place, event))
            return *place;
    }
    return NULL;
}

/* ---- addresses ---- */

static int fits(struct soth_span text)
{
    return text.p ? text.n > 0 && text.n < FORM_PEERS_MOST && put_is_plain(text) : text.n == 0;
}

const struct form_peers *form_peers_keep(struct form_peers *peers, const struct soth_event *e)
{
    const size_t words = sizeof "\",\"client_addr\":\"\",\"server_host\":\"\",\"server_port\":4294967295,\"attributes\":{" + PUT_SLACK;
    const char *places[2] = {peers->text, peers->text};
    peers->n = 0;
    if (!fits(e->client_addr) || !fits(e->server_host) || words + e->client_addr.n + e->server_host.n > FORM_PEERS_MOST)
        return NULL;
    peers->n = (uint32_t)(form_put_peers(PUT(peers->text, "\""), e, places) - peers->text);
    peers->port = e->server_port;
    peers->client_n = (uint16_t)e->client_addr.n;
    peers->host_n = (uint16_t)e->server_host.n;
    peers->client_at = (uint16_t)(places[0] - peers->text);
    peers->host_at = (uint16_t)(places[1] - peers->text);
    return peers;
}

/* ---- clocks ---- */

void form_clocks_keep(struct form_clocks *clocks, const struct soth_event *e)
{
    char *at = put_number(PUT(clocks->text, ",\"monotonic_ns\":"), e->monotonic_ns);
    at = PUT(put_number(PUT(at, ",\"unix_ms\":"), e->unix_ms), ",\"run_id\":\"");
    clocks->n = (uint32_t)(at - clocks->text);
    clocks->monotonic_ns = e->monotonic_ns;
    clocks->unix_ms = e->unix_ms;
}
