/* SPDX-License-Identifier: MPL-2.0 */
/* See forms.h. */
#include "host/event/forms.h"

#include <stdlib.h>

#include "host/event/place.h"

/* ---- what they are ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct form *all; /* (lock) the newest first */

static bool is_type(uint32_t type)
{
    return type == (SOTH_ATTR_TEXT | SOTH_ATTR_WORD) || (type & ~EVENT_TYPES) == 0;
}

/* With names of our own. form->n is how far it came. */
static int fill(struct form *form, uint32_t kind, const struct soth_attr *attrs, size_t n)
{
    uint64_t given = 0;
    form->kind = kind;
    for (size_t i = 0; i < n; i++) {
        uint32_t place, name_len = attrs[i].name_len;
        const char *name = event_attr_name(kind, attrs[i].name, &name_len, &place);
        if (!name || !is_type(attrs[i].type) || (given >> place & 1))
            return -SOTH_EINVALID;
        given |= UINT64_C(1) << place;
        form->attrs[i] = (struct soth_attr){name, {"", 0}, 0, attrs[i].type, name_len};
        form->texts |= (uint64_t)event_type_is_text(attrs[i].type) << i;
        form->words |= (uint64_t)((attrs[i].type & SOTH_ATTR_WORD) != 0) << i;
        form->payload |= (uint64_t)((attrs[i].type & EVENT_FLAGGED) != 0) << i;
        form->places |= UINT64_C(1) << i;
        form->n++;
    }
    return SOTH_OK;
}

static bool is_same(const struct form *a, const struct form *b)
{
    if (a->kind != b->kind || a->n != b->n)
        return false;
    for (unsigned i = 0; i < a->n; i++)
        if (a->attrs[i].name != b->attrs[i].name || a->attrs[i].type != b->attrs[i].type)
            return false;
    return true;
}

/* The one that is there already, or this one from now on. */
static const struct form *intern(struct form *form)
{
    pthread_mutex_lock(&lock);
    struct form *at = all;
    while (at && !is_same(at, form))
        at = at->next;
    if (!at) {
        form->number = all ? all->number + 1 : 0;
        form->next = all;
        all = at = form;
    }
    pthread_mutex_unlock(&lock);
    if (at != form)
        free(form);
    return at;
}

int event_form(uint32_t kind, const struct soth_attr *attrs, size_t n, const struct form **out, size_t *bad)
{
    *bad = 0;
    if (!event_attrs_may(kind))
        return event_kind_name(kind)[0] ? -SOTH_EPERM : -SOTH_EINVALID;
    if (n == 0 || n > FORM_MOST)
        return -SOTH_EINVALID;
    struct form *form = calloc(1, sizeof *form + n * sizeof *form->attrs);
    if (!form)
        return -SOTH_ENOMEM;
    int r = fill(form, kind, attrs, n);
    if (r == SOTH_OK) {
        *out = intern(form);
        return r;
    }
    *bad = form->n;
    free(form);
    return r;
}

unsigned event_form_kind(const struct form *form)
{
    return form->kind;
}

/* ---- what there is ---- */

static uint64_t really_present(const struct form *form, const union soth_value *values, uint64_t present)
{
    for (uint64_t texts = present & form->texts; texts; texts &= texts - 1) {
        const unsigned i = (unsigned)__builtin_ctzll(texts);
        if (values[i].text->p == NULL || values[i].text->n == 0)
            present &= ~(UINT64_C(1) << i);
    }
    return present;
}

size_t event_form_attrs(const struct form *form, const union soth_value *values, uint64_t present, struct soth_attr *out)
{
    size_t count = 0;
    for (present = really_present(form, values, present & form->places); present; present &= present - 1) {
        const unsigned i = (unsigned)__builtin_ctzll(present);
        struct soth_attr *attr = &out[count++];
        *attr = form->attrs[i];
        attr->type &= ~(uint32_t)SOTH_ATTR_WORD;
        if (form->texts >> i & 1)
            attr->text = *values[i].text;
        else
            attr->number = values[i].number;
    }
    return count;
}

/* ---- in a port ---- */

static struct form_shapes *shapes_of(struct bus_port_private *p, const struct form *form)
{
    if (form->number >= p->form_room) {
        const size_t room = form->number + 16;
        struct form_shapes **bigger = realloc(p->forms, room * sizeof *bigger);
        if (!bigger)
            return NULL;
        memset(bigger + p->form_room, 0, (room - p->form_room) * sizeof *bigger);
        p->forms = bigger;
        p->form_room = room;
    }
    if (!p->forms[form->number])
        p->forms[form->number] = calloc(1, sizeof **p->forms);
    return p->forms[form->number];
}

void form_shapes_free(struct form_shapes **forms, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(forms[i]);
    free(forms);
}

/* The shape has them in the order of names. attrs: those that are there, and the host's behind them. */
static bool learn(struct bus_port_private *p, struct form_shape *at, const struct form *form, uint64_t present, struct soth_attr *attrs, size_t n,
                  const char *extra)
{
    uint8_t places[FORM_MOST];
    unsigned count = 0;
    for (uint64_t left = present; left; left &= left - 1) {
        places[count] = (uint8_t)__builtin_ctzll(left);
        attrs[count].type = form->attrs[places[count]].type;
        count++;
    }
    const struct shape *shape = shape_new(&p->made, attrs, n + (extra != NULL));
    if (!shape)
        return false;
    *at = (struct form_shape){.shape = shape, .present = present, .extra = extra};
    for (unsigned i = 0; i < shape->count; i++) {
        const bool is_extra = shape->from[i] == n;
        at->from[i] = is_extra ? 0 : places[shape->from[i]];
        at->extra_at = is_extra ? (uint8_t)i : at->extra_at;
    }
    return true;
}

static void remember_shape(struct bus_port_private *p, struct form_shapes *shapes, const struct form *form, uint64_t present,
                           struct soth_attr *attrs, size_t n, const char *extra)
{
    for (struct form_shape *at = shapes->v; at < shapes->v + FORM_SHAPES; at++) {
        const bool is_new = at->shape == NULL;
        if (is_new ? learn(p, at, form, present, attrs, n, extra) : at->present == present && at->extra == extra)
            shapes->like = at;
        if (is_new || shapes->like == at)
            return;
    }
}

/* Not as the last one was: perhaps as one before, or as none that the port keeps. */
static __attribute__((noinline)) void emit_otherwise(struct bus_port *port, const struct event_source *source, uint64_t flow_sequence_id,
                                                     const struct form *form, const union soth_value *values, uint64_t present,
                                                     const struct soth_attr *extra)
{
    struct form_shapes *shapes = shapes_of(port->private, form);
    struct soth_attr attrs[FORM_MOST + 1];
    const char *name = extra->text.p ? extra->name : NULL;
    present = really_present(form, values, present);
    const size_t n = event_form_attrs(form, values, present, attrs);
    attrs[n] = *extra;
    bus_emit_wanted(port, source, flow_sequence_id, form->kind, attrs, n + (name != NULL));
    if (shapes && !(present & form->payload))
        remember_shape(port->private, shapes, form, present, attrs, n, name);
}

/* Is there something of all texts that were there last time? *bytes: of all. No branch: nearly always there is. */
static inline bool have_texts(const struct form_shape *like, const union soth_value *values, size_t *bytes)
{
    const struct shape *shape = like->shape;
    size_t sum = 0;
    bool any_empty = false;
    for (unsigned k = 0; k < shape->text_count; k++) {
        const struct soth_span *text = values[like->from[shape->texts[k]]].text;
        any_empty |= (text->p == NULL) | (text->n == 0);
        sum += text->n;
    }
    *bytes = sum;
    return !any_empty;
}

static inline void emit_like(struct bus_port *port, const struct event_source *source, uint64_t flow_sequence_id, unsigned kind,
                             const struct form_shape *like, const union soth_value *values, uint64_t extra, size_t text)
{
    const struct shape *shape = like->shape;
    struct queued *q = place_event(port, source, flow_sequence_id, kind, shape->count * sizeof(uint64_t), text);
    if (!q)
        return;
    uint64_t *to = (uint64_t *)(void *)(q + 1);
    char *at = (char *)(to + shape->count);
    q->shape = shape;
    q->attr_count = shape->count;
    for (unsigned i = 0; i < shape->count; i++) /* as if all were numbers */
        to[i] = values[like->from[i]].number;
    if (like->extra)
        to[like->extra_at] = extra;
    for (unsigned k = 0; k < shape->text_count; k++) {
        const unsigned i = shape->texts[k];
        const struct soth_span *from = values[like->from[i]].text;
        to[i] = from->n;
        copy_bytes(at, from->p, from->n);
        at += from->n;
    }
}

void bus_emit_form_wanted(struct bus_port *port, const struct event_source *source, uint64_t flow_sequence_id, const struct form *form,
                          const union soth_value *values, uint64_t present, const struct soth_attr *extra)
{
    const struct bus_port_private *p = port->private;
    const struct form_shapes *shapes = form->number < p->form_room ? p->forms[form->number] : NULL;
    const struct form_shape *like = shapes ? shapes->like : NULL;
    size_t text;
    present &= form->places;
    if ((present & form->payload) && !bus_captures(port, form->kind))
        present &= ~form->payload;
    if (like && like->present == present && like->extra == (extra->text.p ? extra->name : NULL) && have_texts(like, values, &text))
        emit_like(port, source, flow_sequence_id, form->kind, like, values, extra->number, text);
    else
        emit_otherwise(port, source, flow_sequence_id, form, values, present, extra);
}
