/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Lists of attributes that a module's code has given before. A place in the code gives the same names time after time, literals nearly always:
 * those are in memory that nobody can write to, of an object that is never unloaded, so that the same pointer is the same name for good. Such
 * a list is checked once, and known again by its pointers and types.
 */
#include <link.h>
#include <stdlib.h>

#include "host/event/private.h"

#define LIST_MOST 32u /* attributes */

struct known_attr {
    const char *given, *name; /* as the module has it; our own */
    uint32_t type, name_len;
};

struct attr_list {
    size_t n; /* LIST_UNFIT: the first that came was not one to remember */
    struct known_attr v[LIST_MOST];
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
    if (n == 0 || n > LIST_MOST)
        return false;
    for (size_t i = 0; i < n; i++) {
        struct known_attr *known = &list->v[i];
        uint32_t place;
        known->given = attrs[i].name;
        known->type = attrs[i].type;
        known->name_len = attrs[i].name_len;
        known->name = event_attr_name(kind, attrs[i].name, &known->name_len, &place);
        if (!known->name || (known->type & ~EVENT_TYPES) || (given >> place & 1) || !is_constant(known->given))
            return false;
        given |= UINT64_C(1) << place;
    }
    list->n = n;
    return true;
}

/* -1: it is another list. */
static int copy_known(const struct attr_list *list, const struct soth_attr *attrs, size_t n, struct soth_attr *out)
{
    int count = 0;
    for (size_t i = 0; i < n; i++) {
        const struct soth_attr *a = &attrs[i];
        const struct known_attr *known = &list->v[i];
        if (a->name != known->given || a->type != known->type || (a->name_len && a->name_len != known->name_len))
            return -1;
        if (event_attr_is_absent(a))
            continue;
        out[count++] = (struct soth_attr){known->name, event_type_is_text(a->type) ? a->text : (struct soth_span){"", 0}, a->number, a->type,
                                          known->name_len};
    }
    return count;
}

/* Once for each kind: other lists of it are checked each time. */
static __attribute__((noinline)) int check_new(struct attr_list **place, uint32_t kind, const struct soth_attr *attrs, size_t n,
                                               struct soth_attr *out, unsigned *left_out)
{
    int count = event_attrs_check(kind, attrs, n, out, left_out);
    if (count >= 0 && n > 0 && !*place && (*place = malloc(sizeof **place)) && !learn(*place, kind, attrs, n))
        (*place)->n = LIST_UNFIT;
    return count;
}

int bus_attrs_check(struct bus_port *port, uint32_t kind, const struct soth_attr *attrs, size_t n, struct soth_attr *out, unsigned *left_out)
{
    if (kind >= SOTH_EV_COUNT)
        return -SOTH_EINVALID;
    struct attr_list **place = &port->private->lists[kind];
    int count = *place && (*place)->n == n ? copy_known(*place, attrs, n, out) : -1;
    return count >= 0 ? count : check_new(place, kind, attrs, n, out, left_out);
}

void attr_lists_free(struct attr_list *lists[SOTH_EV_COUNT])
{
    for (unsigned kind = 0; kind < SOTH_EV_COUNT; kind++)
        free(lists[kind]);
}
