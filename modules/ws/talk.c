/* SPDX-License-Identifier: MPL-2.0 */
/* See talk.h. */
#include "talk.h"

#include "mask.h"

#define SCRATCH 4096u

/* ---- rules ---- */

static bool is_data(uint8_t opcode)
{
    return opcode == OP_TEXT || opcode == OP_BINARY;
}

static bool is_known(uint8_t opcode)
{
    return opcode <= OP_BINARY || (opcode >= OP_CLOSE && opcode <= OP_PONG);
}

static const char *control_fault(const struct frame_head *head)
{
    if (!head->fin)
        return "control_fragmented";
    return head->length > FRAMING_CONTROL_MOST ? "control_too_long" : NULL;
}

static bool has_reserved_bits(const struct talk *talk, const struct frame_head *head)
{
    bool may_compress = talk->extension.deflate && is_data(head->opcode);
    return !talk->extension.unknown && (head->rsv & (may_compress ? ~RSV1 : ~0u));
}

static const char *head_fault(const struct talk *talk, unsigned direction, const struct frame_head *head)
{
    const struct talk_side *side = &talk->side[direction];
    if (side->closed)
        return "after_close";
    if (head->length >> 63)
        return "length_too_big";
    if (!head->minimal)
        return "length_not_minimal";
    if (!is_known(head->opcode))
        return "reserved_opcode";
    if (head->rsv && has_reserved_bits(talk, head))
        return "reserved_bits";
    if (head->masked != (direction == SOTH_TO_SERVER))
        return head->masked ? "masked_server_frame" : "unmasked_client_frame";
    if (opcode_is_control(head->opcode))
        return control_fault(head);
    if (head->opcode == OP_CONTINUATION)
        return side->message.open ? NULL : "unexpected_continuation";
    return side->message.open ? "expected_continuation" : NULL;
}

/* ---- a message ---- */

/* Nobody knows where in its deflate stream it would have gone on. */
static void lose(struct talk *talk, unsigned direction)
{
    struct talk_side *side = &talk->side[direction];
    inflater_free(side->inflater);
    side->inflater = NULL;
    side->lost = !talk->extension.fresh[direction];
}

static void message_begin(struct talk *talk, unsigned direction)
{
    struct talk_side *side = &talk->side[direction];
    struct message *m = &side->message;
    if (m->open && m->compressed)
        lose(talk, direction);
    size_t before = m->open && m->payloads && talk->wants.frames ? m->data.n : 0;
    if (before == 0)
        bytes_free(&m->data);
    memset(m, 0, offsetof(struct message, data));
    m->before = before;
    m->opcode = side->head.opcode;
    m->text = talk->wants.text && m->opcode == OP_TEXT;
    m->payloads = talk->wants.frames;
    m->most = talk->wants.data;
    m->compressed = (side->head.rsv & RSV1) && talk->extension.deflate;
    m->readable = m->compressed ? talk->wants.inflate && !side->lost : m->text || m->most > 0;
    if (side->head.rsv && !m->compressed)
        m->readable = m->text = false; /* whatever those bits say about it */
    if (m->compressed && !m->readable && !talk->extension.fresh[direction])
        side->lost = true; /* what follows refers to this one */
    m->reads = m->readable || (m->payloads && !m->compressed);
}

/* Is there anything to be learnt from its next bytes? */
static bool goes_on(const struct message *m)
{
    return m->compressed || (m->text && !m->violation) || m->data.n < m->most;
}

static int keep(struct message *m, const uint8_t *p, size_t n)
{
    uint64_t room = m->most - m->data.n;
    bool kept = bytes_add(&m->data, p, n < room ? n : (size_t)room);
    if (n >= room)
        m->reads = goes_on(m);
    return kept ? 0 : -SOTH_ENOMEM;
}

static int content(struct talk *talk, struct message *m, const uint8_t *p, size_t n)
{
    if (m->compressed) {
        m->inflated += n;
        if (m->inflated > talk->max_message)
            return TALK_TOO_BIG;
    }
    if (m->text && !m->violation && !utf8_take(&m->utf8, p, n)) {
        m->violation = "invalid_utf8";
        m->reads = goes_on(m);
    }
    return m->data.n < m->most ? keep(m, p, n) : 0;
}

struct inflating {
    struct talk *talk;
    struct message *message;
};

static int inflated(void *arg, const uint8_t *p, size_t n)
{
    struct inflating *in = arg;
    return content(in->talk, in->message, p, n);
}

/* Payload of a data frame without its mask; `end`: the message's last bytes. Kept out of talk_take, which mostly only counts. */
static __attribute__((noinline)) int message_take(struct talk *talk, unsigned direction, const uint8_t *p, size_t n, bool end)
{
    struct talk_side *side = &talk->side[direction];
    struct message *m = &side->message;
    if (!m->reads)
        return 0;
    if (!m->compressed)
        return content(talk, m, p, n);
    struct inflating in = {talk, m};
    bool fresh = talk->extension.fresh[direction];
    int r = inflater_take(&side->inflater, fresh, p, n, end, inflated, &in);
    if (r != -SOTH_EINVALID)
        return r;
    m->violation = "invalid_deflate";
    m->readable = m->reads = false;
    m->before = 0;
    bytes_free(&m->data);
    lose(talk, direction);
    return 0;
}

static int message_end(struct talk *talk, unsigned direction, struct talk_frame *frame)
{
    struct message *m = &talk->side[direction].message;
    int r = m->compressed ? message_take(talk, direction, (const uint8_t *)"", 0, true) : 0;
    if (r < 0)
        return r;
    if (m->readable && m->text && !m->violation && !utf8_whole(&m->utf8))
        m->violation = "invalid_utf8";
    m->open = false;
    m->number = ++talk->messages;
    frame->message = m;
    return 0;
}

/* ---- a frame ---- */

static int frame_begin(struct talk *talk, unsigned direction)
{
    struct talk_side *side = &talk->side[direction];
    side->violation = head_fault(talk, direction, &side->head);
    side->inside = true;
    side->left = side->head.length;
    side->payload.n = 0;
    if (side->violation && !talk->violation)
        talk->violation = side->violation;
    if (side->head.length >> 63)
        return TALK_LOST;
    if (!side->closed && is_data(side->head.opcode)) {
        message_begin(talk, direction);
        side->message.open = true;
    }
    side->part = !side->closed && side->head.opcode <= OP_BINARY && side->message.open;
    side->keeps = side->part ? side->message.payloads : talk->wants.frames;
    if (!side->part)
        return 0;
    side->message.frames++;
    side->message.bytes += side->head.length;
    return side->message.bytes > talk->max_message ? TALK_TOO_BIG : 0;
}

static int payload_piece(struct talk *talk, unsigned direction, const uint8_t *p, size_t n)
{
    struct talk_side *side = &talk->side[direction];
    uint64_t offset = side->head.length - side->left;
    if (opcode_is_control(side->head.opcode) && offset < FRAMING_CONTROL_MOST)
        memcpy(side->control + offset, p, n < FRAMING_CONTROL_MOST - offset ? n : FRAMING_CONTROL_MOST - (size_t)offset);
    if (side->keeps && !bytes_add(&side->payload, p, n))
        return -SOTH_ENOMEM;
    return side->part ? message_take(talk, direction, p, n, false) : 0;
}

/* Of a message that is only checked for being text, ASCII is known as such behind its mask. */
static bool is_ascii(const struct talk_side *side, const uint8_t *p, size_t n)
{
    const struct message *m = &side->message;
    bool only_text = m->text && !m->violation && !m->compressed && m->data.n >= m->most;
    return only_text && utf8_whole(&m->utf8) && mask_hides_ascii(p, n, side->head.key, side->head.length - side->left);
}

/* Is there anything to be done with it but to count it? */
static bool is_wanted(const struct talk_side *side, const uint8_t *p, size_t n)
{
    if (!side->part)
        return side->keeps || opcode_is_control(side->head.opcode);
    return side->keeps || (side->message.reads && !is_ascii(side, p, n));
}

/* Kept out of talk_take for its scratch on the stack. */
static __attribute__((noinline)) int payload_take(struct talk *talk, unsigned direction, const uint8_t *p, size_t n)
{
    struct talk_side *side = &talk->side[direction];
    uint8_t scratch[SCRATCH];
    int r = 0;
    while (n > 0 && r == 0) {
        size_t piece = side->head.masked && n > SCRATCH ? SCRATCH : n;
        if (side->head.masked)
            mask_apply(scratch, p, piece, side->head.key, side->head.length - side->left);
        r = payload_piece(talk, direction, side->head.masked ? scratch : p, piece);
        side->left -= piece;
        p += piece;
        n -= piece;
    }
    return r;
}

/* Kept out of frame_end: it is once in a conversation. */
static __attribute__((noinline)) void close_end(struct talk_side *side, struct talk_frame *frame)
{
    size_t n = side->head.length < FRAMING_CONTROL_MOST ? (size_t)side->head.length : FRAMING_CONTROL_MOST;
    frame->closing = closing_read(side->control, n);
    if (!frame->violation)
        frame->violation = frame->closing.fault;
    if (side->message.open)
        frame->cut = &side->message;
    side->message.open = false;
    side->closed = true;
}

static int frame_end(struct talk *talk, unsigned direction, struct talk_frame *frame)
{
    struct talk_side *side = &talk->side[direction];
    uint8_t opcode = side->head.opcode;
    bool part = side->part;
    side->inside = false;
    side->frames++;
    side->bytes += side->head.length;
    frame->head = &side->head; /* one by one, and not all zeroed first: that takes longer than the rest */
    frame->number = ++talk->frames;
    frame->violation = side->violation;
    frame->message = frame->cut = NULL;
    frame->closing = (struct closing){.code = 0};
    frame->begins = part && opcode != OP_CONTINUATION;
    frame->stray = !part && !opcode_is_control(opcode);
    frame->payload = bytes_span(&side->payload);
    int r = part && side->head.fin ? message_end(talk, direction, frame) : 0;
    if (opcode == OP_CLOSE && !side->closed)
        close_end(side, frame);
    const char *violation = frame->violation ? frame->violation : frame->message ? frame->message->violation : NULL;
    if (!talk->violation)
        talk->violation = violation;
    return r;
}

ssize_t talk_take(struct talk *talk, unsigned direction, const uint8_t *p, size_t n, struct talk_frame *frame, bool *whole)
{
    struct talk_side *side = &talk->side[direction];
    size_t used = 0;
    int r = 0;
    talk->head_used = 0;
    if (!side->inside) {
        used = framing_take(&side->framing, p, n, &side->head, whole);
        if (!*whole)
            return (ssize_t)used;
        talk->head_used = used;
        r = frame_begin(talk, direction);
    }
    *whole = false;
    if (r == 0) {
        size_t piece = n - used < side->left ? n - used : (size_t)side->left;
        if (is_wanted(side, p + used, piece))
            r = payload_take(talk, direction, p + used, piece);
        else
            side->left -= piece;
        used += piece;
    }
    if (r == 0 && side->left == 0) {
        r = frame_end(talk, direction, frame);
        *whole = true;
    }
    return r < 0 ? r : (ssize_t)used;
}

void talk_release(struct talk *talk, unsigned direction)
{
    struct talk_side *side = &talk->side[direction];
    if (!side->message.open)
        bytes_free(&side->message.data);
    bytes_free(&side->payload);
}

bool talk_is_between(const struct talk *talk, unsigned direction)
{
    const struct talk_side *side = &talk->side[direction];
    return !side->inside && side->framing.have == 0 && !side->message.open;
}

bool talk_says(const struct talk *talk, unsigned direction)
{
    const struct talk_side *side = &talk->side[direction];
    if (!side->inside && side->framing.have == 0)
        return false;
    uint8_t opcode = side->inside ? side->head.opcode : side->framing.bytes[0] & 15;
    return is_data(opcode) || (opcode == OP_CONTINUATION && side->message.open);
}

void talk_fini(struct talk *talk)
{
    for (unsigned d = 0; d < 2; d++) {
        bytes_free(&talk->side[d].message.data);
        bytes_free(&talk->side[d].payload);
        inflater_free(talk->side[d].inflater);
        talk->side[d].inflater = NULL;
    }
}
