/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A connection of HTTP/2 and its streams, each a flow. None is stepped inside another's step: who has something for another calls it, and
 * the driver steps those who were called, one after the other, in the order of the calls.
 */
#include <string.h>

#include "host/flow/stream.h"

/* ---- who is called ---- */

void family_call(struct flow *flow)
{
    struct flow_env *env = flow->env;
    if (flow->is_due)
        return;
    flow->is_due = true;
    flow->due_next = NULL;
    flow->due_previous = env->due_last;
    if (env->due_last)
        env->due_last->due_next = flow;
    else
        env->due_first = flow;
    env->due_last = flow;
}

static void uncall(struct flow *flow)
{
    struct flow_env *env = flow->env;
    if (!flow->is_due)
        return;
    flow->is_due = false;
    if (flow->due_previous)
        flow->due_previous->due_next = flow->due_next;
    else
        env->due_first = flow->due_next;
    if (flow->due_next)
        flow->due_next->due_previous = flow->due_previous;
    else
        env->due_last = flow->due_previous;
}

struct flow *flow_take_due(struct flow_env *env)
{
    struct flow *flow = env->due_first;
    if (flow)
        uncall(flow);
    return flow;
}

void *flow_owner(const struct flow *flow)
{
    return flow->hooks.owner;
}

void flow_adopt(struct flow *flow, uint64_t id, void *owner)
{
    flow->source.flow_id = id;
    flow->hooks.owner = owner;
}

void family_call_waiting(struct flow *flow)
{
    for (struct flow *child = flow->children; child; child = child->elder)
        if (child->waits_line)
            family_call(child);
}

void family_call_jammed(struct flow *flow, enum side side)
{
    for (struct flow *child = flow->children; child; child = child->elder)
        if (strand_waits(child, side == SIDE_CLIENT ? SIDE_ORIGIN : SIDE_CLIENT))
            family_call(child);
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
    if (!parent->proxy_requests) {
        child->source.server_host = (struct soth_span){child->target.host, child->target.host_len};
        child->source.server_port = child->target.port;
    }
    return (!parent->sni || (child->sni = strdup(parent->sni))) && (!parent->named || (child->named = strdup(parent->named)));
}

struct flow *family_birth(struct flow *parent, int32_t id)
{
    struct flow_origin_of what = {.client = parent->client_text, .client_addr = parent->client_addr, .listen = parent->listen};
    struct flow *child = flow_new(parent->env, &what);
    if (!child)
        return NULL;
    child->is_stream = true;
    child->stream_id = id;
    child->client.open = false;
    child->parent = parent;
    child->elder = parent->children;
    if (parent->children)
        parent->children->younger = child;
    parent->children = child;
    if (inherit(child, parent) && strand_open(child, SIDE_CLIENT, parent, id))
        return child;
    flow_forget(child);
    return NULL;
}

static void unlink_child(struct flow *flow)
{
    struct flow *parent = flow->parent;
    if (flow->younger)
        flow->younger->elder = flow->elder;
    else
        parent->children = flow->elder;
    if (flow->elder)
        flow->elder->younger = flow->younger;
    flow->parent = flow->younger = flow->elder = NULL;
    h2_stream_gone(parent);
}

void family_orphan(struct flow *flow)
{
    for (struct flow *child = flow->children; child; child = child->elder)
        family_call(child);
}

void family_leave(struct flow *flow)
{
    while (flow->children) { /* it is freed before them: they have nobody to speak to any more */
        struct flow *child = flow->children;
        for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN; side++)
            if (child->strand[side] && child->strand[side]->line == flow) {
                child->strand[side]->line = NULL;
                child->strand[side]->id = 0;
            }
        flow->children = child->elder;
        child->parent = child->younger = child->elder = NULL;
        if (flow->children)
            flow->children->younger = NULL;
    }
    if (flow->parent)
        unlink_child(flow);
    uncall(flow);
}
