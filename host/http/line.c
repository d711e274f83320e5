/* SPDX-License-Identifier: MPL-2.0 */
/* See line.h. llhttp knows a list of methods and forgives spaces: start lines are read here, fields are llhttp's. */
#include <string.h>

#include "host/http/line.h"

struct line {
    const char *p;
    size_t n; /* without its end */
    bool crlf;
};

/* The next line that is complete. */
static bool next_line(const char **at, const char *end, struct line *line)
{
    const char *lf = *at < end ? memchr(*at, '\n', (size_t)(end - *at)) : NULL;
    if (!lf)
        return false;
    line->p = *at;
    line->n = (size_t)(lf - *at);
    line->crlf = line->n > 0 && line->p[line->n - 1] == '\r';
    line->n -= line->crlf;
    *at = lf + 1;
    return true;
}

const char *line_bad_byte(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c >= 32 && c != 127)
            continue;
        if (c == '\r')
            return "bare_cr";
        if (c == 0)
            return "nul";
        if (c != '\t')
            return "control_character";
    }
    return NULL;
}

static size_t token(const char *p, size_t n)
{
    size_t at = 0;
    while (at < n && line_is_token((unsigned char)p[at]))
        at++;
    return at;
}

/* ---- start lines ---- */

#define VERSION_SIZE 8 /* HTTP/1.1 */

static bool version(const char *p, struct message *msg)
{
    if (memcmp(p, "HTTP/1.", VERSION_SIZE - 1) != 0 || (p[7] != '0' && p[7] != '1'))
        return false;
    msg->minor = (uint8_t)(p[7] - '0');
    return true;
}

bool line_is_target(struct soth_span text)
{
    size_t at = 0;
    while (at < text.n && text.p[at] > ' ' && text.p[at] < 127 && text.p[at] != '#')
        at++;
    return at == text.n && text.n > 0;
}

bool line_is_method(struct soth_span text)
{
    return text.n > 0 && token(text.p, text.n) == text.n;
}

static const char *explain_request(const char *p, size_t n)
{
    const char *bad = line_bad_byte(p, n);
    const char *first = memchr(p, ' ', n), *last = memrchr(p, ' ', n);
    if (bad)
        return bad;
    if (first == last) /* METHOD target: HTTP/0.9 */
        return first && first + 1 < p + n ? "http_version" : "invalid_request_line";
    size_t word = n - (size_t)(last + 1 - p);
    if (word == VERSION_SIZE && (memcmp(last + 1, "HTTP/1.1", VERSION_SIZE) == 0 || memcmp(last + 1, "HTTP/1.0", VERSION_SIZE) == 0))
        return memchr(first + 1, ' ', (size_t)(last - first - 1)) || last == first + 1 ? "invalid_request_line" : "invalid_target";
    return memchr(last + 1, '/', word) ? "http_version" : "invalid_request_line";
}

const char *line_request(const char *p, size_t n, struct message *msg)
{
    size_t method = token(p, n), at = method + 1;
    if (method == 0 || n < method + sizeof "  HTTP/1.1" || p[method] != ' ' || !version(p + n - VERSION_SIZE, msg))
        return explain_request(p, n);
    size_t end = n - VERSION_SIZE - 1;
    if (p[end] != ' ' || !line_is_target((struct soth_span){p + at, end - at}))
        return explain_request(p, n);
    msg->method = (struct soth_span){p, method};
    msg->target = (struct soth_span){p + method + 1, end - method - 1};
    return NULL;
}

const char *line_status(const char *p, size_t n, struct message *msg)
{
    const char *bad = line_bad_byte(p, n);
    unsigned status = 0;
    if (bad)
        return bad;
    if (n < VERSION_SIZE || !version(p, msg))
        return n >= 5 && memcmp(p, "HTTP/", 5) == 0 ? "http_version" : "invalid_status_line";
    if (n < VERSION_SIZE + 4 || p[VERSION_SIZE] != ' ' || (n > VERSION_SIZE + 4 && p[VERSION_SIZE + 4] != ' '))
        return "invalid_status_line";
    for (size_t i = VERSION_SIZE + 1; i < VERSION_SIZE + 4; i++) {
        if (p[i] < '0' || p[i] > '9')
            return "invalid_status_line";
        status = status * 10 + (unsigned)(p[i] - '0');
    }
    if (status < 100)
        return "invalid_status";
    msg->status = (uint16_t)status;
    msg->reason = n > VERSION_SIZE + 5 ? (struct soth_span){p + VERSION_SIZE + 5, n - VERSION_SIZE - 5} : (struct soth_span){"", 0};
    return NULL;
}

/* What the beginning of a start line already tells: a method is a token and a space follows, a response begins with HTTP/1. */
static const char *explain_beginning(enum head_kind kind, const char *p, size_t n)
{
    static const char http[] = "HTTP/1.";
    size_t at = 0;
    if (kind == HEAD_REQUEST) {
        at = token(p, n);
        bool perhaps_empty_line = n == 1 && *p == '\r';
        return at == n || (at > 0 && p[at] == ' ') || perhaps_empty_line ? NULL : "invalid_request_line";
    }
    while (at < n && at < sizeof http - 1 && p[at] == http[at])
        at++;
    return at == n || at == sizeof http - 1 ? NULL : at >= 5 ? "http_version" : "invalid_status_line";
}

/* ---- fields ---- */

static const char *explain_field(const struct line *line)
{
    if (line->p[0] == ' ' || line->p[0] == '\t')
        return "obs_fold";
    size_t name = token(line->p, line->n);
    if (name < line->n && line->p[name] == ':')
        return name ? line_bad_byte(line->p + name + 1, line->n - name - 1) : "empty_field_name";
    if (!memchr(line->p, ':', line->n))
        return "missing_colon";
    const char *bad = line_bad_byte(line->p + name, 1);
    if (bad)
        return bad;
    while (line->p[name] == ' ' || line->p[name] == '\t')
        name++;
    return line->p[name] == ':' ? "space_before_colon" : "invalid_field_name";
}

static const char *explain_line(enum head_kind kind, const struct line *line, bool start)
{
    struct message unused;
    if (!start)
        return explain_field(line);
    return kind == HEAD_REQUEST ? line_request(line->p, line->n, &unused) : line_status(line->p, line->n, &unused);
}

const char *line_first_fault(enum head_kind kind, const char *p, size_t n, size_t from, bool bare_lf_allowed)
{
    const char *at = p + from, *end = p + n, *fault = NULL;
    bool start = from == 0 && kind != HEAD_TRAILERS;
    struct line line;
    if (start && (fault = explain_beginning(kind, p, n)))
        return fault;
    while (next_line(&at, end, &line)) {
        if (!line.crlf && !bare_lf_allowed)
            return "bare_lf";
        if (line.n == 0 && !start)
            return NULL;
        if ((start || !bare_lf_allowed) && (fault = explain_line(kind, &line, start)))
            return fault;
        start = false;
    }
    return NULL;
}

static bool is_name(const struct line *line, enum field_id id)
{
    const char *colon = memchr(line->p, ':', line->n);
    return colon && message_field_id((struct soth_span){line->p, (size_t)(colon - line->p)}) == id;
}

const char *line_explain(enum head_kind kind, const char *p, size_t n)
{
    const char *fault = line_first_fault(kind, p, n, 0, false), *at = p, *end = p + n;
    unsigned lengths = 0, codings = 0;
    struct line line;
    if (fault)
        return fault;
    while (next_line(&at, end, &line)) {
        lengths += is_name(&line, FIELD_CONTENT_LENGTH);
        codings += is_name(&line, FIELD_TRANSFER_ENCODING);
    }
    if (kind == HEAD_TRAILERS && (lengths || codings))
        return "framing_in_trailers";
    if (lengths && codings)
        return "te_and_cl";
    return codings ? "transfer_encoding" : lengths ? "content_length" : "invalid_head";
}
