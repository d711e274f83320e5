/* SPDX-License-Identifier: MPL-2.0 */
/* See head.h. llhttp sees the method POST whatever the method is: any token is a method, llhttp knows a list. */
#include "host/http/head.h"

#include <llhttp.h>
#include <string.h>

struct scratch {
    llhttp_t parser; /* first: callbacks get a pointer to it */
    struct message *msg;
    uint32_t count;
    bool in_value, too_many;
    struct soth_field fields[HEAD_MAX_FIELDS];
    uint8_t ids[HEAD_MAX_FIELDS];
};
static _Thread_local struct scratch scratch;

static void extend(struct soth_span *span, const char *at, size_t n)
{
    if (span->p == NULL)
        span->p = at;
    span->n = (size_t)(at - span->p) + n;
}

static int on_url(llhttp_t *parser, const char *at, size_t n)
{
    extend(&((struct scratch *)parser)->msg->target, at, n);
    return 0;
}

static int on_status(llhttp_t *parser, const char *at, size_t n)
{
    extend(&((struct scratch *)parser)->msg->reason, at, n);
    return 0;
}

static int on_field(llhttp_t *parser, const char *at, size_t n)
{
    struct scratch *s = (struct scratch *)parser;
    if (s->count == HEAD_MAX_FIELDS) {
        s->too_many = true;
        return -1;
    }
    extend(&s->fields[s->count].name, at, n);
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t n)
{
    struct scratch *s = (struct scratch *)parser;
    extend(&s->fields[s->count].value, at, n);
    return 0;
}

static int on_value_complete(llhttp_t *parser)
{
    struct scratch *s = (struct scratch *)parser;
    struct soth_span *value = &s->fields[s->count].value;
    if (value->p == NULL)
        *value = (struct soth_span){"", 0};
    while (value->n && (value->p[value->n - 1] == ' ' || value->p[value->n - 1] == '\t'))
        value->n--;
    s->count++;
    if (s->count < HEAD_MAX_FIELDS)
        s->fields[s->count] = (struct soth_field){{NULL, 0}, {NULL, 0}};
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    (void)parser;
    return 1; /* bodies are h1.c's */
}

static const llhttp_settings_t callbacks = {
    .on_url = on_url,
    .on_status = on_status,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
};

/* What other rooms ask for again and again is noted once. */
static void note_field(struct message *msg, const struct soth_field *field, uint8_t id)
{
    struct soth_span *to = NULL;
    switch (id) {
    case FIELD_HOST:
        to = &msg->host;
        break;
    case FIELD_CONTENT_TYPE:
        to = &msg->content_type;
        break;
    case FIELD_CONTENT_ENCODING:
        to = &msg->content_encoding;
        break;
    case FIELD_UPGRADE:
        to = &msg->upgrade;
        break;
    default:
        return;
    }
    if (to->p == NULL)
        *to = field->value;
}

/* METHOD SP before the rest, which llhttp reads as a POST. Returns the bytes taken, 0 = not a method. */
static size_t take_method(const char *p, size_t n, struct message *msg)
{
    size_t at = 0;
    while (at < n && guard_token_char((unsigned char)p[at]))
        at++;
    if (at == 0 || at + 1 >= n || p[at] != ' ')
        return 0;
    msg->method = (struct soth_span){p, at};
    return at + 1;
}

static bool execute(struct scratch *s, const char *p, size_t n)
{
    llhttp_errno_t e = llhttp_execute(&s->parser, p, n);
    return e == HPE_OK || e == HPE_PAUSED_UPGRADE || e == HPE_PAUSED_H2_UPGRADE;
}

static bool run(struct scratch *s, enum head_kind kind, const char *p, size_t n)
{
    static const char post[] = "POST ", status[] = "HTTP/1.1 200 OK\r\n";
    llhttp_init(&s->parser, kind == HEAD_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE, &callbacks);
    if (kind == HEAD_TRAILERS)
        return execute(s, status, sizeof status - 1) && execute(s, p, n);
    if (kind == HEAD_RESPONSE)
        return execute(s, p, n);
    size_t method = take_method(p, n, s->msg);
    return method > 0 && execute(s, post, sizeof post - 1) && execute(s, p + method, n - method);
}

int head_parse(enum head_kind kind, const char *p, size_t n, struct message *msg, const char **fault)
{
    struct scratch *s = &scratch;
    *msg = (struct message){.is_request = kind == HEAD_REQUEST, .head_bytes = (uint32_t)n};
    s->msg = msg;
    s->count = 0;
    s->too_many = false;
    s->fields[0] = (struct soth_field){{NULL, 0}, {NULL, 0}};
    if (!run(s, kind, p, n)) {
        *fault = s->too_many ? "too_many_fields" : guard_explain(kind, p, n);
        return s->too_many ? -SOTH_ELIMIT : -SOTH_EINVALID;
    }
    if (s->parser.http_major != 1 || s->parser.http_minor > 1) {
        *fault = "http_version";
        return -SOTH_EINVALID;
    }
    msg->minor = (uint8_t)s->parser.http_minor;
    msg->status = (uint16_t)s->parser.status_code;
    msg->fields = s->fields;
    msg->ids = s->ids;
    msg->field_count = s->count;
    for (uint32_t i = 0; i < s->count; i++) {
        s->ids[i] = (uint8_t)message_field_id(s->fields[i].name);
        note_field(msg, &s->fields[i], s->ids[i]);
    }
    return SOTH_OK;
}

void head_find_end(const char *p, size_t n, size_t from, bool bare_lf_allowed, struct head_end *out)
{
    *out = (struct head_end){.looked = from};
    while (out->looked < n) {
        const char *line = p + out->looked;
        const char *lf = memchr(line, '\n', n - out->looked);
        if (!lf)
            return;
        bool crlf = lf > line && lf[-1] == '\r';
        if (!crlf && !bare_lf_allowed) {
            out->fault = "bare_lf";
            return;
        }
        bool empty = lf - line == (crlf ? 1 : 0);
        out->looked = (size_t)(lf + 1 - p);
        if (empty) {
            out->size = out->looked;
            return;
        }
    }
}
