/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Which protocols are offered to an origin, and which one a client gets. The client's offer is mirrored: it gets what its origin chose,
 * when it can; what it cannot is translated.
 */
#include <string.h>

#include "host/flow/stream.h"

static bool client_offers(const struct flow *flow, const char *name)
{
    const struct hello *hello = flow->hello;
    size_t want = strlen(name);
    for (size_t at = 0; hello && at < hello->alpn_len; at += (size_t)hello->alpn[at] + 1)
        if (hello->alpn[at] == want && hello->alpn_len - at > want && memcmp(hello->alpn + at + 1, name, want) == 0)
            return true;
    return false;
}

static bool h2_allowed(const struct flow *flow)
{
    return flow->env->settings->http2_enabled && !(flow->verdict.overrides & SOTH_OVERRIDE_DISABLE_H2);
}

/* Would its client, or whoever speaks for it, like an origin of HTTP/2? */
static bool h2_wanted(const struct flow *flow)
{
    const struct settings *s = flow->env->settings;
    const struct flow *line = flow->parent ? flow->parent : flow;
    if (!h2_allowed(flow) || s->upstream_http2 == UPSTREAM_HTTP2_NEVER || flow->h1_only)
        return false;
    if (flow->is_stream)
        return line->mux && line->mux->kind != ORIGIN_H1;
    return s->upstream_http2 == UPSTREAM_HTTP2_ALWAYS || flow->listen->mode == LISTEN_REVERSE || flow->mux || client_offers(flow, "h2");
}

const struct alpn_offer *alpn_for_origin(const struct flow *flow)
{
    static const struct alpn_offer nothing = {"", NULL}, http1 = {"\x08http/1.1", "http/1.1"}, both = {"\x02h2\x08http/1.1", "h2,http/1.1"};
    bool silent = flow->hello && flow->hello->alpn_len == 0 && flow->listen->mode != LISTEN_REVERSE;
    if (silent && flow->env->settings->upstream_http2 != UPSTREAM_HTTP2_ALWAYS)
        return &nothing;
    return h2_wanted(flow) ? &both : &http1;
}

const char *alpn_for_client(const struct flow *flow)
{
    struct session_info origin = {.alpn = ""};
    bool known = flow->origin.tls && flow->origin.secure;
    if (known)
        session_describe(flow->origin.tls, &origin);
    bool h2 = h2_allowed(flow) && client_offers(flow, "h2"), http1 = client_offers(flow, "http/1.1");
    if (h2 && (!http1 || !known || strcmp(origin.alpn, "h2") == 0))
        return "h2";
    return http1 ? "http/1.1" : "";
}

bool alpn_is_h2(struct session *tls)
{
    struct session_info info = {.alpn = ""};
    if (tls)
        session_describe(tls, &info);
    return strcmp(info.alpn, "h2") == 0;
}
