/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Forms: the attributes of events that come often, told once, so that values alone come with each (soth_host.form). What a port knows of one are
 * the shapes that its events had so far; nearly always the next one has that of the last. Inside this room only.
 */
#ifndef HOST_EVENT_FORMS_H
#define HOST_EVENT_FORMS_H

#include "host/event/bus.h"

#define FORM_MOST EVENT_VALUES_MOST /* attributes: no kind has more names */

/* Immutable and for good: the same attributes of the same kind are one form, whoever tells them. */
struct form {
    struct form *next;
    unsigned number, kind, n; /* number: from 0, of all forms */
    uint64_t places, texts, words, payload; /* bit per attribute: each; a text; one with SOTH_ATTR_WORD; content, which some sinks see less of */
    struct soth_attr attrs[]; /* as they were told, with names of our own and without values */
};

#define FORM_SHAPES 4u

/* What events of a form were like once. */
struct form_shape {
    const struct shape *shape; /* NULL: none yet */
    uint64_t present;          /* bit per attribute that is there */
    const char *extra;         /* the name of the host's attribute; NULL: it was absent */
    uint8_t extra_at;          /* its place in the shape */
    uint8_t from[FORM_MOST + 1]; /* which of the form's each of those in the shape is; any, of the host's */
};

/* A form in a port. */
struct form_shapes {
    const struct form_shape *like; /* as the last one was */
    struct form_shape v[FORM_SHAPES];
};

void form_shapes_free(struct form_shapes **forms, size_t n); /* of a port */

#endif
