/* SPDX-License-Identifier: MPL-2.0 */
/* What attributes a kind of event may carry (the lists of soth/events.def), and the events of modules held against that. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "host/event/bus.h"

#define NAMES_MOST 48 /* of a kind, of 64: a set of them is a word */
_Static_assert(NAMES_MOST <= EVENT_ATTRS_MOST, "what comes out has room for all of them");

struct name {
    const char *text; /* NUL-terminated, for good */
    uint32_t n;
};
struct names {
    struct name v[NAMES_MOST];
    uint32_t count;
};

static const char *const lists[SOTH_EV_COUNT] = {
#define SOTH_EVENT(id, NAME, name, groups, attributes, text) [id] = attributes,
#include <soth/events.def>
#undef SOTH_EVENT
};
#define SOTH_EVENT(id, NAME, name, groups, attributes, text) sizeof(attributes) +
static char texts[
#include <soth/events.def>
    1];
#undef SOTH_EVENT
static struct names names[SOTH_EV_COUNT];
static pthread_once_t split_once = PTHREAD_ONCE_INIT;

static int by_text(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

/* Once a process: the lists, cut into words, in the order in which events have them. */
static void split(void)
{
    char *at = texts;
    for (unsigned kind = 1; kind < SOTH_EV_COUNT; kind++) {
        struct names *of = &names[kind];
        for (const char *list = lists[kind]; list && *list && of->count < NAMES_MOST;) {
            size_t n = strcspn(list, " ");
            of->v[of->count++] = (struct name){at, (uint32_t)n};
            memcpy(at, list, n);
            at += n + 1;
            list += n + (list[n] == ' ');
        }
        qsort(of->v, of->count, sizeof *of->v, by_text);
    }
}

/* Kinds that say what the host itself has done, and that move a flow through its life. */
static bool is_hosts_own(uint32_t kind)
{
    switch (kind) {
    case SOTH_EV_CONNECT_RECEIVED:
    case SOTH_EV_CONNECT_PARSE_FAILED:
    case SOTH_EV_CONNECT_DECISION:
    case SOTH_EV_TLS_HANDSHAKE_STARTED:
    case SOTH_EV_TLS_HANDSHAKE_SUCCEEDED:
    case SOTH_EV_TLS_HANDSHAKE_FAILED:
    case SOTH_EV_TLS_LEARNING_AUDIT:
    case SOTH_EV_STREAM_CLOSED:
    case SOTH_EV_BUDGET_DENIED:
    case SOTH_EV_EVENTS_LOST:
    case SOTH_EV_MODULE_FAULT:
    case SOTH_EV_CONFIG_RELOADED:
        return true;
    default:
        return false;
    }
}

static inline uint64_t eight(const char *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

/* Of one length. Words of eight that overlap at the end; what is shorter is rare. */
static inline bool is_same(const char *a, const char *b, size_t n)
{
    if (n < 8)
        return memcmp(a, b, n) == 0;
    uint64_t differs = eight(a + n - 8) ^ eight(b + n - 8);
    for (size_t i = 0; i + 8 < n; i += 8)
        differs |= eight(a + i) ^ eight(b + i);
    return differs == 0;
}

/* Which of the names it is, from `from` on and then from the beginning; count: none. Emitters name attributes in order nearly always, so it
 * is one of the next ones. */
static uint32_t find(const struct names *of, uint32_t from, const char *text, size_t n)
{
    for (uint32_t i = from; i < of->count; i++)
        if (of->v[i].n == n && is_same(of->v[i].text, text, n))
            return i;
    for (uint32_t i = 0; i < from; i++)
        if (of->v[i].n == n && is_same(of->v[i].text, text, n))
            return i;
    return of->count;
}

static bool is_text(uint32_t type)
{
    return (type & 3u) == SOTH_ATTR_TEXT || (type & 3u) == SOTH_ATTR_BYTES;
}

static bool is_absent(const struct soth_attr *attr)
{
    return attr->text.p == NULL || (attr->text.n == 0 && is_text(attr->type));
}

int event_attrs_check(uint32_t kind, const struct soth_attr *attrs, size_t n, struct soth_attr *out, unsigned *left_out)
{
    const uint32_t known = 3u | SOTH_ATTR_PAYLOAD | SOTH_ATTR_FULL;
    int count = 0;
    if (kind == 0 || kind >= SOTH_EV_COUNT || !lists[kind])
        return -SOTH_EINVALID;
    if (is_hosts_own(kind))
        return -SOTH_EPERM;
    pthread_once(&split_once, split);
    const struct names *of = &names[kind];
    uint64_t given = 0;
    uint32_t next = 0;
    for (size_t i = 0; i < n; i++) {
        const char *text = attrs[i].name;
        uint32_t at = text ? find(of, next, text, attrs[i].name_len ? attrs[i].name_len : strlen(text)) : of->count;
        bool is_known = at < of->count;
        next = is_known ? at + 1 : next;
        if (is_known && is_absent(&attrs[i]))
            continue;
        if (!is_known || (attrs[i].type & ~known) || (given >> at & 1)) {
            ++*left_out;
            continue;
        }
        given |= UINT64_C(1) << at;
        out[count] = attrs[i];
        out[count].name = of->v[at].text;
        if (!is_text(attrs[i].type))
            out[count].text = (struct soth_span){"", 0};
        out[count++].name_len = of->v[at].n;
    }
    return count;
}
