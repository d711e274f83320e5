/* SPDX-License-Identifier: MPL-2.0 */
/*
 * sink_console: one readable line an exchange on standard output, one for each event of a stream as it happens, and one for each flow that
 * was refused, tunnelled or ended badly without one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "console.h"
#include "text.h"

static const struct soth_opt options[] = {
    SOTH_OPT_ENUM(struct console, color, "auto|always|never", "auto", "auto: when standard output is a terminal"),
    SOTH_OPT_ENUM(struct console, flow, "all|errors", "all", "errors: only what failed or was refused"),
    SOTH_OPT_BOOL(struct console, streams, "true", "a line for each server-sent event, record and WebSocket message, too"),
    SOTH_OPT_END,
};

static int create(const struct soth_host *host, void *arg)
{
    struct console *self = arg;
    self->host = host;
    self->colored = self->color == COLOR_ALWAYS || (self->color == COLOR_AUTO && isatty(STDOUT_FILENO));
    return memory_init(self);
}

static void destroy(void *arg)
{
    memory_fini(arg);
}

/* ---- reading events ---- */

static const struct soth_attr *find(const struct soth_event *e, const char *name)
{
    for (uint32_t i = 0; i < e->attr_count; i++) {
        struct soth_span have = {e->attrs[i].name, e->attrs[i].name_len};
        if (soth_span_is(have, name))
            return &e->attrs[i];
    }
    return NULL;
}

static void copy_attr(char *out, size_t size, const struct soth_event *e, const char *name)
{
    const struct soth_attr *a = find(e, name);
    struct soth_span none = {"", 0};
    text_clean(out, size, a ? a->text : none);
}

static int attr_is(const struct soth_event *e, const char *name, const char *value)
{
    const struct soth_attr *a = find(e, name);
    return a && soth_span_is(a->text, value);
}

static uint64_t number(const struct soth_event *e, const char *name)
{
    const struct soth_attr *a = find(e, name);
    return a ? a->number : 0;
}

/* Two attributes as words: "rule no-admin", or the first alone. */
static void copy_words(char out[200], const struct soth_event *e, const char *first, const char *second)
{
    char a[64], b[128];
    copy_attr(a, sizeof a, e, first);
    copy_attr(b, sizeof b, e, second);
    snprintf(out, 200, "%s%s%s", a, *a && *b ? " " : "", b);
}

/* ---- events ---- */

/* One text behind the other; returns the place of this one. */
static size_t add_word(char *words, size_t *at, const char *word)
{
    size_t place = *at, n = strlen(word) + 1;
    memcpy(words + place, word, n);
    *at += n;
    return place;
}

static void request(struct console *self, const struct soth_event *e)
{
    char method[24], host[256], target[256];
    struct exchange *before = memory_get(self, e->flow_id);
    if (before && before->open)
        line_exchange(self, e, before, "");
    copy_attr(method, sizeof method, e, "method");
    text_clean(host, sizeof host, e->server_host);
    copy_attr(target, sizeof target, e, "target");
    struct exchange *x = memory_put(self, e->flow_id, strlen(method) + strlen(host) + strlen(target) + 3);
    size_t at = 0;
    if (!x)
        return;
    add_word(x->words, &at, method);
    x->host_at = (uint16_t)add_word(x->words, &at, host);
    x->target_at = (uint16_t)add_word(x->words, &at, target);
    x->secure = (uint8_t)attr_is(e, "scheme", "https");
    x->port = e->server_port;
    x->started_ns = e->monotonic_ns;
    memory_drop_reply(x);
    if (x->refused != REFUSED_FOR_GOOD)
        x->refused = x->blocked ? REFUSED_ONCE : NOT_REFUSED;
    x->open = x->refused == NOT_REFUSED;
    const struct place where = place_of_exchange(x);
    if (x->blocked)
        line_flow(self, RED, "BLOCKED", &where, x->blocked);
    free(x->blocked);
    x->blocked = NULL;
}

static void response(struct console *self, const struct soth_event *e)
{
    struct exchange *x = memory_get(self, e->flow_id);
    if (!x || !x->open || find(e, "interim") || (!x->reply && !(x->reply = calloc(1, sizeof *x->reply))))
        return;
    struct reply *r = x->reply;
    r->status = (unsigned)number(e, "status_code");
    copy_attr(r->type, sizeof r->type, e, "content_type");
    r->type[strcspn(r->type, "; ")] = 0;
    const struct soth_attr *length = find(e, "content_length");
    int bodiless = strcmp(x->words, "HEAD") == 0 || r->status == 204 || r->status == 304;
    r->length = length ? length->number : 0;
    /* a stream of unknown length is told at its head: it may run for hours */
    r->streamed = !length && !bodiless;
    if (bodiless || r->length == 0)
        line_exchange(self, e, x, "");
}

static void body(struct console *self, const struct soth_event *e)
{
    struct exchange *x = memory_get(self, e->flow_id);
    if (!x || !x->open || !x->reply)
        return;
    x->reply->bytes += number(e, "bytes");
    if (x->reply->status && x->reply->bytes >= x->reply->length)
        line_exchange(self, e, x, "");
}

static void connect_decision(struct console *self, const struct soth_event *e)
{
    char why[200];
    const struct place at = place_of_event(self, e);
    copy_words(why, e, "reason", "rule_id");
    if (attr_is(e, "action", "tunnel") && self->flow == FLOW_ALL)
        line_flow(self, CYAN, "TUNNEL", &at, why);
    if (!attr_is(e, "action", "block"))
        return;
    struct exchange *x = memory_get(self, e->flow_id);
    if (!x && (x = memory_put(self, e->flow_id, 1)))
        x->words[0] = 0;
    if (x && e->protocol != SOTH_PROTO_TUNNEL) { /* an absolute-form request: its head comes next and says what was asked for */
        free(x->blocked);
        x->blocked = strdup(why);
        return;
    }
    if (x)
        x->refused = REFUSED_FOR_GOOD;
    line_flow(self, RED, "BLOCKED", &at, why);
}

static void request_decision(struct console *self, const struct soth_event *e)
{
    char why[200];
    struct exchange *x = memory_get(self, e->flow_id);
    const struct place at = x ? place_of_exchange(x) : place_of_event(self, e);
    if (!attr_is(e, "action", "block"))
        return;
    copy_words(why, e, "reason", "rule_id");
    line_flow(self, RED, "BLOCKED", &at, why);
    if (x && x->refused == NOT_REFUSED) {
        x->refused = REFUSED_ONCE;
        x->open = 0; /* its 403 needs no line of its own */
    }
}

static void tls_failed(struct console *self, const struct soth_event *e)
{
    char why[64], detail[200], line[300];
    struct place at = place_of_event(self, e);
    at.secure = 1;
    copy_attr(why, sizeof why, e, "tls_failure_reason");
    copy_attr(detail, sizeof detail, e, "detail");
    snprintf(line, sizeof line, "%s %s%s%s", attr_is(e, "peer", "downstream") ? "client" : "origin", why, *detail ? ": " : "", detail);
    line_flow(self, RED, "TLS FAILED", &at, line);
}

static void bad_request(struct console *self, const struct soth_event *e)
{
    char client[128], why[200];
    text_clean(client, sizeof client, e->client_addr);
    copy_words(why, e, "parse_error_code", "parse_error_detail");
    printf("%sBAD REQUEST%s from %s: %s\n", line_paint(self, RED), line_plain(self), client, why);
}

static int listed(const struct soth_event *e, const char *const *codes)
{
    for (; *codes; codes++)
        if (attr_is(e, "reason_code", *codes))
            return 1;
    return 0;
}

/* A flow that ended without an exchange under way: is there something to tell that no other line tells? */
static int is_news(const struct soth_event *e, const struct exchange *x)
{
    static const char *const quiet[] = {"client_aborted", "connect_parse_failed", "idle_watchdog_timeout", "mitm_http_completed", "relay_eof",
                                        "shutdown_drain", "tls_handshake_failed", "websocket_completed", NULL};
    return !listed(e, quiet) && !(x && x->refused);
}

static void print_end(const struct console *self, const struct soth_event *e, const struct place *at, int is_block, const char *why)
{
    const char *what = is_block ? "BLOCKED" : "FAILED";
    char client[128];
    if (*at->host) {
        line_flow(self, RED, what, at, why);
        return;
    }
    text_clean(client, sizeof client, e->client_addr); /* it ended before it said where it wanted to go */
    printf("%s%s%s from %s: %s\n", line_paint(self, RED), what, line_plain(self), client, why);
}

static void closed(struct console *self, const struct soth_event *e)
{
    static const char *const good[] = {"mitm_http_completed", "relay_eof", NULL};
    struct exchange *x = memory_get(self, e->flow_id);
    struct place at = place_of_event(self, e);
    int is_block = attr_is(e, "reason_code", "blocked"), is_open = x && x->open;
    char why[200];
    if (is_block)
        copy_attr(why, sizeof why, e, "reason_detail");
    else
        copy_words(why, e, "reason_code", "reason_detail");
    if (x && (is_open || (x->reply && x->reply->streamed)))
        at = place_of_exchange(x);
    else if (x)
        at.secure = x->secure;
    if (is_open && !is_block)
        line_exchange(self, e, x, listed(e, good) ? "" : why);
    else if (is_open || is_news(e, x))
        print_end(self, e, &at, is_block, why);
    memory_drop(self, e->flow_id);
}

/* "" when the flow's request is not remembered. */
static void url_of_flow(struct console *self, const struct soth_event *e, char where[700])
{
    const struct exchange *x = memory_get(self, e->flow_id);
    where[0] = 0;
    if (!x)
        return;
    const struct place at = place_of_exchange(x);
    line_url(where, 700, &at);
}

/* "  sse_event #3 token 120B origin.test/events" */
static void of_stream(struct console *self, const struct soth_event *e)
{
    char size[16], name[64], where[700];
    if (!self->streams || self->flow == FLOW_ERRORS)
        return;
    url_of_flow(self, e, where);
    text_bytes(size, number(e, e->kind == SOTH_EV_SSE_EVENT ? "data_len" : "record_len"));
    copy_attr(name, sizeof name, e, "event");
    printf("  %s%s%s #%llu%s%s %s%s %s\n", line_paint(self, CYAN), e->kind_name, line_plain(self), (unsigned long long)number(e, "sequence_no"),
           *name ? " " : "", name, size, find(e, "partial") ? " partial" : "", where);
}

/* "  ws_message #3 > text 120B origin.test/chat" */
static void of_websocket(struct console *self, const struct soth_event *e)
{
    char size[16], opcode[16], way[24], violation[40], where[700];
    if (!self->streams || self->flow == FLOW_ERRORS)
        return;
    url_of_flow(self, e, where);
    text_bytes(size, number(e, find(e, "inflated_len") ? "inflated_len" : "payload_len"));
    copy_attr(opcode, sizeof opcode, e, "opcode_label");
    copy_attr(way, sizeof way, e, "direction");
    copy_attr(violation, sizeof violation, e, "violation");
    printf("  %sws_message%s #%llu %c %s %s%s%s %s\n", line_paint(self, CYAN), line_plain(self), (unsigned long long)number(e, "message_no"),
           *way == 'c' ? '>' : '<', opcode, size, *violation ? " " : "", violation, where);
}

static void one(struct console *self, const struct soth_event *e)
{
    static void (*const tell[SOTH_EV_COUNT])(struct console *, const struct soth_event *) = {
        [SOTH_EV_REQUEST_HEADERS] = request,
        [SOTH_EV_RESPONSE_HEADERS] = response,
        [SOTH_EV_RESPONSE_BODY_CHUNK] = body,
        [SOTH_EV_CONNECT_DECISION] = connect_decision,
        [SOTH_EV_REQUEST_DECISION] = request_decision,
        [SOTH_EV_TLS_HANDSHAKE_FAILED] = tls_failed,
        [SOTH_EV_CONNECT_PARSE_FAILED] = bad_request,
        [SOTH_EV_STREAM_CLOSED] = closed,
        [SOTH_EV_SSE_EVENT] = of_stream,
        [SOTH_EV_STREAM_RECORD] = of_stream,
        [SOTH_EV_WS_MESSAGE] = of_websocket,
    };
    if (e->kind < SOTH_EV_COUNT && tell[e->kind])
        tell[e->kind](self, e);
}

/* Nobody reads it any more, or the disk behind it is full: these events are lost, and counted as such. */
static int lost(struct console *self, uint32_t *done)
{
    if (!self->failing)
        self->host->log(self, SOTH_LOG_ERROR, "cannot write to standard output: %s; its events are lost", strerror(errno));
    self->failing = 1;
    clearerr(stdout);
    *done = 0;
    return SOTH_DROP;
}

static int console_write(void *arg, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    struct console *self = arg;
    (void)retry_ms;
    for (*done = 0; *done < batch->count; ++*done)
        one(self, batch->events[*done]);
    if (fflush(stdout) != 0 || ferror(stdout))
        return lost(self, done);
    if (batch->count)
        self->failing = 0;
    return SOTH_OK;
}

SOTH_SINK_MODULE(sink_console, "0.1.0", "MPL-2.0",
    .doc = "one readable line an exchange on standard output",
    .options = options, .self_size = sizeof(struct console),
    .events = SOTH_GROUP_CONNECT | SOTH_GROUP_TLS | SOTH_GROUP_HTTP | SOTH_GROUP_BODY | SOTH_GROUP_STREAM,
    .create = create, .destroy = destroy, .write = console_write);
