/* SPDX-License-Identifier: MPL-2.0 */
/* Replies made by the proxy itself (rewrite.h), with Proxy-Status (RFC 9209). */
#include "host/http/rewrite.h"

const char *rewrite_status_text(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 407:
        return "Proxy Authentication Required";
    case 408:
        return "Request Timeout";
    case 410:
        return "Gone";
    case 413:
        return "Content Too Large";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 451:
        return "Unavailable For Legal Reasons";
    case 502:
        return "Bad Gateway";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    case 508:
        return "Loop Detected";
    default:
        return status < 500 ? "Refused" : "Error";
    }
}

int rewrite_reply(struct buffer *out, const struct reply *reply)
{
    buffer_append_text(out, "HTTP/1.1 ");
    buffer_append_number(out, (uint64_t)reply->status);
    buffer_append(out, " ", 1);
    buffer_append_text(out, rewrite_status_text(reply->status));
    buffer_append_text(out, "\r\nContent-Type: ");
    buffer_append_text(out, reply->content_type);
    buffer_append_text(out, "\r\nContent-Length: ");
    buffer_append_number(out, reply->body.n);
    buffer_append_text(out, "\r\nCache-Control: no-store\r\n");
    if (reply->error) {
        buffer_append_text(out, "Proxy-Status: soth-mitm; error=");
        buffer_append_text(out, reply->error);
        buffer_append(out, "\r\n", 2);
    }
    if (reply->extra)
        buffer_append_text(out, reply->extra);
    if (reply->close)
        buffer_append_text(out, "Connection: close\r\n");
    else if (reply->client_minor == 0)
        buffer_append_text(out, "Connection: keep-alive\r\n");
    buffer_append(out, "\r\n", 2);
    if (!reply->head_only)
        buffer_append(out, reply->body.p, reply->body.n);
    return out->failed ? -SOTH_ENOMEM : SOTH_OK;
}
