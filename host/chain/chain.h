/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The decoders of one HTTP exchange, or of what follows a 101, in both directions. Payload without framing goes in, the bytes to be relayed
 * come out: changed by TRANSFORMs, seen by TAPs, held back while a policy judges the frame that they are a part of. Sans-I/O, one worker's
 * thread. Where no decoder wants a message there is no chain (NULL) and nothing is paid for.
 *
 * Memory: a direction that waits keeps the input it was given last and min_window bytes for each TRANSFORM, 64 KiB of room for what each
 * decoder has made of it, and for a gated decoder 64 KiB and one frame. So nothing may be given to a direction that waits: stop reading.
 */
#ifndef HOST_CHAIN_CHAIN_H
#define HOST_CHAIN_CHAIN_H

#include <stddef.h>

#include "host/chain/decoder.h"
#include "host/flow/hook.h"

struct chain;

/* What a generation's chains share; borrowed, outlives them. The functions are those of the module room (module/decoders.c). */
struct chain_env {
    struct decoder *decoders; /* by stage, order, name */
    size_t count;
    bool gated;   /* some policy has a frame hook: decoders of the frame stage hold back what is not judged yet */
    void *policy; /* of ask and forget, see module/registry.h */
    enum ask_result (*ask)(void *policy, struct soth_flow *flow, struct ask *ask, const struct question *q);
    void (*forget)(void *policy, struct soth_flow *flow, struct ask *ask);
    void (*stale)(struct soth_flow *flow, const struct soth_token *token); /* nobody waits for it any more; may be NULL */
    bool (*is_out)(const struct decoder *decoder);                         /* it failed too often in a row */
    void (*failed)(struct decoder *decoder, const char *hook, const char *code);
    void (*went_well)(struct decoder *decoder);
    void (*fault)(struct decoder *decoder, const char *hook, const char *what); /* it broke its contract */
};

enum chain_result {
    CHAIN_GO,    /* all of the input was taken; when its end was given: all of it is relayed, now its FIN or last chunk may follow */
    CHAIN_WAIT,  /* the direction waits: give it nothing, call chain_resume after chain_resumed or chain_timer */
    CHAIN_FULL,  /* relay->room is used up, or too little: give it nothing, call chain_resume when there is more */
    CHAIN_BROKEN /* relay nothing more in either direction and close; chain_end says why */
};

/* Where the bytes go. They are borrowed until the function returns. */
struct relay {
    void (*put)(void *arg, const uint8_t *p, size_t n); /* NULL: nothing can be relayed (a message without a body), bytes are dropped */
    void *arg;
    size_t room; /* a TRANSFORM makes no more than this in one call, so that little input cannot become much output; SIZE_MAX = any */
};

/*
 * A head has come (or a 101: what follows it is another stream in both directions). Asks the decoders whether they want its message, opens
 * those that do; *chain is made when there is the first. Call it after the policies have judged and before the head goes on, since
 * chain_transforms decides about its framing. GO or BROKEN. A decoder that watches both directions gets its response's head too, its answer then changes nothing.
 */
enum chain_result chain_match(struct chain **chain, const struct chain_env *env, struct soth_flow *flow, const struct soth_message *message);

/* May the bytes of this direction (SOTH_TO_SERVER, SOTH_TO_CLIENT) come out changed, so that a length announced before is wrong? */
bool chain_transforms(const struct chain *chain, unsigned direction);

/* Does a policy judge frames of this direction, so that bytes may be relayed later than they come, or never? */
bool chain_holds(const struct chain *chain, unsigned direction);
/* Is nothing of what has come kept back, nor made of it later? */
bool chain_is_empty(const struct chain *chain, unsigned direction);
/* Is there a decoder that wants this direction's trailers? */
bool chain_reads_trailers(const struct chain *chain, unsigned direction);
/* Was this direction's end given? */
bool chain_ended(const struct chain *chain, unsigned direction);

/* Was a content coding taken away for those who look on? Then *bytes is how many came out of it so far. */
bool chain_decoded(const struct chain *chain, unsigned direction, uint64_t *bytes);

/* Bytes of a body in their order; `end`: nothing follows them (call with n == 0 when that is known later). */
enum chain_result chain_data(struct chain *chain, unsigned direction, const void *p, size_t n, bool end, struct relay *relay);
/* The fields of a trailer section, after the last bytes and before the end is given. Never waits: GO or BROKEN. */
enum chain_result chain_trailers(struct chain *chain, unsigned direction, const struct soth_message *trailers);
/* Goes on where the direction waited; harmless when it does not, or still has to. */
enum chain_result chain_resume(struct chain *chain, unsigned direction, struct relay *relay);
/* Does the direction wait, for whatever reason? */
bool chain_waits(const struct chain *chain, unsigned direction);

/* A resume has come for the pause with this number. false: no decoder of this chain waits for it. Then call chain_resume of both. */
bool chain_resumed(struct chain *chain, uint64_t pause, uint64_t arg);
/* When chain_timer is due, in monotonic ns: the earliest of deadlines, busy moments and decoders' timers. 0 = never. */
uint64_t chain_deadline(const struct chain *chain);
/* The clock (flow->bus->monotonic_ns) has moved. GO or BROKEN; then call chain_resume of both directions. */
enum chain_result chain_timer(struct chain *chain);

/* Why the chain is broken. */
struct chain_end {
    bool blocked;           /* a policy's verdict about a frame */
    struct verdict verdict; /* then */
    const char *module;     /* else: the instance that failed */
    char code[24];          /* and its failure_code */
};
const struct chain_end *chain_end(const struct chain *chain); /* NULL: memory was short when the chain was to be made */

/* What modules have added to a direction (soth_host.inject): relays it when what was relayed so far ends where it may follow. After every call of
 * the functions above, for both directions, when there is something. */
bool chain_has_added(const struct chain *chain);
void chain_added(struct chain *chain, unsigned direction, struct relay *relay);
/* The host ends: both peers get their decoder's last words in the same way, and nothing after them. false: nobody has any to say. */
bool chain_leave(struct chain *chain);
bool chain_has_left(const struct chain *chain); /* both have them */
/* A policy has blocked a frame: relays what the frame's decoder has to tell the peer at the end of this direction before it ends; false: nothing. */
bool chain_farewell(struct chain *chain, unsigned direction, struct relay *relay);

/* The exchange is over. Each decoder that was opened hears of it once, in reverse order; `complete`: both ends were seen. What was held is
 * dropped. NULL is legal. */
void chain_free(struct chain *chain, bool complete);

/* Services of struct soth_host, for the hook that runs (soth/sdk.h has their contracts). */
size_t cursor_pass(struct soth_cursor *cursor, size_t n);
size_t cursor_drop(struct soth_cursor *cursor, size_t n);
size_t cursor_put(struct soth_cursor *cursor, struct soth_span bytes);
int chain_frame(void *self, struct soth_flow *flow, const struct soth_frame *frame);
int chain_inject(void *self, struct soth_flow *flow, const struct soth_frame *frame);
void chain_between(struct soth_cursor *cursor, size_t n);
int chain_set_timer(void *self, struct soth_flow *flow, uint32_t ms);
int chain_fail(void *self, struct soth_flow *flow, const char *code, uint32_t flags);
/* Does a policy judge the frames of the decoder whose hook runs? */
bool chain_is_judged(const struct soth_flow *flow);
/* The protocol (SOTH_PROTO_*) of the flow, and of the events of the decoder whose hook runs; 0 = nobody has told. */
void chain_tell_protocol(struct soth_flow *flow, uint16_t protocol);
uint16_t chain_protocol(const struct soth_flow *flow);

#endif
