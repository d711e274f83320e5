/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One question to all policies, asked one after another, over as many turns as they need: a policy that pauses is asked again when its
 * resume or its deadline has come, those before it are not. Whoever asks keeps the struct until the answer is there.
 */
#ifndef HOST_FLOW_ASK_H
#define HOST_FLOW_ASK_H

#include "host/flow/verdict.h"

/* A hook that is waited for. */
enum pause_state {
    PAUSE_NONE,
    PAUSE_TAKEN,   /* a token was given out inside the hook; it counts when the hook returns SOTH_PAUSE */
    PAUSE_WAITING, /* for resume, until deadline_ns */
    PAUSE_BUSY,    /* for a moment, until deadline_ns */
    PAUSE_RESUMED, /* the hook is to be called again, with arg */
    PAUSE_AGAIN,   /* the moment of BUSY is over */
    PAUSE_LATE     /* deadline_ns has passed: on_timeout decides */
};
struct pause {
    enum pause_state state;
    uint32_t on_timeout; /* 1 = open, 0 = closed */
    uint32_t deadline_ms;
    unsigned busy;       /* times in a row */
    struct soth_token token;
    uint64_t deadline_ns;
    uint64_t arg;
};

#define BUSY_MOST_MS 64 /* the moments of BUSY: 1 ms, 2, 4, ... */
#define BUSY_TIMES 200  /* some twelve seconds; then it is as if it had failed */

/* A hook has answered SOTH_PAUSE or SOTH_BUSY: the wait begins. False: it cannot, for PAUSE took no token or BUSY goes on for ever. A token
 * that BUSY has taken is the caller's to forget. */
static inline bool pause_begin(struct pause *pause, int answer, uint64_t now_ns)
{
    uint64_t ms = pause->deadline_ms;
    if (answer == SOTH_PAUSE && pause->state == PAUSE_TAKEN) {
        pause->state = PAUSE_WAITING;
        pause->busy = 0;
    } else if (answer == SOTH_BUSY && pause->busy < BUSY_TIMES) {
        ms = pause->busy < 6 ? UINT64_C(1) << pause->busy : BUSY_MOST_MS;
        *pause = (struct pause){.state = PAUSE_BUSY, .busy = pause->busy + 1};
    } else {
        return false;
    }
    pause->deadline_ns = now_ns + ms * UINT64_C(1000000);
    return true;
}

struct ask {
    uint32_t hook; /* SOTH_HOOK_...; 0 = no question is open */
    uint32_t next; /* position of the policy that is asked next */
    uint32_t need_bytes; /* ASK_BODY: as many bytes of body are wanted */
    bool with_body;      /* the message carries what ASK_BODY asked for */
    struct verdict verdict; /* what those before it have said, combined */
    struct pause pause;  /* of the policy at `next` */
};

/* What is judged. */
struct question {
    uint32_t hook;
    const struct soth_connect *connect;
    const struct soth_message *message; /* request, response */
    const struct soth_frame *frame;
};

enum ask_result {
    ASK_DONE, /* ask.verdict is the answer; ask.hook is 0 again */
    ASK_WAIT, /* ask again when ask.pause is PAUSE_RESUMED, _AGAIN or _LATE */
    ASK_BODY  /* ask again with need_bytes of the message's body, or all of it */
};

#endif
