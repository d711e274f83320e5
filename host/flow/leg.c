/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The two legs of a flow: wire bytes come in and application bytes reach the stage; application bytes go out and become wire bytes,
 * through TLS where the leg has a session. Small writes of one step are staged and share TLS records; whole records of a large write
 * go into TLS without a copy of ours. Nothing is kept beyond the step.
 */
#include <assert.h>

#include "host/flow/stream.h"

#define RECORD_MAX 16384u /* plaintext of one TLS record, RFC 8446 5.1 */

static void leg_broken(struct flow *flow, struct effects *fx)
{
    flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
}

static void write_record(struct flow *flow, struct effects *fx, enum side side, const uint8_t *p, size_t n)
{
    if (session_write(leg_of(flow, side)->tls, p, n) < 0)
        leg_broken(flow, fx);
}

void leg_flush(struct flow *flow, struct effects *fx, enum side side)
{
    struct buffer *staged = &flow->env->staged[side];
    if (buffer_size(staged) > 0 && leg_of(flow, side)->tls)
        write_record(flow, fx, side, buffer_data(staged), buffer_size(staged));
    buffer_clear(staged);
}

void leg_write(struct flow *flow, struct effects *fx, enum side side, const void *p, size_t n)
{
    struct leg *leg = leg_of(flow, side);
    if (!leg->tls) {
        if (buffer_append(fx->out[side], p, n) < 0)
            leg_broken(flow, fx);
        return;
    }
    struct buffer *staged = &flow->env->staged[side];
    const uint8_t *at = p;
    while (n > 0) {
        size_t have = buffer_size(staged);
        if (have == 0 && n >= RECORD_MAX) {
            size_t whole = n - n % RECORD_MAX;
            write_record(flow, fx, side, at, whole);
            at += whole;
            n -= whole;
            continue;
        }
        size_t part = RECORD_MAX - have < n ? RECORD_MAX - have : n;
        if (buffer_append(staged, at, part) < 0) {
            leg_broken(flow, fx);
            return;
        }
        at += part;
        n -= part;
        if (buffer_size(staged) == RECORD_MAX)
            leg_flush(flow, fx, side);
    }
}

void leg_lend_output(struct flow *flow, struct effects *fx)
{
    if (flow->client.tls)
        session_output(flow->client.tls, fx->out[SIDE_CLIENT]);
    if (flow->origin.tls)
        session_output(flow->origin.tls, fx->out[SIDE_ORIGIN]);
}

void leg_deliver(struct flow *flow, struct effects *fx, enum side side, const uint8_t *p, size_t n)
{
    if ((flow->go_on || chained_stuck(flow, side)) && !leg_of(flow, side)->h2) {
        if (buffer_append(side == SIDE_CLIENT ? &flow->held : &flow->held_origin, p, n) < 0)
            leg_broken(flow, fx);
    } else if (flow->stage->data) {
        flow->stage->data(flow, fx, side, p, n);
    }
}

void leg_deliver_end(struct flow *flow, struct effects *fx, enum side side, int error)
{
    struct leg *leg = leg_of(flow, side);
    if (leg->ended && error <= 0)
        return;
    if ((flow->go_on || chained_stuck(flow, side)) && error <= 0 && !leg->h2) { /* after what is held; a broken connection is told at once */
        leg->end_held = true;
        leg->end_error = error;
        return;
    }
    leg->ended = true; /* it may end twice: its own side first, then it takes nothing more either */
    if (flow->stage->ended)
        flow->stage->ended(flow, fx, side, error);
}

/* One round of the handshake; true when it is done and reading may go on. */
static bool handshake(struct flow *flow, struct effects *fx, enum side side)
{
    struct leg *leg = leg_of(flow, side);
    int r = session_handshake(leg->tls);
    if (r == -SOTH_EAGAIN)
        return false;
    if (r < 0) {
        if (flow->stage->tls_failed)
            flow->stage->tls_failed(flow, fx, side);
        return false;
    }
    leg->secure = true;
    if (flow->stage->secured)
        flow->stage->secured(flow, fx, side);
    return true;
}

static void read_plaintext(struct flow *flow, struct effects *fx, enum side side)
{
    struct leg *leg = leg_of(flow, side);
    struct session *tls = leg->tls;
    while (!flow->closing && leg->tls == tls) {
        ssize_t n = session_read(tls, flow->env->plain, flow->env->plain_size);
        if (n > 0) {
            leg->bytes += (uint64_t)n;
            leg_deliver(flow, fx, side, flow->env->plain, (size_t)n);
            continue;
        }
        if (n == 0)
            leg_deliver_end(flow, fx, side, 0);
        else if (n == -SOTH_ETLS && session_is_refused(tls) && flow->stage->tls_failed) /* late, but it is the handshake's failure */
            flow->stage->tls_failed(flow, fx, side);
        else if (n == -SOTH_ETLS)
            leg_deliver_end(flow, fx, side, ENDED_WITHOUT_NOTIFY);
        return;
    }
}

void leg_receive(struct flow *flow, struct effects *fx, enum side side, const uint8_t *p, size_t n)
{
    struct leg *leg = leg_of(flow, side);
    if (!leg->tls) {
        leg->bytes += n;
        leg_deliver(flow, fx, side, p, n);
        return;
    }
    struct session *tls = leg->tls;
    session_feed(tls, p, n);
    if (leg->secure || handshake(flow, fx, side))
        read_plaintext(flow, fx, side);
    if (leg->tls == tls)
        session_feed(tls, NULL, 0);
}

void leg_transport_ended(struct flow *flow, struct effects *fx, enum side side, int error)
{
    struct leg *leg = leg_of(flow, side);
    if (leg->tls && !leg->secure) {
        session_transport_ended(leg->tls, error);
        if (!leg->ended) {
            leg->ended = true;
            if (flow->stage->tls_failed)
                flow->stage->tls_failed(flow, fx, side);
        }
        return;
    }
    leg_deliver_end(flow, fx, side, error ? error : leg->tls ? ENDED_WITHOUT_NOTIFY : 0);
}

void leg_finish(struct flow *flow, struct effects *fx, enum side side)
{
    struct leg *leg = leg_of(flow, side);
    leg_flush(flow, fx, side);
    if (leg->open && leg->tls && leg->secure && !leg->shut) {
        leg->shut = true;
        session_shutdown(leg->tls);
    }
}

void leg_fini(struct leg *leg)
{
    session_free(leg->tls);
    h1_free(leg->h1);
    h2_free(leg->h2);
    buffer_fini(&leg->frames);
    pack_forget(&leg->sent);
    *leg = (struct leg){0};
}

void leg_reset_origin(struct flow *flow, struct effects *fx)
{
    const struct strand *strand = flow->strand[SIDE_ORIGIN];
    bool shared = strand && strand->line != flow && !flow->origin.open;
    flow->waits_line = flow->waits_room = false;
    strand_drop(flow, SIDE_ORIGIN, H2_CANCEL);
    if (!shared)
        leg_forget_origin(flow, fx);
}

void leg_forget_origin(struct flow *flow, struct effects *fx)
{
    uint64_t bytes = flow->origin.bytes;
    uint32_t h2_no = flow->origin.h2_no;
    buffer_clear(&flow->env->staged[SIDE_ORIGIN]);
    buffer_clear(fx->out[SIDE_ORIGIN]);
    buffer_fini(&flow->held_origin);
    mux_lost(flow, SIDE_ORIGIN);
    if (flow->strand[SIDE_ORIGIN])
        flow->strand[SIDE_ORIGIN]->line = NULL;
    fx->close_origin = true;
    leg_fini(&flow->origin);
    flow->origin.bytes = bytes;
    flow->origin.h2_no = h2_no;
    flow->dialing = false;
    fx->dial = false;
    flow_read(flow, SIDE_ORIGIN, false);
}
