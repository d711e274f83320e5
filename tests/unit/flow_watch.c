/* SPDX-License-Identifier: MPL-2.0 */
/* See flow_watch.h. */
#include "flow_watch.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { CLIENT, ORIGIN };

static const char *const allowed[] = {
#define SOTH_EVENT(id, NAME, name, groups, attributes, text) [SOTH_EV_##NAME] = attributes,
#include <soth/events.def>
#undef SOTH_EVENT
};

__attribute__((format(printf, 3, 4))) static bool promise(struct watch *w, bool kept, const char *format, ...)
{
    va_list args;
    if (kept || w->fault[0])
        return kept;
    va_start(args, format);
    vsnprintf(w->fault, sizeof w->fault, format, args);
    va_end(args);
    return false;
}

static const struct soth_attr *attribute(const struct soth_event *e, const char *name)
{
    for (uint32_t i = 0; i < e->attr_count; i++)
        if (strcmp(e->attrs[i].name, name) == 0)
            return &e->attrs[i];
    return NULL;
}

struct soth_span watch_text(const struct soth_event *e, const char *name)
{
    const struct soth_attr *a = attribute(e, name);
    return a && (a->type == SOTH_ATTR_TEXT || a->type == SOTH_ATTR_BYTES) ? a->text : (struct soth_span){NULL, 0};
}

uint64_t watch_number(const struct soth_event *e, const char *name)
{
    const struct soth_attr *a = attribute(e, name);
    return a && (a->type == SOTH_ATTR_U64 || a->type == SOTH_ATTR_BOOL) ? a->number : 0;
}

static bool lists(const char *names, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = names; (at = strstr(at, name)) != NULL; at += n)
        if ((at == names || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
            return true;
    return false;
}

static void attributes(struct watch *w, const struct soth_event *e)
{
    for (uint32_t i = 0; i < e->attr_count; i++) {
        const struct soth_attr *a = &e->attrs[i];
        promise(w, lists(allowed[e->kind], a->name), "%s has no attribute %s", e->kind_name, a->name);
        promise(w, i == 0 || strcmp(e->attrs[i - 1].name, a->name) < 0, "%s: attributes are not sorted at %s", e->kind_name, a->name);
        promise(w, (a->type != SOTH_ATTR_TEXT && a->type != SOTH_ATTR_BYTES) || a->text.n > 0, "%s: %s is empty", e->kind_name, a->name);
    }
}

/* ---- what came before ---- */

static void connect_events(struct watch *w, const struct soth_event *e)
{
    if (e->kind == SOTH_EV_CONNECT_RECEIVED) {
        promise(w, w->received == w->decided, "connect_received before the last one was decided");
        promise(w, !w->shaking[CLIENT] && !w->shaking[ORIGIN], "connect_received inside a handshake");
        w->received++;
        w->request = w->response = (struct watch_part){.head = false};
    } else if (e->kind == SOTH_EV_CONNECT_PARSE_FAILED) {
        promise(w, w->received == w->decided, "connect_parse_failed before the last connect was decided");
        w->unparsed++;
    } else {
        promise(w, w->decided + 1 == w->received, "a connect_decision for nothing");
        w->decided++;
        w->blocked = soth_span_is(watch_text(e, "action"), "block");
    }
}

static void tls_events(struct watch *w, const struct soth_event *e)
{
    int side = soth_span_is(watch_text(e, "peer"), "downstream") ? CLIENT : ORIGIN;
    promise(w, w->received > 0 && w->decided == w->received, "%s before the decision", e->kind_name);
    if (e->kind == SOTH_EV_TLS_HANDSHAKE_STARTED) {
        /* with an origin another one may begin where the last was given up: on a new connection */
        promise(w, side == ORIGIN || !w->shaking[side], "a handshake with the client inside another");
        promise(w, side == ORIGIN || !w->request.head, "a handshake with the client after its request");
        w->shaking[side] = true;
    } else {
        promise(w, w->shaking[side], "%s without a start", e->kind_name);
        w->shaking[side] = false;
    }
}

/* Of the exchange or the stream that a message's event is about. */
static uint64_t number_of(const struct watch *w, const struct soth_event *e)
{
    return watch_number(e, w->is_stream ? "http2_stream_id" : "exchange_no");
}

static void head_events(struct watch *w, const struct soth_event *e)
{
    uint64_t number = number_of(w, e);
    if (e->kind == SOTH_EV_REQUEST_HEADERS) {
        promise(w, (w->is_stream || w->received > 0) && w->decided == w->received, "request_headers before the decision");
        promise(w, !w->shaking[CLIENT], "request_headers inside the client's handshake");
        promise(w, w->is_stream ? w->exchange_no == 0 : number == w->exchange_no + 1, "exchange %llu after %llu", (unsigned long long)number, (unsigned long long)w->exchange_no);
        w->exchange_no = number;
        w->request = (struct watch_part){.head = true};
        w->response = (struct watch_part){.head = false};
        return;
    }
    promise(w, w->request.head && number == w->exchange_no, "%s without a request", e->kind_name);
    if (e->kind == SOTH_EV_RESPONSE_HEADERS) {
        bool interim = watch_number(e, "interim");
        promise(w, !w->response.head, "a response head after the final one");
        promise(w, !interim || watch_number(e, "status_code") < 200, "an interim response that is none");
        w->response.head = !interim;
    }
}

static void body_events(struct watch *w, const struct soth_event *e)
{
    bool of_request = e->kind == SOTH_EV_REQUEST_BODY_CHUNK || e->kind == SOTH_EV_REQUEST_TRAILERS;
    bool is_chunk = e->kind == SOTH_EV_REQUEST_BODY_CHUNK || e->kind == SOTH_EV_RESPONSE_BODY_CHUNK;
    struct watch_part *part = of_request ? &w->request : &w->response;
    promise(w, part->head && number_of(w, e) == w->exchange_no, "%s before its head", e->kind_name);
    promise(w, !part->trailers, "%s after the trailers", e->kind_name);
    part->trailers = !is_chunk;
    if (!is_chunk)
        return;
    uint64_t offset = watch_number(e, "offset"), bytes = watch_number(e, "bytes");
    promise(w, offset == part->bytes, "%s at %llu after %llu bytes", e->kind_name, (unsigned long long)offset, (unsigned long long)part->bytes);
    bool last = watch_number(e, "last");
    promise(w, bytes > 0 || last, "%s of nothing", e->kind_name);
    promise(w, !part->over, "%s after the last one", e->kind_name);
    part->bytes += bytes;
    part->over = last;
}

static void closed_event(struct watch *w, const struct soth_event *e)
{
    w->closed++;
    promise(w, watch_text(e, "reason_code").n > 0, "stream_closed without reason_code");
    promise(w, w->received == w->decided, "stream_closed before the decision");
    promise(w, soth_span_is(watch_text(e, "reason_code"), "connect_parse_failed") == (w->unparsed > 0),
            "connect_parse_failed is the reason without the event, or the other way round");
}

void watch_event(struct watch *w, const struct soth_event *e)
{
    if (w->flow_id == 0) {
        w->flow_id = e->flow_id;
        w->is_stream = e->parent_flow_id != 0;
    }
    promise(w, e->flow_id == w->flow_id, "an event of another flow");
    promise(w, e->flow_sequence_id == w->sequence + 1, "%s has number %llu after %llu", e->kind_name, (unsigned long long)e->flow_sequence_id,
            (unsigned long long)w->sequence);
    promise(w, w->closed == 0, "%s after stream_closed", e->kind_name);
    promise(w, w->unparsed == 0 || e->kind == SOTH_EV_STREAM_CLOSED, "%s after connect_parse_failed", e->kind_name);
    promise(w, e->client_addr.n > 0, "%s without client_addr", e->kind_name);
    w->sequence = e->flow_sequence_id;
    attributes(w, e);
    switch (e->kind) {
    case SOTH_EV_CONNECT_RECEIVED:
    case SOTH_EV_CONNECT_PARSE_FAILED:
    case SOTH_EV_CONNECT_DECISION:
        connect_events(w, e);
        break;
    case SOTH_EV_TLS_HANDSHAKE_STARTED:
    case SOTH_EV_TLS_HANDSHAKE_SUCCEEDED:
    case SOTH_EV_TLS_HANDSHAKE_FAILED:
        tls_events(w, e);
        break;
    case SOTH_EV_REQUEST_HEADERS:
    case SOTH_EV_REQUEST_DECISION:
    case SOTH_EV_RESPONSE_HEADERS:
        head_events(w, e);
        break;
    case SOTH_EV_REQUEST_BODY_CHUNK:
    case SOTH_EV_REQUEST_TRAILERS:
    case SOTH_EV_RESPONSE_BODY_CHUNK:
    case SOTH_EV_RESPONSE_TRAILERS:
        body_events(w, e);
        break;
    case SOTH_EV_STREAM_CLOSED:
        closed_event(w, e);
        break;
    default:
        break;
    }
}

void watch_end(struct watch *w)
{
    promise(w, w->closed == 1, "%u stream_closed", w->closed);
}
