/* SPDX-License-Identifier: MPL-2.0 */
/* See connect.h: the request line word by word, then the fields, each with the code that the contract has for what is wrong. */
#include "host/http/connect.h"

#include <string.h>
#include <strings.h>

#include "host/http/head.h"
#include "host/http/line.h"

static const char *const names[] = {
    [CONNECT_OK] = "",
#define CONNECT_ERROR(NAME, text) [CONNECT_##NAME] = text,
#include "host/http/connect_error.def"
#undef CONNECT_ERROR
};

const char *connect_error_name(enum connect_error error)
{
    return names[error];
}

struct parse {
    const char *p;
    size_t n;
    bool eof, lenient;
    size_t max;
    struct connect_request *out;
    enum connect_error *error;
    const char **detail;
};

static enum connect_result fail(const struct parse *a, enum connect_error error, const char *detail)
{
    *a->error = error;
    *a->detail = detail;
    return CONNECT_FAILED;
}

/* The proper beginning of something: more is needed, unless no more can come. */
static enum connect_result more(const struct parse *a)
{
    if (a->n >= a->max)
        return fail(a, CONNECT_HEADER_TOO_LARGE, "the request head is longer than max_http_head_bytes");
    if (a->eof)
        return fail(a, CONNECT_INCOMPLETE_HEADERS, "the connection ended inside the request head");
    return CONNECT_MORE;
}

/* Bytes of the UTF-8 sequence at p (RFC 3629), 0 = it is none; *whole: p[0..n) holds all of it. */
static size_t utf8_sequence(const unsigned char *p, size_t n, bool *whole)
{
    size_t size = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2 : (*p & 0xf0) == 0xe0 ? 3 : *p >= 0xf0 && *p < 0xf5 ? 4 : 0;
    *whole = n >= size;
    for (size_t i = 1; i < size && i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if (size > 1 && n > 1 &&
        ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)))
        return 0;
    return size;
}

static bool is_utf8(const char *text, size_t n)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + n;
    while (p < end) {
        bool whole;
        size_t size = utf8_sequence(p, (size_t)(end - p), &whole);
        if (size == 0 || !whole)
            return false;
        p += size;
    }
    return true;
}

/* The request does not begin with a token and a space, but with this. */
static enum connect_result no_method(const struct parse *a, size_t at)
{
    bool whole;
    size_t size = utf8_sequence((const unsigned char *)a->p + at, a->n - at, &whole);
    if (size > 0 && !whole && !a->eof)
        return more(a);
    return fail(a, size > 0 && whole ? CONNECT_INVALID_REQUEST_LINE : CONNECT_INVALID_UTF8,
                "the request does not begin with a method and a space");
}

static bool has_prefix(const char *p, size_t n, const char *prefix)
{
    size_t want = strlen(prefix);
    return strncasecmp(p, prefix, n < want ? n : want) == 0;
}

/* Anything but CONNECT: an absolute http(s) target is the HTTP codec's, the rest is not for a proxy. */
static enum connect_result other_method(const struct parse *a, size_t method, bool line_complete)
{
    const char *target = a->p + method + 1;
    size_t n = a->n - method - 1;
    if (n >= 8 && (has_prefix(target, n, "http://") || has_prefix(target, n, "https://")))
        return CONNECT_IS_HTTP;
    if (!line_complete && (has_prefix(target, n, "http://") || has_prefix(target, n, "https://")))
        return more(a);
    return fail(a, CONNECT_METHOD_NOT_CONNECT,
                "this is a proxy: it takes CONNECT host:port or a request with an absolute http:// target");
}

static bool take_version(struct soth_span word, uint8_t *minor)
{
    if (word.n != 8 || memcmp(word.p, "HTTP/1.", 7) != 0 || (word.p[7] != '0' && word.p[7] != '1'))
        return false;
    *minor = (uint8_t)(word.p[7] - '0');
    return true;
}

/* "CONNECT authority HTTP/1.x" without its line end. */
static enum connect_result request_line(const struct parse *a, const char *p, size_t n)
{
    const char *words[3];
    size_t sizes[3], count = 0, at = 0;
    if (!is_utf8(p, n))
        return fail(a, CONNECT_INVALID_UTF8, "the request line is not UTF-8");
    while (at < n) {
        size_t from = at;
        while (at < n && p[at] != ' ')
            at++;
        if (at == from && !a->lenient)
            return fail(a, CONNECT_INVALID_REQUEST_LINE, "doubled or leading space in the request line");
        if (at > from) {
            if (count == 3)
                return fail(a, CONNECT_INVALID_REQUEST_LINE, "the request line has more than three words");
            words[count] = p + from;
            sizes[count++] = at - from;
        }
        if (at < n && ++at == n && !a->lenient)
            return fail(a, CONNECT_INVALID_REQUEST_LINE, "trailing space in the request line");
    }
    if (count < 3)
        return fail(a, CONNECT_INVALID_REQUEST_LINE, "the request line is not: CONNECT host:port HTTP/1.1");
    if (!take_version((struct soth_span){words[2], sizes[2]}, &a->out->minor))
        return fail(a, CONNECT_INVALID_HTTP_VERSION, "the version is not HTTP/1.1 or HTTP/1.0");
    const char *detail = NULL;
    enum connect_error e = target_parse((struct soth_span){words[1], sizes[1]}, a->lenient, 0, &a->out->target, &detail);
    return e == CONNECT_OK ? CONNECT_DONE : fail(a, e, detail);
}

/* What stands between the request line and the empty line. */
static enum connect_result fields(const struct parse *a, size_t line, size_t head)
{
    struct message msg;
    const char *fault = "";
    if (head_parse(HEAD_TRAILERS, a->p + line, head - line, &msg, &fault) < 0)
        return fail(a, CONNECT_INVALID_REQUEST_LINE, fault);
    unsigned hosts = 0;
    for (uint32_t i = 0; i < msg.field_count; i++) {
        if (msg.ids[i] == FIELD_TRANSFER_ENCODING ||
            (msg.ids[i] == FIELD_CONTENT_LENGTH && !soth_span_is(msg.fields[i].value, "0")))
            return fail(a, CONNECT_INVALID_REQUEST_LINE, "a CONNECT request has no body");
        hosts += msg.ids[i] == FIELD_HOST;
    }
    if (hosts > 1)
        return fail(a, CONNECT_INVALID_REQUEST_LINE, "more than one Host field");
    if (msg.host.n > 0) {
        const char *detail = NULL;
        enum connect_error e = target_parse(msg.host, a->lenient, a->out->target.port ? a->out->target.port : 443, &a->out->host, &detail);
        if (e != CONNECT_OK)
            return fail(a, e, "the Host field is not a host with an optional port");
    }
    a->out->head_bytes = head;
    return CONNECT_DONE;
}

static enum connect_result connect_head(const struct parse *a, size_t line)
{
    size_t n = line;
    if (n > 0 && a->p[n - 1] == '\r')
        n--;
    else
        return fail(a, CONNECT_INVALID_REQUEST_LINE, "a line ends with LF alone");
    enum connect_result r = request_line(a, a->p, n);
    if (r != CONNECT_DONE)
        return r;
    struct head_end end;
    head_find_end(a->p, a->n, 0, false, &end);
    if (end.fault)
        return fail(a, CONNECT_INVALID_REQUEST_LINE, "a line ends with LF alone");
    if (end.size == 0)
        return more(a);
    return fields(a, line + 1, end.size);
}

/* One empty line before a request is passed over (RFC 9112 2.2); a second one is no request line. */
static enum connect_result after_empty_line(const struct parse *a)
{
    bool crlf = a->n >= 2 && a->p[0] == '\r' && a->p[1] == '\n';
    if (a->p[0] == '\r' && (a->n == 1 || (crlf && a->n == 2)) && !a->eof)
        return more(a);
    if (!crlf || a->n == 2 || a->p[2] == '\r' || a->p[2] == '\n')
        return fail(a, CONNECT_EMPTY_REQUEST_LINE, "the request line is empty");
    enum connect_result r = connect_parse((const uint8_t *)a->p + 2, a->n - 2, a->eof, a->lenient, a->max - 2, a->out, a->error, a->detail);
    if (r == CONNECT_DONE)
        a->out->head_bytes += 2;
    return r;
}

enum connect_result connect_parse(const uint8_t *bytes, size_t size, bool eof, bool lenient, size_t max_head_bytes, struct connect_request *out,
                                  enum connect_error *error, const char **detail)
{
    /* what lies beyond the limit is never looked at: the answer is the same however the head was cut */
    struct parse a = {(const char *)bytes, size < max_head_bytes ? size : max_head_bytes, eof, lenient, max_head_bytes, out, error, detail};
    size = a.n;
    *error = CONNECT_OK;
    *detail = NULL;
    *out = (struct connect_request){.minor = 1};
    if (size == 0)
        return more(&a);
    if (a.p[0] == '\r' || a.p[0] == '\n')
        return after_empty_line(&a);
    if (a.p[0] == 0x16)
        return fail(&a, CONNECT_INVALID_REQUEST_LINE, "TLS on a cleartext proxy port: the proxy URL begins with http://, not https://");
    size_t method = 0;
    while (method < size && line_is_token((unsigned char)a.p[method]))
        method++;
    const char *lf = memchr(a.p, '\n', size);
    if (method == size)
        return more(&a);
    if (method == 0 || a.p[method] != ' ')
        return no_method(&a, method);
    bool is_connect = method == 7 && (lenient ? strncasecmp(a.p, "CONNECT", 7) : memcmp(a.p, "CONNECT", 7)) == 0;
    if (!is_connect)
        return other_method(&a, method, lf != NULL);
    if (!lf)
        return more(&a);
    return connect_head(&a, (size_t)(lf - a.p));
}
