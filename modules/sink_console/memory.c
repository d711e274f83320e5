/* SPDX-License-Identifier: MPL-2.0 */
/* See console.h. */
#include <stddef.h>
#include <stdlib.h>

#include "console.h"
#include "text.h"

#define SLOTS 8192u /* flows remembered at once */

void memory_drop_reply(struct exchange *x)
{
    free(x->reply);
    x->reply = NULL;
}

static void free_exchange(struct exchange *x)
{
    if (!x)
        return;
    memory_drop_reply(x);
    free(x->blocked);
    free(x);
}

int memory_init(struct console *self)
{
    self->slots = calloc(SLOTS, sizeof *self->slots);
    return self->slots ? SOTH_OK : -SOTH_ENOMEM;
}

void memory_fini(struct console *self)
{
    for (size_t i = 0; self->slots && i < SLOTS; i++)
        free_exchange(self->slots[i]);
    free(self->slots);
}

struct exchange *memory_put(struct console *self, uint64_t flow_id, size_t words)
{
    struct exchange **slot = &self->slots[flow_id % SLOTS];
    if (*slot && (*slot)->flow_id != flow_id) {
        free_exchange(*slot);
        *slot = NULL;
    }
    struct exchange *x = realloc(*slot, offsetof(struct exchange, words) + words);
    if (x && !*slot) {
        memset(x, 0, offsetof(struct exchange, words));
        x->flow_id = flow_id;
    }
    if (x)
        *slot = x;
    return x;
}

struct exchange *memory_get(struct console *self, uint64_t flow_id)
{
    struct exchange *x = self->slots[flow_id % SLOTS];
    return x && x->flow_id == flow_id ? x : NULL;
}

void memory_drop(struct console *self, uint64_t flow_id)
{
    if (!memory_get(self, flow_id))
        return;
    free_exchange(self->slots[flow_id % SLOTS]);
    self->slots[flow_id % SLOTS] = NULL;
}

struct place place_of_event(struct console *self, const struct soth_event *e)
{
    text_clean(self->peer, sizeof self->peer, e->server_host);
    return (struct place){self->peer, "", e->server_port, e->protocol == SOTH_PROTO_TUNNEL || e->server_port == 443};
}

struct place place_of_exchange(const struct exchange *x)
{
    return (struct place){x->words + x->host_at, x->words + x->target_at, x->port, x->secure};
}
