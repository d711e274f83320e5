/* SPDX-License-Identifier: MPL-2.0 */
/* What is published, as the table of events has it. */
#include "ws.h"

/* With the lengths of names and words, which the compiler knows: there are six events to an echo of one message. */
#define KNOWN(text_) {text_, sizeof(text_) - 1}
#define LITERAL(text_) ((struct soth_span)KNOWN(text_))
#define SIDE(direction) ((direction) == SOTH_TO_SERVER ? LITERAL("client") : LITERAL("server"))
#define WAY(direction) ((direction) == SOTH_TO_SERVER ? LITERAL("client_to_server") : LITERAL("server_to_client"))
#define SPAN(name_, span_) {name_, span_, 0, SOTH_ATTR_TEXT, sizeof(name_) - 1}
#define WORD(name_, text_) SPAN(name_, soth_span(text_))
#define PEERS(name_, span_) {name_, span_, 0, SOTH_ATTR_BYTES, sizeof(name_) - 1}
#define FLAG(name_, is_) {name_, {"", 0}, (is_) ? 1 : 0, SOTH_ATTR_BOOL, sizeof(name_) - 1}
#define U64(name_, n_) U64_IF(name_, true, n_)
#define U64_IF(name_, is_, n_) {name_, {(is_) ? "" : NULL, 0}, (uint64_t)(n_), SOTH_ATTR_U64, sizeof(name_) - 1}

/* "text", ..., "reserved_3" */
static struct soth_span opcode_label(uint8_t opcode)
{
    static const struct soth_span labels[16] = {
        KNOWN("continuation"), KNOWN("text"),       KNOWN("binary"),      KNOWN("reserved_3"),  KNOWN("reserved_4"),  KNOWN("reserved_5"),
        KNOWN("reserved_6"),   KNOWN("reserved_7"), KNOWN("close"),       KNOWN("ping"),        KNOWN("pong"),        KNOWN("reserved_11"),
        KNOWN("reserved_12"),  KNOWN("reserved_13"), KNOWN("reserved_14"), KNOWN("reserved_15"),
    };
    return labels[opcode & 15];
}

size_t report_frame_attrs(struct soth_attr out[REPORT_ATTRS], unsigned direction, const struct talk_frame *frame)
{
    const struct frame_head *head = frame->head;
    struct soth_attr *at = out;
    *at++ = (struct soth_attr)SPAN("direction", WAY(direction));
    *at++ = (struct soth_attr)FLAG("fin", head->fin);
    *at++ = (struct soth_attr)FLAG("masked", head->masked);
    *at++ = (struct soth_attr)SPAN("opcode_label", opcode_label(head->opcode));
    *at++ = (struct soth_attr)U64("payload_len", head->length);
    *at++ = (struct soth_attr)U64("rsv", head->rsv);
    *at++ = (struct soth_attr)U64("sequence_no", frame->number);
    *at++ = (struct soth_attr)WORD("violation", frame->violation);
    return (size_t)(at - out);
}

size_t report_message_attrs(struct soth_attr out[REPORT_ATTRS], unsigned direction, const struct message *m)
{
    struct soth_attr *at = out;
    *at++ = (struct soth_attr)SPAN("direction", WAY(direction));
    *at++ = (struct soth_attr)U64("frame_count", m->frames);
    *at++ = (struct soth_attr)U64_IF("inflated_len", m->compressed && m->readable, m->inflated);
    *at++ = (struct soth_attr)U64("message_no", m->number);
    *at++ = (struct soth_attr)SPAN("opcode_label", opcode_label(m->opcode));
    *at++ = (struct soth_attr)U64("payload_len", m->bytes);
    *at++ = (struct soth_attr)WORD("violation", m->violation);
    return (size_t)(at - out);
}

void report_opened(struct ws *ws, struct soth_flow *flow)
{
    const struct soth_host *host = ws->host;
    char names[512];
    size_t n = 0;
    struct soth_span one;
    for (uint32_t i = 0; (one = host->hdr_get(flow, "Sec-WebSocket-Extensions", i)).p && n + one.n + 2 <= sizeof names; i++) {
        if (n > 0)
            memcpy(names + n, ", ", 2), n += 2;
        memcpy(names + n, one.p, one.n);
        n += one.n;
    }
    struct soth_span extensions = {n > 0 ? names : NULL, n};
    host->emit(ws, flow, SOTH_EV_WS_OPENED,
               SOTH_ATTRS(PEERS("extensions", extensions), PEERS("subprotocol", host->hdr_get(flow, "Sec-WebSocket-Protocol", 0))));
}

/* Nobody listens: the event has its number, and nothing else is done for it. */
static inline bool is_unwanted(struct ws *ws, struct soth_flow *flow, uint32_t kind)
{
    if (ws->host->wanted(flow, kind) & SOTH_WANTED_EVENT)
        return false;
    ws->host->emit(ws, flow, kind, NULL, 0);
    return true;
}

static void report_message(struct ws *ws, struct soth_flow *flow, unsigned direction, const struct message *m)
{
    struct soth_attr attrs[1 + REPORT_ATTRS];
    if (is_unwanted(ws, flow, SOTH_EV_WS_MESSAGE))
        return;
    attrs[0] = (struct soth_attr){"data", bytes_span(&m->data), 0, SOTH_ATTR_BYTES | SOTH_ATTR_PAYLOAD, sizeof "data" - 1};
    ws->host->emit(ws, flow, SOTH_EV_WS_MESSAGE, attrs, 1 + report_message_attrs(attrs + 1, direction, m));
}

void report_frame(struct ws *ws, struct soth_flow *flow, unsigned direction, const struct talk_frame *frame)
{
    const char *violation = frame->violation ? frame->violation : frame->message ? frame->message->violation : NULL;
    struct soth_attr attrs[REPORT_ATTRS];
    if (violation)
        ws->host->count(ws, ws->violations, 1);
    if (!is_unwanted(ws, flow, SOTH_EV_WS_FRAME))
        ws->host->emit(ws, flow, SOTH_EV_WS_FRAME, attrs, report_frame_attrs(attrs, direction, frame));
    if (frame->message)
        report_message(ws, flow, direction, frame->message);
}

void report_turn_started(struct ws *ws, struct soth_flow *flow, const struct turn *t)
{
    if (is_unwanted(ws, flow, SOTH_EV_WS_TURN_STARTED))
        return;
    ws->host->emit(ws, flow, SOTH_EV_WS_TURN_STARTED,
                   SOTH_ATTRS(U64("first_frame_no", t->first), SPAN("initiated_by", SIDE(t->initiator)),
                              U64("started_at_unix_ms", t->started_ms), U64("turn_id", t->id)));
}

void report_turn_ended(struct ws *ws, struct soth_flow *flow, const struct turn_step *step)
{
    const struct turn *t = &step->ended;
    if (step->end == TURN_GOES_ON || is_unwanted(ws, flow, SOTH_EV_WS_TURN_COMPLETED))
        return;
    ws->host->emit(ws, flow, SOTH_EV_WS_TURN_COMPLETED,
                   SOTH_ATTRS(U64("client_bytes", t->bytes[SOTH_TO_SERVER]), U64("client_frame_count", t->frames[SOTH_TO_SERVER]),
                              U64("ended_at_unix_ms", t->ended_ms), U64("first_frame_no", t->first),
                              WORD("flush_reason", turn_end_name(step->end)), SPAN("initiated_by", SIDE(t->initiator)),
                              U64("last_frame_no", t->last), U64("server_bytes", t->bytes[SOTH_TO_CLIENT]),
                              U64("server_frame_count", t->frames[SOTH_TO_CLIENT]), U64("started_at_unix_ms", t->started_ms),
                              U64("turn_id", t->id)));
}

static struct soth_span closer_name(unsigned closer)
{
    if (closer == CLOSER_NOBODY)
        return (struct soth_span){NULL, 0};
    return closer == CLOSER_PROXY ? LITERAL("proxy") : SIDE(closer);
}

void report_closed(struct ws *ws, struct soth_flow *flow, struct conversation *c, const char *violation)
{
    const struct talk_side *client = &c->talk.side[SOTH_TO_SERVER], *server = &c->talk.side[SOTH_TO_CLIENT];
    if (c->told)
        return;
    c->told = true;
    ws->host->emit(ws, flow, SOTH_EV_WS_CLOSED,
                   SOTH_ATTRS(U64("client_bytes", client->bytes), U64("client_frame_count", client->frames),
                              U64_IF("close_code", c->close_has_code, c->close_code), PEERS("close_reason", c->close_reason),
                              SPAN("initiated_by", closer_name(c->closer)), U64("server_bytes", server->bytes),
                              U64("server_frame_count", server->frames), WORD("violation", violation)));
}
