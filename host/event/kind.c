/* SPDX-License-Identifier: MPL-2.0 */
/* The table of event kinds (soth/events.def) at run time: names, groups, masks. */
#include <string.h>

#include "host/event/private.h"

struct kind {
    const char *name;
    uint32_t groups;
};

static const struct kind kinds[SOTH_EV_COUNT] = {
#define SOTH_EVENT(id, NAME, name, groups, attributes, text) [id] = {#name, groups},
#include <soth/events.def>
#undef SOTH_EVENT
};

static const struct kind groups[] = {
    {"all", SOTH_GROUP_ALL},       {"connect", SOTH_GROUP_CONNECT}, {"tls", SOTH_GROUP_TLS},
    {"http", SOTH_GROUP_HTTP},     {"body", SOTH_GROUP_BODY},       {"stream", SOTH_GROUP_STREAM},
    {"grpc", SOTH_GROUP_GRPC},     {"decoder", SOTH_GROUP_DECODER}, {"system", SOTH_GROUP_SYSTEM},
};

const char *const event_kind_names[SOTH_EV_COUNT] = {
    [0] = "",
#define SOTH_EVENT(id, NAME, name, groups, attributes, text) [id] = #name,
#include <soth/events.def>
#undef SOTH_EVENT
};

const char *event_kind_name(unsigned kind)
{
    return kind < SOTH_EV_COUNT && kinds[kind].name ? kinds[kind].name : "";
}

uint64_t event_group_kinds(uint32_t wanted)
{
    uint64_t mask = 0;
    for (unsigned i = 1; i < SOTH_EV_COUNT; i++)
        if (kinds[i].groups & wanted)
            mask |= UINT64_C(1) << i;
    return mask;
}

uint64_t event_kinds_by_name(struct soth_span name)
{
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        if (soth_span_is(name, groups[i].name)) /* a group that has no kind yet is known all the same */
            return event_group_kinds(groups[i].groups) | 1;
    for (unsigned i = 1; i < SOTH_EV_COUNT; i++)
        if (kinds[i].name && soth_span_is(name, kinds[i].name))
            return UINT64_C(1) << i;
    return 0;
}

const char *const event_protocol_names[EVENT_PROTOCOLS] = {"tunnel", "http1", "http2", "ws", "sse", "streamable_http"};

const char *event_protocol_name(unsigned protocol)
{
    return protocol < EVENT_PROTOCOLS ? event_protocol_names[protocol] : "";
}
