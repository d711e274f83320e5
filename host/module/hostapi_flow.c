/* SPDX-License-Identifier: MPL-2.0 */
/* What a hook may do with its flow (soth/sdk.h). Everything takes effect in struct soth_flow, which whoever called the hook has set up. */
#include "host/module/hostapi.h"

#include <stdlib.h>
#include <string.h>

#include "host/chain/chain.h"
#include "host/flow/hook.h"
#include "host/http/connect.h"
#include "host/http/edit.h"
#include "host/module/instance.h"
#include "host/module/mailbox.h"

#define DEADLINE_MOST_MS 3600000u

/* ---- pauses ---- */

struct soth_token api_token(void *self, struct soth_flow *flow, uint32_t deadline_ms, uint32_t on_timeout)
{
    struct soth_token none = {0};
    (void)self;
    if (!flow->pause || flow->pause->state == PAUSE_TAKEN)
        return none; /* not a hook that may pause, or it has its token */
    if (!flow->generation && mailbox_enter(flow->mailbox, flow->owner, &flow->slot, &flow->generation) < 0)
        return none;
    struct pause *pause = flow->pause;
    struct soth_token token = {flow->slot, flow->generation, ++flow->pauses};
    if (!mailbox_expect(flow->mailbox, flow->slot, token.pause))
        return none;
    pause->state = PAUSE_TAKEN;
    pause->on_timeout = on_timeout != 0;
    pause->deadline_ms = deadline_ms == 0 ? 1 : deadline_ms < DEADLINE_MOST_MS ? deadline_ms : DEADLINE_MOST_MS;
    pause->token = token;
    return token;
}

int api_resumed(struct soth_flow *flow, uint64_t *arg)
{
    if (!flow->pause || flow->pause->state != PAUSE_RESUMED)
        return 0;
    *arg = flow->pause->arg;
    return 1;
}

/* ---- the flow ---- */

uint64_t api_flow_id(const struct soth_flow *flow)
{
    return flow->source->flow_id;
}

void *api_flow_state(struct soth_flow *flow)
{
    return flow->state;
}

static int emit_checked(void *self, struct soth_flow *flow, uint32_t kind, const struct soth_attr *attrs, size_t n)
{
    struct instance *instance = instance_of(self);
    struct soth_attr proper[EVENT_ATTRS_MOST];
    struct bus *bus = instance->registry->bus;
    unsigned left_out = 0;
    int count = event_attrs_check(kind, attrs, n, proper, &left_out);
    if (count < 0)
        return count;
    if (left_out)
        atomic_fetch_add_explicit(&instance->attrs_left_out, left_out, memory_order_relaxed);
    if (flow)
        flow->emit(flow, kind, proper, (size_t)count);
    else if (bus)
        bus_emit_system(bus, kind, proper, (size_t)count);
    return SOTH_OK;
}

int api_emit(void *self, struct soth_flow *flow, uint32_t kind, const struct soth_attr *attrs, size_t n)
{
    union soth_value values[EVENT_VALUES_MOST];
    uint64_t present;
    const struct form *form = flow && flow->emit_form ? bus_list_form(flow->bus, kind, attrs, n, values, &present) : NULL;
    if (!form)
        return emit_checked(self, flow, kind, attrs, n);
    flow->emit_form(flow, form, values, present);
    return SOTH_OK;
}

/* ---- forms ---- */

/* It is the author who reads this. */
static int refused(struct instance *instance, uint32_t kind, const struct soth_attr *attrs, size_t n, size_t bad, int error)
{
    const char *name = bad < n && attrs[bad].name ? attrs[bad].name : "";
    char text[256];
    if (error == -SOTH_EPERM)
        snprintf(text, sizeof text, "a form of %s: events of this kind are the host's alone", event_kind_name(kind));
    else if (!event_kind_name(kind)[0])
        snprintf(text, sizeof text, "a form of kind %u: there is no such kind of event", (unsigned)kind);
    else if (n == 0 || n > EVENT_VALUES_MOST)
        snprintf(text, sizeof text, "a form of %s with %zu attributes: it needs 1 to %u", event_kind_name(kind), n, EVENT_VALUES_MOST);
    else
        snprintf(text, sizeof text, "a form of %s: attribute %zu of %zu, \"%s\", is none of that kind, is there twice or has no known type",
                 event_kind_name(kind), bad + 1, n, name);
    if (error != -SOTH_ENOMEM && instance->errors) {
        options_error(instance->conf->document, "module", instance->errors, text);
        instance->told++;
    }
    return error;
}

int api_form(void *self, uint32_t kind, const struct soth_attr *attrs, size_t n)
{
    struct instance *instance = instance_of(self);
    const struct form *form;
    size_t bad;
    if (instance->created)
        return -SOTH_EPERM;
    int r = event_form(kind, attrs, n, &form, &bad);
    if (r < 0)
        return refused(instance, kind, attrs, n, bad, r);
    const struct form **bigger = realloc(instance->forms, (instance->form_count + 1) * sizeof *bigger);
    if (!bigger)
        return -SOTH_ENOMEM;
    instance->forms = bigger;
    instance->forms[instance->form_count] = form;
    return (int)instance->form_count++;
}

static int emit_attrs(void *self, struct soth_flow *flow, const struct form *form, const union soth_value *values, uint64_t present)
{
    struct soth_attr attrs[EVENT_ATTRS_MOST];
    size_t n = event_form_attrs(form, values, present, attrs);
    return emit_checked(self, flow, event_form_kind(form), attrs, n);
}

int api_emit_form(void *self, struct soth_flow *flow, int form, const union soth_value *values, uint64_t present)
{
    const struct instance *instance = instance_of(self);
    if ((unsigned)form >= instance->form_count)
        return -SOTH_EINVALID;
    if (!flow || !flow->emit_form)
        return emit_attrs(self, flow, instance->forms[form], values, present);
    flow->emit_form(flow, instance->forms[form], values, present);
    return SOTH_OK;
}

int api_wanted(const struct soth_flow *flow, uint32_t kind)
{
    int bits = 0;
    if (kind >= SOTH_EV_COUNT)
        return 0;
    if (bus_wants(flow->bus, kind))
        bits = bus_captures(flow->bus, kind) ? SOTH_WANTED_EVENT | SOTH_WANTED_PAYLOAD : SOTH_WANTED_EVENT;
    return chain_is_judged(flow) ? bits | SOTH_WANTED_FRAME : bits;
}

uint64_t api_payload_most(const struct soth_flow *flow, uint32_t kind)
{
    return kind < SOTH_EV_COUNT ? bus_payload(flow->bus, kind) : 0;
}

void api_protocol(struct soth_flow *flow, uint32_t protocol)
{
    if (protocol <= SOTH_PROTO_STREAMABLE_HTTP)
        chain_tell_protocol(flow, (uint16_t)protocol);
}

uint64_t api_unix_ms(const struct soth_flow *flow)
{
    return flow->bus->unix_ms;
}

uint64_t api_flow_ns(const struct soth_flow *flow)
{
    return flow->bus->monotonic_ns;
}

void api_ended(struct soth_flow *flow, const char *why)
{
    flow->over = true;
    flow->over_why = why;
}

/* ---- the head at hand ---- */

static const struct message *current(const struct soth_flow *flow)
{
    return flow->edit && *flow->edit ? head_edit_message(*flow->edit) : flow->message;
}

struct soth_span api_hdr_get(struct soth_flow *flow, const char *name, uint32_t nth)
{
    const struct message *msg = current(flow);
    return msg ? message_field(msg, name, nth) : (struct soth_span){NULL, 0};
}

/* The head that may be changed, copied at the first change. */
static struct head_edit *edit(struct soth_flow *flow, int *error)
{
    *error = flow->message && flow->edit ? -SOTH_ENOMEM : -SOTH_EUNSUPPORTED;
    if (!flow->message || !flow->edit)
        return NULL;
    if (!*flow->edit)
        *flow->edit = head_edit_new(flow->message);
    return *flow->edit;
}

int api_hdr_set(struct soth_flow *flow, const char *name, struct soth_span value)
{
    int error;
    struct head_edit *head = edit(flow, &error);
    return head ? head_edit_set(head, name, value) : error;
}

int api_hdr_add(struct soth_flow *flow, const char *name, struct soth_span value)
{
    int error;
    struct head_edit *head = edit(flow, &error);
    return head ? head_edit_add(head, name, value) : error;
}

int api_hdr_del(struct soth_flow *flow, const char *name)
{
    int error;
    struct head_edit *head = edit(flow, &error);
    return head ? head_edit_del(head, name) : error;
}

/* ---- the target ---- */

static int wish_host(struct target_wish *wish, struct soth_span host)
{
    struct target target;
    const char *detail;
    if (target_parse(host, true, 1, &target, &detail) != CONNECT_OK)
        return -SOTH_EINVALID;
    memcpy(wish->host, target.host, target.host_len + 1);
    wish->host_len = target.host_len;
    return SOTH_OK;
}

static int wish_path(struct target_wish *wish, struct soth_span path)
{
    if (path.p[0] != '/')
        return -SOTH_EINVALID;
    for (size_t i = 0; i < path.n; i++)
        if ((unsigned char)path.p[i] <= ' ' || (unsigned char)path.p[i] >= 0x7f || path.p[i] == '#')
            return -SOTH_EINVALID;
    free(wish->path);
    wish->path = strndup(path.p, path.n);
    return wish->path ? SOTH_OK : -SOTH_ENOMEM;
}

int api_set_target(struct soth_flow *flow, struct soth_span host, uint32_t port, struct soth_span path)
{
    struct target_wish *wish = flow->wish;
    int r = SOTH_OK;
    if (!wish || (path.n && !flow->message))
        return -SOTH_EUNSUPPORTED;
    if (port > 65535)
        return -SOTH_EINVALID;
    if (host.n)
        r = wish_host(wish, host);
    if (r == SOTH_OK && path.n)
        r = wish_path(wish, path);
    if (r < 0)
        return r;
    if (port)
        wish->port = (uint16_t)port;
    wish->any = true;
    return SOTH_OK;
}
