/* SPDX-License-Identifier: MPL-2.0 */
/* See grpc.h. */
#include "host/http/grpc.h"

#include <strings.h>

#define MESSAGE_MOST 1024u

static bool is_type(struct soth_span type, const char *name, size_t n)
{
    if (type.n < n || strncasecmp(type.p, name, n) != 0)
        return false;
    return type.n == n || type.p[n] == '+' || type.p[n] == ';' || type.p[n] == ' ' || type.p[n] == '\t';
}

const char *grpc_answer_type(const struct message *request)
{
    static const char plain[] = "application/grpc", web[] = "application/grpc-web", text[] = "application/grpc-web-text";
    struct soth_span type = request->content_type;
    if (is_type(type, text, sizeof text - 1))
        return text;
    if (is_type(type, web, sizeof web - 1))
        return web;
    return request->http2 && is_type(type, plain, sizeof plain - 1) ? plain : NULL;
}

unsigned grpc_status(int http_status)
{
    switch (http_status) {
    case 403:
        return 7; /* PERMISSION_DENIED */
    case 407:
        return 16; /* UNAUTHENTICATED */
    case 408:
    case 504:
        return 4; /* DEADLINE_EXCEEDED */
    case 413:
    case 431:
        return 8; /* RESOURCE_EXHAUSTED */
    case 400:
        return 13; /* INTERNAL */
    default:
        return 14; /* UNAVAILABLE */
    }
}

int grpc_fields(struct buffer *out, unsigned status, struct soth_span message)
{
    static const char digits[] = "0123456789ABCDEF";
    buffer_append_text(out, "grpc-status: ");
    buffer_append_number(out, status);
    buffer_append_text(out, "\r\ngrpc-message: ");
    while (message.n > 0 && (message.p[message.n - 1] == '\n' || message.p[message.n - 1] == '\r'))
        message.n--;
    for (size_t i = 0; i < message.n && i < MESSAGE_MOST; i++) {
        unsigned char c = (unsigned char)message.p[i];
        char code[3] = {'%', digits[c >> 4], digits[c & 15]};
        if (c >= ' ' && c <= '~' && c != '%')
            buffer_append(out, &message.p[i], 1);
        else
            buffer_append(out, code, 3);
    }
    return buffer_append_text(out, "\r\n");
}
