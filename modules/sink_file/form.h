/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What lines have in common, written once and copied from then on: kind, protocol and names of attributes of the events of one shape, the
 * addresses of a flow, the clocks of a turn. What does not fit gets no form, and its lines are written word by word: the bytes are the same.
 */
#ifndef SINK_FILE_FORM_H
#define SINK_FILE_FORM_H

#include "put.h"

/* ---- words, by which everything here is made ---- */

int form_is_time(const struct soth_attr *attr); /* what differs in equal runs */
char *form_put_kind(char *at, const struct soth_event *event);  /* ,"kind":"K","protocol":"P","stream_key": */
char *form_put_cells(char *at, const struct soth_event *event); /* K tab P tab */
/* ,"client_addr":"C","server_host":"H","server_port":N,"attributes":{ and nothing of what is absent; not NULL: places of C and H. */
char *form_put_peers(char *at, const struct soth_event *event, const char *places[2]);

/* ---- forms ---- */

#define FORMS 512u          /* a power of two */
#define FORM_PIECES 24u     /* attributes of one */
#define FORM_VALUE_MOST 64u /* bytes of a text value: names are not what costs in a line with longer ones */

#define FORM_PIECE_MOST 48u /* bytes of one: it is copied as if it were that long */
struct form_piece {
    uint8_t n;    /* bytes of "name":" and, but for the first, of what ends the value before it */
    uint8_t type; /* SOTH_ATTR_... */
    uint8_t attr; /* which of the event's attributes */
};

struct form {
    const void *shape;
    uint16_t kind, protocol;
    uint16_t kind_n;    /* the text begins with form_put_kind's words and a quote, */
    uint16_t cells_n;   /* then come form_put_cells', */
    uint16_t pieces_at; /* then the pieces, one behind the other */
    uint32_t count;     /* pieces */
    uint32_t most;      /* bytes that this text and all values may be; 0: the shape is not one for a form */
    struct form_piece pieces[FORM_PIECES];
    char text[]; /* and FORM_PIECE_MOST */
};

#define FORM_FLOWS 64u
#define FORM_PEERS_MOST 192u

/* What stands between the bytes of the stream key and the attributes. */
struct form_peers {
    uint32_t port;
    uint16_t client_n, host_n; /* 0: absent */
    uint16_t client_at, host_at;
    uint32_t n; /* 0: nothing is kept here */
    char text[FORM_PEERS_MOST + PUT_SLACK];
};

/* What stands between the attributes and the run_id, with timestamps: events of one turn of a worker's loop have the same clocks. */
#define FORM_CLOCKS_MOST (sizeof ",\"monotonic_ns\":,\"unix_ms\":,\"run_id\":\"" + 2u * PUT_NUMBER_MOST)
struct form_clocks {
    uint64_t monotonic_ns, unix_ms;
    uint32_t n; /* 0: nothing is kept here */
    char text[FORM_CLOCKS_MOST + PUT_SLACK];
};

struct forms {
    int with_timestamps;
    struct form *table[FORMS];
    struct form_peers flows[FORM_FLOWS];
    struct form_clocks clocks; /* of the event before */
};

void forms_fini(struct forms *forms); /* zeroed is none yet */

/* NULL: the event has none. */
static inline const struct form *form_of(struct forms *forms, const struct soth_event *event);
static inline const struct form_peers *form_peers_of(struct forms *forms, const struct soth_event *event);
static inline const struct form_clocks *form_clocks_of(struct forms *forms, const struct soth_event *event); /* never NULL */

/* ---- inside ---- */

static inline size_t form_place(const struct soth_event *event)
{
    return ((uintptr_t)event->shape >> 4 ^ (uintptr_t)event->shape >> 13) & (FORMS - 1);
}

static inline int form_is_of(const struct form *form, const struct soth_event *event)
{
    return form->shape == event->shape && form->kind == event->kind && form->protocol == event->protocol;
}

const struct form *form_look_for(struct forms *forms, const struct soth_event *event); /* further, or a new one */

static inline const struct form *form_of(struct forms *forms, const struct soth_event *event)
{
    if (!event->shape)
        return NULL;
    const struct form *form = forms->table[form_place(event)];
    if (!form || !form_is_of(form, event))
        form = form_look_for(forms, event);
    return form && form->most > 0 ? form : NULL;
}

static inline int form_has_text(struct soth_span text, const char *kept, size_t n)
{
    return text.n == n && (n == 0 ? text.p == NULL : put_is_same(text.p, kept, n));
}

const struct form_peers *form_peers_keep(struct form_peers *peers, const struct soth_event *event);

static inline const struct form_peers *form_peers_of(struct forms *forms, const struct soth_event *event)
{
    struct form_peers *peers = &forms->flows[event->flow_id % FORM_FLOWS];
    if (peers->n && peers->port == event->server_port && form_has_text(event->client_addr, peers->text + peers->client_at, peers->client_n) &&
        form_has_text(event->server_host, peers->text + peers->host_at, peers->host_n))
        return peers;
    return form_peers_keep(peers, event);
}

void form_clocks_keep(struct form_clocks *clocks, const struct soth_event *event);

static inline const struct form_clocks *form_clocks_of(struct forms *forms, const struct soth_event *event)
{
    struct form_clocks *clocks = &forms->clocks;
    if (clocks->n == 0 || clocks->monotonic_ns != event->monotonic_ns || clocks->unix_ms != event->unix_ms)
        form_clocks_keep(clocks, event);
    return clocks;
}

#endif
