/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Events are shared by all sinks, payload included. A sink gets a struct of each and its attributes, made on its own thread, that leave out
 * and cut what it has not asked for; the bytes themselves stay where they are.
 */
#include <assert.h>
#include <string.h>
#include <sys/mman.h>

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

#define VIEWS_SIZE (BATCH * VIEW_MOST)

void views_free(struct views *views)
{
    if (views->memory)
        munmap(views->memory, VIEWS_SIZE);
    views->memory = NULL;
}

/* Mapped, so that all of it can be given back. */
bool views_begin(struct views *views)
{
    views->used = 0;
    if (views->memory)
        return true;
    void *memory = mmap(NULL, VIEWS_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    views->memory = memory == MAP_FAILED ? NULL : memory;
    return views->memory != NULL;
}

/* Of a pair the second is for those who get everything. */
static bool has_fuller_twin(const struct queued *q, uint32_t i)
{
    const struct soth_attr *a = &queued_attrs(q)[i], *b = a + 1;
    return i + 1u < q->attr_count && (b->type & SOTH_ATTR_FULL) && a->name_len == b->name_len && memcmp(a->name, b->name, a->name_len) == 0;
}

static uint32_t admitted(const struct queued *q, uint64_t payload, struct soth_attr *to)
{
    uint32_t count = 0;
    assert(q->attr_count <= EVENT_ATTRS_MOST + 1);
    for (uint32_t i = 0; i < q->attr_count; i++) {
        struct soth_attr attr = queued_attrs(q)[i];
        if (!view_cut(&attr, payload, &attr.text) || (payload == BUS_PAYLOAD_FULL && has_fuller_twin(q, i)))
            continue;
        attr.type &= ~FLAGS;
        to[count++] = attr;
    }
    return count;
}

/* Without flags its attributes are seen as they are, and need no room. */
static __attribute__((noinline)) void fill_unshaped(struct views *views, const struct queued *q, uint64_t payload, struct soth_event *view)
{
    if (q->flagged) {
        view->attr_count = admitted(q, payload, (struct soth_attr *)(void *)(view + 1));
    } else {
        view->attrs = queued_attrs(q);
        views->used -= VIEW_SIZE(q->attr_count) - VIEW_SIZE(0u);
    }
}

/* Numbers first, as if all were: of a text it is its length, of a word where it is. */
static inline void fill_shape(const struct shape *shape, const uint64_t *values, const char *texts, struct soth_attr *to)
{
    for (unsigned i = 0; i < shape->count; i++) { /* so few that a call of memcpy takes longer */
        to[i] = shape->attrs[i];
        to[i].number = values[i];
    }
    for (unsigned k = 0; k < shape->text_count; k++) {
        struct soth_attr *attr = &to[shape->texts[k]];
        attr->text = (struct soth_span){texts, (size_t)attr->number};
        attr->number = 0;
        texts += attr->text.n;
    }
    for (unsigned k = 0; k < shape->word_count; k++) {
        struct soth_attr *attr = &to[shape->words[k]];
        attr->text = *(const struct soth_span *)(uintptr_t)attr->number;
        attr->number = 0;
    }
}

static struct soth_span take_name(const char **at, uint16_t n)
{
    struct soth_span name = {n == QUEUED_ABSENT ? NULL : *at, n == QUEUED_ABSENT ? 0 : n};
    *at += name.n;
    return name;
}

const struct soth_event *view_make(struct views *views, const struct queued *q, uint64_t payload)
{
    struct soth_event *view = (struct soth_event *)(void *)(views->memory + views->used);
    struct soth_attr *attrs = (struct soth_attr *)(void *)(view + 1);
    const uint64_t *values = (const uint64_t *)(const void *)(q + 1);
    const struct queued_source *source = q->source;
    const char *name = source->names;
    views->used += VIEW_SIZE(q->attr_count);
    const struct soth_span client = take_name(&name, source->client_n), host = take_name(&name, source->host_n);
    *view = (struct soth_event){ /* all of it: zeroing first takes longer than this */
        .size = sizeof *view, .kind = q->kind, .protocol = q->protocol, .sequence_id = q->sequence_id, .flow_id = source->flow_id,
        .flow_sequence_id = q->flow_sequence_id, .parent_flow_id = source->parent_flow_id, .monotonic_ns = q->monotonic_ns, .unix_ms = q->unix_ms,
        .kind_name = event_kind_names[q->kind], .protocol_name = event_protocol_names[q->protocol], .run_id = views->run_id,
        .client_addr = client, .server_host = host, .server_port = source->server_port, .attr_count = q->attr_count,
        .attrs = attrs, .shape = q->shape,
    };
    if (q->shape)
        fill_shape(q->shape, values, (const char *)(values + q->attr_count), attrs);
    else
        fill_unshaped(views, q, payload, view);
    return view;
}
