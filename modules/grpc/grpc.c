/* SPDX-License-Identifier: MPL-2.0 */
/*
 * grpc: calls are told as they run: their heads, each message with its lengths, their status, what is broken in the framing. Over HTTP/2, and as
 * gRPC-Web over any HTTP. What messages mean is nobody's job here: their bytes are counted, not read.
 */
#include <strings.h>

#include "../match/media.h"
#include "../match/path.h"
#include "call.h"
#include "grpc.h"

#define S struct grpc
static const struct soth_opt options[] = {
    SOTH_OPT_SIZE(S, max_message_bytes, "16M", 0, UINT32_MAX, "most of a message, as its prefix says and decompressed"),
    SOTH_OPT_STRINGS(S, path_patterns, "[]", "requests with these paths are calls whatever their Content-Type; * is any run of characters"),
    SOTH_OPT_BOOL(S, grpc_web, "true", "application/grpc-web and application/grpc-web-text are calls too"),
    SOTH_OPT_ENUM(S, on_overflow, "detach|close", "detach", "what a message beyond the limit means: nobody looks on any more, or the exchange ends"),
    SOTH_OPT_END,
};

static int create(const struct soth_host *host, void *self)
{
    ((struct grpc *)self)->host = host;
    return SOTH_OK;
}

static int check(const struct soth_host *host, void *self)
{
    const struct grpc *g = self;
    for (size_t i = 0; i < g->path_patterns.n; i++)
        if (g->path_patterns.v[i][0] != '/' && g->path_patterns.v[i][0] != '*')
            return host->cfg_err(self, "path_patterns", "\"%s\" matches no path: begin it with / or *", g->path_patterns.v[i]);
    return SOTH_OK;
}

/* ---- heads ---- */

static uint8_t coding_of(struct soth_span encoding)
{
    struct coding_list list = {.n = 0};
    return encoding.p && coding_list_add(&list, encoding) == SOTH_OK && list.n == 1 ? list.ids[0] : 0;
}

static void prepare(struct grpc *g, struct soth_flow *flow, struct state *s, uint32_t direction, enum call_kind kind)
{
    struct frames *f = &s->frames[direction];
    struct soth_span encoding = grpc_field(g, flow, "grpc-encoding");
    f->max_message_bytes = g->max_message_bytes;
    f->coding = coding_of(encoding);
    f->may_compress = encoding.n > 0 && !(encoding.n == 8 && strncasecmp(encoding.p, "identity", 8) == 0);
    f->trailers = direction == SOTH_TO_CLIENT && kind != CALL_GRPC;
    s->is_text[direction] = kind == CALL_WEB_TEXT;
}

/* What match has seen of the request, for the open that follows it at once. */
struct seen {
    struct name service, method;
    enum call_kind kind;
    uint8_t by_path;
};
static _Thread_local struct seen seen;

static void set_name(struct name *to, struct soth_span from)
{
    to->n = (uint32_t)(from.n < NAME_MOST ? from.n : NAME_MOST);
    if (to->n)
        memcpy(to->text, from.p, to->n);
}

static int path_is_listed(const struct grpc *g, struct soth_span target)
{
    char path[1024];
    if (g->path_patterns.n == 0 || target.n > sizeof path)
        return 0;
    size_t n = path_normalize(target, path);
    for (size_t i = 0; i < g->path_patterns.n; i++)
        if (path_match(g->path_patterns.v[i], path, n))
            return 1;
    return 0;
}

static int match_request(struct grpc *g, struct soth_flow *flow, const struct soth_message *message)
{
    struct soth_span service, method;
    enum call_kind kind = call_kind(media_type(grpc_field(g, flow, "Content-Type")));
    int by_path = kind == CALL_NONE && path_is_listed(g, message->target);
    if (message->coded || (kind == CALL_NONE && !by_path) || (kind > CALL_GRPC && !g->grpc_web))
        return SOTH_WATCH_NO;
    path_call(message->target, &service, &method);
    seen.kind = by_path ? CALL_GRPC : kind;
    seen.by_path = (uint8_t)by_path;
    set_name(&seen.service, service);
    set_name(&seen.method, method);
    return SOTH_WATCH_BOTH;
}

/* A response that is not gRPC (a page of an error) is told by its head; its body is nothing to frame. */
static int match_response(struct grpc *g, struct soth_flow *flow, const struct soth_message *message)
{
    struct state *s = g->host->flow_state(flow);
    if (!s || message->status < 200)
        return SOTH_WATCH_NO;
    enum call_kind kind = call_kind(media_type(grpc_field(g, flow, "Content-Type")));
    tell_response(g, flow, s, message);
    s->frames[SOTH_TO_CLIENT].broken = message->coded || (kind == CALL_NONE && !s->by_path);
    prepare(g, flow, s, SOTH_TO_CLIENT, kind == CALL_NONE ? CALL_GRPC : kind);
    return SOTH_WATCH_NO; /* it is watched already */
}

static int match(void *self, struct soth_flow *flow, const struct soth_message *message)
{
    return message->direction == SOTH_TO_SERVER ? match_request(self, flow, message) : match_response(self, flow, message);
}

static int open_it(void *self, struct soth_flow *flow)
{
    struct grpc *g = self;
    struct state *s = g->host->flow_state(flow);
    s->by_path = seen.by_path;
    s->service = seen.service;
    s->method = seen.method;
    prepare(g, flow, s, SOTH_TO_SERVER, seen.kind);
    tell_request(g, flow, s);
    return SOTH_OK;
}

/* ---- bytes ---- */

/* SOTH_CONTINUE: go on with what is left of `in`. cur: passes what was taken, which a policy's verdict is about; NULL: it was passed. */
static int take(struct grpc *g, struct soth_flow *flow, struct state *s, uint32_t direction, struct soth_span *in, struct soth_cursor *cur)
{
    struct frames_found found;
    int r = frames_take(&s->frames[direction], in, &found);
    if (cur)
        g->host->pass(cur, (size_t)(in->p - cur->in.p));
    if (r == FRAMES_TRAILERS)
        tell_web_status(g, flow, s, found.data);
    return r < 0                   ? r
           : r == FRAMES_MESSAGE   ? tell_message(g, flow, s, direction, &found)
           : r == FRAMES_MALFORMED ? tell_malformed(g, flow, s, direction, &found)
                                   : SOTH_CONTINUE;
}

static int take_end(struct grpc *g, struct soth_flow *flow, struct state *s, uint32_t direction)
{
    struct frames_found found;
    int r = frames_end(&s->frames[direction], &found);
    return r == FRAMES_MALFORMED ? tell_malformed(g, flow, s, direction, &found) : SOTH_CONTINUE;
}

/* A policy judges messages: one that is longer than a frame may be would pass without its verdict. */
static int too_long_to_judge(struct grpc *g, struct soth_flow *flow, const struct frames *f)
{
    if (f->broken || f->head_have < FRAMES_HEAD || f->length <= FRAMES_KEPT_MOST - FRAMES_HEAD)
        return SOTH_CONTINUE;
    return g->host->fail(g, flow, "max_frame_bytes", g->on_overflow == OVERFLOW_CLOSE ? SOTH_FAIL_CLOSE : 0);
}

/* What is in p[0..n) of the cursor, in which all of it lies; where a verdict is waited for, nothing beyond its message is passed. */
static int take_binary(struct grpc *g, struct soth_flow *flow, struct state *s, struct soth_cursor *cur, size_t n, int judged)
{
    struct soth_span in = {cur->in.p, n};
    int r = SOTH_CONTINUE;
    while (in.n > 0 && r == SOTH_CONTINUE) {
        r = take(g, flow, s, cur->direction, &in, cur);
        if (r == SOTH_CONTINUE && judged)
            r = too_long_to_judge(g, flow, &s->frames[cur->direction]);
    }
    return r;
}

/* What base64 has given and is not framed yet. */
static int take_rest(struct grpc *g, struct soth_flow *flow, struct state *s, uint32_t direction, int judged)
{
    int r = SOTH_CONTINUE;
    while (s->rest_n[direction] > 0 && r == SOTH_CONTINUE) {
        char bytes[3];
        size_t n = s->rest_n[direction];
        memcpy(bytes, s->rest[direction], n);
        struct soth_span in = {bytes, n};
        r = take(g, flow, s, direction, &in, NULL);
        s->rest_n[direction] = (uint8_t)in.n;
        memcpy(s->rest[direction], bytes + n - in.n, in.n);
        if (r == SOTH_CONTINUE && judged)
            r = too_long_to_judge(g, flow, &s->frames[direction]);
    }
    return r;
}

static int take_text(struct grpc *g, struct soth_flow *flow, struct state *s, struct soth_cursor *cur, size_t n, int judged)
{
    const uint32_t direction = cur->direction;
    int r = take_rest(g, flow, s, direction, judged);
    while (n > 0 && r == SOTH_CONTINUE) {
        size_t used;
        int made = web_base64_take(&s->base64[direction], cur->in.p, n, &used, s->rest[direction]);
        if (made < 0)
            return g->host->fail(g, flow, "invalid_base64", 0);
        g->host->pass(cur, used);
        n -= used;
        s->rest_n[direction] = (uint8_t)made;
        r = take_rest(g, flow, s, direction, judged);
    }
    return r;
}

/* A message that is decompressed may go beyond the limit: then the rest is not looked at. What these events say must not depend on who listens to
 * which of them, and what becomes of the traffic on none. */
static uint8_t is_inflated(const struct grpc *g, struct soth_flow *flow)
{
    static const uint8_t kinds[] = {SOTH_EV_GRPC_MALFORMED, SOTH_EV_GRPC_RESPONSE_HEADERS, SOTH_EV_GRPC_RESPONSE_TRAILERS, SOTH_EV_DECODER_STAGE_FAILED};
    int heard = g->on_overflow == OVERFLOW_CLOSE;
    for (size_t i = 0; i < sizeof kinds && !heard; i++)
        heard = g->host->wanted(flow, kinds[i]) & SOTH_WANTED_EVENT;
    return heard != 0;
}

static int data(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct grpc *g = self;
    struct state *s = g->host->flow_state(flow);
    const int wanted = g->host->wanted(flow, SOTH_EV_GRPC_MESSAGE), judged = (wanted & SOTH_WANTED_FRAME) != 0;
    struct frames *f = &s->frames[cur->direction];
    const size_t n = cur->in.n < cur->room ? cur->in.n : cur->room, more = cur->in.n - n;
    f->inflate = f->coding && (wanted || is_inflated(g, flow));
    f->keep_most = judged ? UINT64_MAX : wanted & SOTH_WANTED_PAYLOAD ? g->host->payload_most(flow, SOTH_EV_GRPC_MESSAGE) : 0;
    int r = s->is_text[cur->direction] ? take_text(g, flow, s, cur, n, judged) : take_binary(g, flow, s, cur, n, judged);
    return r == SOTH_CONTINUE && (cur->flags & SOTH_CUR_END) && more == 0 ? take_end(g, flow, s, cur->direction) : r;
}

static int trailers(void *self, struct soth_flow *flow, const struct soth_message *message)
{
    struct grpc *g = self;
    if (message->direction == SOTH_TO_CLIENT)
        tell_trailers(g, flow, g->host->flow_state(flow), message);
    return SOTH_CONTINUE;
}

static void close_it(void *self, struct soth_flow *flow, uint32_t complete)
{
    struct grpc *g = self;
    struct state *s = g->host->flow_state(flow);
    (void)complete;
    frames_fini(&s->frames[SOTH_TO_SERVER]);
    frames_fini(&s->frames[SOTH_TO_CLIENT]);
}

SOTH_DECODER_MODULE(grpc, "0.1.0", "MPL-2.0",
    .doc = "gRPC and gRPC-Web: heads, messages and status of each call while it runs",
    .options = options, .self_size = sizeof(struct grpc), .state_size = sizeof(struct state),
    .mode = SOTH_TAP, .stage = SOTH_STAGE_FRAME,
    .create = create, .check = check, .match = match, .open = open_it, .data = data, .trailers = trailers, .close = close_it);
