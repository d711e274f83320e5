/* SPDX-License-Identifier: MPL-2.0 */
/* See message.h: look-ups in a parsed head. */
#include "host/http/message.h"

#include <strings.h>
#include <string.h>

struct known {
    const char *text;
    uint8_t size;
    uint8_t id;
};

static const struct known known[] = {
#define FIELD(NAME, text) {text, sizeof(text) - 1, FIELD_##NAME},
#include "host/http/field.def"
#undef FIELD
};

static bool same(struct soth_span a, const char *text, size_t n)
{
    return a.n == n && strncasecmp(a.p, text, n) == 0;
}

/* Most fields are of a length that no known name has, or differ in their first letter. */
enum field_id message_field_id(struct soth_span name)
{
    static const uint32_t lengths = 0
#define FIELD(NAME, text) | UINT32_C(1) << (sizeof(text) - 1)
#include "host/http/field.def"
#undef FIELD
        ;
    if (name.n == 0 || name.n > 31 || !(lengths >> name.n & 1))
        return FIELD_OTHER;
    char first = (char)(name.p[0] | 0x20);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].size == name.n && known[i].text[0] == first && same(name, known[i].text, name.n))
            return (enum field_id)known[i].id;
    return FIELD_OTHER;
}

struct soth_span message_field(const struct message *msg, const char *name, unsigned nth)
{
    size_t n = strlen(name);
    for (uint32_t i = 0; i < msg->field_count; i++)
        if (same(msg->fields[i].name, name, n) && nth-- == 0)
            return msg->fields[i].value;
    return (struct soth_span){NULL, 0};
}

static bool is_gap(char c)
{
    return c == ' ' || c == '\t' || c == ',';
}

bool message_list_next(struct soth_span *rest, struct soth_span *token)
{
    if (rest->n == 0)
        return false;
    const char *at = rest->p, *end = rest->p + rest->n;
    while (at < end && is_gap(*at))
        at++;
    const char *comma = at < end ? memchr(at, ',', (size_t)(end - at)) : NULL;
    const char *to = comma ? comma : end;
    *rest = (struct soth_span){to, (size_t)(end - to)};
    while (to > at && is_gap(to[-1]))
        to--;
    *token = (struct soth_span){at, (size_t)(to - at)};
    return token->n > 0;
}

bool message_list_has(struct soth_span value, const char *token)
{
    size_t n = strlen(token);
    struct soth_span item;
    while (message_list_next(&value, &item))
        if (same(item, token, n))
            return true;
    return false;
}
