/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Streams for which there is nothing to do. A client may open a hundred requests at once, and their origin may take its time: what a flow needs to
 * act is there while it acts, and what is kept of it meanwhile is a note of what its connection does not know. Such a stream has just begun, and its
 * head waits for its turn; or its request has gone to the connection's origin, and nothing has come back.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "host/flow/emit.h"
#include "host/flow/stream.h"

struct rest {
    struct kin kin;
    uint64_t flow_id; /* 0: it has just begun */
    uint64_t started_ns, deadline_ns;
    struct pack *head; /* of the request: as it came, or as it was sent */
    union {
        char *priority;          /* of one that has just begun */
        uint64_t request_offset; /* of one that waits */
    };
    int32_t origin_id;
    uint32_t bytes;   /* from the client */
    uint16_t sequence;
    uint8_t state, phase;
    uint8_t reading : 2;
    bool end : 1;     /* of the request has come; is sent */
    bool heard : 1;   /* the request's end was taken */
    bool late : 1;
    uint8_t marks[EXCHANGE_MARKS];
};

static struct rest *rest_of(struct kin *kin)
{
    assert(kin->rests);
    return (struct rest *)(void *)kin;
}

static void forget(struct rest *rest)
{
    pack_free(rest->head);
    if (rest->flow_id == 0)
        free(rest->priority);
    free(rest);
}

/* ---- one that begins ---- */

/* Those who were few are many now. */
static void call_awake(struct flow *line)
{
    for (struct kin *kin = line->children; kin; kin = kin->elder)
        if (!kin->rests)
            family_call(family_awake(kin));
}

/* One of few: a flow from the start. */
static struct kin *begin_awake(struct flow *line, const struct h2_event *head)
{
    struct flow *flow = family_make(line, head->stream);
    if (!flow)
        return NULL;
    if (!strand_open(flow, SIDE_CLIENT, line, head->stream)) {
        flow_forget(flow);
        return NULL;
    }
    strand_event(flow, SIDE_CLIENT, head);
    return &flow->kin;
}

static struct kin *begin_at_rest(struct flow *line, const struct h2_event *head)
{
    struct message named = *head->message;
    struct rest *rest = calloc(1, sizeof *rest);
    if (named.authority.p)
        named.host = named.authority;
    if (!rest || !(rest->head = pack_make(&named, &line->mux->asked))) {
        free(rest);
        return NULL;
    }
    rest->kin.stream_id = head->stream;
    rest->kin.rests = true;
    return &rest->kin;
}

struct kin *rest_begin(struct flow *line, const struct h2_event *head)
{
    bool few = line->child_count < line->env->awake;
    struct kin *kin = few ? begin_awake(line, head) : begin_at_rest(line, head);
    if (!kin)
        return NULL;
    family_join(line, kin);
    if (line->child_count == line->env->awake + 1)
        call_awake(line);
    return kin;
}

static void keep_priority(struct rest *rest, struct soth_span value)
{
    free(rest->priority);
    rest->priority = strndup(value.p, value.n);
}

bool rest_hears(struct kin *kin, enum side side, const struct h2_event *event)
{
    struct rest *rest = rest_of(kin);
    struct flow *line = kin->parent;
    if (event->type == H2_WRITABLE)
        return true;
    if (side == SIDE_CLIENT && event->type == H2_PRIORITY) {
        if (rest->flow_id == 0)
            keep_priority(rest, event->data);
        else
            h2_priority(line->origin.h2, rest->origin_id, event->data);
        return true;
    }
    if (rest->flow_id != 0 || event->type != H2_END)
        return false;
    rest->end = true;
    return true;
}

/* ---- to rest ---- */

/* Is the stream there, and is there nothing of it that waits, whichever way? */
static bool is_silent(const struct flow *flow, enum side side)
{
    const struct strand *s = flow->strand[side];
    return s && s->line == flow->parent && s->id && s->line_no == leg_of(flow->parent, side)->h2_no && !s->head_count && !buffer_size(&s->body) &&
           !s->trailers && !s->end && !s->closed && !s->owed && !buffer_size(&s->out) && !s->reset_with && !s->body.failed && !s->out.failed;
}

/* Its request is out, of the response nothing has come. */
static bool waits_for_response(const struct exchange *ex)
{
    bool begun = ex->response_begun || ex->response != PART_HEAD || ex->discard || ex->ends_early || ex->upgraded;
    return ex->active && ex->request_sent && !begun && (ex->outgoing || (ex->again && !ex->spent));
}

/* Do the names in the head say what `line` does? */
static bool says_line(const struct exchange *ex)
{
    struct soth_span parts[EXCHANGE_LINE_PARTS];
    const uint8_t *at = buffer_data(&ex->line);
    exchange_names(ex, parts);
    for (unsigned i = 0; i < EXCHANGE_LINE_PARTS; at += ex->line_sizes[i++])
        if (parts[i].n != ex->line_sizes[i] || (parts[i].n && memcmp(parts[i].p, at, parts[i].n) != 0))
            return false;
    return true;
}

/* The head that may have to be sent again, and what is remembered of it, in as few bytes as they can wait in. false: they stay as they are. */
static bool pack_outgoing(struct exchange *ex, struct pack_common **last)
{
    if (!ex->again && !(ex->again = pack_make(ex->outgoing, last)))
        return false;
    if (buffer_size(&ex->line) && !says_line(ex)) {
        pack_free(ex->again);
        ex->again = NULL;
        return false;
    }
    ex->named = ex->named || buffer_size(&ex->line);
    buffer_fini(&ex->line);
    free(ex->outgoing);
    ex->outgoing = NULL;
    return true;
}

/* Nobody has a hand in it: no decoder, no module that changed or held something, nothing that is kept for later. */
static bool is_plain(const struct exchange *ex)
{
    bool held = ex->accept || ex->edit || ex->asked || ex->chain || ex->masks || ex->trailers[0] || ex->trailers[1];
    bool peeked = ex->peek.need || ex->peek.complete || buffer_size(&ex->peek.bytes);
    return !held && !peeked && !ex->remapped && !ex->request_chunk && !ex->response_chunk && !ex->response_offset;
}

/* What it has from its connection is as it was. */
static bool is_as_born(const struct flow *flow)
{
    const struct soth_flow *hooks = &flow->hooks;
    bool asked = hooks->generation || hooks->pauses || hooks->detached || hooks->protocol || hooks->over || flow->ask.hook || flow->go_on || flow->wish.path;
    bool origin = flow->own_origin || flow->waits_line || flow->waits_room || flow->dialing || flow->origin.open || flow->origin.tls || flow->origin.h1 || flow->origin.h2;
    return !asked && !origin && !flow->pinned && !flow->refusal.status && !flow->decision_due && !flow->client_left && !buffer_size(&flow->held_origin) &&
           memcmp(&flow->verdict, &flow->parent->verdict, sizeof flow->verdict) == 0;
}

static bool may_rest(const struct flow *flow)
{
    if (!flow->is_stream || !flow->parent || flow->parent->closing || flow->closing || flow->is_due || flow->stage != &stage_http)
        return false;
    if (flow->parent->child_count <= flow->env->awake)
        return false;
    bool fits = flow->client.bytes <= UINT32_MAX && flow->origin.bytes == 0 && flow->source.next_sequence <= UINT16_MAX;
    return fits && flow->deadline_ns > flow->env->bus->monotonic_ns && waits_for_response(&flow->exchange) && is_plain(&flow->exchange) &&
           is_as_born(flow) && is_silent(flow, SIDE_CLIENT) && is_silent(flow, SIDE_ORIGIN);
}

/* The flow goes without a word: its streams live on. */
static void vanish(struct flow *flow)
{
    for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN; side++)
        if (flow->strand[side])
            flow->strand[side]->line = NULL;
    flow->parent = NULL;
    flow_forget(flow);
}

bool flow_rest(struct flow *flow)
{
    struct flow *line = flow->parent;
    struct rest *rest = may_rest(flow) && pack_outgoing(&flow->exchange, &line->origin.sent) ? calloc(1, sizeof *rest) : NULL;
    if (!rest)
        return false;
    rest->kin.stream_id = flow->stream_id;
    rest->kin.rests = true;
    rest->flow_id = flow->source.flow_id;
    rest->started_ns = flow->started_ns;
    rest->deadline_ns = flow->deadline_ns;
    rest->request_offset = flow->exchange.request_offset;
    rest->head = flow->exchange.again;
    rest->sequence = (uint16_t)flow->source.next_sequence;
    rest->bytes = (uint32_t)flow->client.bytes;
    rest->origin_id = flow->strand[SIDE_ORIGIN]->id;
    rest->state = (uint8_t)flow->state;
    rest->phase = (uint8_t)flow->phase;
    rest->reading = flow->reading & 3u;
    rest->end = flow->strand[SIDE_ORIGIN]->ended;
    rest->heard = flow->strand[SIDE_CLIENT]->heard;
    memcpy(rest->marks, &flow->exchange, EXCHANGE_MARKS);
    flow->exchange.again = NULL;
    flow->exchange.named = false;
    family_replace(&flow->kin, &rest->kin);
    h2_set_user(line->client.h2, rest->kin.stream_id, &rest->kin);
    h2_set_user(line->origin.h2, rest->origin_id, &rest->kin);
    if (!line->rest_ns || rest->deadline_ns < line->rest_ns)
        line->rest_ns = rest->deadline_ns;
    line->env->counters->active++; /* what vanishes is counted out */
    vanish(flow);
    return true;
}

void rest_timer(struct flow *line)
{
    uint64_t now = line->env->bus->monotonic_ns, next = 0;
    if (!line->rest_ns || line->rest_ns > now)
        return;
    for (struct kin *kin = line->children; kin; kin = kin->elder) {
        struct rest *rest = kin->rests ? rest_of(kin) : NULL;
        if (!rest || rest->flow_id == 0)
            continue;
        rest->late = rest->late || rest->deadline_ns <= now;
        if (rest->late)
            family_call_kin(line->env, kin);
        else if (!next || rest->deadline_ns < next)
            next = rest->deadline_ns;
    }
    line->rest_ns = next;
}

/* ---- and up again ---- */

static void take_head(struct flow *flow, struct rest *rest)
{
    struct strand *s = flow->strand[SIDE_CLIENT];
    flow->client.bytes = s->heads[0]->head_bytes;
    s->head_count = 1;
    s->end = rest->end;
    flow->priority = rest->priority;
    rest->priority = NULL;
}

static void take_up(struct flow *flow, struct rest *rest)
{
    struct exchange *ex = &flow->exchange;
    memcpy(ex, rest->marks, EXCHANGE_MARKS);
    ex->request_offset = rest->request_offset;
    ex->again = rest->head;
    rest->head = NULL;
    flow->source.flow_id = rest->flow_id;
    flow->source.next_sequence = rest->sequence;
    flow->started_ns = rest->started_ns;
    flow->deadline_ns = rest->deadline_ns;
    flow->client.bytes = rest->bytes;
    flow->state = (enum flow_state)rest->state;
    flow->phase = (enum phase)rest->phase;
    flow->reading = rest->reading;
    flow->late = rest->late;
    flow->stage = &stage_http;
    flow->exchange_no = 1;
    flow->asked = true;
    flow->strand[SIDE_ORIGIN]->ended = rest->end;
    flow->strand[SIDE_CLIENT]->heard = rest->heard;
}

/* All of its memory, before anything is changed. */
static struct flow *make(struct rest *rest)
{
    struct flow *line = rest->kin.parent, *flow = family_make(line, rest->kin.stream_id);
    if (!flow)
        return NULL;
    struct strand *client = strand_open(flow, SIDE_CLIENT, line, rest->kin.stream_id);
    bool whole = client && (rest->flow_id ? strand_open(flow, SIDE_ORIGIN, line, rest->origin_id) != NULL
                                          : (client->heads[0] = pack_open(rest->head)) != NULL);
    if (whole)
        return flow;
    line->env->counters->flows--;
    vanish(flow);
    return NULL;
}

struct flow *rest_wake(struct kin *kin)
{
    struct rest *rest = rest_of(kin);
    struct flow *line = kin->parent, *flow = make(rest);
    if (!flow) {
        rest_end(kin, CLOSE_RELAY_ERROR, "ENOMEM");
        return NULL;
    }
    family_replace(kin, &flow->kin);
    h2_set_user(line->client.h2, kin->stream_id, &flow->kin);
    if (rest->flow_id) {
        if (line->origin.h2)
            h2_set_user(line->origin.h2, rest->origin_id, &flow->kin);
        line->env->counters->flows--; /* it was counted when it began */
        line->env->counters->active--;
        take_up(flow, rest);
    } else {
        take_head(flow, rest);
    }
    forget(rest);
    return flow;
}

/* ---- the end, without having been woken ---- */

static void reset(struct flow *line, enum side side, int32_t id, enum h2_code code)
{
    struct h2 *h2 = leg_of(line, side)->h2;
    if (h2 && h2_reset(h2, id, code) == SOTH_OK)
        family_call(line);
}

/* There may be no memory for its flow: what its last event needs is put together here. */
static void tell_end(const struct rest *rest, struct flow *line, enum close_code code, const char *detail)
{
    static _Thread_local struct flow flow;
    flow = (struct flow){
        .env = line->env,
        .is_stream = true,
        .stream_id = rest->kin.stream_id,
        .source = {.flow_id = rest->flow_id,
                   .parent_flow_id = line->source.flow_id,
                   .next_sequence = rest->sequence,
                   .client_addr = line->source.client_addr,
                   .server_host = {line->target.host, line->target.host_len},
                   .server_port = line->target.port,
                   .protocol = SOTH_PROTO_HTTP2,
                   .version = UINT32_MAX}, /* its flow may have told another host */
        .state = (enum flow_state)rest->state,
        .client.bytes = rest->bytes,
        .started_ns = rest->started_ns,
        .close_code = code,
    };
    strncpy(flow.close_detail, detail ? detail : "", sizeof flow.close_detail - 1);
    emit_stream_closed(&flow);
    line->env->counters->closed[code]++;
    line->env->counters->active--;
}

void rest_end(struct kin *kin, enum close_code code, const char *detail)
{
    struct rest *rest = rest_of(kin);
    struct flow *line = kin->parent;
    reset(line, SIDE_CLIENT, kin->stream_id, rest->flow_id ? H2_INTERNAL_ERROR : H2_REFUSED_STREAM);
    if (rest->flow_id) {
        reset(line, SIDE_ORIGIN, rest->origin_id, H2_CANCEL);
        tell_end(rest, line, code, detail);
    }
    family_part(kin);
    forget(rest);
}
