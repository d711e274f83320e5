/* SPDX-License-Identifier: MPL-2.0 */
/*
 * antihijack: prefixes like )]}' before JSON are taken away for those who look on, and every JSON response is told to have one or not. With
 * `rewrite: true` clients get clean JSON, too; then it works on what is relayed, which it leaves alone when that is in a content coding.
 */
#include "../match/media.h"
#include "guard.h"

#include <stdio.h>

struct antihijack {
    struct soth_strings prefixes, content_types;
    uint8_t rewrite;
    const struct soth_host *host;
};

struct state {
    uint8_t is_json, decided;
    uint32_t n, at; /* held; of it put on */
    char held[GUARD_LOOK];
};

#define S struct antihijack
static const struct soth_opt options[] = {
    SOTH_OPT_STRINGS(S, prefixes, "[\")]}'\", \"while(1);\", \"for(;;);\", \"for (;;);\", \"{}&&\"]",
                     "what may stand before JSON, after a byte order mark and white space; JSON must begin (true, false, null: end) in the body's "
                     "first 1024 bytes"),
    SOTH_OPT_STRINGS(S, content_types,
                     "[application/json, text/json, '*+json', application/javascript, text/javascript, application/x-javascript, text/plain]",
                     "responses that are looked at; * at one end stands for anything"),
    SOTH_OPT_BOOL(S, rewrite, "false", "take the prefix away from what clients get, not only from what is seen here"),
    SOTH_OPT_END,
};

static int prefix_check(const struct soth_host *host, void *self, const char *key, const char *prefix)
{
    size_t n = strlen(prefix);
    if (n == 0 || n > 64)
        return host->cfg_err(self, key, "a prefix has 1 to 64 bytes");
    if (guard_skips(prefix))
        return host->cfg_err(self, key, "matches nothing: a byte order mark and white space in front of a prefix are skipped; leave them out here");
    return SOTH_OK;
}

static int check(const struct soth_host *host, void *self)
{
    struct antihijack *a = self;
    for (size_t i = 0; i < a->prefixes.n; i++) {
        char key[40];
        snprintf(key, sizeof key, "prefixes[%zu]", i);
        int r = prefix_check(host, self, key, a->prefixes.v[i]);
        if (r < 0)
            return r;
    }
    return media_check(host, self, "content_types", &a->content_types);
}

static int create(const struct soth_host *host, void *self)
{
    ((struct antihijack *)self)->host = host;
    return SOTH_OK;
}

static uint32_t instance_mode(void *self)
{
    return ((struct antihijack *)self)->rewrite ? SOTH_TRANSFORM : SOTH_TAP;
}

static int is_part(const struct antihijack *a, struct soth_flow *flow, const struct soth_message *message)
{
    return message->status == 206 || a->host->hdr_get(flow, "Content-Range", 0).p != NULL;
}

/* Where there is no body, one that rewrites says whether a GET's would be changed: the head must not tell of the old one then. */
static int match(void *self, struct soth_flow *flow, const struct soth_message *message)
{
    const struct antihijack *a = self;
    struct soth_span type = media_type(a->host->hdr_get(flow, "Content-Type", 0));
    if (message->direction != SOTH_TO_CLIENT || message->coded || is_part(a, flow, message))
        return SOTH_WATCH_NO;
    if (!media_may_have_body(message) && (!a->rewrite || message->status == 204))
        return SOTH_WATCH_NO;
    if (message->status == 304 && type.n == 0) /* of what? Perhaps of what was changed */
        return SOTH_WATCH_BODY;
    return media_is_any(type, &a->content_types) ? SOTH_WATCH_BODY : SOTH_WATCH_NO;
}

static int open_it(void *self, struct soth_flow *flow)
{
    const struct antihijack *a = self;
    struct state *s = a->host->flow_state(flow);
    struct soth_span type = media_type(a->host->hdr_get(flow, "Content-Type", 0));
    s->is_json = (uint8_t)(media_is(type, "*/json") || media_is(type, "*+json"));
    return SOTH_OK;
}

/* Of what may be something else than JSON only prefixes are told. */
static void tell(struct antihijack *a, struct soth_flow *flow, const struct state *s, const char *prefix)
{
    const struct soth_attr attrs[] = {
        {"direction", SOTH_TEXT(soth_span("server_to_client"))},
        {"sanitized", soth_span(""), prefix != NULL, SOTH_ATTR_BOOL, 0},
        {"sanitized_prefix", SOTH_BYTES(soth_span(prefix))},
        {"sanitized_provenance", SOTH_TEXT(soth_span(!prefix ? NULL : a->rewrite ? "wire" : "view"))},
    };
    if (prefix || s->is_json)
        a->host->emit(a, flow, SOTH_EV_PAYLOAD_SANITIZED, attrs, sizeof attrs / sizeof *attrs);
}

/* more: something follows what is held, which can grow no further. What is not decided by then has no prefix, and nothing is taken away. */
static void look(struct antihijack *a, struct soth_flow *flow, struct state *s, int more, int end)
{
    const char *prefix = NULL;
    size_t strip = 0;
    enum guard found = guard_look(&a->prefixes, s->held, s->n, end, &strip, &prefix);
    if (found == GUARD_MORE && !more)
        return;
    s->decided = 1;
    s->at = found == GUARD_FOUND ? (uint32_t)strip : 0;
    if (s->n > 0)
        tell(a, flow, s, found == GUARD_FOUND ? prefix : NULL);
}

static int data(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct antihijack *a = self;
    struct state *s = a->host->flow_state(flow);
    if (!s->decided) {
        size_t n = GUARD_LOOK - s->n < cur->in.n ? GUARD_LOOK - s->n : cur->in.n;
        memcpy(s->held + s->n, cur->in.p, n);
        s->n += (uint32_t)n;
        a->host->drop(cur, n);
        look(a, flow, s, cur->in.n > 0, (cur->flags & SOTH_CUR_END) && cur->in.n == 0);
    }
    if (!s->decided)
        return SOTH_CONTINUE;
    s->at += (uint32_t)a->host->put(cur, (struct soth_span){s->held + s->at, s->n - s->at});
    return s->at == s->n ? SOTH_DONE : SOTH_CONTINUE;
}

SOTH_DECODER_MODULE(antihijack, "0.1.0", "MPL-2.0",
    .doc = "prefixes like )]}' before JSON are taken away for those who look on, or for clients, too",
    .options = options, .self_size = sizeof(struct antihijack), .state_size = sizeof(struct state),
    .mode = SOTH_TAP, .stage = SOTH_STAGE_SANITIZE, .instance_mode = instance_mode,
    .check = check, .create = create, .match = match, .open = open_it, .data = data);
