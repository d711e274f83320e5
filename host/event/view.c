/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Events are shared by all sinks, payload included. A sink gets a copy of the struct and its attributes, made on its own thread, that
 * leaves out and cuts what it has not asked for; the bytes themselves stay where they are.
 */
#include <stdlib.h>
#include <string.h>

#include "host/event/private.h"

#define FLAGS (SOTH_ATTR_PAYLOAD | SOTH_ATTR_FULL | EVENT_ATTR_WHOLE)

bool view_cut(const struct soth_attr *attr, uint64_t payload, struct soth_span *text)
{
    uint32_t type = attr->type & ~FLAGS;
    bool is_text = type == SOTH_ATTR_TEXT || type == SOTH_ATTR_BYTES;
    *text = attr->text;
    if (!(attr->type & FLAGS) || payload == BUS_PAYLOAD_FULL)
        return true;
    if (payload == 0 || (attr->type & SOTH_ATTR_FULL))
        return false;
    if (!is_text || (attr->type & EVENT_ATTR_WHOLE))
        return true;
    if (attr->number >= payload)
        return false;
    if (text->n > payload - attr->number)
        text->n = (size_t)(payload - attr->number);
    return true;
}

static size_t rounded(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

size_t view_size(const struct queued *q)
{
    return q->flagged ? rounded(sizeof q->event + q->event.attr_count * sizeof *q->event.attrs) : 0;
}

bool views_reserve(struct views *views, size_t size)
{
    views->used = 0;
    if (size <= views->size)
        return true;
    char *bigger = malloc(size);
    if (!bigger)
        return false;
    free(views->memory);
    views->memory = bigger;
    views->size = size;
    return true;
}

/* Of a pair the second is for those who get everything. */
static bool has_fuller_twin(const struct soth_event *event, uint32_t i)
{
    const struct soth_attr *a = &event->attrs[i], *b = a + 1;
    return i + 1 < event->attr_count && (b->type & SOTH_ATTR_FULL) && a->name_len == b->name_len && memcmp(a->name, b->name, a->name_len) == 0;
}

const struct soth_event *view_make(struct views *views, const struct queued *q, uint64_t payload)
{
    if (!q->flagged)
        return &q->event;
    struct soth_event *view = (struct soth_event *)(void *)(views->memory + views->used);
    struct soth_attr *attrs = (struct soth_attr *)(void *)(view + 1);
    uint32_t count = 0;
    for (uint32_t i = 0; i < q->event.attr_count; i++) {
        struct soth_attr attr = q->event.attrs[i];
        if (!view_cut(&attr, payload, &attr.text) || (payload == BUS_PAYLOAD_FULL && has_fuller_twin(&q->event, i)))
            continue;
        attr.type &= ~FLAGS;
        attrs[count++] = attr;
    }
    *view = q->event;
    view->attrs = attrs;
    view->attr_count = count;
    views->used += view_size(q);
    return view;
}
