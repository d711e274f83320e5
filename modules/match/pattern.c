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
    if (n >= sizeof copy)
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

static int parse_network(const char *text, size_t n, struct soth_addr *addr, uint32_t *bits)
{
    const char *slash = memchr(text, '/', n);
    size_t address = slash ? (size_t)(slash - text) : n;
    int family = parse_addr(text, address, addr);
    *bits = family == 4 ? 32 : 128;
    return family && (!slash || parse_number(slash + 1, n - address - 1, *bits, bits));
}

int pattern_parse_network(const char *text, struct soth_addr *addr, uint32_t *bits)
{
    return parse_network(text, strlen(text), addr, bits);
}

/* Splits an optional port off. Returns the length of the rest, or 0 when the port is no port. */
static size_t split_port(const char *text, uint32_t *port)
{
    size_t n = strlen(text);
    const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');
    *port = 0;
    if (!colon || (bracket && colon < bracket) || (!bracket && strchr(text, ':') != colon))
        return n;
    if (!pattern_parse_port(colon + 1, port))
        return 0;
    return (size_t)(colon - text);
}

static int parse_name(const char *text, size_t n, struct pattern *out, const char **why)
{
    size_t dots = n > 1 && text[0] == '.' ? 1 : n > 2 && text[0] == '*' && text[1] == '.' ? 2 : 0;
    out->kind = dots == 0 ? PATTERN_EXACT : dots == 1 ? PATTERN_BOTH : PATTERN_BELOW;
    text += dots;
    n -= dots;
    if (n > 0 && text[n - 1] == '.')
        n--;
    *why = "is not a host name";
    if (n == 0 || n > PATTERN_NAME_MOST)
        return -SOTH_EINVALID;
    for (size_t i = 0; i < n; i++) {
        int c = lower((unsigned char)text[i]);
        if (c == '.' && (i == 0 || text[i - 1] == '.' || i + 1 == n))
            return -SOTH_EINVALID; /* an empty label */
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.')) {
            *why = c == '*' ? "may have a * only as its first label (*.example.com)" : "has a character that host names do not have";
            return -SOTH_EINVALID;
        }
        out->name[i] = (char)c;
    }
    out->name[n] = 0;
    out->name_len = (uint32_t)n;
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
    out->kind = PATTERN_NETWORK;
    if (pattern_parse_network(text, &out->addr, &out->bits))
        return SOTH_OK;
    size_t n = split_port(text, &out->port);
    if (n == 0) {
        *why = "has a port that is not a number from 1 to 65535";
        return -SOTH_EINVALID;
    }
    if (text[0] == '[' && text[n - 1] == ']') {
        out->bits = 128;
        if (parse_addr(text + 1, n - 2, &out->addr) == 6)
            return SOTH_OK;
        *why = "has no IPv6 address in its brackets";
        return -SOTH_EINVALID;
    }
    if (parse_network(text, n, &out->addr, &out->bits) && out->addr.family == 4)
        return SOTH_OK;
    if (memchr(text, '/', n)) {
        *why = "is not a network, expected is ADDRESS/BITS";
        return -SOTH_EINVALID;
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

/* ---- sets ---- */

/* A list may have a hundred thousand entries: this is what one costs. */
struct entry {
    uint32_t name; /* place in the names */
    uint16_t name_len, port;
    uint8_t kind, family, bits;
    uint8_t bytes[16];
};

struct pattern_set {
    struct entry *v;
    size_t n, networks; /* networks and `*` come first and are walked */
    char *names;
    size_t names_size;
    uint32_t *slots; /* index + 1 into v, 0 = free; open addressing by name */
    size_t mask;
};

static uint32_t hash(const char *p, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)p[i]) * 16777619u;
    return h ^ h >> 15;
}

static void insert(struct pattern_set *set, size_t index)
{
    const struct entry *e = &set->v[index];
    size_t at = hash(set->names + e->name, e->name_len) & set->mask;
    while (set->slots[at])
        at = (at + 1) & set->mask;
    set->slots[at] = (uint32_t)index + 1;
}

void pattern_set_free(struct pattern_set *set)
{
    if (!set)
        return;
    free(set->v);
    free(set->names);
    free(set->slots);
    free(set);
}

static void add(struct pattern_set *set, const struct pattern *p)
{
    struct entry e = {.name = (uint32_t)set->names_size, .name_len = (uint16_t)p->name_len, .port = (uint16_t)p->port,
                      .kind = (uint8_t)p->kind, .family = p->addr.family, .bits = (uint8_t)p->bits};
    memcpy(e.bytes, p->addr.bytes, sizeof e.bytes);
    memcpy(set->names + set->names_size, p->name, p->name_len);
    set->names_size += p->name_len;
    set->v[set->n] = e;
    if (p->kind == PATTERN_NETWORK || p->kind == PATTERN_ANY) { /* to the front */
        set->v[set->n] = set->v[set->networks];
        set->v[set->networks++] = e;
    }
    set->n++;
}

/* Room for so many patterns, whose names are no longer than their texts. */
static struct pattern_set *set_new(const struct soth_strings *texts)
{
    struct pattern_set *set = calloc(1, sizeof *set);
    size_t room = 16, names = 1;
    while (room < texts->n * 2)
        room *= 2;
    for (size_t i = 0; i < texts->n; i++)
        names += strlen(texts->v[i]);
    if (!set || names > UINT32_MAX)
        return set;
    set->mask = room - 1;
    set->v = calloc(texts->n + 1, sizeof *set->v);
    set->names = malloc(names);
    set->slots = calloc(room, sizeof *set->slots);
    return set;
}

struct pattern_set *pattern_set_new(const struct soth_strings *texts, long *bad, const char **why)
{
    struct pattern_set *set = set_new(texts);
    *bad = -1;
    int ok = set && set->v && set->names && set->slots;
    for (size_t i = 0; ok && i < texts->n; i++) {
        struct pattern p;
        ok = pattern_parse(texts->v[i], &p, why) == SOTH_OK;
        if (ok)
            add(set, &p);
        else
            *bad = (long)i;
    }
    if (!ok) {
        pattern_set_free(set);
        return NULL;
    }
    for (size_t i = set->networks; i < set->n; i++)
        insert(set, i);
    return set;
}

/* Is there a pattern of this name? `below`: the name asked about is longer than that. */
static int probe(const struct pattern_set *set, const char *name, size_t n, int below, uint32_t port)
{
    for (size_t at = hash(name, n) & set->mask; set->slots[at]; at = (at + 1) & set->mask) {
        const struct entry *e = &set->v[set->slots[at] - 1];
        if (e->name_len != n || (e->port && e->port != port) || memcmp(set->names + e->name, name, n) != 0)
            continue;
        if (e->kind == PATTERN_BOTH || e->kind == (below ? PATTERN_BELOW : PATTERN_EXACT))
            return 1;
    }
    return 0;
}

static int in_networks(const struct pattern_set *set, const struct soth_addr *addr, uint32_t port)
{
    for (size_t i = 0; i < set->networks; i++) {
        const struct entry *e = &set->v[i];
        struct soth_addr network = {.family = e->family};
        if (e->port && e->port != port)
            continue;
        memcpy(network.bytes, e->bytes, sizeof network.bytes);
        if (e->kind == PATTERN_ANY || pattern_network_has(&network, e->bits, addr))
            return 1;
    }
    return 0;
}

int pattern_set_match(const struct pattern_set *set, struct soth_span host, const struct soth_addr *addr, uint32_t port)
{
    if (!set || set->n == 0)
        return 0;
    if (in_networks(set, addr, port))
        return 1;
    for (size_t at = 0; set->n > set->networks && at < host.n;) { /* the name, then what is behind each dot */
        if (probe(set, host.p + at, host.n - at, at > 0, port))
            return 1;
        const char *dot = memchr(host.p + at, '.', host.n - at);
        if (!dot)
            break;
        at = (size_t)(dot + 1 - host.p);
    }
    return 0;
}
