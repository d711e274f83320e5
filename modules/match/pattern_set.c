/* SPDX-License-Identifier: MPL-2.0 */
/* See pattern.h. Names go into a hash table, networks and `*` are walked. */
#include "pattern.h"

#include <stdlib.h>

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
    size_t names_size, names_room;
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

static int keep_name(struct pattern_set *set, const struct pattern *p)
{
    if (p->name_len == 0)
        return SOTH_OK;
    if (set->names_room - set->names_size < p->name_len) {
        size_t room = set->names_room * 2 + 4096;
        char *bigger = room < UINT32_MAX ? realloc(set->names, room) : NULL;
        if (!bigger)
            return -SOTH_ENOMEM;
        set->names = bigger;
        set->names_room = room;
    }
    memcpy(set->names + set->names_size, p->name, p->name_len);
    set->names_size += p->name_len;
    return SOTH_OK;
}

static int add(struct pattern_set *set, const struct pattern *p)
{
    struct entry e = {.name = (uint32_t)set->names_size, .name_len = (uint16_t)p->name_len, .port = (uint16_t)p->port,
                      .kind = (uint8_t)p->kind, .family = p->addr.family, .bits = (uint8_t)p->bits};
    memcpy(e.bytes, p->addr.bytes, sizeof e.bytes);
    if (keep_name(set, p) < 0)
        return -SOTH_ENOMEM;
    set->v[set->n] = e;
    if (p->kind == PATTERN_NETWORK || p->kind == PATTERN_ANY) { /* to the front */
        set->v[set->n] = set->v[set->networks];
        set->v[set->networks++] = e;
    }
    set->n++;
    return SOTH_OK;
}

static struct pattern_set *set_new(size_t patterns)
{
    struct pattern_set *set = calloc(1, sizeof *set);
    size_t room = 16;
    while (room < patterns * 2)
        room *= 2;
    if (!set)
        return NULL;
    set->mask = room - 1;
    set->v = calloc(patterns + 1, sizeof *set->v);
    set->slots = calloc(room, sizeof *set->slots);
    return set;
}

static int fill(struct pattern_set *set, const struct soth_strings *texts, long *bad, const char **why)
{
    for (size_t i = 0; i < texts->n; i++) {
        struct pattern p;
        if (pattern_parse(texts->v[i], &p, why) < 0) {
            *bad = (long)i;
            return -SOTH_EINVALID;
        }
        if (add(set, &p) < 0)
            return -SOTH_ENOMEM;
    }
    return SOTH_OK;
}

struct pattern_set *pattern_set_new(const struct soth_strings *texts, long *bad, const char **why)
{
    struct pattern_set *set = set_new(texts->n);
    *bad = -1;
    if (!set || !set->v || !set->slots || fill(set, texts, bad, why) < 0) {
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
