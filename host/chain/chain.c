/* SPDX-License-Identifier: MPL-2.0 */
/* The life of a chain: who takes part, since when, until when; clocks and ends. The bytes are in run.c. */
#include <stdlib.h>
#include <string.h>

#include "host/chain/parts.h"

struct chain *chain_make(struct chain **at, const struct chain_env *env, struct soth_flow *flow)
{
    if (*at)
        return *at;
    struct chain *chain = calloc(1, sizeof *chain + 4 * env->count * sizeof *chain->places);
    if (!chain)
        return NULL;
    chain->env = env;
    chain->flow = flow;
    chain->ways[0].line = chain->places + 2 * env->count;
    chain->ways[1].line = chain->places + 3 * env->count;
    return *at = chain;
}

/* ---- who takes part ---- */

/* The place in which the i-th sees a message: a message's own, or one for both. NULL: it does not see it. */
static struct place **place_of(struct chain *chain, size_t i, unsigned direction)
{
    return &chain->places[direction * chain->env->count + i];
}

/* Opens the decoder for this message, and for that of the other direction if it watches both. */
static enum chain_result take_part(struct chain *chain, size_t i, unsigned direction, bool both)
{
    struct decoder *decoder = &chain->env->decoders[i];
    struct place *place = calloc(1, sizeof *place + decoder->module->state_size);
    if (!place)
        return fault_refused(&chain, chain->env, chain->flow, decoder, "open", fault_code(-SOTH_ENOMEM));
    place->decoder = decoder;
    place->before = chain->last;
    *place_of(chain, i, direction) = chain->last = place;
    if (both)
        *place_of(chain, i, !direction) = place;
    int r = call_open(chain, place);
    if (r == SOTH_OK)
        return CHAIN_GO;
    place->gone = true; /* it was never opened: close is not called */
    if (r == SOTH_DETACH) {
        chain->flow->detached |= UINT64_C(1) << (decoder->position & 63);
        return CHAIN_GO;
    }
    return fault_failed(chain, place, 2, "open", fault_code(r));
}

/* Does the k-th see the bytes of this direction before the i-th does? Of one stage, requests pass in order and responses the other way round. */
static bool is_before(const struct decoder *decoders, size_t k, size_t i, unsigned direction)
{
    bool alike = decoders[k].module->stage == decoders[i].module->stage;
    return alike && direction == SOTH_TO_CLIENT ? k > i : k < i;
}

/* Will the i-th see the message's bytes without their content coding? TRANSFORMs work on what is relayed. */
static bool is_decoded(struct chain *chain, size_t i, unsigned direction)
{
    const struct decoder *decoders = chain ? chain->env->decoders : NULL;
    if (!chain || decoders[i].module->mode == SOTH_TRANSFORM)
        return false;
    for (size_t k = 0; k < chain->env->count && decoders[k].module->stage == SOTH_STAGE_CONTENT; k++) {
        const struct place *place = *place_of(chain, k, direction);
        if (is_before(decoders, k, i, direction) && decoders[k].module->mode == SOTH_TAP && place && !place->gone && (place->watches >> direction) & 1)
            return true;
    }
    return false;
}

/* Who is asked about a head as the n-th: one that takes the content coding away, before those that see what it makes. */
static size_t nth_asked(const struct chain_env *env, size_t n, unsigned direction)
{
    size_t content = 0;
    while (content < env->count && env->decoders[content].module->stage == SOTH_STAGE_CONTENT)
        content++;
    return direction == SOTH_TO_CLIENT && n < content ? content - 1 - n : n;
}

/* One decoder is asked about one head. */
static enum chain_result ask_one(struct chain **chain, const struct chain_env *env, struct soth_flow *flow, size_t i, struct soth_message *message)
{
    struct decoder *decoder = &env->decoders[i];
    struct place *place = *chain ? *place_of(*chain, i, message->direction) : NULL;
    bool out = env->is_out(decoder);
    if ((flow->detached >> (decoder->position & 63)) & 1 || (place && place->gone) || (out && !decoder->closed))
        return CHAIN_GO;
    message->coded = message->coded && !is_decoded(*chain, i, message->direction);
    int r = call_match(env, flow, place, decoder, message);
    if (r < 0 || r > SOTH_WATCH_BOTH) {
        if (place)
            return fault_failed(*chain, place, message->direction, "match", fault_code(r));
        return fault_refused(chain, env, flow, decoder, "match", fault_code(r));
    }
    if (r == SOTH_WATCH_NO)
        return CHAIN_GO;
    if (out) /* closed on error: what it wants to see does not pass without it */
        return fault_refused(chain, env, flow, decoder, "match", "circuit_open");
    if (!chain_make(chain, env, flow))
        return fault_refused(chain, env, flow, decoder, "open", fault_code(-SOTH_ENOMEM));
    bool both = r == SOTH_WATCH_BOTH && (message->direction == SOTH_TO_SERVER || message->status == 101);
    enum chain_result result = place ? CHAIN_GO : take_part(*chain, i, message->direction, both);
    place = *place_of(*chain, i, message->direction);
    if (place && result == CHAIN_GO)
        place->watches |= both ? 3 : (uint8_t)(1u << message->direction);
    return result;
}

void way_seen(struct way *way)
{
    way->seen = way->count;
    while (way->seen > 0 && way->line[way->seen - 1]->gone)
        way->seen--;
    way->seen -= way->seen > 0;
    way->unseen = SOTH_CUR_UNSEEN;
}

/* How far they look, and so whether they come to a fault that somebody behind them has not come to, depends on how the bytes arrive. One whose limits
 * or failures end the exchange must come to them all the same. */
void way_left(struct way *way)
{
    way_seen(way);
    const struct decoder *last = way->count > 0 ? way->line[way->seen]->decoder : NULL;
    if (last && (last->closed || last->closes_on_overflow))
        way->unseen = 0;
}

/* The order in a direction: TRANSFORMs before TAPs, then by stage; within a stage responses see them the other way round. */
static void line_up(struct chain *chain, unsigned direction)
{
    struct way *way = &chain->ways[direction];
    size_t n = chain->env->count;
    way->count = 0;
    for (uint32_t rank = 0; rank < 6; rank++) {
        uint32_t mode = rank < 3 ? SOTH_TRANSFORM : SOTH_TAP, stage = SOTH_STAGE_CONTENT + rank % 3;
        for (size_t k = 0; k < n; k++) {
            struct place *place = *place_of(chain, direction == SOTH_TO_SERVER ? k : n - 1 - k, direction);
            if (place && !place->gone && (place->watches >> direction) & 1 && place->decoder->module->mode == mode &&
                place->decoder->module->stage == stage)
                way->line[way->count++] = place;
        }
        if (rank < 3)
            way->transforms = way->count;
    }
    way_seen(way);
    way->gate.on = way->judged = false;
    for (unsigned i = 0; i < way->count; i++) {
        bool judged = gate_applies(chain, way->line[i]);
        way->judged = way->judged || judged;
        way->gate.on = way->gate.on || (judged && i >= way->transforms);
    }
    way->delays = way->gate.on || way->transforms > 0;
}

static void lane_fini(struct chain *chain, struct place *place, struct lane *lane)
{
    frame_forget(chain, lane);
    wait_end(chain, place, lane);
    buffer_fini(&lane->kept);
    buffer_fini(&lane->made);
    buffer_fini(&lane->unjudged);
}

/* After a 101 both directions begin anew. */
static void switch_protocols(struct chain *chain)
{
    for (struct place *place = chain->last; place; place = place->before) {
        place_count(place);
        place->watches = 0;
        place->counted_in = place->counted_out = 0;
        for (unsigned d = 0; d < 2; d++) {
            lane_fini(chain, place, &place->lane[d]);
            place->lane[d] = (struct lane){0};
        }
    }
    for (unsigned d = 0; d < 2; d++) {
        struct place **line = chain->ways[d].line;
        buffer_fini(&chain->ways[d].gate.held);
        buffer_fini(&chain->ways[d].added);
        chain->ways[d] = (struct way){.line = line};
    }
}

enum chain_result chain_match(struct chain **chain, const struct chain_env *env, struct soth_flow *flow, const struct soth_message *message)
{
    enum chain_result result = *chain && (*chain)->broken ? CHAIN_BROKEN : CHAIN_GO;
    if (env->count > 0 && *chain && message->status == 101)
        switch_protocols(*chain);
    struct soth_message known = *message;
    for (size_t i = 0; i < env->count && result == CHAIN_GO; i++) {
        known.coded = message->coded;
        result = ask_one(chain, env, flow, nth_asked(env, i, message->direction), &known);
    }
    if (!*chain || result != CHAIN_GO)
        return result;
    /* a direction whose bytes may have begun stays as it is */
    for (unsigned d = 0; d < 2; d++) {
        (*chain)->ways[d].raw = message->status == 101;
        if (d == message->direction || message->direction == SOTH_TO_SERVER || message->status == 101)
            line_up(*chain, d);
    }
    return result;
}

bool chain_transforms(const struct chain *chain, unsigned direction)
{
    const struct way *way = chain ? &chain->ways[direction] : NULL;
    for (unsigned i = 0; way && i < way->transforms; i++)
        if (!way->line[i]->gone)
            return true;
    return false;
}

bool chain_holds(const struct chain *chain, unsigned direction)
{
    return chain->ways[direction].judged;
}

bool chain_is_empty(const struct chain *chain, unsigned direction)
{
    return !chain_transforms(chain, direction) && buffer_size(&chain->ways[direction].gate.held) == 0;
}

bool chain_reads_trailers(const struct chain *chain, unsigned direction)
{
    const struct way *way = &chain->ways[direction];
    for (unsigned i = 0; i < way->count; i++)
        if (!way->line[i]->gone && way->line[i]->decoder->module->trailers)
            return true;
    return false;
}

bool chain_ended(const struct chain *chain, unsigned direction)
{
    return chain->ways[direction].end;
}

bool chain_decoded(const struct chain *chain, unsigned direction, uint64_t *bytes)
{
    const struct way *way = chain ? &chain->ways[direction] : NULL;
    bool found = false;
    for (unsigned i = way ? way->transforms : 0; way && i < way->count; i++) {
        const struct lane *lane = &way->line[i]->lane[direction];
        if (way->line[i]->decoder->module->stage != SOTH_STAGE_CONTENT || !lane->changed)
            continue;
        *bytes = lane->out;
        found = true;
    }
    return found;
}

enum chain_result chain_trailers(struct chain *chain, unsigned direction, const struct soth_message *trailers)
{
    struct way *way = &chain->ways[direction];
    for (unsigned i = 0; i < way->count && !chain->broken; i++) {
        struct place *place = way->line[i];
        if (place->gone)
            continue;
        int r = call_trailers(chain, place, trailers);
        if (r == SOTH_DETACH)
            fault_detach(chain, place, true);
        else if (r == SOTH_PAUSE || r == SOTH_BUSY)
            fault_contract(chain, place->decoder, "trailers", "wants to wait where it may not");
        else if (r != SOTH_CONTINUE)
            fault_failed(chain, place, direction, "trailers", fault_code(r));
    }
    return chain->broken ? CHAIN_BROKEN : CHAIN_GO;
}

/* ---- clocks ---- */

static struct pause *waiting(struct lane *lane)
{
    struct pause *pause = lane->ask.hook ? &lane->ask.pause : &lane->pause;
    return pause->state == PAUSE_WAITING || pause->state == PAUSE_BUSY ? pause : NULL;
}

static void sooner(uint64_t *deadline, uint64_t ns)
{
    if (ns && (*deadline == 0 || ns < *deadline))
        *deadline = ns;
}

/* Asked after every piece that passes, when there is a timer at most: a pause whose direction does not wait is none. */
uint64_t chain_deadline(const struct chain *chain)
{
    uint64_t deadline = 0;
    if (!chain || chain->broken)
        return 0;
    if (chain->ways[0].due || chain->ways[1].due)
        return 1;
    for (struct place *place = chain->last; place; place = place->before) {
        sooner(&deadline, place->timer_ns);
        for (unsigned d = 0; d < 2; d++) {
            struct pause *pause = chain->ways[d].waiting ? waiting(&place->lane[d]) : NULL;
            sooner(&deadline, pause ? pause->deadline_ns : 0);
        }
    }
    return deadline;
}

bool chain_resumed(struct chain *chain, uint64_t number, uint64_t arg)
{
    for (struct place *place = chain ? chain->last : NULL; place; place = place->before)
        for (unsigned d = 0; d < 2; d++) {
            struct pause *pause = waiting(&place->lane[d]);
            if (!pause || pause->state != PAUSE_WAITING || pause->token.pause != number)
                continue;
            pause->state = PAUSE_RESUMED;
            pause->arg = arg;
            return true;
        }
    return false;
}

static void timer_due(struct chain *chain, struct place *place)
{
    place->timer_ns = 0;
    int r = call_timer(chain, place);
    if (r == SOTH_DETACH)
        fault_detach(chain, place, true);
    else if (r == SOTH_PAUSE || r == SOTH_BUSY)
        fault_contract(chain, place->decoder, "on_timer", "wants to wait where it may not");
    else if (r != SOTH_CONTINUE)
        fault_failed(chain, place, 2, "on_timer", fault_code(r));
}

enum chain_result chain_timer(struct chain *chain)
{
    uint64_t now = chain->flow->bus->monotonic_ns;
    for (struct place *place = chain->last; place && !chain->broken; place = place->before) {
        for (unsigned d = 0; d < 2; d++) {
            struct pause *pause = waiting(&place->lane[d]);
            if (pause && pause->deadline_ns <= now)
                pause->state = pause->state == PAUSE_BUSY ? PAUSE_AGAIN : PAUSE_LATE;
        }
        if (place->timer_ns && place->timer_ns <= now)
            timer_due(chain, place);
    }
    return chain->broken ? CHAIN_BROKEN : CHAIN_GO;
}

int chain_set_timer(void *self, struct soth_flow *flow, uint32_t ms)
{
    (void)self;
    struct call *call = flow->chain;
    if (!call || !call->chain || !call->place)
        return -SOTH_EUNSUPPORTED;
    call->place->timer_ns = ms ? flow->bus->monotonic_ns + ms * UINT64_C(1000000) : 0;
    return SOTH_OK;
}

/* ---- ends ---- */

const struct chain_end *chain_end(const struct chain *chain)
{
    return chain && chain->broken ? &chain->why : NULL;
}

void place_count(struct place *place)
{
    struct decoder_counts *counts = &place->decoder->counts;
    uint64_t in = place->lane[0].in + place->lane[1].in, out = place->lane[0].out + place->lane[1].out;
    atomic_fetch_add_explicit(&counts->calls, place->calls - place->counted_calls, memory_order_relaxed);
    atomic_fetch_add_explicit(&counts->bytes_in, in - place->counted_in, memory_order_relaxed);
    atomic_fetch_add_explicit(&counts->bytes_out, out - place->counted_out, memory_order_relaxed);
    place->counted_calls = place->calls;
    place->counted_in = in;
    place->counted_out = out;
}

void place_leave(struct chain *chain, struct place *place, bool complete)
{
    if (place->gone)
        return;
    for (unsigned d = 0; d < 2; d++) {
        frame_forget(chain, &place->lane[d]);
        wait_end(chain, place, &place->lane[d]);
    }
    place->timer_ns = 0;
    place_count(place);
    call_close(chain, place, complete);
    place->timer_ns = 0;
    place->gone = true;
}

/* Of a decoder that failed in one message of the exchange, nothing went well. */
static bool went_well(const struct chain *chain, const struct place *place)
{
    for (const struct place *other = chain->last; other; other = other->before)
        if (other->decoder == place->decoder && other->failed)
            return false;
    return place->calls > 0;
}

void chain_free(struct chain *chain, bool complete)
{
    if (!chain)
        return;
    for (struct place *place = chain->last; place; place = place->before)
        place_leave(chain, place, complete && !chain->broken);
    for (struct place *place = chain->last; place; place = place->before)
        if (went_well(chain, place))
            chain->env->went_well(place->decoder);
    while (chain->last) {
        struct place *place = chain->last;
        chain->last = place->before;
        for (unsigned d = 0; d < 2; d++)
            lane_fini(chain, place, &place->lane[d]);
        free(place);
    }
    for (unsigned d = 0; d < 2; d++) {
        buffer_fini(&chain->ways[d].gate.held);
        buffer_fini(&chain->ways[d].added);
    }
    free(chain);
}
