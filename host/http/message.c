/* SPDX-License-Identifier: MPL-2.0 */
/* See message.h: look-ups in a parsed head. */
#include "host/http/message.h"

#include <strings.h>
#include <string.h>

static const struct known {
    const char *text;
    size_t size;
} known[] = {
    {"", 0},
#define FIELD(NAME, text) {text, sizeof(text) - 1},
#include "host/http/field.def"
#undef FIELD
};

static bool same(struct soth_span a, const char *text, size_t n)
{
    return a.n == n && strncasecmp(a.p, text, n) == 0;
}

/* The one name that a field of this length and first letter may have: of each message each field asks. */
static enum field_id candidate(size_t n, char first)
{
    switch (n) {
    case 2:
        return FIELD_TE;
    case 4:
        return FIELD_HOST;
    case 6:
        return FIELD_EXPECT;
    case 7:
        return first == 't' ? FIELD_TRAILER : FIELD_UPGRADE;
    case 10:
        return first == 'c' ? FIELD_CONNECTION : FIELD_KEEP_ALIVE;
    case 12:
        return FIELD_CONTENT_TYPE;
    case 14:
        return first == 'c' ? FIELD_CONTENT_LENGTH : FIELD_HTTP2_SETTINGS;
    case 16:
        return first == 'c' ? FIELD_CONTENT_ENCODING : FIELD_PROXY_CONNECTION;
    case 17:
        return FIELD_TRANSFER_ENCODING;
    case 18:
        return FIELD_PROXY_AUTHENTICATE;
    case 19:
        return FIELD_PROXY_AUTHORIZATION;
    case 25:
        return FIELD_PROXY_AUTHENTICATION_INFO;
    default:
        return FIELD_OTHER;
    }
}

enum field_id message_field_id(struct soth_span name)
{
    char first = name.n ? (char)(name.p[0] | 0x20) : 0;
    enum field_id id = candidate(name.n, first);
    return id != FIELD_OTHER && known[id].text[0] == first && same(name, known[id].text, known[id].size) ? id : FIELD_OTHER;
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
