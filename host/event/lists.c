/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Lists of attributes that a module's code has given before. A place in the code gives the same names time after time, literals nearly always:
 * those are in memory that nobody can write to, of an object that is never unloaded, so that the same pointer is the same name for good. Such
 * a list is checked once, and known again by its pointers and types.
 */
#include <link.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "host/event/private.h"

_Static_assert(offsetof(struct soth_attr, name_len) == offsetof(struct soth_attr, type) + 4, "they are compared at once");

#define LIST_UNFIT SIZE_MAX

/* ---- memory that stays as it is ---- */

static int is_inside(struct dl_phdr_info *object, size_t size, void *arg)
{
    const uintptr_t at = (uintptr_t)arg;
    (void)size;
    for (unsigned i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && !(part->p_flags & PF_W) && at - (object->dlpi_addr + part->p_vaddr) < part->p_memsz)
            return 1;
    }
    return 0;
}

static bool is_constant(const char *text)
{
    return dl_iterate_phdr(is_inside, (void *)(uintptr_t)text) != 0;
}

/* ---- lists ---- */

static inline uint64_t tail_of(const struct soth_attr *attr)
{
    uint64_t both;
    memcpy(&both, &attr->type, sizeof both);
    return both;
}

/* Whatever values they have: is each a name of the kind, given once, with a type that there is? */
static bool learn(struct attr_list *list, uint32_t kind, const struct soth_attr *attrs, size_t n)
{
    uint64_t given = 0;
    if (n > LIST_MOST)
        return false;
    for (size_t i = 0; i < n; i++) {
        uint32_t place, name_len = attrs[i].name_len;
        const char *name = event_attr_name(kind, attrs[i].name, &name_len, &place);
        if (!name || (attrs[i].type & ~EVENT_TYPES) || (given >> place & 1) || !is_constant(attrs[i].name))
            return false;
        list->v[i] = (struct known_attr){attrs[i].name, tail_of(&attrs[i])};
        list->proper[i].name = name;
        list->proper[i].name_len = name_len;
        given |= UINT64_C(1) << place;
        list->payload = list->payload << 1 | ((attrs[i].type & EVENT_FLAGGED) != 0);
    }
    list->n = n;
    list->kind = kind;
    list->like = &list->shapes[0];
    list->like->present = UINT64_MAX; /* like no list that there is */
    return true;
}

/* Where the numbers of the port's next event will be, if it is shaped. */
static inline uint64_t *next_values(struct bus_port_private *p)
{
    const bool room = (size_t)(p->end - p->at) >= sizeof(struct queued) + sizeof p->spare;
    return room ? (uint64_t *)(void *)(p->at + sizeof(struct queued)) : p->spare;
}

/* Is there something of all texts that were there last time? *bytes: of all. */
static inline bool have_texts(const struct list_shape *like, const struct soth_attr *attrs, size_t *bytes)
{
    size_t sum = 0;
    bool any_empty = false;
    for (unsigned k = 0; k < like->text_count; k++) {
        const size_t n = attrs[like->texts[k]].text.n;
        any_empty |= n == 0;
        sum += n;
    }
    *bytes = sum;
    return !any_empty;
}

/* In one pass, whether it is the list, what there is of its values, and the numbers to where they belong if it is all as last time. No branch: it
 * is nearly always. */
static inline bool is_list(struct bus_port_private *p, struct attr_list *list, const struct soth_attr *attrs, size_t n)
{
    uint64_t differs = 0, present = 0, *values = next_values(p);
    if (list->n != n)
        return false;
    const struct list_shape *like = list->like;
#pragma GCC unroll 2
    for (size_t i = 0; i < n; i++) {
        const struct known_attr *known = &list->v[i];
        const struct soth_attr *a = &attrs[i];
        differs |= ((uintptr_t)a->name ^ (uintptr_t)known->given) | (tail_of(a) ^ known->tail);
        present += present;
        present += a->text.p != NULL;
        values[like->place[i]] = a->number;
    }
    list->present = present;
    list->values = have_texts(like, attrs, &list->text) ? values : NULL;
    return differs == 0;
}

/* Once for each kind: other lists of it are checked each time. */
static __attribute__((noinline)) struct attr_list *first_list(struct bus_port *port, uint32_t kind, const struct soth_attr *attrs, size_t n)
{
    struct attr_list *list = n > 0 && event_attrs_may(kind) ? calloc(1, sizeof *list) : NULL;
    if (!list)
        return NULL;
    if (!learn(list, kind, attrs, n))
        list->n = LIST_UNFIT;
    port->private->lists[kind] = list;
    return bus_attr_list(port, kind, attrs, n);
}

struct attr_list *bus_attr_list(struct bus_port *port, uint32_t kind, const struct soth_attr *attrs, size_t n)
{
    if (kind >= SOTH_EV_COUNT)
        return NULL;
    struct attr_list *list = port->private->lists[kind];
    if (!list)
        return first_list(port, kind, attrs, n);
    return is_list(port->private, list, attrs, n) ? list : NULL;
}

/* With names of our own, and without texts of numbers; in the same places. */
static void canonical(const struct attr_list *list, const struct soth_attr *attrs, struct soth_attr *out)
{
    for (size_t i = 0; i < list->n; i++) {
        const struct soth_attr *a = &attrs[i];
        const bool keep = event_type_is_text(a->type) || event_attr_is_absent(a);
        out[i] = (struct soth_attr){list->proper[i].name, keep ? a->text : (struct soth_span){"", 0}, a->number, a->type, list->proper[i].name_len};
    }
}

size_t bus_list_copy(const struct attr_list *list, const struct soth_attr *attrs, struct soth_attr *out)
{
    size_t count = 0;
    canonical(list, attrs, out);
    for (size_t i = 0; i < list->n; i++)
        if (!event_attr_is_absent(&out[i]))
            out[count++] = out[i];
    return count;
}

/* ---- their shapes ---- */

/* Where the shape has what it is made of. */
static void find_places(struct list_shape *at, size_t n)
{
    const struct shape *shape = at->shape;
    memset(at->place, shape->count, n + 1);
    for (unsigned i = 0; i < shape->count; i++)
        at->place[shape->from[i]] = (uint8_t)i;
    for (unsigned k = 0; k < shape->text_count; k++)
        at->texts[at->text_count++] = shape->from[shape->texts[k]];
}

static __attribute__((noinline)) const struct shape *add_shape(struct bus_port_private *p, struct attr_list *list, struct list_shape *at,
                                                               uint64_t present, const struct soth_attr *attrs, const struct soth_attr *extra)
{
    struct soth_attr all[LIST_MOST + 1];
    canonical(list, attrs, all);
    all[list->n] = *extra;
    const struct shape *shape = shape_new(&p->made, all, list->n + 1);
    if (shape) {
        *at = (struct list_shape){.shape = shape, .extra = extra->name, .present = present};
        find_places(at, list->n);
        list->like = at;
    }
    return shape;
}

static uint64_t look_at_all(const struct soth_attr *attrs, size_t n, const struct soth_attr *extra, size_t *text)
{
    uint64_t present = 0;
    *text = 0;
    for (size_t i = 0; i <= n; i++) {
        const struct soth_attr *a = i < n ? &attrs[i] : extra;
        const unsigned is_absent = event_attr_is_absent(a);
        present = present << 1 | !is_absent;
        *text += is_absent || !event_type_is_text(a->type) ? 0 : a->text.n; /* what has no text may have any length */
    }
    return present;
}

const struct shape *list_shape(struct bus_port_private *p, struct attr_list *list, const struct soth_attr *attrs, const struct soth_attr *extra,
                               size_t *text)
{
    const uint64_t present = look_at_all(attrs, list->n, extra, text);
    if ((list->payload << 1 & present) || (event_type_is_text(extra->type) && (present & 1)))
        return NULL;
    struct list_shape *at = list->shapes, *end = at + LIST_SHAPES;
    for (; at < end && at->shape; at++)
        if (at->present == present && at->extra == extra->name) {
            list->like = at;
            return at->shape;
        }
    return at < end ? add_shape(p, list, at, present, attrs, extra) : NULL;
}

void attr_lists_free(struct attr_list *lists[SOTH_EV_COUNT])
{
    for (unsigned kind = 0; kind < SOTH_EV_COUNT; kind++)
        free(lists[kind]);
}
