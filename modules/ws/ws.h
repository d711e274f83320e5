/* SPDX-License-Identifier: MPL-2.0 */
/* An instance, and one WebSocket; shared by ws.c, judge.c and report.c. */
#ifndef WS_WS_H
#define WS_WS_H

#include "talk.h"
#include "turns.h"

/* Events, by their forms (soth_host.form). */
enum { REPORT_OPENED, REPORT_FRAME, REPORT_MESSAGE, REPORT_TURN_STARTED, REPORT_TURN_COMPLETED, REPORT_CLOSED, REPORTS };

struct ws {
    uint64_t turn_idle, max_message_bytes;
    int64_t max_small_frames;
    uint8_t inflate;
    uint32_t on_overflow;
    const struct soth_host *host;
    int violations, forms[REPORTS];
};

#define CLOSER_NOBODY 2u
#define CLOSER_PROXY 3u

struct conversation {
    struct talk talk;
    struct turns turns;
    bool timing;          /* a timer runs for a turn that may end by silence */
    bool told;            /* ws_closed was published */
    const char *left;     /* why the rest was not looked at; */
    bool lost;            /* for a rule that was broken, not for a limit */
    uint64_t small_since[2], small[2]; /* of small frames: when the second began, how many since */
    /* before a policy */
    uint64_t held[2];     /* bytes that were passed and not released */
    bool due[2];          /* the message that is complete is still to be judged */
    bool releases[2];     /* the frame that was offered last lets everything go when it is allowed */
    bool close_sent[2];   /* a Close was let through */
    /* the first Close */
    unsigned closer;      /* a direction, or CLOSER_... */
    uint32_t close_code;
    bool close_has_code;
    struct soth_span close_reason;
    char reason[FRAMING_CONTROL_MOST];
};

/* report.c: events. What is absent is given as an empty text. */
int report_begin(struct ws *ws); /* in create: 0, or what is wrong */
#define REPORT_ATTRS 9u
size_t report_frame_attrs(struct soth_attr out[REPORT_ATTRS], unsigned direction, const struct talk_frame *frame);
size_t report_message_attrs(struct soth_attr out[REPORT_ATTRS], unsigned direction, const struct message *message);
void report_opened(struct ws *ws, struct soth_flow *flow);
void report_frame(struct ws *ws, struct soth_flow *flow, unsigned direction, const struct talk_frame *frame);
void report_turn_started(struct ws *ws, struct soth_flow *flow, const struct turn *turn);
void report_turn_ended(struct ws *ws, struct soth_flow *flow, const struct turn_step *step);
void report_closed(struct ws *ws, struct soth_flow *flow, struct conversation *c, const char *violation);

/* judge.c: frames before a policy */
/* The frame that was passed last, and the message that it completes. CONTINUE, or what `data` returns at once. */
int judge_frame(struct ws *ws, struct soth_flow *flow, struct conversation *c, unsigned direction, const struct talk_frame *frame);
/* At every call of `data`: it goes on where judge_frame had to wait. */
int judge_go_on(struct ws *ws, struct soth_flow *flow, struct conversation *c, unsigned direction);
/* soth_module.compose */
int judge_compose(void *self, struct soth_flow *flow, const struct soth_frame *frame, char *out, size_t room);

#endif
