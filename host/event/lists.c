/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Lists of attributes that a module's code has given before. A place in the code gives the same names time after time, literals nearly always:
 * those are in memory that nobody can write to, of an object that is never unloaded, so that the same pointer is the same name for good. Such
 * a list is checked once, is a form from then on, and is known again by its pointers and types.
 */
#include <link.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "host/event/private.h"

_Static_assert(offsetof(struct soth_attr, name_len) == offsetof(struct soth_attr, type) + 4, "they are compared at once");

struct attr_list {
    size_t n; /* LIST_UNFIT: the first that came was not one to remember */
    const struct form *form;
    struct known_attr {
        const char *given; /* the name, as the module has it */
        uint64_t tail;     /* type and name_len, as the module has them */
    } v[FORM_MOST];
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

static inline uint64_t tail_of(const struct soth_attr *attr)
{
    uint64_t both;
    memcpy(&both, &attr->type, sizeof both);
    return both;
}

static bool learn(struct attr_list *list, uint32_t kind, const struct soth_attr *attrs, size_t n)
{
    size_t bad;
    if (n > FORM_MOST)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!is_constant(attrs[i].name) || (attrs[i].type & SOTH_ATTR_WORD))
            return false;
        list->v[i] = (struct known_attr){attrs[i].name, tail_of(&attrs[i])};
    }
    if (event_form(kind, attrs, n, &list->form, &bad) < 0)
        return false;
    list->n = n;
    return true;
}

/* In one pass, whether it is the list, and its values. No branch: it is nearly always. */
static inline bool is_list(const struct attr_list *list, const struct soth_attr *attrs, size_t n, union soth_value *values, uint64_t *present)
{
    uint64_t differs = 0, there = 0;
    if (list->n != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct known_attr *known = &list->v[i];
        const struct soth_attr *a = &attrs[i];
        differs |= ((uintptr_t)a->name ^ (uintptr_t)known->given) | (tail_of(a) ^ known->tail);
        there |= (uint64_t)(a->text.p != NULL) << i;
        if (list->form->texts >> i & 1)
            values[i].text = &a->text;
        else
            values[i].number = a->number;
    }
    *present = there;
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
    return port->private->lists[kind] = list;
}

const struct form *bus_list_form(struct bus_port *port, uint32_t kind, const struct soth_attr *attrs, size_t n,
                                 union soth_value values[EVENT_VALUES_MOST], uint64_t *present)
{
    if (kind >= SOTH_EV_COUNT)
        return NULL;
    struct attr_list *list = port->private->lists[kind];
    if (!list && !(list = first_list(port, kind, attrs, n)))
        return NULL;
    if (!is_list(list, attrs, n, values, present))
        return NULL;
    return (*present & list->form->payload) && bus_captures(port, kind) ? NULL : list->form; /* where in its message a content is no value says */
}

void attr_lists_free(struct attr_list *lists[SOTH_EV_COUNT])
{
    for (unsigned kind = 0; kind < SOTH_EV_COUNT; kind++)
        free(lists[kind]);
}
