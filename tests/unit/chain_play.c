/* SPDX-License-Identifier: MPL-2.0 */
/* See chain_play.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "chain_play.h"
#include "http_play.h"

/* ---- the flow ---- */

static void emit(struct soth_flow *flow, unsigned kind, const struct soth_attr *attrs, size_t n)
{
    struct play *play = flow->owner;
    http_say(&play->events, "%s", event_kind_name(kind));
    for (size_t i = 0; i < n; i++) {
        if (!attrs[i].text.p)
            continue;
        if (attrs[i].type == SOTH_ATTR_U64)
            http_say(&play->events, " %s=%llu", attrs[i].name, (unsigned long long)attrs[i].number);
        else
            http_say(&play->events, " %s=%.*s", attrs[i].name, SOTH_SPAN(attrs[i].text));
    }
    http_say(&play->events, "\n");
}

struct soth_token play_token(struct soth_flow *flow, uint32_t deadline_ms, uint32_t on_timeout)
{
    struct pause *pause = flow->pause;
    if (!pause)
        return (struct soth_token){0};
    pause->state = PAUSE_TAKEN;
    pause->deadline_ms = deadline_ms;
    pause->on_timeout = on_timeout;
    return pause->token = (struct soth_token){1, 1, ++flow->pauses};
}

/* ---- the policy ---- */

static bool waits(struct play *play, struct soth_flow *flow, struct ask *ask, const struct soth_frame *frame)
{
    bool pauses = memchr(frame->payload.p, 'P', frame->payload.n) != NULL, busy = memchr(frame->payload.p, 'B', frame->payload.n) != NULL;
    if (ask->next || (!pauses && !busy))
        return false;
    ask->next = 1;
    ask->pause = (struct pause){.state = pauses ? PAUSE_WAITING : PAUSE_BUSY, .token = {1, 1, ++flow->pauses}};
    ask->pause.deadline_ns = play->port.monotonic_ns + 1000000000;
    return true;
}

static enum ask_result judge(void *policy, struct soth_flow *flow, struct ask *ask, const struct question *q)
{
    struct play *play = policy;
    assert_int_equal(q->hook, SOTH_HOOK_FRAME);
    assert_null(flow->chain); /* what a decoder may do, a policy may not */
    assert_null(flow->state);
    if (ask->hook == 0)
        *ask = (struct ask){.hook = q->hook, .verdict = {.action = SOTH_ALLOW, .reason = "default_intercept", .policy_module = ""}};
    play->asked++;
    if (waits(play, flow, ask, q->frame))
        return ASK_WAIT;
    http_say(&play->events, "frame %.*s\n", q->frame->payload.n < 64 ? (int)q->frame->payload.n : 64, q->frame->payload.p);
    bool block = memchr(q->frame->payload.p, 'X', q->frame->payload.n) != NULL;
    if (block || play->policy_speaks)
        ask->verdict = (struct verdict){.action = block ? SOTH_BLOCK : SOTH_ALLOW, .reason = "rule", .policy_module = "judge"};
    ask->hook = 0;
    return ASK_DONE;
}

static void forget(void *policy, struct soth_flow *flow, struct ask *ask)
{
    (void)flow;
    ((struct play *)policy)->forgotten++;
    ask->hook = 0;
}

/* ---- the module room ---- */

static struct actor *actor_of(const struct decoder *decoder)
{
    return decoder->self;
}

static bool is_out(const struct decoder *decoder)
{
    return actor_of(decoder)->failures >= 3;
}

static void failed(struct decoder *decoder, const char *hook, const char *code)
{
    (void)hook;
    (void)code;
    actor_of(decoder)->failures++;
    actor_of(decoder)->play->failures++;
}

static void went_well(struct decoder *decoder)
{
    actor_of(decoder)->play->wells++;
}

static void fault(struct decoder *decoder, const char *hook, const char *what)
{
    (void)hook;
    (void)what;
    actor_of(decoder)->play->faults++;
}

static void stale(struct soth_flow *flow, const struct soth_token *token)
{
    (void)token;
    ((struct play *)flow->owner)->stale++;
}

/* ---- operations that all have ---- */

static int on_match(void *self, struct soth_flow *flow, const struct soth_message *message)
{
    (void)flow;
    ((struct actor *)self)->coded = message->coded;
    return ((struct actor *)self)->answer;
}

static int on_open(void *self, struct soth_flow *flow)
{
    struct actor *a = self;
    if (a->open_result)
        return a->open_result;
    a->opened++;
    http_say(&a->play->order, "+%s ", a->name);
    if (a->timer_ms)
        assert_int_equal(chain_set_timer(a, flow, a->timer_ms), 0);
    return SOTH_OK;
}

static void on_close(void *self, struct soth_flow *flow, uint32_t complete)
{
    struct actor *a = self;
    assert_non_null(flow->state);
    a->closed++;
    a->complete += complete;
    http_say(&a->play->order, "-%s ", a->name);
}

static void on_cancel(void *self, struct soth_token token)
{
    struct actor *a = self;
    assert_int_equal(token.pause, a->token.pause);
    a->cancelled++;
}

static int on_timer(void *self, struct soth_flow *flow)
{
    struct actor *a = self;
    (void)flow;
    http_say(&a->play->events, "timer %s\n", a->name);
    return a->timer_result;
}

static int on_trailers(void *self, struct soth_flow *flow, const struct soth_message *trailers)
{
    struct actor *a = self;
    (void)flow;
    http_say(&a->play->events, "trailers %s %u\n", a->name, trailers->field_count);
    return a->trailers_result;
}

/* ---- the play ---- */

static void put(void *arg, const uint8_t *p, size_t n)
{
    assert_int_equal(buffer_append(arg, p, n), 0);
}

void play_init(struct play *play)
{
    memset(play, 0, sizeof *play);
    play->port.monotonic_ns = 1000000000;
    play->flow = (struct soth_flow){.bus = &play->port, .source = &play->source, .owner = play, .emit = emit, .mailbox = (void *)play};
    play->env = (struct chain_env){.decoders = play->decoders, .policy = play, .ask = judge, .forget = forget, .stale = stale, .is_out = is_out,
                                   .failed = failed, .went_well = went_well, .fault = fault};
    for (unsigned d = 0; d < 2; d++)
        play->relay[d] = (struct relay){put, &play->out[d], SIZE_MAX};
}

void play_free(struct play *play, bool complete)
{
    chain_free(play->chain, complete);
    play->chain = NULL;
}

void play_fini(struct play *play)
{
    play_free(play, false);
    for (size_t i = 0; i < play->env.count; i++) {
        struct actor *a = &play->actors[i];
        assert_int_equal(a->opened, a->closed);
        buffer_fini(&a->seen);
    }
    buffer_fini(&play->out[0]);
    buffer_fini(&play->out[1]);
    buffer_fini(&play->events);
    buffer_fini(&play->order);
}

struct actor *play_add(struct play *play, const char *name, uint32_t mode, uint32_t stage,
                       int (*data)(void *self, struct soth_flow *flow, struct soth_cursor *cur))
{
    size_t i = play->env.count++;
    struct actor *a = &play->actors[i];
    assert_true(i < PLAY_MOST);
    *a = (struct actor){.play = play, .name = name, .answer = SOTH_WATCH_BODY};
    play->modules[i] = (struct soth_module){.name = name, .kind = SOTH_KIND_DECODER, .mode = mode, .stage = stage, .min_window = 16, .state_size = 8192};
    play->modules[i].match = on_match;
    play->modules[i].open = on_open;
    play->modules[i].data = data;
    play->modules[i].close = on_close;
    play->modules[i].cancel = on_cancel;
    play->modules[i].on_timer = on_timer;
    play->modules[i].trailers = on_trailers;
    play->decoders[i].module = &play->modules[i];
    play->decoders[i].self = a;
    play->decoders[i].name = name;
    play->decoders[i].position = (unsigned)i;
    return a;
}

enum chain_result play_match(struct play *play, unsigned direction, unsigned status)
{
    struct soth_message message = {.size = sizeof message, .direction = direction, .status = status};
    return chain_match(&play->chain, &play->env, &play->flow, &message);
}

/* From a place of its own, which is gone afterwards. */
enum chain_result play_bytes(struct play *play, unsigned direction, const void *p, size_t n, bool end)
{
    char *bytes = malloc(n + 1);
    assert_non_null(bytes);
    if (n)
        memcpy(bytes, p, n);
    if (!play->chain) {
        put(&play->out[direction], (const uint8_t *)bytes, n);
        free(bytes);
        return CHAIN_GO;
    }
    enum chain_result result = chain_data(play->chain, direction, bytes, n, end, &play->relay[direction]);
    memset(bytes, 0xa5, n);
    free(bytes);
    return result;
}

enum chain_result play_text(struct play *play, unsigned direction, const char *text)
{
    return play_bytes(play, direction, text, strlen(text), false);
}

enum chain_result play_end(struct play *play, unsigned direction)
{
    return play_bytes(play, direction, NULL, 0, true);
}

enum chain_result play_resume(struct play *play, unsigned direction)
{
    return chain_resume(play->chain, direction, &play->relay[direction]);
}

void play_later(struct play *play, uint64_t ms)
{
    play->port.monotonic_ns += ms * UINT64_C(1000000);
}

enum chain_result play_settle(struct play *play, unsigned direction, enum chain_result result)
{
    for (unsigned i = 0; (result == CHAIN_WAIT || result == CHAIN_FULL) && i < 100000; i++) {
        uint64_t deadline = chain_deadline(play->chain);
        if (result == CHAIN_FULL)
            play->relay[direction].room = play->relay[direction].room * 2 + 7;
        else if (play->flow.pauses == 0 || !chain_resumed(play->chain, play->flow.pauses, i)) {
            assert_true(deadline > 0);
            if (play->port.monotonic_ns < deadline)
                play->port.monotonic_ns = deadline;
            if (chain_timer(play->chain) == CHAIN_BROKEN)
                return CHAIN_BROKEN;
        }
        result = play_resume(play, direction);
    }
    return result;
}

static const char *text_of(struct buffer *b)
{
    assert_int_equal(buffer_append(b, "", 1), 0);
    b->len--;
    return (const char *)buffer_data(b);
}

const char *play_out(struct play *play, unsigned direction)
{
    return text_of(&play->out[direction]);
}

const char *play_events(struct play *play)
{
    const char *text = text_of(&play->events);
    buffer_clear(&play->events);
    return text;
}

const char *play_order(struct play *play)
{
    return text_of(&play->order);
}

const char *play_seen(struct actor *actor)
{
    return text_of(&actor->seen);
}
