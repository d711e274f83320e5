/* SPDX-License-Identifier: MPL-2.0 */
/* See redact.h. */
#include "host/http/redact.h"

#include <string.h>
#include <strings.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const char redacted[] = "[redacted]";

static bool is(struct soth_span name, const char *text)
{
    return name.n == strlen(text) && strncasecmp(name.p, text, name.n) == 0;
}

static bool ends_with(struct soth_span name, const char *text)
{
    size_t n = strlen(text);
    return name.n >= n && strncasecmp(name.p + name.n - n, text, n) == 0;
}

/* ---- names ---- */

bool redact_is_secret(struct soth_span name, const struct soth_strings *more)
{
    static const char *const names[] = {"cookie", "set-cookie", "cookie2", "set-cookie2", "dpop", "x-auth", "x-auth-key", "x-session-id",
                                        "x-functions-key", "ocp-apim-subscription-key"};
    static const char *const ends[] = {"authorization", "token", "api-key", "apikey", "secret", "password", "credentials", "master-key"};
    for (size_t i = 0; i < COUNT(names); i++)
        if (is(name, names[i]))
            return true;
    for (size_t i = 0; i < COUNT(ends); i++)
        if (ends_with(name, ends[i]))
            return true;
    for (size_t i = 0; i < more->n; i++)
        if (is(name, more->v[i]))
            return true;
    return false;
}

static bool holds_uri(struct soth_span name)
{
    static const char *const names[] = {"referer", "referrer", "location", "content-location", "refresh", "link", "destination",
                                        "ping-from", "ping-to", "sourcemap", "x-sourcemap", "url", "uri"};
    for (size_t i = 0; i < COUNT(names); i++)
        if (is(name, names[i]))
            return true;
    return ends_with(name, "-url") || ends_with(name, "-uri");
}

/* ---- values ---- */

static size_t until(struct soth_span text, size_t from, const char *stops)
{
    while (from < text.n && !strchr(stops, text.p[from]))
        from++;
    return from;
}

/* The next user information from `from` on, [*begin, *end); what follows *end is "@". */
static bool next_userinfo(struct soth_span text, size_t from, size_t *begin, size_t *end)
{
    while (from + 3 <= text.n) {
        const char *at = memmem(text.p + from, text.n - from, "://", 3);
        if (!at)
            return false;
        *begin = (size_t)(at - text.p) + 3;
        size_t authority = until(text, *begin, "/?# \t\"<>\\");
        const char *sign = memrchr(text.p + *begin, '@', authority - *begin);
        if (sign) {
            *end = (size_t)(sign - text.p);
            return true;
        }
        from = *begin;
    }
    return false;
}

bool redact_has_userinfo(struct soth_span text)
{
    size_t begin, end;
    return text.n > 0 && next_userinfo(text, 0, &begin, &end);
}

void redact_userinfo(struct buffer *out, struct soth_span text)
{
    size_t from = 0, begin, end;
    while (next_userinfo(text, from, &begin, &end)) {
        buffer_append(out, text.p + from, begin - from);
        buffer_append_text(out, redacted);
        from = end;
    }
    buffer_append(out, text.p + from, text.n - from);
}

/* Queries and fragments end with the URI: in Link and Refresh there may be something behind it. */
static bool without_queries(struct buffer *out, struct soth_span value)
{
    size_t from = 0;
    bool any = false;
    while (from < value.n) {
        size_t end = until(value, from, "?#");
        redact_userinfo(out, (struct soth_span){value.p + from, end - from});
        any |= end < value.n;
        from = until(value, end, " \t\"'<>");
    }
    return any;
}

bool redact_fields(struct buffer *out, const struct message *msg, const struct soth_strings *more, bool queries)
{
    bool any = false;
    for (uint32_t i = 0; i < msg->field_count; i++) {
        const struct soth_field *field = &msg->fields[i];
        buffer_append(out, field->name.p, field->name.n);
        buffer_append(out, ": ", 2);
        if (redact_is_secret(field->name, more))
            buffer_append_text(out, redacted);
        else if (!queries && holds_uri(field->name))
            any |= without_queries(out, field->value);
        else
            redact_userinfo(out, field->value);
        buffer_append(out, "\n", 1);
    }
    return any;
}
