/* SPDX-License-Identifier: MPL-2.0 */
/*
 * sink_console: one readable line an exchange on standard output, and one for each flow that ended badly. Remembers the request until its
 * response ends; the memory is bounded, the oldest is forgotten first.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <soth/sdk.h>

#define SLOTS 8192u /* flows remembered at once */

enum color_mode { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };
enum flow_mode { FLOW_ALL, FLOW_ERRORS };

struct exchange { /* of one flow */
    uint64_t flow_id, started_ns, bytes, length;
    unsigned status, exchanges;
    char method[16], host[256], target[256], type[64], blocked[200];
    unsigned port;
    uint8_t secure, open, streamed;
};

struct console {
    uint32_t color, flow;
    const struct soth_host *host;
    struct exchange **slots;
    uint8_t colored;
};

static const struct soth_opt options[] = {
    SOTH_OPT_ENUM(struct console, color, "auto|always|never", "auto", "auto: when standard output is a terminal"),
    SOTH_OPT_ENUM(struct console, flow, "all|errors", "all", "errors: only what failed or was refused"),
    SOTH_OPT_END,
};

static int create(const struct soth_host *host, void *arg)
{
    struct console *self = arg;
    self->host = host;
    self->colored = self->color == COLOR_ALWAYS || (self->color == COLOR_AUTO && isatty(STDOUT_FILENO));
    self->slots = calloc(SLOTS, sizeof *self->slots);
    return self->slots ? SOTH_OK : -SOTH_ENOMEM;
}

static void destroy(void *arg)
{
    struct console *self = arg;
    for (size_t i = 0; self->slots && i < SLOTS; i++)
        free(self->slots[i]);
    free(self->slots);
}

/* ---- reading events ---- */

static const struct soth_attr *find(const struct soth_event *e, const char *name)
{
    struct soth_span have;
    for (uint32_t i = 0; i < e->attr_count; i++) {
        have = (struct soth_span){e->attrs[i].name, e->attrs[i].name_len};
        if (soth_span_is(have, name))
            return &e->attrs[i];
    }
    return NULL;
}

/* Text for a terminal: control characters of a peer do not reach it, those of C1 (U+0080 to U+009F) as little as escape. */
static void copy(char *out, size_t size, struct soth_span text)
{
    size_t n = 0;
    for (; n < text.n && n + 1 < size; n++) {
        unsigned char c = (unsigned char)text.p[n];
        int is_c1 = c >= 0x80 && c < 0xa0 && (n == 0 || (unsigned char)text.p[n - 1] < 0x80 || (unsigned char)text.p[n - 1] == 0xc2);
        out[n] = c < 32 || c == 127 || is_c1 ? '?' : (char)c;
    }
    out[n] = 0;
}

static void copy_attr(char *out, size_t size, const struct soth_event *e, const char *name)
{
    const struct soth_attr *a = find(e, name);
    struct soth_span none = {"", 0};
    copy(out, size, a ? a->text : none);
}

static uint64_t number(const struct soth_event *e, const char *name)
{
    const struct soth_attr *a = find(e, name);
    return a ? a->number : 0;
}

static struct exchange *remember(struct console *self, uint64_t flow_id)
{
    struct exchange **slot = &self->slots[flow_id % SLOTS];
    if (!*slot && !(*slot = calloc(1, sizeof **slot)))
        return NULL;
    if ((*slot)->flow_id != flow_id)
        **slot = (struct exchange){.flow_id = flow_id};
    return *slot;
}

static struct exchange *recall(struct console *self, uint64_t flow_id)
{
    struct exchange *x = self->slots[flow_id % SLOTS];
    return x && x->flow_id == flow_id ? x : NULL;
}

static void forget(struct console *self, uint64_t flow_id)
{
    if (!recall(self, flow_id))
        return;
    free(self->slots[flow_id % SLOTS]);
    self->slots[flow_id % SLOTS] = NULL;
}

/* ---- writing lines ---- */

static const char *paint(const struct console *self, const char *code)
{
    return self->colored ? code : "";
}

static const char *status_color(const struct console *self, unsigned status)
{
    return paint(self, status >= 500 ? "\033[31m" : status >= 400 ? "\033[33m" : status >= 300 ? "\033[36m" : "\033[32m");
}

static void human(char *out, size_t size, uint64_t bytes)
{
    static const char units[] = " kMGT";
    double value = (double)bytes;
    unsigned u = 0;
    while (value >= 1000 && u < 4) {
        value /= 1024;
        u++;
    }
    snprintf(out, size, u ? "%.1f%c" : "%.0fB", value, units[u]);
}

static void url(char *out, size_t size, const struct exchange *x)
{
    const char *form = strchr(x->host, ':') ? "[%s]" : "%s";
    char host[280], port[16] = "";
    snprintf(host, sizeof host, form, x->host);
    if (x->port && x->port != (x->secure ? 443u : 80u))
        snprintf(port, sizeof port, ":%u", x->port);
    snprintf(out, size, "%s://%s%s%s", x->secure ? "https" : "http", host, port, x->target);
}

static void print_exchange(const struct console *self, const struct soth_event *e, struct exchange *x)
{
    char size[16], where[700];
    x->open = 0;
    if (self->flow == FLOW_ERRORS && x->status < 400 && x->status != 0)
        return;
    human(size, sizeof size, x->bytes);
    if (x->streamed && x->bytes == 0)
        snprintf(size, sizeof size, "stream");
    url(where, sizeof where, x);
    unsigned long long ms = (unsigned long long)((e->monotonic_ns - x->started_ns) / 1000000u);
    if (x->status == 0)
        printf("%s%s%s %s -> %sno response%s\n", paint(self, "\033[1m"), x->method, paint(self, "\033[0m"), where, paint(self, "\033[31m"),
               paint(self, "\033[0m"));
    else
        printf("%s%s%s %s -> %s%u%s %s %s %llums\n", paint(self, "\033[1m"), x->method, paint(self, "\033[0m"), where,
               status_color(self, x->status), x->status, paint(self, "\033[0m"), *x->type ? x->type : "-", size, ms);
}

static void print_refusal(const struct console *self, const char *what, const struct exchange *x, const char *why)
{
    char where[700];
    url(where, sizeof where, x);
    printf("%s%s%s %s: %s\n", paint(self, "\033[31m"), what, paint(self, "\033[0m"), where, why);
}

/* ---- events ---- */

static void request(struct console *self, const struct soth_event *e)
{
    struct exchange *x = remember(self, e->flow_id);
    char scheme[8];
    if (!x)
        return;
    if (x->open)
        print_exchange(self, e, x);
    copy_attr(x->method, sizeof x->method, e, "method");
    copy(x->host, sizeof x->host, e->server_host);
    copy_attr(x->target, sizeof x->target, e, "target");
    copy_attr(scheme, sizeof scheme, e, "scheme");
    x->secure = strcmp(scheme, "https") == 0;
    x->port = e->server_port;
    x->started_ns = e->monotonic_ns;
    x->bytes = 0;
    x->streamed = 0;
    x->status = 0;
    x->type[0] = 0;
    x->open = x->blocked[0] == 0;
    x->exchanges++;
    if (x->blocked[0]) {
        print_refusal(self, "BLOCKED", x, x->blocked);
        x->blocked[0] = 0;
    }
}

static void response(struct console *self, const struct soth_event *e)
{
    struct exchange *x = recall(self, e->flow_id);
    if (!x || find(e, "interim"))
        return;
    x->status = (unsigned)number(e, "status_code");
    copy_attr(x->type, sizeof x->type, e, "content_type");
    x->type[strcspn(x->type, ";")] = 0;
    const struct soth_attr *length = find(e, "content_length");
    int bodiless = strcmp(x->method, "HEAD") == 0 || x->status == 204 || x->status == 304;
    x->length = length ? length->number : 0;
    /* a stream of unknown length is told at its head: it may run for hours */
    x->streamed = !length && !bodiless;
    if (bodiless || x->length == 0)
        print_exchange(self, e, x);
}

static void body(struct console *self, const struct soth_event *e)
{
    struct exchange *x = recall(self, e->flow_id);
    if (!x)
        return;
    x->bytes += number(e, "bytes");
    if (x->open && x->bytes >= x->length)
        print_exchange(self, e, x);
}

static void decision(struct console *self, const struct soth_event *e)
{
    char action[16], why[128], rule[64];
    copy_attr(action, sizeof action, e, "action");
    copy_attr(why, sizeof why, e, "reason");
    copy_attr(rule, sizeof rule, e, "rule_id");
    struct exchange at = {.port = e->server_port, .secure = e->protocol == SOTH_PROTO_TUNNEL};
    struct exchange *x = recall(self, e->flow_id);
    copy(at.host, sizeof at.host, e->server_host);
    if (e->kind == SOTH_EV_CONNECT_DECISION && e->protocol != SOTH_PROTO_TUNNEL && strcmp(action, "block") == 0) {
        /* an absolute-form request: its head comes next and says what was asked for */
        if ((x = remember(self, e->flow_id)))
            snprintf(x->blocked, sizeof x->blocked, "%s%s%s", why, *rule ? " " : "", rule);
        return;
    }
    if (e->kind == SOTH_EV_REQUEST_DECISION && x && strcmp(action, "block") == 0) {
        at = *x;
        x->open = 0; /* its 403 needs no line of its own */
    }
    if (*rule)
        snprintf(why + strlen(why), sizeof why - strlen(why), " %s", rule);
    if (strcmp(action, "block") == 0)
        print_refusal(self, "BLOCKED", &at, why);
    else if (strcmp(action, "tunnel") == 0 && self->flow == FLOW_ALL)
        print_refusal(self, "TUNNEL", &at, why);
}

static void tls_failed(struct console *self, const struct soth_event *e)
{
    char peer[16], why[64], detail[200], line[300];
    struct exchange at = {.port = e->server_port, .secure = 1};
    copy(at.host, sizeof at.host, e->server_host);
    copy_attr(peer, sizeof peer, e, "peer");
    copy_attr(why, sizeof why, e, "tls_failure_reason");
    copy_attr(detail, sizeof detail, e, "detail");
    snprintf(line, sizeof line, "%s %s: %s", strcmp(peer, "downstream") == 0 ? "client" : "origin", why, detail);
    print_refusal(self, "TLS FAILED", &at, line);
}

static void closed(struct console *self, const struct soth_event *e)
{
    char code[32], detail[100], line[140];
    struct exchange *x = recall(self, e->flow_id);
    copy_attr(code, sizeof code, e, "reason_code");
    copy_attr(detail, sizeof detail, e, "reason_detail");
    int good = strcmp(code, "mitm_http_completed") == 0 || strcmp(code, "relay_eof") == 0 || strcmp(code, "blocked") == 0 ||
               strcmp(code, "tls_handshake_failed") == 0;
    if (x && x->open)
        print_exchange(self, e, x);
    if (!good && !(strcmp(code, "client_aborted") == 0 && (!x || !x->open))) {
        struct exchange at = {.port = e->server_port, .secure = 1};
        copy(at.host, sizeof at.host, e->server_host);
        snprintf(line, sizeof line, "%s %s", code, detail);
        print_refusal(self, "FAILED", x ? x : &at, line);
    }
    forget(self, e->flow_id);
}

static void one(struct console *self, const struct soth_event *e)
{
    switch (e->kind) {
    case SOTH_EV_REQUEST_HEADERS:
        request(self, e);
        break;
    case SOTH_EV_RESPONSE_HEADERS:
        response(self, e);
        break;
    case SOTH_EV_RESPONSE_BODY_CHUNK:
        body(self, e);
        break;
    case SOTH_EV_CONNECT_DECISION:
    case SOTH_EV_REQUEST_DECISION:
        decision(self, e);
        break;
    case SOTH_EV_TLS_HANDSHAKE_FAILED:
        tls_failed(self, e);
        break;
    case SOTH_EV_CONNECT_PARSE_FAILED:
        printf("%sBAD REQUEST%s from %.*s\n", paint(self, "\033[31m"), paint(self, "\033[0m"), SOTH_SPAN(e->client_addr));
        break;
    case SOTH_EV_STREAM_CLOSED:
        closed(self, e);
        break;
    default:
        break;
    }
}

static int console_write(void *arg, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    struct console *self = arg;
    (void)retry_ms;
    for (*done = 0; *done < batch->count; ++*done)
        one(self, batch->events[*done]);
    fflush(stdout);
    return SOTH_OK;
}

SOTH_SINK_MODULE(sink_console, "0.1.0", "MPL-2.0",
    .doc = "one readable line an exchange on standard output",
    .options = options, .self_size = sizeof(struct console),
    .events = SOTH_GROUP_CONNECT | SOTH_GROUP_TLS | SOTH_GROUP_HTTP | SOTH_GROUP_BODY,
    .create = create, .destroy = destroy, .write = console_write);
