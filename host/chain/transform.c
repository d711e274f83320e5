/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A TRANSFORM decides what is relayed. It works like a compressor: it takes what it can from its input, makes what has room, and is called
 * again with more of either. What it leaves waits in its window; when that is full and it still takes nothing, it has failed.
 */
#include "host/chain/call.h"

static size_t window(const struct place *place)
{
    return place->decoder->module->min_window ? place->decoder->module->min_window : WINDOW_PRESET;
}

/* ---- what it has made ---- */

/* Behind a gated one only what is judged goes on; `all`: nothing more will be judged. */
static enum chain_result pass_on(struct run *run, unsigned i, struct soth_span output, bool all)
{
    struct place *place = run->way->line[i];
    struct lane *lane = &place->lane[run->direction];
    struct buffer *held = &lane->unjudged;
    if (buffer_size(held) == 0 && (all || !gate_applies(run->chain, place)))
        return run_feed(run, i + 1, (const uint8_t *)output.p, output.n, false);
    if (buffer_append(held, output.p, output.n) < 0)
        return fault_break(run->chain, place->decoder, "nomem");
    uint64_t first = lane->out - buffer_size(held);
    size_t n = all ? buffer_size(held) : lane->judged > first ? (size_t)(lane->judged - first) : 0;
    enum chain_result result = run_feed(run, i + 1, buffer_data(held), n, false);
    buffer_consume(held, n);
    if (buffer_size(held) == 0)
        buffer_fini(held);
    return result;
}

/* ---- one call ---- */

/* What was not offered yet. */
struct rest {
    const uint8_t *p;
    size_t n;
};

struct offer {
    size_t old, added; /* in the window before; of the rest now. Without an old one the rest is offered where it is */
    bool more, end;    /* not all of the rest; nothing comes after it */
    size_t room;
    struct cursor cursor;
};

static bool offer_make(struct run *run, struct place *place, struct offer *offer, const struct rest *rest)
{
    struct lane *lane = &place->lane[run->direction];
    struct soth_span in = {(const char *)rest->p, rest->n};
    offer->old = buffer_size(&lane->kept);
    offer->added = rest->n;
    if (offer->old > 0) {
        size_t room = window(place) > offer->old ? window(place) - offer->old : 0;
        offer->added = rest->n < room ? rest->n : room;
        if (buffer_append(&lane->kept, rest->p, offer->added) < 0)
            return false;
        in = (struct soth_span){(const char *)buffer_data(&lane->kept), buffer_size(&lane->kept)};
    }
    offer->more = offer->added < rest->n;
    offer->end = lane->end && !offer->more;
    uint32_t flags = (offer->end ? SOTH_CUR_END : 0) | (lane->stalled ? SOTH_CUR_STALLED : 0) | (lane->resumed ? SOTH_CUR_RESUMED : 0);
    cursor_open(&offer->cursor, run->direction);
    cursor_init(&offer->cursor, lane, (const uint8_t *)in.p, in.n, flags);
    if (run->relay->put)
        cursor_limit(&offer->cursor, run->relay->room);
    offer->room = offer->cursor.room;
    return true;
}

/* Takes what was taken away from the window and the rest; what they pointed to stays readable. */
static void offer_account(const struct offer *offer, struct lane *lane, struct rest *rest)
{
    size_t taken = offer->cursor.taken, used;
    lane->in += taken;
    lane->out += offer->cursor.made;
    if (taken >= offer->old) {
        used = taken - offer->old;
        buffer_clear(&lane->kept);
    } else {
        used = offer->added;
        buffer_consume(&lane->kept, taken);
    }
    rest->p += used;
    rest->n -= used;
}

/* CONTINUE: is it to be called again at once? A fault when it stands still. One that has made something may have left the rest because it
 * needs more room in one piece than was left: it is called again. */
static const char *go_on(const struct place *place, struct lane *lane, const struct offer *offer)
{
    const struct cursor *c = &offer->cursor;
    bool full = c->left >= window(place) || offer->end, was_stalled = lane->stalled;
    lane->idle = c->taken > 0 ? 0 : lane->idle + (c->made > 0);
    lane->stalled = false;
    if (lane->idle > IDLE_MOST)
        return "no_progress";
    lane->again = c->room == 0 || (c->left == 0 && offer->more);
    if (lane->again || c->left == 0)
        return NULL;
    if (c->taken > 0 || c->made > 0) {
        lane->again = full || offer->more || c->made > 0;
        return NULL;
    }
    if (offer->room < CHAIN_ROOM_LEAST) {
        lane->again = lane->cramped = true;
        return NULL;
    }
    lane->again = lane->stalled = full;
    return full && was_stalled ? "stalled" : NULL;
}

/* What its verdict means. GO, also when it is gone now; WAIT; FULL: it took nothing with little room; BROKEN. */
static enum chain_result outcome(struct run *run, struct place *place, const struct offer *offer, int r)
{
    struct chain *chain = run->chain;
    struct lane *lane = &place->lane[run->direction];
    const char *fault = offer->cursor.no_memory ? "nomem" : NULL, *overflow = lane->fault;
    bool asks = lane->ask.hook != 0;
    lane->fault = NULL;
    lane->again = true;
    if (cursor_blocked(&offer->cursor))
        return CHAIN_BROKEN;
    if (overflow && !fault) {
        wait_end(chain, place, lane);
        return fault_overflow(chain, place, run->direction, overflow);
    }
    if (!fault && r >= 0 && r != SOTH_DETACH && asks) {
        wait_end(chain, place, lane); /* the policy's pause is in the question */
        return CHAIN_WAIT;
    }
    if (offer->cursor.taken > 0 || offer->cursor.made > 0)
        lane->pause.busy = 0;
    if (!fault && (r == SOTH_PAUSE || r == SOTH_BUSY)) {
        if (wait_begin(chain, lane, r))
            return CHAIN_WAIT;
        fault = r == SOTH_BUSY ? "busy" : "no_token";
    }
    wait_end(chain, place, lane);
    if (!fault && r == SOTH_CONTINUE)
        fault = go_on(place, lane, offer);
    if (fault || (r != SOTH_CONTINUE && r != SOTH_DETACH && r != SOTH_DONE))
        return fault_failed(chain, place, run->direction, "data", fault ? fault : fault_code(r));
    if (r == SOTH_DETACH || r == SOTH_DONE)
        fault_detach(chain, place, r == SOTH_DETACH);
    bool cramped = lane->cramped;
    lane->cramped = false;
    return cramped ? CHAIN_FULL : CHAIN_GO;
}

static enum chain_result call_once(struct run *run, unsigned i, struct rest *rest)
{
    struct place *place = run->way->line[i];
    struct lane *lane = &place->lane[run->direction];
    struct offer offer;
    if (run->relay->put && run->relay->room == 0) {
        lane->again = true;
        return CHAIN_FULL;
    }
    if (!offer_make(run, place, &offer, rest))
        return fault_break(run->chain, place->decoder, "nomem");
    lane->resumed = false;
    struct call call = {.chain = run->chain, .direction = run->direction, .cursor = &offer.cursor};
    int r = call_data(&call, place, &lane->pause);
    offer_account(&offer, lane, rest);
    enum chain_result result = outcome(run, place, &offer, r);
    if (result == CHAIN_BROKEN && !cursor_blocked(&offer.cursor)) /* the frames before a blocked one may go */
        return result;
    lane->finished = offer.end && result == CHAIN_GO && !lane->again && !place->gone;
    enum chain_result next = pass_on(run, i, cursor_output(&offer.cursor), lane->finished || place->gone);
    buffer_clear(&lane->made);
    if (lane->made.cap > SCRATCH_KEPT)
        buffer_fini(&lane->made);
    if (next == CHAIN_GO && result == CHAIN_GO && !place->gone && buffer_size(&lane->unjudged) > CHAIN_WINDOW)
        return fault_overflow(run->chain, place, run->direction, "window");
    return next != CHAIN_GO && result != CHAIN_BROKEN ? next : result;
}

/* ---- bytes in ---- */

/* It is gone or has finished. Its bytes pass: what it has made, what it had not taken, what comes, and the end. */
static enum chain_result pass_by(struct run *run, unsigned i, struct rest *rest)
{
    struct lane *lane = &run->way->line[i]->lane[run->direction];
    enum chain_result result = pass_on(run, i, (struct soth_span){NULL, 0}, true);
    if (result == CHAIN_GO && buffer_size(&lane->kept) > 0) {
        struct buffer kept = lane->kept;
        lane->kept = (struct buffer){0};
        result = run_feed(run, i + 1, buffer_data(&kept), buffer_size(&kept), false);
        buffer_fini(&kept);
    }
    if (result == CHAIN_GO && rest->n > 0) {
        result = run_feed(run, i + 1, rest->p, rest->n, false);
        rest->n = 0;
    }
    if (result == CHAIN_GO && lane->end && !lane->ended) {
        lane->ended = true;
        result = run_feed(run, i + 1, NULL, 0, true);
    }
    lane->again = lane->todo = false;
    return result;
}

enum chain_result transform_feed(struct run *run, unsigned i, const uint8_t *p, size_t n, bool end)
{
    struct place *place = run->way->line[i];
    struct lane *lane = &place->lane[run->direction];
    struct rest rest = {p, n};
    enum chain_result result = CHAIN_GO;
    lane->end = lane->end || end;
    if (n > 0 || lane->end)
        lane->again = true;
    while (result == CHAIN_GO && lane->again && !place->gone && !lane->finished)
        result = call_once(run, i, &rest);
    if (result == CHAIN_BROKEN)
        return result;
    if (result == CHAIN_GO && (place->gone || lane->finished))
        result = pass_by(run, i, &rest);
    bool work = rest.n > 0 || lane->again || (lane->end && !lane->ended) || (place->gone && buffer_size(&lane->kept) > 0);
    if (result != CHAIN_GO && work)
        return run_keep(run, place, rest.p, rest.n, result);
    if (buffer_append(&lane->kept, rest.p, rest.n) < 0)
        return fault_break(run->chain, place->decoder, "nomem");
    if (buffer_size(&lane->kept) == 0)
        buffer_fini(&lane->kept);
    return result;
}

/* ---- after a wait ---- */

/* Nobody has answered in time. Open: what it waits with passes as it is. */
static enum chain_result too_late(struct run *run, unsigned i)
{
    struct place *place = run->way->line[i];
    struct lane *lane = &place->lane[run->direction];
    bool open = lane->pause.on_timeout != 0;
    wait_end(run->chain, place, lane);
    if (!open)
        return fault_failed(run->chain, place, run->direction, "data", "timeout");
    struct buffer kept = lane->kept;
    lane->kept = (struct buffer){0};
    lane->in += buffer_size(&kept);
    lane->out += buffer_size(&kept);
    enum chain_result result = pass_on(run, i, (struct soth_span){(const char *)buffer_data(&kept), buffer_size(&kept)}, false);
    buffer_fini(&kept);
    return result;
}

enum chain_result transform_resume(struct run *run, unsigned i)
{
    struct place *place = run->way->line[i];
    struct lane *lane = &place->lane[run->direction];
    enum chain_result result = CHAIN_GO;
    if (!place->gone)
        result = frame_settle(run, place);
    if (result == CHAIN_GO && !place->gone) {
        switch (lane->pause.state) {
        case PAUSE_WAITING:
        case PAUSE_BUSY:
            return CHAIN_WAIT;
        case PAUSE_RESUMED:
        case PAUSE_AGAIN:
            lane->resumed = true;
            break;
        case PAUSE_LATE:
            lane->again = false;
            result = too_late(run, i);
            break;
        default:
            break;
        }
    }
    if (result != CHAIN_GO)
        return result;
    lane->todo = false;
    return transform_feed(run, i, NULL, 0, false);
}
