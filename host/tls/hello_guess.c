/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The first bytes of a client come in, what they look like comes out. Only a guess: whoever reads on finds out. It leans towards HTTP
 * where an origin would read HTTP (empty lines first, odd methods), because what is guessed to be something else may be tunnelled.
 */
#include <stdbool.h>
#include <string.h>

#include "host/tls/hello.h"

#define METHOD_MAX 256u
#define EMPTY_LINES_MAX 16u

static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};

/* Does [p, p+n) begin with text? MORE when it may still. */
static enum hello_guess begins(const uint8_t *p, size_t n, const char *text, enum hello_guess yes)
{
    size_t length = strlen(text);
    if (memcmp(p, text, n < length ? n : length) != 0)
        return GUESS_OTHER;
    return n < length ? GUESS_MORE : yes;
}

/* tchar, RFC 9110 5.6.2: any token is a method. */
static bool method_byte(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool known_method(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (strlen(methods[i]) == n && memcmp(methods[i], p, n) == 0)
            return true;
    return false;
}

static enum hello_guess guess_target(const uint8_t *p, size_t n)
{
    if (n == 0)
        return GUESS_MORE;
    if (p[0] == '/' || p[0] == '*')
        return GUESS_HTTP1;
    return begins(p, n, "http", GUESS_HTTP1);
}

static enum hello_guess guess_request(const uint8_t *p, size_t n)
{
    enum hello_guess preface = begins(p, n, "PRI * HTTP/2.0\r\n", GUESS_HTTP2);
    if (preface != GUESS_OTHER)
        return preface;
    size_t method = 0;
    while (method < n && method < METHOD_MAX && method_byte(p[method]))
        method++;
    if (method == n)
        return GUESS_MORE;
    if (method == 0 || (p[method] != ' ' && p[method] != '\t'))
        return GUESS_OTHER;
    if (known_method(p, method))
        return GUESS_HTTP1;
    return guess_target(p + method + 1, n - method - 1);
}

enum hello_guess hello_guess(const uint8_t *p, size_t n)
{
    size_t empty = 0;
    if (n == 0)
        return GUESS_MORE;
    if (p[0] == 22) {
        if (n == 1)
            return GUESS_MORE;
        return p[1] == 3 ? GUESS_TLS : GUESS_OTHER;
    }
    while (empty < n && empty < EMPTY_LINES_MAX && (p[empty] == '\r' || p[empty] == '\n'))
        empty++;
    if (empty == n)
        return GUESS_MORE;
    return guess_request(p + empty, n - empty);
}
