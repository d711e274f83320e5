/* SPDX-License-Identifier: MPL-2.0 */
/* What is published, as the table of events has it. */
#include "ws.h"

#define SIDE(direction) ((direction) == SOTH_TO_SERVER ? "client" : "server")
#define WAY(direction) ((direction) == SOTH_TO_SERVER ? "client_to_server" : "server_to_client")
#define WORD(text_) SOTH_TEXT(soth_span(text_))
#define FLAG(is_) {"", 0}, (is_) ? 1 : 0, SOTH_ATTR_BOOL, 0
#define U64_IF(is_, n_) {(is_) ? "" : NULL, 0}, (uint64_t)(n_), SOTH_ATTR_U64, 0
#define COUNT(array) (sizeof(array) / sizeof *(array))

size_t report_frame_attrs(struct soth_attr out[REPORT_ATTRS], unsigned direction, const struct talk_frame *frame)
{
    const struct frame_head *head = frame->head;
    const struct soth_attr attrs[] = {
        {"direction", WORD(WAY(direction))},
        {"fin", FLAG(head->fin)},
        {"masked", FLAG(head->masked)},
        {"opcode_label", WORD(opcode_label(head->opcode))},
        {"payload_len", SOTH_U64(head->length)},
        {"rsv", SOTH_U64(head->rsv)},
        {"sequence_no", SOTH_U64(frame->number)},
        {"violation", WORD(frame->violation)},
    };
    memcpy(out, attrs, sizeof attrs);
    return COUNT(attrs);
}

size_t report_message_attrs(struct soth_attr out[REPORT_ATTRS], unsigned direction, const struct message *m)
{
    struct soth_attr attrs[] = {
        {"direction", WORD(WAY(direction))},
        {"frame_count", SOTH_U64(m->frames)},
        {"inflated_len", U64_IF(m->compressed && m->readable, m->inflated)},
        {"message_no", SOTH_U64(m->number)},
        {"opcode_label", WORD(opcode_label(m->opcode))},
        {"payload_len", SOTH_U64(m->bytes)},
        {"violation", WORD(m->violation)},
    };
    memcpy(out, attrs, sizeof attrs);
    return COUNT(attrs);
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
               SOTH_ATTRS({"extensions", SOTH_BYTES(extensions)}, {"subprotocol", SOTH_BYTES(host->hdr_get(flow, "Sec-WebSocket-Protocol", 0))}));
}

static void report_message(struct ws *ws, struct soth_flow *flow, unsigned direction, const struct message *m)
{
    struct soth_attr attrs[REPORT_ATTRS];
    size_t n = report_message_attrs(attrs, direction, m);
    struct soth_span data = bytes_span(&m->data);
    attrs[n++] = (struct soth_attr){"data", data, 0, SOTH_ATTR_BYTES | SOTH_ATTR_PAYLOAD, 0};
    ws->host->emit(ws, flow, SOTH_EV_WS_MESSAGE, attrs, n);
}

void report_frame(struct ws *ws, struct soth_flow *flow, unsigned direction, const struct talk_frame *frame)
{
    const char *violation = frame->violation ? frame->violation : frame->message ? frame->message->violation : NULL;
    if (violation)
        ws->host->count(ws, ws->violations, 1);
    if (ws->host->wanted(flow, SOTH_EV_WS_FRAME) & SOTH_WANTED_EVENT) {
        struct soth_attr attrs[REPORT_ATTRS];
        size_t n = report_frame_attrs(attrs, direction, frame);
        ws->host->emit(ws, flow, SOTH_EV_WS_FRAME, attrs, n);
    }
    if (frame->message && (ws->host->wanted(flow, SOTH_EV_WS_MESSAGE) & SOTH_WANTED_EVENT))
        report_message(ws, flow, direction, frame->message);
}

void report_turn_started(struct ws *ws, struct soth_flow *flow, const struct turn *t)
{
    ws->host->emit(ws, flow, SOTH_EV_WS_TURN_STARTED,
                   SOTH_ATTRS({"first_frame_no", SOTH_U64(t->first)}, {"initiated_by", WORD(SIDE(t->initiator))},
                              {"started_at_unix_ms", SOTH_U64(t->started_ms)}, {"turn_id", SOTH_U64(t->id)}));
}

void report_turn_ended(struct ws *ws, struct soth_flow *flow, const struct turn_step *step)
{
    const struct turn *t = &step->ended;
    if (step->end == TURN_GOES_ON)
        return;
    ws->host->emit(ws, flow, SOTH_EV_WS_TURN_COMPLETED,
                   SOTH_ATTRS({"client_bytes", SOTH_U64(t->bytes[SOTH_TO_SERVER])}, {"client_frame_count", SOTH_U64(t->frames[SOTH_TO_SERVER])},
                              {"ended_at_unix_ms", SOTH_U64(t->ended_ms)}, {"first_frame_no", SOTH_U64(t->first)},
                              {"flush_reason", WORD(turn_end_name(step->end))}, {"initiated_by", WORD(SIDE(t->initiator))},
                              {"last_frame_no", SOTH_U64(t->last)}, {"server_bytes", SOTH_U64(t->bytes[SOTH_TO_CLIENT])},
                              {"server_frame_count", SOTH_U64(t->frames[SOTH_TO_CLIENT])}, {"started_at_unix_ms", SOTH_U64(t->started_ms)},
                              {"turn_id", SOTH_U64(t->id)}));
}

static const char *closer_name(unsigned closer)
{
    return closer == CLOSER_NOBODY ? NULL : closer == CLOSER_PROXY ? "proxy" : SIDE(closer);
}

void report_closed(struct ws *ws, struct soth_flow *flow, struct conversation *c, const char *violation)
{
    const struct talk_side *client = &c->talk.side[SOTH_TO_SERVER], *server = &c->talk.side[SOTH_TO_CLIENT];
    if (c->told)
        return;
    c->told = true;
    ws->host->emit(ws, flow, SOTH_EV_WS_CLOSED,
                   SOTH_ATTRS({"client_bytes", SOTH_U64(client->bytes)}, {"client_frame_count", SOTH_U64(client->frames)},
                              {"close_code", U64_IF(c->close_code, c->close_code)}, {"close_reason", SOTH_BYTES(c->close_reason)},
                              {"initiated_by", WORD(closer_name(c->closer))}, {"server_bytes", SOTH_U64(server->bytes)},
                              {"server_frame_count", SOTH_U64(server->frames)}, {"violation", WORD(violation)}));
}
