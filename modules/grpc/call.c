/* SPDX-License-Identifier: MPL-2.0 */
/* See call.h. */
#include "call.h"

#include <strings.h>

static int begins(struct soth_span text, const char *with, size_t n)
{
    return text.n >= n && strncasecmp(text.p, with, n) == 0 && (text.n == n || text.p[n] == '+');
}

enum call_kind call_kind(struct soth_span type)
{
    static const char grpc[] = "application/grpc", web[] = "application/grpc-web", text[] = "application/grpc-web-text";
    if (begins(type, grpc, sizeof grpc - 1))
        return CALL_GRPC;
    if (begins(type, web, sizeof web - 1))
        return CALL_WEB;
    return begins(type, text, sizeof text - 1) ? CALL_WEB_TEXT : CALL_NONE;
}

static const char *slash_before(const char *from, const char *at)
{
    while (at > from && at[-1] != '/')
        at--;
    return at > from ? at - 1 : NULL;
}

void call_names(struct soth_span target, struct soth_span *service, struct soth_span *method)
{
    const char *query = target.n ? memchr(target.p, '?', target.n) : NULL, *end = query ? query : target.p + target.n;
    const char *last = slash_before(target.p, end), *first = last ? slash_before(target.p, last) : NULL;
    *service = *method = (struct soth_span){NULL, 0};
    if (!last)
        return;
    if (end > last + 1)
        *method = (struct soth_span){last + 1, (size_t)(end - last - 1)};
    if (first && last > first + 1)
        *service = (struct soth_span){first + 1, (size_t)(last - first - 1)};
}
