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

#define LIST_MOST 32u /* attributes */

struct known_attr {
    const char *given, *name;       /* as the module has it; our own */
    struct {
        uint32_t type, name_len;    /* as the module has them: a length of 0 is strlen */
    } tail;
    uint32_t name_len;
    uint64_t text_mask, number_bit; /* of a text: all bits, none; of a number: none, one */
};
_Static_assert(offsetof(struct soth_attr, name_len) == offsetof(struct soth_attr, type) + 4, "they are compared at once");

#define LIST_SHAPES 4u
struct attr_list {
    size_t n; /* LIST_UNFIT: the first that came was not one to remember */
    struct known_attr v[LIST_MOST];
    uint64_t payload; /* bit per attribute: a sink may see less of it */
    uint64_t absent;  /* of the values that came last: bit per attribute that is not there; */
    size_t text;      /* bytes of the texts that are */
    struct list_shape {
        uint64_t absent; /* bit per attribute that is not there; the host's own is the one behind the last */
        const char *extra;
        const struct shape *shape; /* NULL: none yet */
    } shapes[LIST_SHAPES];
};
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

/* Whatever values they have: is each a name of the kind, given once, with a type that there is? */
static bool learn(struct attr_list *list, uint32_t kind, const struct soth_attr *attrs, size_t n)
{
    uint64_t given = 0;
    if (n > LIST_MOST)
        return false;
    for (size_t i = 0; i < n; i++) {
        struct known_attr *known = &list->v[i];
        uint32_t place;
        known->given = attrs[i].name;
        known->tail.type = attrs[i].type;
        known->tail.name_len = known->name_len = attrs[i].name_len;
        known->text_mask = event_type_is_text(attrs[i].type) ? UINT64_MAX : 0;
        known->number_bit = !event_type_is_text(attrs[i].type);
        known->name = event_attr_name(kind, attrs[i].name, &known->name_len, &place);
        if (!known->name || (known->tail.type & ~EVENT_TYPES) || (given >> place & 1) || !is_constant(known->given))
            return false;
        given |= UINT64_C(1) << place;
        list->payload |= (uint64_t)((known->tail.type & EVENT_FLAGGED) != 0) << i;
    }
    list->n = n;
    return true;
}

static inline uint64_t tail_of(const uint32_t *type)
{
    uint64_t both;
    memcpy(&both, type, sizeof both);
    return both;
}

/* In one pass, whether it is the list and what there is of its values (event_attr_is_absent, for types that are known). No branch: it is the
 * right one nearly always. */
static inline bool is_list(struct attr_list *list, const struct soth_attr *attrs, size_t n)
{
    uint64_t differs = 0, absent = 0;
    size_t text = 0;
    if (list->n != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct known_attr *known = &list->v[i];
        const struct soth_attr *a = &attrs[i];
        const uint64_t is_absent = (uint64_t)(a->text.p == NULL) | (uint64_t)((a->text.n | known->number_bit) == 0);
        differs |= ((uintptr_t)a->name ^ (uintptr_t)known->given) | (tail_of(&a->type) ^ tail_of(&known->tail.type));
        absent |= is_absent << i;
        text += a->text.n & known->text_mask & (is_absent - 1); /* what has no text may have any length */
    }
    list->absent = absent;
    list->text = text;
    return differs == 0;
}

/* Once for each kind: other lists of it are checked each time. */
static __attribute__((noinline)) struct attr_list *list_new(uint32_t kind, const struct soth_attr *attrs, size_t n)
{
    struct attr_list *list = calloc(1, sizeof *list);
    if (list && !learn(list, kind, attrs, n))
        list->n = LIST_UNFIT;
    return list;
}

struct attr_list *bus_attr_list(struct bus_port *port, uint32_t kind, const struct soth_attr *attrs, size_t n)
{
    if (kind >= SOTH_EV_COUNT)
        return NULL;
    struct attr_list **place = &port->private->lists[kind];
    if (!*place && n > 0 && event_attrs_may(kind))
        *place = list_new(kind, attrs, n);
    return *place && is_list(*place, attrs, n) ? *place : NULL;
}

/* With names of our own, and without texts of numbers; in the same places. */
static void canonical(const struct attr_list *list, const struct soth_attr *attrs, size_t n, struct soth_attr *out)
{
    for (size_t i = 0; i < n; i++) {
        const struct soth_attr *a = &attrs[i];
        const bool keep = event_type_is_text(a->type) || event_attr_is_absent(a);
        out[i] = (struct soth_attr){list->v[i].name, keep ? a->text : (struct soth_span){"", 0}, a->number, a->type, list->v[i].name_len};
    }
}

size_t bus_list_copy(const struct attr_list *list, const struct soth_attr *attrs, size_t n, struct soth_attr *out)
{
    size_t count = 0;
    canonical(list, attrs, n, out);
    for (size_t i = 0; i < n; i++)
        if (!event_attr_is_absent(&out[i]))
            out[count++] = out[i];
    return count;
}

/* ---- their shapes ---- */

static __attribute__((noinline)) const struct shape *add_shape(struct bus_port_private *p, struct attr_list *list, struct list_shape *place,
                                                               uint64_t absent, const struct soth_attr *attrs, size_t n,
                                                               const struct soth_attr *extra)
{
    struct soth_attr all[LIST_MOST + 1];
    canonical(list, attrs, n, all);
    all[n] = *extra;
    const struct shape *shape = shape_new(&p->made, all, n + 1);
    if (shape)
        *place = (struct list_shape){absent, extra->name, shape};
    return shape;
}

const struct shape *list_shape(struct bus_port_private *p, struct attr_list *list, const struct soth_attr *attrs, size_t n,
                               const struct soth_attr *extra, size_t *text)
{
    const uint64_t absent = list->absent | (uint64_t)event_attr_is_absent(extra) << n;
    *text = list->text + extra->text.n;
    if (list->payload & ~absent)
        return NULL;
    struct list_shape *at = list->shapes, *end = at + LIST_SHAPES;
    for (; at < end && at->shape; at++)
        if (at->absent == absent && at->extra == extra->name)
            return at->shape;
    return at < end ? add_shape(p, list, at, absent, attrs, n, extra) : NULL;
}

void attr_lists_free(struct attr_list *lists[SOTH_EV_COUNT])
{
    for (unsigned kind = 0; kind < SOTH_EV_COUNT; kind++)
        free(lists[kind]);
}
