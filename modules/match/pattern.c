/* SPDX-License-Identifier: MPL-2.0 */
/* See pattern.h. */
#include "pattern.h"

#include <arpa/inet.h>
#include <idn2.h>
#include <stdlib.h>

static int lower(int c)
{
    return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

static int parse_addr(const char *text, size_t n, struct soth_addr *out)
{
    char copy[64];
    memset(out, 0, sizeof *out);
    if (n == 0 || n >= sizeof copy)
        return 0;
    memcpy(copy, text, n);
    copy[n] = 0;
    if (inet_pton(AF_INET, copy, out->bytes) == 1)
        out->family = 4;
    else if (inet_pton(AF_INET6, copy, out->bytes) == 1)
        out->family = 6;
    return out->family;
}

struct soth_addr pattern_address(struct soth_span host)
{
    struct soth_addr addr;
    parse_addr(host.p, host.n, &addr);
    return addr;
}

static int parse_number(const char *text, size_t n, uint32_t most, uint32_t *out)
{
    uint32_t value = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9' || i > 4)
            return 0;
        value = value * 10 + (uint32_t)(text[i] - '0');
    }
    *out = value;
    return n > 0 && value <= most;
}

int pattern_parse_port(const char *text, uint32_t *out)
{
    return parse_number(text, strlen(text), 65535, out) && *out > 0;
}

static const uint8_t *v4_of(const struct soth_addr *a)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (a->family == 4)
        return a->bytes;
    return a->family == 6 && memcmp(a->bytes, mapped, 12) == 0 ? a->bytes + 12 : NULL;
}

/* An IPv4 address in IPv6 clothes leads to the same host: the host shows it to policies as what it is. */
static void undress(struct soth_addr *addr, uint32_t *bits)
{
    const uint8_t *v4 = addr->family == 6 && *bits >= 96 ? v4_of(addr) : NULL;
    if (!v4)
        return;
    memmove(addr->bytes, v4, 4);
    memset(addr->bytes + 4, 0, sizeof addr->bytes - 4);
    addr->family = 4;
    *bits -= 96;
}

static int parse_network(const char *text, size_t n, struct soth_addr *addr, uint32_t *bits)
{
    const char *slash = memchr(text, '/', n);
    size_t address = slash ? (size_t)(slash - text) : n;
    int family = parse_addr(text, address, addr);
    *bits = family == 4 ? 32 : 128;
    if (!family || (slash && !parse_number(slash + 1, n - address - 1, *bits, bits)))
        return 0;
    undress(addr, bits);
    return 1;
}

int pattern_parse_network(const char *text, struct soth_addr *addr, uint32_t *bits)
{
    return parse_network(text, strlen(text), addr, bits);
}

static int refuse(const char **why, const char *sentence)
{
    *why = sentence;
    return -SOTH_EINVALID;
}

static const char no_network[] = "is not a network, expected is ADDRESS/BITS";

/* Splits an optional port off. */
static int split_port(const char *text, size_t *n, uint32_t *port, const char **why)
{
    const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');
    *n = strlen(text);
    *port = 0;
    if (!colon || (bracket ? colon < bracket : text[0] == '['))
        return SOTH_OK;
    if (strstr(text, "://"))
        return refuse(why, "is a URL; a host pattern has no scheme and no path");
    if (!bracket && strchr(text, ':') != colon)
        return refuse(why, strchr(text, '/') ? no_network : "has more than one colon and is no IPv6 address; with a port that is [ADDRESS]:PORT");
    if (!pattern_parse_port(colon + 1, port))
        return refuse(why, "has a port that is not a number from 1 to 65535");
    *n = (size_t)(colon - text);
    return *n > 0 ? SOTH_OK : refuse(why, "has no host in front of its port");
}

/* ---- names ---- */

/* What ends in a number wants to be an address: the host takes no other spelling than four decimal numbers, so this would never match. */
static int ends_in_number(const struct pattern *p)
{
    const char *dot = memrchr(p->name, '.', p->name_len), *last = dot ? dot + 1 : p->name;
    return memcmp(last, "0x", 2) == 0 || last[strspn(last, "0123456789")] == 0;
}

static int check_labels(const struct pattern *p)
{
    size_t label = 0;
    for (size_t i = 0; i <= p->name_len; i++) {
        if (p->name[i] != '.' && p->name[i] != 0)
            label++;
        else if (label == 0 || label > 63)
            return 0;
        else
            label = 0;
    }
    return 1;
}

static size_t wildcard_size(const char *text, size_t n)
{
    return n > 1 && text[0] == '.' ? 1 : n > 2 && text[0] == '*' && text[1] == '.' ? 2 : 0;
}

static int parse_name(const char *text, size_t n, struct pattern *out, const char **why)
{
    size_t dots = wildcard_size(text, n);
    out->kind = dots == 0 ? PATTERN_EXACT : dots == 1 ? PATTERN_BOTH : PATTERN_BELOW;
    text += dots;
    n -= dots;
    if (n > 0 && text[n - 1] == '.')
        n--;
    if (n == 0 || n > PATTERN_NAME_MOST)
        return refuse(why, "is not a host name");
    for (size_t i = 0; i < n; i++) {
        int c = lower((unsigned char)text[i]);
        if (c == '*')
            return refuse(why, "may have a * only as its first label (*.example.com)");
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
            return refuse(why, "has a character that host names do not have");
        out->name[i] = (char)c;
    }
    out->name[n] = 0;
    out->name_len = (uint32_t)n;
    if (!check_labels(out))
        return refuse(why, "has a label that is empty or longer than 63 characters");
    if (ends_in_number(out))
        return refuse(why, "ends in a number and is no IPv4 address of four decimal numbers");
    return SOTH_OK;
}

static int has_other_script(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] >= 128)
            return 1;
    return 0;
}

/* U-labels become A-labels (RFC 5891); a wildcard in front stays. */
static int parse_unicode(const char *text, size_t n, struct pattern *out, const char **why)
{
    char copy[512], joined[512];
    char *ascii = NULL;
    size_t prefix = wildcard_size(text, n);
    if (n >= sizeof copy)
        return refuse(why, "is not a host name");
    memcpy(copy, text + prefix, n - prefix);
    copy[n - prefix] = 0;
    if (idn2_to_ascii_8z(copy, &ascii, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT) != IDN2_OK || prefix + strlen(ascii) >= sizeof joined) {
        idn2_free(ascii);
        return refuse(why, "is not an internationalised host name (UTF-8 is expected)");
    }
    memcpy(joined, text, prefix);
    strcpy(joined + prefix, ascii);
    idn2_free(ascii);
    return parse_name(joined, strlen(joined), out, why);
}

/* ---- patterns ---- */

static int parse_host(const char *text, size_t n, struct pattern *out, const char **why)
{
    if (text[0] == '[') {
        int closed = text[n - 1] == ']' && memchr(text, ':', n);
        return closed && parse_network(text + 1, n - 2, &out->addr, &out->bits) ? SOTH_OK
                                                                                : refuse(why, "has no IPv6 address in its brackets");
    }
    if (parse_network(text, n, &out->addr, &out->bits))
        return SOTH_OK;
    if (memchr(text, '/', n))
        return refuse(why, no_network);
    if (n == 1 && text[0] == '*') {
        out->kind = PATTERN_ANY;
        return SOTH_OK;
    }
    return has_other_script(text, n) ? parse_unicode(text, n, out, why) : parse_name(text, n, out, why);
}

int pattern_parse(const char *text, struct pattern *out, const char **why)
{
    size_t n;
    memset(out, 0, sizeof *out);
    out->kind = PATTERN_NETWORK;
    if (*text == 0)
        return refuse(why, "is empty");
    if (pattern_parse_network(text, &out->addr, &out->bits)) /* colons and all */
        return SOTH_OK;
    int r = split_port(text, &n, &out->port, why);
    return r == SOTH_OK ? parse_host(text, n, out, why) : r;
}

int pattern_network_has(const struct soth_addr *network, uint32_t bits, const struct soth_addr *addr)
{
    const uint8_t *bytes = network->family == 4 ? v4_of(addr) : addr->family == 6 ? addr->bytes : NULL;
    if (!bytes)
        return 0;
    for (uint32_t i = 0; i < bits; i += 8) {
        uint8_t mask = bits - i >= 8 ? 0xff : (uint8_t)(0xff << (8 - (bits - i)));
        if ((bytes[i / 8] ^ network->bytes[i / 8]) & mask)
            return 0;
    }
    return 1;
}
