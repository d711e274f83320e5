/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The inside of a chain, shared by the files of this room only. Bytes of a direction go down its line: first the TRANSFORMs, whose output is
 * what is relayed, then the TAPs, whose output is what the next one sees. Each takes what it is fed or returns WAIT; then it has kept the rest, and
 * everybody before it does the same.
 */
#ifndef HOST_CHAIN_PARTS_H
#define HOST_CHAIN_PARTS_H

#include "host/chain/chain.h"
#include "host/mem/buffer.h"

#define CHAIN_ROOM 65536u   /* most that a decoder passes and puts in one call */
#define CHAIN_ROOM_LEAST 4096u /* with so much of it, who takes nothing does not want more room */
#define CHAIN_WINDOW SOTH_FRAME_MOST /* most that a frame may be long, and be held */
#define CHAIN_FRAME_COPY (1024u * 1024u) /* most of a frame's payload and attributes that is kept while a policy waits */
#define WINDOW_PRESET 16384u
#define SCRATCH_KEPT 4096u  /* bytes of scratch that stay between calls */
#define IDLE_MOST 4096u     /* calls that make output without taking input: 256 MiB out of one byte */

/* A frame that has to wait for its verdict, with everything it points to behind it. */
struct frame_copy {
    struct soth_frame frame;
    struct soth_attr attrs[];
};

/* A decoder in one direction. */
struct lane {
    struct buffer kept;  /* input not taken yet: a TRANSFORM's window, what a waiting decoder has still to see */
    struct buffer made;  /* scratch: what one call makes, when it is not a part of its input */
    uint64_t in, out;    /* bytes taken, and passed or put */
    uint64_t between;    /* of `in`: where something may be added (soth_host.between) */
    unsigned idle;       /* calls in a row that took nothing */
    bool todo;           /* there is something to do without new input */
    bool again;          /* the decoder is due to be called, even without input */
    bool resumed;        /* after a wait of its own */
    bool end, ended;     /* nothing comes after `kept`; the next one knows */
    bool finished;       /* TRANSFORM: it saw the end and has made everything */
    bool stalled;        /* the next call must take something */
    bool cramped;        /* it took nothing, with less room than usual */
    bool changed;        /* it dropped or put something */
    struct pause pause;  /* of a TRANSFORM */
    /* gated */
    struct ask ask;      /* about `frame` */
    struct frame_copy *frame;
    uint64_t asked, judged; /* the end of the frame that waits, of the last one allowed: in `in`, a TRANSFORM's in `out` */
    uint64_t cleared;    /* TAP: of the relayed bytes */
    uint64_t mark_relayed, mark_in; /* TAP behind a changed view: when judged has come to mark_in, cleared is mark_relayed. 0 = none */
    struct buffer unjudged; /* TRANSFORM: its output from `judged` on */
    const char *fault;   /* found during the call: a failure_code */
};

/* A decoder in this exchange: with a message, or with both when it watches both. */
struct place {
    struct decoder *decoder;
    struct place *before; /* opened before it */
    bool gone;            /* detached or failed: its bytes pass */
    bool failed;
    uint8_t watches;      /* bit per direction */
    char reason[24];      /* why it says that it fails: the traffic's fault, not its own. "" = it did not say */
    bool closes;          /* and that its exchange must not go on */
    uint16_t protocol;    /* that it has told: of its own events, whatever another one tells later. 0 = none */
    uint64_t timer_ns;    /* 0 = none */
    uint64_t calls, counted_calls, counted_in, counted_out;
    struct lane lane[2];
    _Alignas(16) uint8_t state[];
};

/* Relayed bytes that are held until their frames are judged. */
struct gate {
    bool on;
    struct buffer held;
    const uint8_t *now; /* what comes after `held`: the bytes that are being looked at */
    size_t now_size;
    bool end;
};

struct way {
    struct place **line;
    unsigned count, transforms;
    unsigned seen;    /* the first of the line whose output nobody looks at: the last one that is still there */
    uint32_t unseen;  /* what that one is told: SOTH_CUR_UNSEEN; 0: it has to look on to the end */
    uint64_t relayed; /* bytes that came out of the TRANSFORMs */
    bool end;         /* was given */
    bool raw;         /* after a 101: no message that would be short of what is not relayed */
    bool delays;      /* bytes may have to wait: there is a TRANSFORM or the gate is on */
    bool judged;      /* a policy judges frames of somebody in the line */
    bool waiting;
    bool due;         /* somebody has left while nobody was looking: it can go on */
    struct gate gate;
    bool adds;        /* `added` has something, or `left`: the bytes do not simply pass */
    bool leaving, left; /* the last of `added` are our last words; they are out, and nothing follows them */
    struct buffer added; /* by modules, to be relayed */
};

struct chain {
    const struct chain_env *env;
    struct soth_flow *flow;
    struct place *last; /* opened */
    struct way ways[2];
    bool broken;
    struct chain_end why;
    struct place *places[]; /* by direction and decoder; then the two lines */
};

/* One call from outside. */
struct run {
    struct chain *chain;
    struct way *way;
    unsigned direction;
    struct relay *relay;
};

/* What a decoder gets for one call of data; `open` is what it sees, the rest is what counts. */
struct cursor {
    struct soth_cursor open; /* first */
    struct lane *lane;
    const uint8_t *in;
    size_t left, room, taken, made;
    const uint8_t *lent; /* output so far: a part of the input, unless it is in lane->made */
    size_t lent_size;
    bool blind;   /* nobody looks at the output */
    bool gated_tap;
    bool no_memory;
    int stopped;  /* a frame's result: nothing is taken any more in this call */
};

/* What the hook that runs belongs to: soth_flow.chain points to it. */
struct call {
    struct chain *chain;
    struct place *place;
    unsigned direction;
    struct cursor *cursor; /* inside data */
    bool judged;           /* a policy judges what the place finds; set on entry: modules ask at every frame whether somebody wants it */
};

/* run.c */
/* Gives bytes to the i-th of the line; behind the TRANSFORMs they are relayed. */
enum chain_result run_feed(struct run *run, unsigned i, const uint8_t *p, size_t n, bool end);
/* Keeps what a decoder could not take now; it goes on with chain_resume. */
enum chain_result run_keep(struct run *run, struct place *place, const uint8_t *p, size_t n, enum chain_result result);

/* transform.c, tap.c */
enum chain_result transform_feed(struct run *run, unsigned i, const uint8_t *p, size_t n, bool end);
enum chain_result transform_resume(struct run *run, unsigned i);
enum chain_result tap_feed(struct run *run, unsigned i, const uint8_t *p, size_t n, bool end);
enum chain_result tap_resume(struct run *run, unsigned i);

/* gate.c */
static inline bool gate_applies(const struct chain *chain, const struct place *place)
{
    return chain->env->gated && place->decoder->module->stage == SOTH_STAGE_FRAME;
}
enum chain_result gate_relay(struct run *run, const uint8_t *p, size_t n, bool end);
/* The TAPs have got as far as they can; `result` is theirs. Releases what may go. */
enum chain_result gate_settle(struct run *run, enum chain_result result);
void relay_put(struct run *run, const uint8_t *p, size_t n);

/* inject.c: the same with what is added, at its place. */
void inject_put(struct run *run, const uint8_t *p, size_t n);

/* frame.c */
/* A verdict that was waited for. GO: allowed or none is due; WAIT; BROKEN: blocked. */
enum chain_result frame_settle(struct run *run, struct place *place);
void frame_forget(struct chain *chain, struct lane *lane);
/* A frame longer than this cannot be judged before it is relayed. */
bool frame_too_long(const struct lane *lane, uint64_t end);

/* call.c: the operations but data, which call.h has */
int call_match(const struct chain_env *env, struct soth_flow *flow, struct place *place, struct decoder *decoder, const struct soth_message *message);
int call_open(struct chain *chain, struct place *place);
int call_trailers(struct chain *chain, struct place *place, const struct soth_message *trailers);
int call_timer(struct chain *chain, struct place *place);
void call_close(struct chain *chain, struct place *place, bool complete);
int call_compose(struct chain *chain, struct place *place, const struct soth_frame *frame, char *out, size_t room);
void call_cancel(struct chain *chain, struct place *place, const struct soth_token *token);

/* cursor.c */
void cursor_limit(struct cursor *cursor, size_t room);
/* What the call has made of what it took. Valid until the lane's next call. */
struct soth_span cursor_output(const struct cursor *cursor);
void cursor_pass_all(struct cursor *cursor); /* a TAP that touched nothing */
/* A policy has blocked the frame that the call has found. */
static inline bool cursor_blocked(const struct cursor *cursor) { return cursor->stopped == -SOTH_EPERM; }

/* fault.c */
const char *fault_code(int result);
/* The decoder failed: it is detached (GO) or the chain is broken, as on_error says and as what it did to the bytes allows. */
enum chain_result fault_failed(struct chain *chain, struct place *place, unsigned direction, const char *hook, const char *code);
/* The same before it had a place; *chain may be NULL. */
enum chain_result fault_refused(struct chain **chain, const struct chain_env *env, struct soth_flow *flow, struct decoder *decoder,
                                const char *hook, const char *code);
/* Frames that are longer than may be held: whoever sends them is at fault, not the decoder. */
enum chain_result fault_overflow(struct chain *chain, struct place *place, unsigned direction, const char *code);
/* It sees no further bytes: the one that decoded them for it has failed. */
enum chain_result fault_undecoded(struct chain *chain, struct place *place, unsigned direction);
void fault_contract(struct chain *chain, struct decoder *decoder, const char *hook, const char *what);
enum chain_result fault_break(struct chain *chain, const struct decoder *decoder, const char *code);
/* It leaves before the exchange is over. */
void fault_detach(struct chain *chain, struct place *place, bool for_good);
void chain_emit(struct soth_flow *flow, unsigned kind, struct soth_attr *attrs, size_t n);
const char *direction_name(unsigned direction);

/* wait.c: pauses of TRANSFORMs */
/* data returned PAUSE or BUSY. false: it may not (no token, busy for ever). */
bool wait_begin(struct chain *chain, struct lane *lane, int verdict);
/* The pause is over, for whatever reason. */
void wait_end(struct chain *chain, struct place *place, struct lane *lane);

/* chain.c */
struct chain *chain_make(struct chain **chain, const struct chain_env *env, struct soth_flow *flow);
void place_leave(struct chain *chain, struct place *place, bool complete);
void way_seen(struct way *way); /* somebody has come */
void way_left(struct way *way); /* somebody has gone */
void place_count(struct place *place);

#endif
