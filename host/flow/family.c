/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A connection of HTTP/2 and its streams, each a flow. None is stepped inside another's step: who has something for another calls it, and
 * the driver steps those who were called, one after the other, in the order of the calls.
 */
#include <string.h>

#include "host/flow/stream.h"

/* ---- who is called ---- */

void family_call_kin(struct flow_env *env, struct kin *kin)
{
    if (kin->is_due)
        return;
    kin->is_due = true;
    kin->due_next = NULL;
    kin->due_previous = env->due_last;
    if (env->due_last)
        env->due_last->due_next = kin;
    else
        env->due_first = kin;
    env->due_last = kin;
}

void family_call(struct flow *flow)
{
    family_call_kin(flow->env, &flow->kin);
}

static void uncall(struct flow_env *env, struct kin *kin)
{
    if (!kin->is_due)
        return;
    kin->is_due = false;
    if (kin->due_previous)
        kin->due_previous->due_next = kin->due_next;
    else
        env->due_first = kin->due_next;
    if (kin->due_next)
        kin->due_next->due_previous = kin->due_previous;
    else
        env->due_last = kin->due_previous;
}

struct flow *family_awake(struct kin *kin)
{
    return kin->rests ? NULL : (struct flow *)(void *)kin;
}

struct flow *flow_take_due(struct flow_env *env)
{
    struct kin *kin;
    struct flow *flow = NULL;
    while (!flow && (kin = env->due_first)) {
        uncall(env, kin);
        flow = kin->rests ? rest_wake(kin) : family_awake(kin);
    }
    return flow;
}

void *flow_owner(const struct flow *flow)
{
    return flow->hooks.owner;
}

void flow_adopt(struct flow *flow, uint64_t id, void *owner)
{
    flow->source.flow_id = flow->source.flow_id ? flow->source.flow_id : id;
    flow->hooks.owner = owner;
}

/* In the order in which they came: that is the order in which they are sent. */
void family_call_waiting(struct flow *flow)
{
    struct kin *kin = flow->children;
    while (kin && kin->elder)
        kin = kin->elder;
    for (; kin; kin = kin->younger) {
        struct flow *child = family_awake(kin);
        if (child && child->waits_line)
            family_call(child);
    }
}

void family_call_jammed(struct flow *flow, enum side side)
{
    for (struct kin *kin = flow->children; kin; kin = kin->elder) {
        struct flow *child = family_awake(kin);
        if (child && strand_waits(child, side == SIDE_CLIENT ? SIDE_ORIGIN : SIDE_CLIENT))
            family_call(child);
    }
}

/* ---- birth and death ---- */

/* What a stream has from its connection: whose it is, where it goes and what was decided about it. */
static bool inherit(struct flow *child, const struct flow *parent)
{
    child->source.parent_flow_id = parent->source.flow_id;
    child->source.protocol = SOTH_PROTO_HTTP2;
    child->proxy_requests = parent->proxy_requests;
    child->origin_tls = parent->origin_tls;
    child->draining = parent->draining;
    child->target = parent->target;
    child->verdict = parent->verdict;
    child->refusal = parent->refusal;
    if (!parent->proxy_requests)
        flow_tell_target(child);
    return (!parent->sni || (child->sni = strdup(parent->sni))) && (!parent->named || (child->named = strdup(parent->named)));
}

struct flow *family_make(struct flow *parent, int32_t id)
{
    struct flow_origin_of what = {.client = parent->client_text, .client_addr = parent->client_addr, .listen = parent->listen};
    struct flow *child = flow_new(parent->env, &what);
    if (!child)
        return NULL;
    child->is_stream = true;
    child->stream_id = id;
    child->client.open = false;
    if (inherit(child, parent))
        return child;
    flow_forget(child);
    return NULL;
}

void family_join(struct flow *parent, struct kin *kin)
{
    kin->parent = parent;
    kin->elder = parent->children;
    if (parent->children)
        parent->children->younger = kin;
    parent->children = kin;
    parent->child_count++;
}

/* Takes the other one's places. */
void family_replace(struct kin *old, struct kin *kin)
{
    struct flow_env *env = old->parent->env;
    kin->parent = old->parent;
    kin->younger = old->younger;
    kin->elder = old->elder;
    *(kin->younger ? &kin->younger->elder : &kin->parent->children) = kin;
    if (kin->elder)
        kin->elder->younger = kin;
    if (!old->is_due)
        return;
    kin->is_due = true;
    kin->due_next = old->due_next;
    kin->due_previous = old->due_previous;
    *(kin->due_previous ? &kin->due_previous->due_next : &env->due_first) = kin;
    *(kin->due_next ? &kin->due_next->due_previous : &env->due_last) = kin;
}

void family_part(struct kin *kin)
{
    struct flow *parent = kin->parent;
    uncall(parent->env, kin);
    *(kin->younger ? &kin->younger->elder : &parent->children) = kin->elder;
    if (kin->elder)
        kin->elder->younger = kin->younger;
    kin->parent = NULL;
    kin->younger = kin->elder = NULL;
    parent->child_count--;
    if (!parent->children)
        parent->rest_ns = 0;
    h2_stream_gone(parent);
}

void family_orphan(struct flow *flow)
{
    for (struct kin *kin = flow->children; kin; kin = kin->elder)
        family_call_kin(flow->env, kin);
}

/* It is freed before one of its streams, which has nobody to speak to any more. */
static void abandon(struct flow *flow, struct flow *child)
{
    for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN; side++)
        if (child->strand[side] && child->strand[side]->line == flow) {
            child->strand[side]->line = NULL;
            child->strand[side]->id = 0;
        }
    flow->child_count--;
    flow->children = child->elder;
    child->parent = NULL;
    child->younger = child->elder = NULL;
    if (flow->children)
        flow->children->younger = NULL;
}

void family_leave(struct flow *flow)
{
    while (flow->children) {
        if (flow->children->rests)
            rest_end(flow->children, CLOSE_RELAY_EOF, NULL);
        else
            abandon(flow, family_awake(flow->children));
    }
    uncall(flow->env, &flow->kin);
    if (flow->parent)
        family_part(&flow->kin);
}
