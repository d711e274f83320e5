/* SPDX-License-Identifier: MPL-2.0 */
/* What is published, as the table of events has it. */
#include "ws.h"

/* Words are values by where they are. */
#define KNOWN(text_) {text_, sizeof(text_) - 1}
static const struct soth_span proxy = KNOWN("proxy");
static const struct soth_span sides[2] = {[SOTH_TO_SERVER] = KNOWN("client"), [SOTH_TO_CLIENT] = KNOWN("server")};
static const struct soth_span ways[2] = {[SOTH_TO_SERVER] = KNOWN("client_to_server"), [SOTH_TO_CLIENT] = KNOWN("server_to_client")};
static const struct soth_span opcodes[16] = {
    KNOWN("continuation"), KNOWN("text"),        KNOWN("binary"),      KNOWN("reserved_3"), KNOWN("reserved_4"), KNOWN("reserved_5"),
    KNOWN("reserved_6"),   KNOWN("reserved_7"),  KNOWN("close"),       KNOWN("ping"),       KNOWN("pong"),       KNOWN("reserved_11"),
    KNOWN("reserved_12"),  KNOWN("reserved_13"), KNOWN("reserved_14"), KNOWN("reserved_15"),
};

/* ---- forms: what there is to tell, in the order in which values are given ---- */

#define FIELD(name_, type_) {name_, {NULL, 0}, 0, type_, sizeof(name_) - 1}
#define TEXT(name_) FIELD(name_, SOTH_ATTR_TEXT)
#define WORD(name_) FIELD(name_, SOTH_ATTR_TEXT | SOTH_ATTR_WORD)
#define BYTES(name_) FIELD(name_, SOTH_ATTR_BYTES)
#define U64(name_) FIELD(name_, SOTH_ATTR_U64)
#define FLAG(name_) FIELD(name_, SOTH_ATTR_BOOL)

static const struct soth_attr opened[] = {BYTES("extensions"), BYTES("subprotocol")};

enum { FRAME_VIOLATION = 7, FRAME_VALUES };
static const struct soth_attr frames[FRAME_VALUES] = {
    WORD("direction"), FLAG("fin"), FLAG("masked"), WORD("opcode_label"), U64("payload_len"), U64("rsv"), U64("sequence_no"), TEXT("violation"),
};

enum { MESSAGE_INFLATED = 2, MESSAGE_VIOLATION = 6, MESSAGE_DATA, MESSAGE_VALUES };
static const struct soth_attr messages[MESSAGE_VALUES] = {
    WORD("direction"),    U64("frame_count"), U64("inflated_len"), U64("message_no"),
    WORD("opcode_label"), U64("payload_len"), TEXT("violation"),   FIELD("data", SOTH_ATTR_BYTES | SOTH_ATTR_PAYLOAD),
};

static const struct soth_attr begun[] = {U64("first_frame_no"), WORD("initiated_by"), U64("started_at_unix_ms"), U64("turn_id")};

static const struct soth_attr completed[] = {
    U64("client_bytes"),   U64("client_frame_count"), U64("ended_at_unix_ms"),   U64("first_frame_no"),     WORD("flush_reason"), WORD("initiated_by"),
    U64("last_frame_no"), U64("server_bytes"),       U64("server_frame_count"), U64("started_at_unix_ms"), U64("turn_id"),
};

enum { CLOSE_CODE = 2, CLOSE_INITIATOR = 4 };
static const struct soth_attr closed[] = {
    U64("client_bytes"),  U64("client_frame_count"), U64("close_code"),         BYTES("close_reason"),
    WORD("initiated_by"), U64("server_bytes"),       U64("server_frame_count"), TEXT("violation"),
};

#define COUNT(array_) (sizeof(array_) / sizeof *(array_))
#define ALL UINT64_MAX
#define UNLESS(is_, place_) ((is_) ? 0 : UINT64_C(1) << (place_))

int report_begin(struct ws *ws)
{
    static const struct {
        uint32_t kind;
        const struct soth_attr *attrs;
        size_t n;
    } forms[REPORTS] = {
        [REPORT_OPENED] = {SOTH_EV_WS_OPENED, opened, COUNT(opened)},
        [REPORT_FRAME] = {SOTH_EV_WS_FRAME, frames, COUNT(frames)},
        [REPORT_MESSAGE] = {SOTH_EV_WS_MESSAGE, messages, COUNT(messages)},
        [REPORT_TURN_STARTED] = {SOTH_EV_WS_TURN_STARTED, begun, COUNT(begun)},
        [REPORT_TURN_COMPLETED] = {SOTH_EV_WS_TURN_COMPLETED, completed, COUNT(completed)},
        [REPORT_CLOSED] = {SOTH_EV_WS_CLOSED, closed, COUNT(closed)},
    };
    for (size_t i = 0; i < REPORTS; i++) {
        ws->forms[i] = ws->host->form(ws, forms[i].kind, forms[i].attrs, forms[i].n);
        if (ws->forms[i] < 0)
            return ws->forms[i];
    }
    return SOTH_OK;
}

/* For a policy: of a form, the first n. */
static size_t attrs_of(const struct soth_attr *form, size_t n, const union soth_value *values, uint64_t present, struct soth_attr *out)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t type = form[i].type & ~(uint32_t)SOTH_ATTR_WORD;
        const bool is_text = type == SOTH_ATTR_TEXT || type == SOTH_ATTR_BYTES;
        out[i] = form[i];
        out[i].type = type;
        if (!(present >> i & 1))
            continue;
        out[i].text = is_text ? *values[i].text : (struct soth_span){"", 0};
        out[i].number = is_text ? 0 : values[i].number;
    }
    return n;
}

/* ---- frames and messages ---- */

/* Returns what is there of them. *violation lives as long as they do. */
static inline uint64_t frame_values(union soth_value out[FRAME_VALUES], unsigned direction, const struct talk_frame *frame,
                                    struct soth_span *violation)
{
    const struct frame_head *head = frame->head;
    *violation = soth_span(frame->violation);
    out[0].text = &ways[direction];
    out[1].number = head->fin;
    out[2].number = head->masked;
    out[3].text = &opcodes[head->opcode & 15];
    out[4].number = head->length;
    out[5].number = head->rsv;
    out[6].number = frame->number;
    out[FRAME_VIOLATION].text = violation;
    return ALL ^ UNLESS(violation->p, FRAME_VIOLATION);
}

static inline uint64_t message_values(union soth_value out[MESSAGE_VALUES], unsigned direction, const struct message *m,
                                      struct soth_span texts[2])
{
    texts[0] = soth_span(m->violation);
    texts[1] = message_data(m);
    out[0].text = &ways[direction];
    out[1].number = m->frames;
    out[MESSAGE_INFLATED].number = m->inflated;
    out[3].number = m->number;
    out[4].text = &opcodes[m->opcode & 15];
    out[5].number = m->bytes;
    out[MESSAGE_VIOLATION].text = &texts[0];
    out[MESSAGE_DATA].text = &texts[1];
    return ALL ^ UNLESS(m->compressed && m->readable, MESSAGE_INFLATED) ^ UNLESS(m->violation, MESSAGE_VIOLATION) ^ UNLESS(m->readable && texts[1].n, MESSAGE_DATA);
}

size_t report_frame_attrs(struct soth_attr out[REPORT_ATTRS], unsigned direction, const struct talk_frame *frame)
{
    union soth_value values[FRAME_VALUES];
    struct soth_span violation;
    const uint64_t present = frame_values(values, direction, frame, &violation);
    return attrs_of(frames, FRAME_VALUES, values, present, out);
}

size_t report_message_attrs(struct soth_attr out[REPORT_ATTRS], unsigned direction, const struct message *m)
{
    union soth_value values[MESSAGE_VALUES];
    struct soth_span texts[2];
    const uint64_t present = message_values(values, direction, m, texts);
    return attrs_of(messages, MESSAGE_DATA, values, present, out); /* its content is the frame's payload */
}

static void report_message(struct ws *ws, struct soth_flow *flow, unsigned direction, const struct message *m)
{
    union soth_value values[MESSAGE_VALUES];
    struct soth_span texts[2];
    const uint64_t present = message_values(values, direction, m, texts);
    ws->host->emit_form(ws, flow, ws->forms[REPORT_MESSAGE], values, present);
}

void report_frame(struct ws *ws, struct soth_flow *flow, unsigned direction, const struct talk_frame *frame)
{
    union soth_value values[FRAME_VALUES];
    struct soth_span violation;
    const uint64_t present = frame_values(values, direction, frame, &violation);
    if (frame->violation || (frame->message && frame->message->violation))
        ws->host->count(ws, ws->violations, 1);
    ws->host->emit_form(ws, flow, ws->forms[REPORT_FRAME], values, present);
    if (frame->message)
        report_message(ws, flow, direction, frame->message);
}

/* ---- turns ---- */

void report_turn_started(struct ws *ws, struct soth_flow *flow, const struct turn *t)
{
    const union soth_value values[] = {{.number = t->first}, {.text = &sides[t->initiator]}, {.number = t->started_ms}, {.number = t->id}};
    _Static_assert(COUNT(values) == COUNT(begun), "its form");
    ws->host->emit_form(ws, flow, ws->forms[REPORT_TURN_STARTED], values, ALL);
}

void report_turn_ended(struct ws *ws, struct soth_flow *flow, const struct turn_step *step)
{
    const struct turn *t = &step->ended;
    if (step->end == TURN_GOES_ON)
        return;
    const union soth_value values[] = {
        {.number = t->bytes[SOTH_TO_SERVER]}, {.number = t->frames[SOTH_TO_SERVER]},
        {.number = t->ended_ms}, {.number = t->first}, {.text = turn_end_word(step->end)}, {.text = &sides[t->initiator]}, {.number = t->last},
        {.number = t->bytes[SOTH_TO_CLIENT]}, {.number = t->frames[SOTH_TO_CLIENT]}, {.number = t->started_ms}, {.number = t->id},
    };
    _Static_assert(COUNT(values) == COUNT(completed), "its form");
    ws->host->emit_form(ws, flow, ws->forms[REPORT_TURN_COMPLETED], values, ALL);
}

/* ---- beginning and end ---- */

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
    const struct soth_span extensions = {names, n}, subprotocol = host->hdr_get(flow, "Sec-WebSocket-Protocol", 0);
    const union soth_value values[] = {{.text = &extensions}, {.text = &subprotocol}};
    _Static_assert(COUNT(values) == COUNT(opened), "its form");
    host->emit_form(ws, flow, ws->forms[REPORT_OPENED], values, ALL);
}

static const struct soth_span *closer_name(unsigned closer)
{
    return closer == CLOSER_PROXY ? &proxy : closer == CLOSER_NOBODY ? NULL : &sides[closer];
}

void report_closed(struct ws *ws, struct soth_flow *flow, struct conversation *c, const char *violation)
{
    const struct talk_side *client = &c->talk.side[SOTH_TO_SERVER], *server = &c->talk.side[SOTH_TO_CLIENT];
    if (c->told)
        return;
    c->told = true;
    const struct soth_span rule = soth_span(violation);
    const union soth_value values[] = {
        {.number = client->bytes}, {.number = client->frames}, {.number = c->close_code}, {.text = &c->close_reason},
        {.text = closer_name(c->closer)}, {.number = server->bytes}, {.number = server->frames}, {.text = &rule},
    };
    _Static_assert(COUNT(values) == COUNT(closed), "its form");
    ws->host->emit_form(ws, flow, ws->forms[REPORT_CLOSED], values,
                        ALL ^ UNLESS(c->close_has_code, CLOSE_CODE) ^ UNLESS(c->closer != CLOSER_NOBODY, CLOSE_INITIATOR));
}
