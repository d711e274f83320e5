/* SPDX-License-Identifier: MPL-2.0 */
/* An exchange in all the ways that must not make a difference, and in those that must not do harm. */
#include "parts.h"

#include <malloc.h>
#include <stdlib.h>

#define CUTS_MOST 600u  /* of a long exchange some places stand for all */
#define FRAMES_MOST 64u

/* What the plain run gave. */
struct wanted {
    struct text events, frames, out[2];
    size_t total; /* bytes of all steps */
    bool has_frames;
};

static struct plan plan(const char *name)
{
    struct plan p = {.close_after = SIZE_MAX};
    snprintf(p.name, sizeof p.name, "%s", name);
    return p;
}

static void differs(struct testhost *host, const struct testhost_case *c, const char *how, const char *what, const struct text *is, const struct text *wanted)
{
    size_t at = 0;
    while (at < is->n && at < wanted->n && is->p[at] == wanted->p[at])
        at++;
    size_t from = at > 40 ? at - 40 : 0;
    struct text a = {NULL, 0, 0}, b = {NULL, 0, 0};
    th_text_escape(&a, (struct soth_span){th_text_of(is) + from, is->n - from < 120 ? is->n - from : 120});
    th_text_escape(&b, (struct soth_span){th_text_of(wanted) + from, wanted->n - from < 120 ? wanted->n - from : 120});
    th_fault(host, "%s%s%s: %s differ from byte %zu on:\n    is:     ...%s\n    wanted: ...%s", c->name ? c->name : "", c->name ? ", " : "", how, what, at,
             th_text_of(&a), th_text_of(&b));
    th_text_free(&a);
    th_text_free(&b);
}

static bool same(const struct text *a, const struct text *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->p, b->p, a->n) == 0);
}

static const char *const directions[2] = {"the bytes to the server", "the bytes to the client"};

/* false: enough is known to be wrong. */
static bool compare(struct testhost *host, const struct testhost_case *c, const struct plan *p, const struct flow *flow, const struct wanted *w)
{
    bool right = same(&flow->events, &w->events);
    if (!right)
        differs(host, c, p->name, "the events", &flow->events, &w->events);
    for (unsigned d = 0; d < 2 && right; d++)
        if (!(right = same(&flow->out[d], &w->out[d])))
            differs(host, c, p->name, directions[d], &flow->out[d], &w->out[d]);
    if (right && p->frames != FRAMES_FREE && w->has_frames && !(right = same(&flow->frames, &w->frames)))
        differs(host, c, p->name, "the frames", &flow->frames, &w->frames);
    return right;
}

static bool run(struct testhost *host, const struct testhost_case *c, const struct plan *p, const struct wanted *w)
{
    struct flow flow;
    th_exchange_run(host, c, p, &flow);
    bool right = !w || compare(host, c, p, &flow, w);
    th_flow_free(&flow);
    return right;
}

/* ---- the ways ---- */

static size_t stride(size_t total)
{
    return total > CUTS_MOST ? total / CUTS_MOST : 1;
}

static void splits(struct testhost *host, const struct testhost_case *c, const struct wanted *w)
{
    struct plan p = plan("byte by byte");
    p.every = 1;
    bool right = run(host, c, &p, w);
    p = plan("the end comes by itself");
    p.end_apart = true;
    right = right && run(host, c, &p, w);
    for (size_t at = 1; at < w->total && right; at += stride(w->total)) {
        p = plan("");
        snprintf(p.name, sizeof p.name, "cut at byte %zu", at);
        p.cut = at;
        right = run(host, c, &p, w);
    }
}

static void rooms(struct testhost *host, const struct testhost_case *c, const struct wanted *w)
{
    static const size_t sizes[] = {4096, 1, 7, 100};
    size_t count = host->module.mode == SOTH_TRANSFORM ? sizeof sizes / sizeof *sizes : 1; /* a TAP never has less */
    for (size_t i = 0; i < count; i++) {
        struct plan p = plan("");
        snprintf(p.name, sizeof p.name, "room for %zu bytes", sizes[i]);
        p.room = sizes[i];
        if (!run(host, c, &p, w))
            return;
        strcat(p.name, ", byte by byte");
        p.every = 1;
        if (!run(host, c, &p, w))
            return;
    }
}

/* Every frame is judged, at once or after a wait. */
static void frames(struct testhost *host, const struct testhost_case *c, struct wanted *w)
{
    static const char *const names[] = {"", "frames are judged", "frames are judged after a pause", "frames are judged by a busy policy"};
    for (unsigned how = FRAMES_ALLOWED; how <= FRAMES_BUSY; how++)
        for (size_t every = 0; every < 2; every++) {
            struct plan p = plan(names[how]);
            struct flow flow;
            p.frames = (enum frame_policy)how;
            p.every = every;
            th_exchange_run(host, c, &p, &flow);
            bool right = compare(host, c, &p, &flow, w);
            if (!w->has_frames) {
                th_text_add(&w->frames, flow.frames.p, flow.frames.n);
                w->has_frames = true;
            }
            th_flow_free(&flow);
            if (!right)
                return;
        }
}

/* Policies get all of a frame, however little of the content sinks want. */
static void frames_beside_samples(struct testhost *host, const struct testhost_case *c, const struct wanted *w)
{
    const uint64_t most = host->payload_most;
    for (host->payload_most = 0; host->payload_most < 2; host->payload_most++) {
        struct plan p = plan("frames are judged, and sinks want little of their content");
        struct flow flow;
        p.frames = FRAMES_ALLOWED;
        th_exchange_run(host, c, &p, &flow);
        if (!same(&flow.frames, &w->frames))
            differs(host, c, p.name, "the frames", &flow.frames, &w->frames);
        th_flow_free(&flow);
    }
    host->payload_most = most;
}

/* Each frame in turn is the last one. */
static void blocks(struct testhost *host, const struct testhost_case *c)
{
    for (unsigned i = 1; i <= FRAMES_MOST; i++) {
        struct plan p = plan("");
        struct flow flow;
        snprintf(p.name, sizeof p.name, "frame %u is blocked", i);
        p.frames = FRAMES_ALLOWED;
        p.block_at = i;
        th_exchange_run(host, c, &p, &flow);
        bool blocked = flow.blocked;
        if (blocked && flow.frame_count != i)
            th_fault(host, "%s: a frame is reported after it", p.name);
        th_flow_free(&flow);
        if (!blocked)
            return;
    }
}

static void closes(struct testhost *host, const struct testhost_case *c, size_t total)
{
    for (size_t at = 0; at < total; at += stride(total)) {
        struct plan p = plan("");
        snprintf(p.name, sizeof p.name, "cut off after %zu bytes", at);
        p.every = at % 3;
        p.close_after = at;
        run(host, c, &p, NULL);
    }
}

static void pauses(struct testhost *host, const struct testhost_case *c)
{
    struct plan p = plan("the exchange ends in a pause");
    p.cancels = true;
    run(host, c, &p, NULL);
    p = plan("every deadline passes");
    p.late = true;
    run(host, c, &p, NULL);
    p.every = 1;
    run(host, c, &p, NULL);
}

/* The second one begins when the first one is in its middle; then they take turns. */
static void two(struct testhost *host, const struct testhost_case *c, const struct wanted *w)
{
    struct plan p = plan("two exchanges at once");
    struct flow flow[2];
    struct progress progress[2];
    p.every = 1;
    th_exchange_begin(host, c, &p, &flow[0], &progress[0]);
    for (size_t i = 0; i < w->total / 2; i++)
        th_exchange_step(c, &flow[0], &progress[0]);
    th_exchange_begin(host, c, &p, &flow[1], &progress[1]);
    bool more = true;
    while (more) {
        bool first = th_exchange_step(c, &flow[0], &progress[0]), second = th_exchange_step(c, &flow[1], &progress[1]);
        more = first || second;
    }
    for (unsigned i = 0; i < 2; i++)
        th_exchange_end(c, &flow[i], &progress[i]);
    if (compare(host, c, &p, &flow[0], w))
        compare(host, c, &p, &flow[1], w);
    th_flow_free(&flow[0]);
    th_flow_free(&flow[1]);
}

static size_t in_use(void)
{
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
    return mallinfo2().uordblks;
#else
    return 0;
#endif
}

/* Bytes that are in use after so many exchanges and were not before. */
static size_t growth(struct testhost *host, const struct testhost_case *c, unsigned times)
{
    struct plan p = plan("again and again");
    p.every = 5;
    size_t before = in_use();
    for (unsigned i = 0; i < times; i++)
        run(host, c, &p, NULL);
    size_t after = in_use();
    return after > before ? after - before : 0;
}

/* Memory that grows with every exchange: what the allocator keeps by for the next one, and counts as used, it takes once. */
static void leaks(struct testhost *host, const struct testhost_case *c)
{
    const unsigned times = 64;
    size_t grown = 0;
    growth(host, c, 8);
    for (unsigned i = 0; i < 3; i++)
        if ((grown = growth(host, c, times)) < times * 16)
            return;
    th_fault(host, "%s%severy exchange leaves about %zu bytes behind", c->name ? c->name : "", c->name ? ": " : "", grown / times);
}

/* ---- all of it ---- */

static void keep(struct text *to, const struct text *from)
{
    th_text_clear(to);
    th_text_add(to, from->p, from->n);
}

/* The plain run, and what the test says about it. false: nothing can be compared with it. */
static bool begin(struct testhost *host, const struct testhost_case *c, struct wanted *w)
{
    struct plan p = plan("whole");
    struct flow flow;
    bool tap = host->module.mode == SOTH_TAP, right = true;
    for (size_t i = 0; i < c->step_count; i++)
        w->total += c->steps[i].direction < 2 ? c->steps[i].bytes.n : 0;
    th_exchange_run(host, c, &p, &flow);
    keep(&host->events, &flow.events);
    keep(&w->events, &flow.events);
    for (unsigned d = 0; d < 2; d++) {
        keep(&host->out[d], &flow.out[d]);
        keep(&w->out[d], &flow.out[d]);
    }
    th_flow_free(&flow);
    struct text events = {(char *)(uintptr_t)c->events, c->events ? strlen(c->events) : 0, 0};
    if (c->events && !(right = same(&w->events, &events)))
        differs(host, c, p.name, "the events", &w->events, &events);
    for (unsigned d = 0; d < 2; d++) {
        struct text out = {(char *)(uintptr_t)c->out[d].p, c->out[d].n, 0};
        if (!c->out[d].p || same(&w->out[d], &out))
            continue;
        differs(host, c, p.name, tap ? "what the next stage sees" : directions[d], &w->out[d], &out);
        right = false;
    }
    return right;
}

unsigned testhost_decoder(struct testhost *host, const struct testhost_case *c)
{
    struct wanted w = {.total = 0};
    unsigned before = testhost_faults(host), ways = ~c->leave_out;
    host->nobody_resumes = false;
    if (host->module.kind != SOTH_KIND_DECODER || !host->module.data) {
        th_fault(host, "testhost_decoder: this is no decoder");
        return 1;
    }
    bool right = begin(host, c, &w);
    if (right && (ways & TESTHOST_SPLITS))
        splits(host, c, &w);
    if (right && (ways & TESTHOST_ROOM))
        rooms(host, c, &w);
    if (right && (ways & TESTHOST_FRAMES) && host->module.stage == SOTH_STAGE_FRAME)
        frames(host, c, &w), frames_beside_samples(host, c, &w);
    if ((ways & TESTHOST_BLOCK) && host->module.stage == SOTH_STAGE_FRAME)
        blocks(host, c);
    if (ways & TESTHOST_CLOSE)
        closes(host, c, w.total);
    if (ways & TESTHOST_RESUME)
        pauses(host, c);
    if (right && (ways & TESTHOST_TWO))
        two(host, c, &w);
    if (ways & TESTHOST_LEAKS)
        leaks(host, c);
    th_text_free(&w.events);
    th_text_free(&w.frames);
    th_text_free(&w.out[0]);
    th_text_free(&w.out[1]);
    return testhost_faults(host) - before;
}

const char *testhost_events(const struct testhost *host)
{
    return th_text_of(&host->events);
}

struct testhost_bytes testhost_out(const struct testhost *host, unsigned direction)
{
    return (struct testhost_bytes){th_text_of(&host->out[direction & 1]), host->out[direction & 1].n};
}
