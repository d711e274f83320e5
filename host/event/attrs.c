/* SPDX-License-Identifier: MPL-2.0 */
/* What attributes a kind of event may carry (the lists of soth/events.def), and the events of modules held against that. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "host/event/private.h"

#define NAMES_MOST 48 /* of a kind, of 64: a set of them is a word */
_Static_assert(NAMES_MOST <= FORM_MOST, "a form may have all of them");
_Static_assert(NAMES_MOST <= EVENT_ATTRS_MOST, "what comes out has room for all of them");

struct name {
    uint64_t head;    /* the first eight bytes tell nearly always */
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

/* Eight bytes; zeroes behind what is shorter. */
static inline uint64_t eight(const char *p, size_t n)
{
    uint64_t w = 0;
    if (n >= 8) {
        memcpy(&w, p, 8);
    } else if (n >= 4) {
        uint32_t a, b;
        memcpy(&a, p, 4);
        memcpy(&b, p + n - 4, 4);
        w = a | (uint64_t)b << (8 * n - 32);
    } else {
        for (size_t i = 0; i < n; i++)
            w |= (uint64_t)(unsigned char)p[i] << 8 * i;
    }
    return w;
}

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
            memcpy(at, list, n);
            of->v[of->count++] = (struct name){eight(at, n), at, (uint32_t)n};
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

/* Names have 9 to 16 bytes nearly always: two words that overlap instead of a call. */
static inline bool is(const struct name *name, const char *text, size_t n, uint64_t head)
{
    if (name->head != head || name->n != n)
        return false;
    if (n <= 8)
        return true;
    return n <= 16 ? eight(name->text + n - 8, 8) == eight(text + n - 8, 8) : memcmp(name->text + 8, text + 8, n - 8) == 0;
}

/* Which of the names it is, from `from` on and then from the beginning; count: none. Emitters name attributes in order nearly always, so it
 * is one of the next ones. */
static inline uint32_t find(const struct names *of, uint32_t from, const char *text, size_t n)
{
    const uint64_t head = eight(text, n);
    for (uint32_t i = from; i < of->count; i++)
        if (is(&of->v[i], text, n, head))
            return i;
    for (uint32_t i = 0; i < from; i++)
        if (is(&of->v[i], text, n, head))
            return i;
    return of->count;
}

static inline const struct names *names_of(uint32_t kind)
{
    pthread_once(&split_once, split);
    return &names[kind];
}

const char *event_attr_name(uint32_t kind, const char *text, uint32_t *n, uint32_t *place)
{
    const struct names *of = names_of(kind);
    *n = text && *n == 0 ? (uint32_t)strlen(text) : *n;
    *place = text ? find(of, 0, text, *n) : of->count;
    return *place < of->count ? of->v[*place].text : NULL;
}

bool event_attrs_may(uint32_t kind)
{
    return kind != 0 && kind < SOTH_EV_COUNT && lists[kind] && !is_hosts_own(kind);
}

int event_attrs_check(uint32_t kind, const struct soth_attr *attrs, size_t n, struct soth_attr *out, unsigned *left_out)
{
    int count = 0;
    if (kind == 0 || kind >= SOTH_EV_COUNT || !lists[kind])
        return -SOTH_EINVALID;
    if (is_hosts_own(kind))
        return -SOTH_EPERM;
    const struct names *of = names_of(kind);
    uint64_t given = 0;
    uint32_t next = 0;
    for (size_t i = 0; i < n; i++) {
        const char *text = attrs[i].name;
        uint32_t at = text ? find(of, next, text, attrs[i].name_len ? attrs[i].name_len : strlen(text)) : of->count;
        bool is_known = at < of->count;
        next = is_known ? at + 1 : next;
        if (is_known && event_attr_is_absent(&attrs[i]))
            continue;
        if (!is_known || (attrs[i].type & ~EVENT_TYPES) || (given >> at & 1)) {
            ++*left_out;
            continue;
        }
        given |= UINT64_C(1) << at;
        out[count] = attrs[i];
        out[count].name = of->v[at].text;
        if (!event_type_is_text(attrs[i].type))
            out[count].text = (struct soth_span){"", 0};
        out[count++].name_len = of->v[at].n;
    }
    return count;
}
