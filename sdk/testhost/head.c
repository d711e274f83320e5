/* SPDX-License-Identifier: MPL-2.0 */
/* Heads of messages: lines of text become what hooks see, in lent memory. */
#include "parts.h"

#include <stdlib.h>
#include <strings.h>

static char *copy(const char *p, size_t n)
{
    char *text = malloc(n + 1);
    if (!text)
        abort();
    memcpy(text, p, n);
    text[n] = 0;
    return text;
}

static void read_start(struct head *head, const char *line, size_t n)
{
    for (unsigned i = 0; i < 3; i++) {
        const char *blank = i < 2 ? memchr(line, ' ', n) : NULL;
        size_t word = blank ? (size_t)(blank - line) : n;
        head->start[i] = copy(line, word);
        line += word + (blank != NULL);
        n -= word + (blank != NULL);
    }
}

void th_head_add(struct head *head, const char *name, struct soth_span value)
{
    if (head->count == head->room) {
        head->room = head->room ? head->room * 2 : 16;
        head->fields = realloc(head->fields, head->room * sizeof *head->fields);
        if (!head->fields)
            abort();
    }
    head->fields[head->count].name = copy(name, strlen(name));
    head->fields[head->count++].value = copy(value.p ? value.p : "", value.n);
}

static void read_field(struct head *head, const char *line, size_t n)
{
    const char *colon = memchr(line, ':', n);
    size_t name = colon ? (size_t)(colon - line) : n, at = name + (colon != NULL);
    char *text = copy(line, name);
    while (at < n && line[at] == ' ')
        at++;
    th_head_add(head, text, (struct soth_span){line + at, n - at});
    free(text);
}

void th_head_read(struct head *head, const char *text)
{
    bool first = true;
    *head = (struct head){{NULL, NULL, NULL}, NULL, 0, 0};
    while (text && *text) {
        size_t n = strcspn(text, "\n"), length = n - (n > 0 && text[n - 1] == '\r');
        if (first && memchr(text, ' ', length) && !memchr(text, ':', strcspn(text, " ")))
            read_start(head, text, length);
        else if (length > 0)
            read_field(head, text, length);
        first = false;
        text += n + (text[n] == '\n');
    }
}

void th_head_free(struct head *head)
{
    for (size_t i = 0; i < head->count; i++) {
        free(head->fields[i].name);
        free(head->fields[i].value);
    }
    free(head->fields);
    for (unsigned i = 0; i < 3; i++)
        free(head->start[i]);
    *head = (struct head){{NULL, NULL, NULL}, NULL, 0, 0};
}

void th_head_say(const struct head *head, struct text *out)
{
    for (size_t i = 0; i < head->count; i++)
        th_text_say(out, "%s: %s\n", head->fields[i].name, head->fields[i].value);
}

struct field *th_head_find(struct head *head, const char *name, uint32_t nth)
{
    for (size_t i = 0; i < head->count; i++)
        if (strcasecmp(head->fields[i].name, name) == 0 && nth-- == 0)
            return &head->fields[i];
    return NULL;
}

void th_head_remove(struct head *head, const struct field *field)
{
    size_t i = (size_t)(field - head->fields);
    free(head->fields[i].name);
    free(head->fields[i].value);
    head->count--;
    memmove(&head->fields[i], &head->fields[i + 1], (head->count - i) * sizeof *head->fields);
}

/* ---- what hooks see ---- */

static struct soth_span lend(const char *text)
{
    return text ? th_guard_span(soth_span(text)) : (struct soth_span){NULL, 0};
}

static struct soth_addr address(const char *text)
{
    struct soth_addr addr = {0};
    unsigned b[4];
    char more;
    if (text && sscanf(text, "%u.%u.%u.%u%c", &b[0], &b[1], &b[2], &b[3], &more) >= 4) {
        addr.family = 4;
        for (unsigned i = 0; i < 4; i++)
            addr.bytes[i] = (uint8_t)b[i];
    }
    return addr;
}

struct soth_connect *th_connect_lend(const struct testhost_question *q, bool hello)
{
    const char *host = q->host ? q->host : "a.test", *client = q->client ? q->client : "192.0.2.1:4711";
    struct soth_connect c = {
        .size = sizeof c,
        .identity = q->identity,
        .host = lend(host),
        .port = q->port ? q->port : 443,
        .has_hello = hello,
        .client = lend(client),
        .client_addr = address(client),
        .host_addr = address(host),
    };
    if (hello) {
        c.sni = lend(q->sni);
        c.alpn = lend(q->alpn);
        c.ja4 = lend(q->ja4);
    }
    return th_guard_lend_aligned(&c, sizeof c);
}

/* All names and values in one piece of lent memory. */
static struct soth_field *fields_lend(const struct head *head)
{
    size_t n = 0;
    for (size_t i = 0; i < head->count; i++)
        n += strlen(head->fields[i].name) + strlen(head->fields[i].value);
    char *at = th_guard_lend(NULL, n);
    struct soth_field *fields = th_guard_lend_aligned(NULL, head->count * sizeof *fields);
    for (size_t i = 0; i < head->count; i++) {
        struct soth_span name = soth_span(head->fields[i].name), value = soth_span(head->fields[i].value);
        memcpy(at, name.p, name.n);
        fields[i].name = (struct soth_span){at, name.n};
        at += name.n;
        memcpy(at, value.p, value.n);
        fields[i].value = (struct soth_span){at, value.n};
        at += value.n;
    }
    return fields;
}

static uint32_t is_coded(const struct head *head)
{
    for (size_t i = 0; i < head->count; i++)
        if (strcasecmp(head->fields[i].name, "Content-Encoding") == 0 && *head->fields[i].value && strcasecmp(head->fields[i].value, "identity") != 0)
            return 1;
    return 0;
}

struct soth_message *th_head_lend(const struct head *head, const struct head *request, uint32_t direction, const struct testhost_question *q)
{
    struct soth_message m = {
        .size = sizeof m,
        .direction = direction,
        .connect = th_connect_lend(q, true),
        .target_host = lend(q->host ? q->host : "a.test"),
        .method = lend(request->start[0] ? request->start[0] : "GET"),
        .scheme = lend("https"),
        .target = lend(request->start[1] ? request->start[1] : "/"),
        .status = direction == SOTH_TO_CLIENT && head->start[1] ? (uint32_t)strtoul(head->start[1], NULL, 10) : 0,
        .field_count = (uint32_t)head->count,
        .fields = fields_lend(head),
        .coded = is_coded(head),
    };
    return th_guard_lend_aligned(&m, sizeof m);
}
