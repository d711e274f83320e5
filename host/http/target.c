/* SPDX-License-Identifier: MPL-2.0 */
/* Authorities and absolute URIs (connect.h): text in, a normalised host and port out. Pure. */
#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "host/http/connect.h"

#define MAX_NAME 253
static const char too_long[] = "the host is longer than 253 characters";

static enum connect_error bad(enum connect_error error, const char **detail, const char *why)
{
    *detail = why;
    return error;
}

static bool name_char(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* The last label decides whether a host wants to be an IPv4 address (WHATWG URL, "ends in a number"). */
static bool ends_in_number(const char *host, size_t n)
{
    size_t from = n;
    while (from > 0 && host[from - 1] != '.')
        from--;
    if (from == n)
        return false;
    if (n - from >= 2 && host[from] == '0' && host[from + 1] == 'x')
        return true;
    for (size_t i = from; i < n; i++)
        if (host[i] < '0' || host[i] > '9')
            return false;
    return true;
}

static bool plain_ipv4(const char *host, uint8_t out[4])
{
    /* inet_pton takes exactly four decimal numbers without leading zeros */
    return inet_pton(AF_INET, host, out) == 1;
}

static enum connect_error host_name(struct target *out, const char **detail)
{
    size_t label = 0;
    if (out->host_len > 0 && out->host[out->host_len - 1] == '.')
        out->host[--out->host_len] = 0;
    if (out->host_len == 0)
        return bad(CONNECT_INVALID_AUTHORITY, detail, "the host is empty");
    if (out->host_len > MAX_NAME)
        return bad(CONNECT_INVALID_AUTHORITY, detail, too_long);
    if (ends_in_number(out->host, out->host_len)) {
        if (!plain_ipv4(out->host, out->addr.bytes))
            return bad(CONNECT_INVALID_AUTHORITY, detail, "an IPv4 address must be four decimal numbers");
        out->addr.family = 4;
        return CONNECT_OK;
    }
    for (size_t i = 0; i <= out->host_len; i++) {
        char c = out->host[i];
        if (c == '.' || c == 0) {
            if (label == 0 || label > 63)
                return bad(CONNECT_INVALID_AUTHORITY, detail, "a label of the host name is empty or longer than 63 characters");
            label = 0;
        } else if (!name_char((unsigned char)c)) {
            return bad(CONNECT_INVALID_AUTHORITY, detail, "the host has a character that host names do not have");
        } else {
            label++;
        }
    }
    return CONNECT_OK;
}

static enum connect_error set_host(struct soth_span host, struct target *out, const char **detail)
{
    if (host.n > MAX_NAME + 1) /* a dot at the end does not count */
        return bad(CONNECT_INVALID_AUTHORITY, detail, too_long);
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        out->host[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
        if (c == 0)
            return bad(CONNECT_INVALID_AUTHORITY, detail, "the host has a NUL");
    }
    out->host[host.n] = 0;
    out->host_len = host.n;
    return host_name(out, detail);
}

static enum connect_error set_ipv6(struct soth_span text, struct target *out, const char **detail)
{
    char copy[64];
    if (text.n >= sizeof copy)
        return bad(CONNECT_INVALID_AUTHORITY, detail, "not an IPv6 address");
    memcpy(copy, text.p, text.n);
    copy[text.n] = 0;
    if (strlen(copy) != text.n || inet_pton(AF_INET6, copy, out->addr.bytes) != 1)
        return bad(CONNECT_INVALID_AUTHORITY, detail, "not an IPv6 address");
    /* an IPv4 address in IPv6 clothes leads to the same host: it is judged under the same name */
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    bool ipv4 = memcmp(out->addr.bytes, mapped, sizeof mapped) == 0;
    if (ipv4) {
        memmove(out->addr.bytes, out->addr.bytes + sizeof mapped, 4);
        memset(out->addr.bytes + 4, 0, sizeof out->addr.bytes - 4);
    }
    out->addr.family = ipv4 ? 4 : 6;
    inet_ntop(ipv4 ? AF_INET : AF_INET6, out->addr.bytes, out->host, sizeof out->host);
    out->host_len = strlen(out->host);
    return CONNECT_OK;
}

static enum connect_error set_port(struct soth_span text, bool lenient, struct target *out, const char **detail)
{
    unsigned value = 0;
    if (text.n == 0 || text.n > 5)
        return bad(CONNECT_INVALID_PORT, detail, "the port is not a number from 1 to 65535");
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return bad(CONNECT_INVALID_PORT, detail, "the port is not a number from 1 to 65535");
        value = value * 10 + (unsigned)(text.p[i] - '0');
    }
    if (value > 65535 || (value == 0 && !lenient))
        return bad(CONNECT_INVALID_PORT, detail, "the port is not a number from 1 to 65535");
    out->port = (uint16_t)value;
    return CONNECT_OK;
}

static enum connect_error no_port(bool lenient, uint16_t default_port, struct target *out, const char **detail)
{
    if (default_port == 0 && !lenient)
        return bad(CONNECT_MISSING_PORT, detail, "the target has no port; CONNECT wants host:port");
    out->port = default_port ? default_port : 443;
    return CONNECT_OK;
}

static bool is_bare_ipv6(struct soth_span text)
{
    const char *first = memchr(text.p, ':', text.n);
    return first && memchr(first + 1, ':', text.n - (size_t)(first + 1 - text.p)) != NULL;
}

/* Lenient: a scheme in front and a path behind are cut off. */
static struct soth_span bare_authority(struct soth_span text)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(schemes[i]);
        if (text.n >= n && strncasecmp(text.p, schemes[i], n) == 0) {
            text.p += n;
            text.n -= n;
            break;
        }
    }
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == '/' || text.p[i] == '?' || text.p[i] == '#') {
            text.n = i;
            break;
        }
    const char *at = text.n ? memrchr(text.p, '@', text.n) : NULL;
    if (at) {
        text.n -= (size_t)(at + 1 - text.p);
        text.p = at + 1;
    }
    return text;
}

enum connect_error target_parse(struct soth_span text, bool lenient, uint16_t default_port, struct target *out, const char **detail)
{
    enum connect_error e;
    *out = (struct target){.host_len = 0};
    *detail = NULL;
    if (lenient)
        text = bare_authority(text);
    if (text.n == 0)
        return bad(CONNECT_INVALID_AUTHORITY, detail, "the target is empty");
    if (memchr(text.p, '@', text.n))
        return bad(CONNECT_INVALID_AUTHORITY, detail, "user information has no place in a CONNECT target");
    if (text.p[0] == '[') {
        const char *end = memchr(text.p, ']', text.n);
        if (!end)
            return bad(CONNECT_INVALID_AUTHORITY, detail, "an IPv6 address without its closing bracket");
        e = set_ipv6((struct soth_span){text.p + 1, (size_t)(end - text.p - 1)}, out, detail);
        struct soth_span rest = {end + 1, text.n - (size_t)(end + 1 - text.p)};
        if (e != CONNECT_OK)
            return e;
        if (rest.n == 0)
            return no_port(lenient, default_port, out, detail);
        if (rest.p[0] != ':')
            return bad(CONNECT_INVALID_AUTHORITY, detail, "something follows the closing bracket that is no port");
        return set_port((struct soth_span){rest.p + 1, rest.n - 1}, lenient, out, detail);
    }
    if (is_bare_ipv6(text)) {
        if (!lenient)
            return bad(CONNECT_INVALID_AUTHORITY, detail,
                       memmem(text.p, text.n, "://", 3) ? "a CONNECT target is host:port, without a scheme"
                                                        : "more than one colon; an IPv6 address must be in brackets");
        e = set_ipv6(text, out, detail);
        return e == CONNECT_OK ? no_port(lenient, default_port, out, detail) : e;
    }
    const char *colon = memchr(text.p, ':', text.n);
    struct soth_span host = {text.p, colon ? (size_t)(colon - text.p) : text.n};
    e = set_host(host, out, detail);
    if (e != CONNECT_OK)
        return e;
    if (!colon)
        return no_port(lenient, default_port, out, detail);
    return set_port((struct soth_span){colon + 1, text.n - host.n - 1}, lenient, out, detail);
}

enum connect_error target_parse_absolute(struct soth_span uri, struct target *out, struct soth_span *scheme, struct soth_span *origin_form,
                                         const char **detail)
{
    static const struct {
        const char *text;
        uint16_t port;
    } schemes[] = {{"http", 80}, {"https", 443}};
    *detail = NULL;
    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(schemes[i].text);
        if (uri.n < n + 3 || strncasecmp(uri.p, schemes[i].text, n) != 0 || memcmp(uri.p + n, "://", 3) != 0)
            continue;
        *scheme = soth_span(schemes[i].text);
        struct soth_span rest = {uri.p + n + 3, uri.n - n - 3};
        size_t end = 0;
        while (end < rest.n && rest.p[end] != '/' && rest.p[end] != '?')
            end++;
        *origin_form = end < rest.n ? (struct soth_span){rest.p + end, rest.n - end} : soth_span("/");
        return target_parse((struct soth_span){rest.p, end}, false, schemes[i].port, out, detail);
    }
    return bad(CONNECT_INVALID_REQUEST_LINE, detail, "the request target is not an http:// or https:// URI");
}

static struct soth_span host_part(struct soth_span a)
{
    if (a.n && a.p[0] == '[') {
        const char *end = memchr(a.p, ']', a.n);
        if (end)
            return (struct soth_span){a.p + 1, (size_t)(end - a.p - 1)};
    }
    const char *colon = a.n ? memchr(a.p, ':', a.n) : NULL;
    if (colon && !is_bare_ipv6(a))
        a.n = (size_t)(colon - a.p);
    if (a.n && a.p[a.n - 1] == '.')
        a.n--;
    return a;
}

bool target_same_host(struct soth_span a, struct soth_span b)
{
    struct soth_span x = host_part(a), y = host_part(b);
    if (x.n == y.n && x.n && strncasecmp(x.p, y.p, x.n) == 0)
        return true;
    /* the same IPv6 address has more than one spelling */
    struct target p, q;
    const char *detail;
    if (!x.n || !y.n || !memchr(x.p, ':', x.n) || !memchr(y.p, ':', y.n))
        return false;
    return target_parse(x, true, 1, &p, &detail) == CONNECT_OK && target_parse(y, true, 1, &q, &detail) == CONNECT_OK &&
           memcmp(p.addr.bytes, q.addr.bytes, sizeof p.addr.bytes) == 0;
}
