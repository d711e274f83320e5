/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Turns of a conversation: frames go in, beginnings and ends of turns come out. Pure.
 *
 * A data message of either side opens a turn; that side is its initiator. When the other side has answered and the initiator speaks again, that
 * message opens the next turn (rollover). Control frames are counted, but neither open a turn nor end one, but for Close: it ends the turn that
 * it is counted in, and there are none after it. No message is a part of two turns: while a message of either side is unfinished there is neither
 * a rollover nor an idle end. When both have spoken and are silent for a while, the turn has ended too; as long as bytes of a data frame come, they
 * are not silent.
 */
#ifndef WS_TURNS_H
#define WS_TURNS_H

#include <stdbool.h>
#include <stdint.h>

#include <soth/sdk.h>

struct turn {
    uint64_t id;                        /* from 1 */
    unsigned initiator;                 /* SOTH_TO_SERVER: the client */
    uint64_t first, last;               /* numbers of frames */
    uint64_t frames[2], bytes[2];       /* by direction; bytes of payload, as sent */
    uint64_t started_ms, ended_ms;      /* of its first and of its last frame */
};

enum turn_end { TURN_GOES_ON, TURN_ROLLOVER, TURN_IDLE, TURN_CLOSE, TURN_ERROR, TURN_EOF };
const struct soth_span *turn_end_word(enum turn_end end); /* static */

/* Zeroed is the beginning of a conversation. */
struct turns {
    struct turn now;
    bool open, over;        /* a turn is open; there will be none any more */
    bool spoke[2], message[2]; /* in this turn; has an unfinished message */
    uint64_t heard_ns;      /* turns_hear */
};

enum turn_part { TURN_BEGIN, TURN_MORE, TURN_CONTROL, TURN_CLOSING }; /* first frame of a message, a later one, a control frame, Close */

struct turn_frame {
    unsigned direction;
    enum turn_part part;
    bool fin;
    uint64_t number, bytes, unix_ms;
};

/* What a frame does: first `ended`, if end is not TURN_GOES_ON and it is TURN_ROLLOVER; then a turn began (turns->now), if began; with
 * TURN_CLOSE `ended` is the turn that the frame is counted in. */
struct turn_step {
    enum turn_end end;
    bool began;
    struct turn ended; /* not set with TURN_GOES_ON */
};

void turns_frame(struct turns *turns, const struct turn_frame *frame, struct turn_step *step);
/* Has the turn at hand ended when nothing is said for a while? */
static inline bool turns_may_idle(const struct turns *t) { return t->open && t->spoke[0] && t->spoke[1] && !t->message[0] && !t->message[1]; }
/* At that time something was said: a data frame, or bytes of one that is not complete. A control frame says nothing. Only asked for where the turn
 * may idle. */
static inline void turns_hear(struct turns *t, uint64_t ns) { t->heard_ns = ns; }
/* How much of the silence that ends a turn is still to come. */
static inline uint64_t turns_silence_left(const struct turns *t, uint64_t idle_ns, uint64_t now_ns)
{
    uint64_t silent = now_ns - t->heard_ns;
    return silent < idle_ns ? idle_ns - silent : 0;
}
/* Ends the turn at hand, for a reason that is no frame. Nothing ends where none is open. After TURN_ERROR and TURN_EOF there are none. */
void turns_end(struct turns *turns, enum turn_end end, struct turn_step *step);

#endif
