/* SPDX-License-Identifier: MPL-2.0 */
/* See flow_driver.h: the policy that a driver has instead of the registry, and what it remembers of its decisions for the promises. */
#include "flow_driver_private.h"

#include <stdio.h>

#include "host/event/private.h"
#include "host/flow/parts.h"

static void decide_connect(struct driver *d, const struct soth_connect *connect, struct verdict *out)
{
    *out = d->policy.target;
    if (connect->has_hello)
        out->needs_hello = false;
    if (d->policy.blocked && soth_span_is(connect->host, d->policy.blocked))
        *out = (struct verdict){.action = SOTH_BLOCK, .reason = "blocked_host", .policy_module = "test"};
}

static void note_connect(struct driver *d, const struct soth_connect *connect, const struct verdict *v)
{
    if (connect->identity != SOTH_ID_TARGET)
        return;
    d->refused = false;
    d->cleared[0] = 0;
    if (v->action != SOTH_BLOCK && !v->needs_hello)
        snprintf(d->cleared, sizeof d->cleared, "%.*s:%u", SOTH_SPAN(connect->host), connect->port);
}

/* It waits for driver_resume or its deadline, which blocks. */
static bool pauses(struct driver *d, struct soth_flow *flow, struct ask *ask)
{
    if (ask->pause.state == PAUSE_NONE && d->policy.pauses) {
        ask->pause = (struct pause){.state = PAUSE_WAITING, .deadline_ns = flow->bus->monotonic_ns + (d->policy.pause_ms ? d->policy.pause_ms : 300) * UINT64_C(1000000)};
        ask->pause.token.pause = ++flow->pauses;
        d->pause = flow->pauses;
    }
    return ask->pause.state == PAUSE_WAITING;
}

static void decide_request(struct driver *d, const struct soth_message *message, struct verdict *out)
{
    *out = d->policy.request;
    if (d->policy.blocked_path && soth_span_is(message->target, d->policy.blocked_path))
        *out = (struct verdict){.action = SOTH_BLOCK, .reason = "rule", .policy_module = "test"};
}

static void note_request(struct driver *d, const struct soth_flow *flow, const struct verdict *v)
{
    struct driver_kin *kin = flow->owner == d ? NULL : flow->owner;
    d->refused = v->action == SOTH_BLOCK;
    if (kin)
        kin->refused = d->refused;
}

enum ask_result driver_ask(void *policy, struct soth_flow *flow, struct ask *ask, const struct question *q)
{
    struct driver *d = policy;
    if (ask->hook == 0)
        *ask = (struct ask){.hook = q->hook};
    driver_promise(d, ask->hook == q->hook, "another question than the one that is open");
    if (pauses(d, flow, ask))
        return ASK_WAIT;
    if (q->hook == SOTH_HOOK_CONNECT)
        decide_connect(d, q->connect, &ask->verdict);
    else if (q->hook == SOTH_HOOK_REQUEST)
        decide_request(d, q->message, &ask->verdict);
    else
        ask->verdict = d->policy.request;
    if (ask->pause.state == PAUSE_LATE)
        ask->verdict = (struct verdict){.action = SOTH_BLOCK, .reason = "module_timeout", .policy_module = "test"};
    if (q->hook == SOTH_HOOK_CONNECT)
        note_connect(d, q->connect, &ask->verdict);
    else if (q->hook == SOTH_HOOK_REQUEST)
        note_request(d, flow, &ask->verdict);
    *ask = (struct ask){.verdict = ask->verdict};
    return ASK_DONE;
}

void driver_forget(void *policy, struct soth_flow *flow, struct ask *ask)
{
    struct driver *d = policy;
    (void)flow;
    d->forgotten += ask->hook != 0;
    *ask = (struct ask){.hook = 0};
}

void driver_rewrite(void *policy, struct soth_flow *flow, const struct soth_message *message, struct verdict *out)
{
    (void)policy;
    (void)flow;
    (void)message;
    *out = (struct verdict){.action = SOTH_ALLOW, .policy_module = ""};
}
