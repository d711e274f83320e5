/* SPDX-License-Identifier: MPL-2.0 */
/* What is told of a call: its heads, each message, what is broken in the framing, its status. See grpc.h. */
#include <strings.h>

#include "grpc.h"

/* ---- events ---- */

static const struct soth_span none = {NULL, 0};

#define ATTRS_MOST 12u

struct attrs {
    struct soth_attr list[ATTRS_MOST];
    size_t n;
};

static struct soth_span name_of(const struct name *name)
{
    return name->n ? (struct soth_span){name->text, name->n} : none;
}

static void add_text(struct attrs *a, const char *name, struct soth_span value)
{
    if (value.p)
        a->list[a->n++] = (struct soth_attr){name, SOTH_BYTES(value)};
}

static void add_number(struct attrs *a, const char *name, uint64_t value)
{
    a->list[a->n++] = (struct soth_attr){name, SOTH_U64(value)};
}

static void add_flag(struct attrs *a, const char *name, int value)
{
    a->list[a->n++] = (struct soth_attr){name, {"", 0}, (uint64_t)value, SOTH_ATTR_BOOL, 0};
}

static void add_direction(struct attrs *a, uint32_t direction)
{
    add_text(a, "direction", soth_span(direction == SOTH_TO_SERVER ? "client_to_server" : "server_to_client"));
}

/* Each event of a call has its number in it, whether or not anybody listens. */
static void emit(struct grpc *g, struct soth_flow *flow, struct state *s, uint32_t kind, struct attrs *a)
{
    add_text(a, "grpc_detection_mode", soth_span(s->by_path ? "path" : "content_type"));
    add_number(a, "grpc_event_sequence", ++s->events);
    add_text(a, "grpc_method", name_of(&s->method));
    add_text(a, "grpc_service", name_of(&s->service));
    g->host->emit(g, flow, kind, a->list, a->n);
}

struct soth_span grpc_field(struct grpc *g, struct soth_flow *flow, const char *name)
{
    return g->host->hdr_get(flow, name, 0);
}

/* ---- heads ---- */

void tell_request(struct grpc *g, struct soth_flow *flow, struct state *s)
{
    struct attrs a = {.n = 0};
    add_text(&a, "content_type", grpc_field(g, flow, "Content-Type"));
    add_text(&a, "grpc_accept_encoding", grpc_field(g, flow, "grpc-accept-encoding"));
    add_text(&a, "grpc_encoding", grpc_field(g, flow, "grpc-encoding"));
    add_text(&a, "grpc_timeout", grpc_field(g, flow, "grpc-timeout"));
    emit(g, flow, s, SOTH_EV_GRPC_REQUEST_HEADERS, &a);
}

void tell_response(struct grpc *g, struct soth_flow *flow, struct state *s, const struct soth_message *message)
{
    struct soth_span status = grpc_field(g, flow, "grpc-status");
    struct attrs a = {.n = 0};
    add_text(&a, "content_type", grpc_field(g, flow, "Content-Type"));
    add_text(&a, "grpc_encoding", grpc_field(g, flow, "grpc-encoding"));
    add_text(&a, "grpc_message", grpc_field(g, flow, "grpc-message"));
    add_text(&a, "grpc_status", status);
    add_number(&a, "status_code", message->status);
    if (status.p)
        add_flag(&a, "trailers_only", 1);
    emit(g, flow, s, SOTH_EV_GRPC_RESPONSE_HEADERS, &a);
}

/* ---- messages ---- */

int tell_message(struct grpc *g, struct soth_flow *flow, struct state *s, uint32_t direction, const struct frames_found *found)
{
    struct attrs a = {.n = 0};
    add_flag(&a, "compressed", found->compressed);
    if (found->data.p)
        a.list[a.n++] = (struct soth_attr){"data", found->data, 0, SOTH_ATTR_BYTES | SOTH_ATTR_PAYLOAD, 0};
    if (found->has_decompressed)
        add_number(&a, "decompressed_len", found->decompressed_len);
    add_direction(&a, direction);
    add_number(&a, "message_len", found->message_len);
    add_number(&a, "sequence_no", found->sequence_no);
    emit(g, flow, s, SOTH_EV_GRPC_MESSAGE, &a);
    if (!(g->host->wanted(flow, SOTH_EV_GRPC_MESSAGE) & SOTH_WANTED_FRAME))
        return SOTH_CONTINUE;
    struct soth_frame frame = {.size = sizeof frame, .direction = direction, .kind = SOTH_EV_GRPC_MESSAGE, .payload = found->data};
    frame.attrs = a.list;
    frame.attr_count = (uint32_t)a.n;
    return g->host->frame(g, flow, &frame);
}

int tell_malformed(struct grpc *g, struct soth_flow *flow, struct state *s, uint32_t direction, const struct frames_found *found)
{
    struct attrs a = {.n = 0};
    add_text(&a, "class", soth_span(frames_class_name(found->class)));
    add_direction(&a, direction);
    if (found->class != CLASS_TRUNCATED_PREFIX)
        add_number(&a, "message_len", found->message_len);
    add_number(&a, "offset", found->offset);
    add_number(&a, "sequence_no", found->sequence_no);
    emit(g, flow, s, SOTH_EV_GRPC_MALFORMED, &a);
    if (found->class != CLASS_MESSAGE_TOO_LARGE)
        return SOTH_CONTINUE;
    return g->host->fail(g, flow, "max_message_bytes", g->on_overflow == OVERFLOW_CLOSE ? SOTH_FAIL_CLOSE : 0);
}

/* ---- status ---- */

#define NAMES_MOST 512u

struct status {
    struct soth_span status, message;
    uint32_t count;
    char names[NAMES_MOST];
    size_t n;
};

static void note_trailer(struct status *st, const struct soth_field *f)
{
    if (f->name.n == 11 && strncasecmp(f->name.p, "grpc-status", 11) == 0)
        st->status = f->value;
    else if (f->name.n == 12 && strncasecmp(f->name.p, "grpc-message", 12) == 0)
        st->message = f->value;
    st->count++;
    if (st->n + f->name.n + 1 > NAMES_MOST)
        return;
    if (st->n > 0)
        st->names[st->n++] = ',';
    memcpy(st->names + st->n, f->name.p, f->name.n);
    st->n += f->name.n;
}

static void tell_status(struct grpc *g, struct soth_flow *flow, struct state *s, const struct status *st)
{
    struct attrs a = {.n = 0};
    add_text(&a, "grpc_message", st->message);
    add_text(&a, "grpc_status", st->status);
    if (st->n > 0)
        add_text(&a, "names", (struct soth_span){st->names, st->n});
    add_number(&a, "trailer_count", st->count);
    emit(g, flow, s, SOTH_EV_GRPC_RESPONSE_TRAILERS, &a);
}

void tell_trailers(struct grpc *g, struct soth_flow *flow, struct state *s, const struct soth_message *message)
{
    struct status st = {.count = 0};
    for (uint32_t i = 0; i < message->field_count; i++)
        note_trailer(&st, &message->fields[i]);
    tell_status(g, flow, s, &st);
}

void tell_web_status(struct grpc *g, struct soth_flow *flow, struct state *s, struct soth_span text)
{
    struct status st = {.count = 0};
    struct soth_field f;
    for (uint32_t i = 0; web_trailer(text, i, &f); i++)
        note_trailer(&st, &f);
    tell_status(g, flow, s, &st);
}
