/* SPDX-License-Identifier: MPL-2.0 */
/* See head.h. The start line is line.c's (any token is a method, llhttp knows a list), the fields are llhttp's. */
#include "host/http/head.h"

#include <llhttp.h>
#include <string.h>

#include "host/http/line.h"

struct scratch {
    llhttp_t parser; /* first: callbacks get a pointer to it */
    uint32_t count;
    bool too_many;
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
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
};

/* What other rooms ask for again and again is noted once. */
void head_note_field(struct message *msg, const struct soth_field *field, uint8_t id)
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

static bool execute(struct scratch *s, const char *p, size_t n)
{
    llhttp_errno_t e = llhttp_execute(&s->parser, p, n);
    return e == HPE_OK || e == HPE_PAUSED_UPGRADE || e == HPE_PAUSED_H2_UPGRADE;
}

/* llhttp sees the same start line each time: which one is sent is read in line.c, it only tells requests from responses. */
static bool fields(struct scratch *s, enum head_kind kind, const char *p, size_t n)
{
    static const char post[] = "POST / HTTP/1.1\r\n", status[] = "HTTP/1.1 200 OK\r\n";
    if (kind == HEAD_REQUEST) {
        llhttp_init(&s->parser, HTTP_REQUEST, &callbacks);
        return execute(s, post, sizeof post - 1) && execute(s, p, n);
    }
    llhttp_init(&s->parser, HTTP_RESPONSE, &callbacks);
    return execute(s, status, sizeof status - 1) && execute(s, p, n);
}

/* Bytes of the start line with its CRLF, 0 = it is none. */
static size_t start_line(enum head_kind kind, const char *p, size_t n, struct message *msg)
{
    const char *lf = memchr(p, '\n', n);
    if (!lf || lf == p || lf[-1] != '\r')
        return 0;
    size_t line = (size_t)(lf - 1 - p);
    return (kind == HEAD_REQUEST ? line_request(p, line, msg) : line_status(p, line, msg)) ? 0 : line + 2;
}

int head_parse(enum head_kind kind, const char *p, size_t n, struct message *msg, const char **fault)
{
    struct scratch *s = &scratch;
    size_t start = 0;
    *msg = (struct message){.is_request = kind == HEAD_REQUEST, .head_bytes = (uint32_t)n};
    if (kind != HEAD_TRAILERS && (start = start_line(kind, p, n, msg)) == 0) {
        *fault = line_explain(kind, p, n);
        return -SOTH_EINVALID;
    }
    s->count = 0;
    s->too_many = false;
    s->fields[0] = (struct soth_field){{NULL, 0}, {NULL, 0}};
    if (!fields(s, kind, p + start, n - start)) {
        *fault = s->too_many ? "too_many_fields" : line_explain(kind, p, n);
        return s->too_many ? -SOTH_ELIMIT : -SOTH_EINVALID;
    }
    msg->fields = s->fields;
    msg->ids = s->ids;
    msg->field_count = s->count;
    for (uint32_t i = 0; i < s->count; i++) {
        s->ids[i] = (uint8_t)message_field_id(s->fields[i].name);
        head_note_field(msg, &s->fields[i], s->ids[i]);
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
