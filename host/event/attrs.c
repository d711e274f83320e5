/* SPDX-License-Identifier: MPL-2.0 */
/* What attributes a kind of event may carry (the lists of soth/events.def), and the events of modules held against that. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "host/event/bus.h"

#define NAMES_MOST 48 /* of a kind */
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

/* Once a process: the lists, cut into words. */
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

static const struct name *find(uint32_t kind, const char *text, size_t n)
{
    const struct names *of = &names[kind];
    for (uint32_t i = 0; i < of->count; i++)
        if (of->v[i].n == n && memcmp(of->v[i].text, text, n) == 0)
            return &of->v[i];
    return NULL;
}

static bool is_text(uint32_t type)
{
    return (type & 3u) == SOTH_ATTR_TEXT || (type & 3u) == SOTH_ATTR_BYTES;
}

static bool is_absent(const struct soth_attr *attr)
{
    return attr->text.p == NULL || (attr->text.n == 0 && is_text(attr->type));
}

static bool given(const struct soth_attr *out, int count, const struct name *name)
{
    for (int i = 0; i < count; i++)
        if (out[i].name == name->text)
            return true;
    return false;
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
    for (size_t i = 0; i < n; i++) {
        const char *text = attrs[i].name;
        const struct name *name = text ? find(kind, text, attrs[i].name_len ? attrs[i].name_len : strlen(text)) : NULL;
        if (name && is_absent(&attrs[i]))
            continue;
        if (!name || (attrs[i].type & ~known) || given(out, count, name)) {
            ++*left_out;
            continue;
        }
        out[count] = attrs[i];
        out[count].name = name->text;
        if (!is_text(attrs[i].type))
            out[count].text = (struct soth_span){"", 0};
        out[count++].name_len = name->n;
    }
    return count;
}
