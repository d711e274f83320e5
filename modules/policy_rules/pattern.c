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
    if (n >= sizeof copy)
        return 0;
    memcpy(copy, text, n);
    copy[n] = 0;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, copy, out->bytes) == 1)
        out->family = 4;
    else if (inet_pton(AF_INET6, copy, out->bytes) == 1)
        out->family = 6;
    return out->family;
}

static int parse_number(const char *text, uint32_t most, uint32_t *out)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || value > most)
        return 0;
    *out = (uint32_t)value;
    return 1;
}

int pattern_parse_network(const char *text, struct soth_addr *addr, uint32_t *bits)
{
    const char *slash = strchr(text, '/');
    int family = parse_addr(text, slash ? (size_t)(slash - text) : strlen(text), addr);
    *bits = family == 4 ? 32 : 128;
    return family && (!slash || parse_number(slash + 1, *bits, bits));
}

/* Splits an optional port off. Returns the length of the rest, or 0 when the port is no port. */
static size_t split_port(const char *text, uint32_t *port)
{
    size_t n = strlen(text);
    const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');
    *port = 0;
    if (!colon || (bracket && colon < bracket) || (!bracket && strchr(text, ':') != colon))
        return n;
    if (!parse_number(colon + 1, 65535, port) || *port == 0)
        return 0;
    return (size_t)(colon - text);
}

static int parse_name(const char *text, size_t n, struct pattern *out, const char **why)
{
    out->kind = PATTERN_EXACT;
    if (n > 2 && text[0] == '*' && text[1] == '.') {
        out->kind = PATTERN_BELOW;
        text += 2;
        n -= 2;
    } else if (n > 1 && text[0] == '.') {
        out->kind = PATTERN_BOTH;
        text++;
        n--;
    }
    if (n > 0 && text[n - 1] == '.')
        n--;
    if (n == 0 || n >= sizeof out->name) {
        *why = "is not a host name";
        return -SOTH_EINVALID;
    }
    for (size_t i = 0; i < n; i++) {
        int c = lower((unsigned char)text[i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.')) {
            *why = c == '*' ? "may have a * only as its first label (*.example.com)" : "has a character that host names do not have";
            return -SOTH_EINVALID;
        }
        out->name[i] = (char)c;
    }
    out->name[n] = 0;
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
    size_t prefix = n > 2 && memcmp(text, "*.", 2) == 0 ? 2 : n > 1 && text[0] == '.' ? 1 : 0;
    if (n >= sizeof copy) {
        *why = "is not a host name";
        return -SOTH_EINVALID;
    }
    memcpy(copy, text + prefix, n - prefix);
    copy[n - prefix] = 0;
    if (idn2_to_ascii_8z(copy, &ascii, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT) != IDN2_OK || prefix + strlen(ascii) >= sizeof joined) {
        idn2_free(ascii);
        *why = "is not an internationalised host name (UTF-8 is expected)";
        return -SOTH_EINVALID;
    }
    memcpy(joined, text, prefix);
    strcpy(joined + prefix, ascii);
    idn2_free(ascii);
    return parse_name(joined, strlen(joined), out, why);
}

int pattern_parse(const char *text, struct pattern *out, const char **why)
{
    memset(out, 0, sizeof *out);
    if (pattern_parse_network(text, &out->addr, &out->bits)) {
        out->kind = PATTERN_NETWORK;
        return SOTH_OK;
    }
    size_t n = split_port(text, &out->port);
    if (n == 0) {
        *why = "has a port that is not a number from 1 to 65535";
        return -SOTH_EINVALID;
    }
    if (text[0] == '[' && text[n - 1] == ']') {
        if (parse_addr(text + 1, n - 2, &out->addr) != 6) {
            *why = "has no IPv6 address in its brackets";
            return -SOTH_EINVALID;
        }
        out->kind = PATTERN_NETWORK;
        out->bits = 128;
        return SOTH_OK;
    }
    if (parse_addr(text, n, &out->addr) == 4) {
        out->kind = PATTERN_NETWORK;
        out->bits = 32;
        return SOTH_OK;
    }
    if (n == 1 && text[0] == '*') {
        out->kind = PATTERN_ANY;
        return SOTH_OK;
    }
    return has_other_script(text, n) ? parse_unicode(text, n, out, why) : parse_name(text, n, out, why);
}

static const uint8_t *v4_of(const struct soth_addr *a)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (a->family == 4)
        return a->bytes;
    return a->family == 6 && memcmp(a->bytes, mapped, 12) == 0 ? a->bytes + 12 : NULL;
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

int pattern_match(const struct pattern *p, struct soth_span host, const struct soth_addr *addr, uint32_t port)
{
    size_t n = strlen(p->name);
    if (p->port && p->port != port)
        return 0;
    if (p->kind == PATTERN_ANY)
        return 1;
    if (p->kind == PATTERN_NETWORK)
        return pattern_network_has(&p->addr, p->bits, addr);
    int same = host.n == n && memcmp(host.p, p->name, n) == 0;
    int below = host.n > n + 1 && host.p[host.n - n - 1] == '.' && memcmp(host.p + host.n - n, p->name, n) == 0;
    return p->kind == PATTERN_EXACT ? same : p->kind == PATTERN_BELOW ? below : same || below;
}

/* ---- sets ---- */

struct pattern_set {
    struct pattern *v;
    size_t n, networks; /* networks and `*` come first and are walked */
    uint32_t *slots;    /* index + 1 into v, 0 = free; open addressing by name */
    size_t mask;
};

static uint32_t hash(const char *p, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)p[i]) * 16777619u;
    return h;
}

static void insert(struct pattern_set *set, size_t index)
{
    size_t at = hash(set->v[index].name, strlen(set->v[index].name)) & set->mask;
    while (set->slots[at])
        at = (at + 1) & set->mask;
    set->slots[at] = (uint32_t)index + 1;
}

void pattern_set_free(struct pattern_set *set)
{
    if (!set)
        return;
    free(set->v);
    free(set->slots);
    free(set);
}

struct pattern_set *pattern_set_new(const struct soth_strings *texts, long *bad, const char **why)
{
    struct pattern_set *set = calloc(1, sizeof *set);
    size_t room = 16;
    *bad = -1;
    while (room < texts->n * 2)
        room *= 2;
    if (!set || !(set->v = calloc(texts->n + 1, sizeof *set->v)) || !(set->slots = calloc(room, sizeof *set->slots))) {
        pattern_set_free(set);
        return NULL;
    }
    set->mask = room - 1;
    for (size_t i = 0; i < texts->n; i++) {
        struct pattern p;
        if (pattern_parse(texts->v[i], &p, why) < 0) {
            *bad = (long)i;
            pattern_set_free(set);
            return NULL;
        }
        if (p.kind == PATTERN_NETWORK || p.kind == PATTERN_ANY) {
            set->v[set->n] = set->v[set->networks];
            set->v[set->networks++] = p;
        } else {
            set->v[set->n] = p;
        }
        set->n++;
    }
    for (size_t i = set->networks; i < set->n; i++)
        insert(set, i);
    return set;
}

static int probe(const struct pattern_set *set, const char *suffix, size_t n, struct soth_span host, const struct soth_addr *addr, uint32_t port)
{
    for (size_t at = hash(suffix, n) & set->mask; set->slots[at]; at = (at + 1) & set->mask) {
        const struct pattern *p = &set->v[set->slots[at] - 1];
        if (strlen(p->name) == n && memcmp(p->name, suffix, n) == 0 && pattern_match(p, host, addr, port))
            return 1;
    }
    return 0;
}

int pattern_set_match(const struct pattern_set *set, struct soth_span host, const struct soth_addr *addr, uint32_t port)
{
    if (!set || set->n == 0)
        return 0;
    for (size_t i = 0; i < set->networks; i++)
        if (pattern_match(&set->v[i], host, addr, port))
            return 1;
    for (size_t at = 0; at < host.n;) { /* the name, then what is behind each dot */
        if (probe(set, host.p + at, host.n - at, host, addr, port))
            return 1;
        const char *dot = memchr(host.p + at, '.', host.n - at);
        if (!dot)
            break;
        at = (size_t)(dot + 1 - host.p);
    }
    return 0;
}
