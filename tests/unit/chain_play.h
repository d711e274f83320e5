/* SPDX-License-Identifier: MPL-2.0 */
/*
 * For tests of chains: a flow that is none, decoders that do one thing each, and a policy that does what a frame's payload says. What happens
 * is collected: bytes relayed by direction, events as lines of text, calls of the decoders as letters.
 */
#ifndef TESTS_UNIT_CHAIN_PLAY_H
#define TESTS_UNIT_CHAIN_PLAY_H

#include "host/chain/chain.h"
#include "host/mem/buffer.h"

#define PLAY_MOST 8

/* A decoder of a test. `self` of the operations. */
struct actor {
    struct play *play;
    const char *name;
    uint64_t number;    /* what it means depends on the decoder */
    unsigned calls;     /* of data */
    uint32_t flags;     /* of the last call's cursor, and all of them ored */
    uint32_t all_flags;
    bool unseen;        /* nobody looks at what it makes, the last call said */
    uint32_t coded;     /* what match was told */
    int answer;         /* of match */
    int open_result, data_result, timer_result, trailers_result;
    unsigned fail_at;   /* data's result is data_result from this call on; 0 = never */
    uint32_t timer_ms;  /* set in open */
    struct soth_token token;
    struct buffer seen; /* bytes, in the order in which it took them */
    unsigned opened, closed, complete, cancelled;
    unsigned failures;
};

struct play {
    struct bus_port port;
    struct event_source source;
    struct soth_flow flow;
    struct soth_module modules[PLAY_MOST];
    struct decoder decoders[PLAY_MOST];
    struct actor actors[PLAY_MOST];
    struct chain_env env;
    struct chain *chain;
    struct relay relay[2];
    struct buffer out[2], events, order; /* order: names of opened (+name), closed (-name) */
    unsigned asked, forgotten, stale, faults, failures, wells;
    unsigned pauses_left;   /* the policy waits so many times before its next answer */
    bool busy;              /* and says BUSY, not PAUSE */
    bool policy_speaks;     /* it decides, also to allow */
};

void play_init(struct play *play);
void play_fini(struct play *play);
/* The decoders must come in their order: stage, then as added. */
struct actor *play_add(struct play *play, const char *name, uint32_t mode, uint32_t stage,
                       int (*data)(void *self, struct soth_flow *flow, struct soth_cursor *cur));

enum chain_result play_match(struct play *play, unsigned direction, unsigned status);
enum chain_result play_text(struct play *play, unsigned direction, const char *text);
enum chain_result play_bytes(struct play *play, unsigned direction, const void *p, size_t n, bool end);
enum chain_result play_end(struct play *play, unsigned direction);
enum chain_result play_resume(struct play *play, unsigned direction);
/* Lets whatever waits go on until nothing does: resumes tokens, moves the clock, gives room. */
enum chain_result play_settle(struct play *play, unsigned direction, enum chain_result result);
void play_later(struct play *play, uint64_t ms);
void play_free(struct play *play, bool complete);
const char *play_out(struct play *play, unsigned direction);
const char *play_events(struct play *play); /* since the last call */
const char *play_order(struct play *play);
const char *play_seen(struct actor *actor);
struct soth_token play_token(struct soth_flow *flow, uint32_t deadline_ms, uint32_t on_timeout);

/* ---- decoders: chain_actors.c ---- */

int tap_watch(void *self, struct soth_flow *flow, struct soth_cursor *cur);  /* touches nothing */
int tap_pass(void *self, struct soth_flow *flow, struct soth_cursor *cur);   /* passes all by itself */
int tap_double(void *self, struct soth_flow *flow, struct soth_cursor *cur); /* each byte twice */
int tap_odd(void *self, struct soth_flow *flow, struct soth_cursor *cur);    /* drops spaces */
int tap_frames(void *self, struct soth_flow *flow, struct soth_cursor *cur); /* lines are frames; lines with '#' are between them */
int transform_replace(void *self, struct soth_flow *flow, struct soth_cursor *cur); /* "cat" becomes "tiger" */
int transform_double(void *self, struct soth_flow *flow, struct soth_cursor *cur);
int transform_pass(void *self, struct soth_flow *flow, struct soth_cursor *cur);
int transform_collect(void *self, struct soth_flow *flow, struct soth_cursor *cur); /* takes it all, gives it back at the end */
int transform_wait(void *self, struct soth_flow *flow, struct soth_cursor *cur); /* leaves everything until the end */
int transform_pause(void *self, struct soth_flow *flow, struct soth_cursor *cur); /* passes `number` bytes, pauses, and so on */
int transform_busy(void *self, struct soth_flow *flow, struct soth_cursor *cur);
int transform_frames(void *self, struct soth_flow *flow, struct soth_cursor *cur); /* like tap_frames */

#endif
