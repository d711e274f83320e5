/* SPDX-License-Identifier: MPL-2.0 */
/* See url.h. */
#include "url.h"

#include <arpa/inet.h>
#include <stdio.h>

static int wrong(const char **why, const char *text)
{
    *why = text;
    return -SOTH_EINVALID;
}

static int parse_unix(const char *path, struct url *out, const char **why)
{
    if (path[0] != '/' || path[1] == 0)
        return wrong(why, "has no absolute path behind unix:");
    if (strlen(path) >= sizeof out->socket)
        return wrong(why, "is too long for a Unix socket, 107 bytes are allowed");
    strcpy(out->socket, path);
    strcpy(out->authority, "localhost");
    strcpy(out->path, "/");
    return SOTH_OK;
}

static int parse_path(const char *path, struct url *out, const char **why)
{
    if (strlen(path) >= sizeof out->path)
        return wrong(why, "is too long");
    for (const char *c = path; *c; c++)
        if (*c < 0x21 || *c > 0x7e || *c == '#')
            return wrong(why, "has a character that has no place in an URL's path");
    snprintf(out->path, sizeof out->path, "%s%s", *path == '/' ? "" : "/", path);
    return SOTH_OK;
}

static int parse_port(const char *text, size_t n, struct url *out)
{
    out->port = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9' || i > 4)
            return 0;
        out->port = out->port * 10 + (uint32_t)(text[i] - '0');
    }
    return out->port > 0 && out->port <= 65535;
}

static int is_name(const char *host)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    return *host && host[strspn(host, allowed)] == 0;
}

static int parse_authority(const char *text, size_t n, struct url *out, const char **why)
{
    struct in6_addr v6;
    int bracket = n > 0 && *text == '[';
    size_t host = bracket ? strcspn(text, "]") : strcspn(text, ":/?"), begin = bracket ? 1 : 0;
    if (memchr(text, '@', n))
        return wrong(why, "holds a name or password; the service is not asked with one");
    if (host > n || host - begin >= sizeof out->host)
        return wrong(why, "has no host");
    memcpy(out->host, text + begin, host - begin);
    host += begin;
    if (bracket ? inet_pton(AF_INET6, out->host, &v6) != 1 : !is_name(out->host))
        return wrong(why, "has no host");
    out->port = 80;
    if (host < n && (text[host] != ':' || !parse_port(text + host + 1, n - host - 1, out)))
        return wrong(why, "has a port that is not a number from 1 to 65535");
    snprintf(out->authority, sizeof out->authority, "%.*s", (int)n, text);
    return SOTH_OK;
}

int url_parse(const char *text, struct url *out, const char **why)
{
    static const char scheme[] = "http://";
    memset(out, 0, sizeof *out);
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(text + 5, out, why);
    if (strncmp(text, "https:", 6) == 0)
        return wrong(why, "asks for TLS, which is not spoken to the service; give it a Unix socket or an address of this machine");
    if (strncmp(text, scheme, sizeof scheme - 1) != 0)
        return wrong(why, "is neither http://host:port/path nor unix:/path");
    text += sizeof scheme - 1;
    size_t n = strcspn(text, "/?");
    int r = parse_authority(text, n, out, why);
    return r < 0 ? r : parse_path(text + n, out, why);
}
