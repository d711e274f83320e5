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
