/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The shapes of events. What a place in the code emits has the same attributes time after time: their names, types and order are kept once
 * and events have the values alone, which is a third of the memory that goes from a worker's core to a sink's.
 */
#include <stdlib.h>
#include <string.h>

#include "host/event/private.h"

bool event_attr_is_before(const struct soth_attr *a, const struct soth_attr *b)
{
    size_t n = a->name_len < b->name_len ? a->name_len : b->name_len;
    int order = memcmp(a->name, b->name, n);
    return order ? order < 0 : a->name_len < b->name_len;
}

/* Behind those of the same name: a pair stays in its order. */
static void insert(struct shape *shape, const struct soth_attr *attr, uint8_t from)
{
    unsigned k = shape->count++;
    for (; k > 0 && event_attr_is_before(attr, &shape->attrs[k - 1]); k--) {
        shape->attrs[k] = shape->attrs[k - 1];
        shape->from[k] = shape->from[k - 1];
    }
    shape->attrs[k] = (struct soth_attr){attr->name, {"", 0}, 0, attr->type & ~(uint32_t)SOTH_ATTR_WORD, attr->name_len};
    shape->from[k] = from;
}

struct shape *shape_new(struct shape **made, const struct soth_attr *attrs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!event_attr_is_absent(&attrs[i]) && (attrs[i].type & EVENT_FLAGGED))
            return NULL;
    struct shape *shape = n <= EVENT_ATTRS_MOST + 1 ? calloc(1, sizeof *shape + n * sizeof *shape->attrs) : NULL;
    if (!shape)
        return NULL;
    shape->given = (uint8_t)n;
    for (size_t i = 0; i < n; i++) {
        shape->keys[i] = (struct shape_key){attrs[i].name, !event_type_is_text(attrs[i].type), attrs[i].type, event_attr_is_absent(&attrs[i])};
        if (!event_attr_is_absent(&attrs[i]))
            insert(shape, &attrs[i], (uint8_t)i);
    }
    for (unsigned i = 0; i < shape->count; i++) {
        if (attrs[shape->from[i]].type & SOTH_ATTR_WORD)
            shape->words[shape->word_count++] = (uint8_t)i;
        else if (event_type_is_text(shape->attrs[i].type))
            shape->texts[shape->text_count++] = (uint8_t)i;
    }
    shape->key = event_key_of(shape->attrs, shape->count);
    shape->next = *made;
    *made = shape;
    return shape;
}

void shapes_free(struct shape *shapes)
{
    while (shapes) {
        struct shape *next = shapes->next;
        free(shapes);
        shapes = next;
    }
}
