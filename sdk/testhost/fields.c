/* SPDX-License-Identifier: MPL-2.0 */
/* Header services and wishes for another target. The rules are the host's; what it makes of the wishes is not played here. */
#include "parts.h"

#include <ctype.h>
#include <strings.h>

/* Framing, connection and Host are the host's. */
static bool is_hosts(const char *name)
{
    static const char *const names[] = {"Host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "TE", "Trailer", "Upgrade",
                                        "Proxy-Connection"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(names[i], name) == 0)
            return true;
    return false;
}

static bool is_token(const char *name)
{
    if (!*name)
        return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && !strchr("!#$%&'*+-.^_`|~", *name))
            return false;
    return true;
}

static int check(struct flow *flow, const char *name, struct soth_span value)
{
    if (!flow->head || !flow->edits)
        return -SOTH_EUNSUPPORTED;
    if (!is_token(name))
        return -SOTH_EINVALID;
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] == '\r' || value.p[i] == '\n' || value.p[i] == 0)
            return -SOTH_EINVALID;
    return is_hosts(name) ? -SOTH_EPERM : SOTH_OK;
}

struct soth_span th_hdr_get(struct soth_flow *view, const char *name, uint32_t nth)
{
    struct field *field = view->flow->head ? th_head_find(view->flow->head, name, nth) : NULL;
    return field ? th_guard_span(soth_span(field->value)) : (struct soth_span){NULL, 0};
}

int th_hdr_add(struct soth_flow *view, const char *name, struct soth_span value)
{
    int r = check(view->flow, name, value);
    if (r == SOTH_OK)
        th_head_add(view->flow->head, name, value);
    return r;
}

int th_hdr_del(struct soth_flow *view, const char *name)
{
    int n = check(view->flow, name, (struct soth_span){NULL, 0});
    for (struct field *field; n >= 0 && (field = th_head_find(view->flow->head, name, 0)) != NULL; n++)
        th_head_remove(view->flow->head, field);
    return n;
}

int th_hdr_set(struct soth_flow *view, const char *name, struct soth_span value)
{
    int r = check(view->flow, name, value);
    if (r < 0)
        return r;
    th_hdr_del(view, name);
    return th_hdr_add(view, name, value);
}

int th_set_target(struct soth_flow *view, struct soth_span host, uint32_t port, struct soth_span path)
{
    struct flow *flow = view->flow;
    if (!flow->wishes || (path.n && !flow->has_path))
        return -SOTH_EUNSUPPORTED;
    if (port > 65535 || (path.n && path.p[0] != '/'))
        return -SOTH_EINVALID;
    th_text_clear(flow->target);
    th_text_say(flow->target, "%.*s:%u%s%.*s", SOTH_SPAN(host), (unsigned)port, path.n ? " " : "", SOTH_SPAN(path));
    return SOTH_OK;
}
