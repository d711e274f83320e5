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

/* Most fields are told apart by their length and first letter. */
enum field_id message_field_id(struct soth_span name)
{
    if (name.n == 0)
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

bool message_list_has(struct soth_span value, const char *token)
{
    size_t want = strlen(token);
    const char *at = value.p, *end = value.p + value.n;
    while (at && at < end) {
        while (at < end && (*at == ' ' || *at == '\t' || *at == ','))
            at++;
        const char *from = at;
        while (at < end && *at != ',')
            at++;
        const char *to = at;
        while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
            to--;
        if ((size_t)(to - from) == want && strncasecmp(from, token, want) == 0)
            return true;
    }
    return false;
}
