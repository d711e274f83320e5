/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One WebSocket, both directions: bytes go in, complete frames and messages come out, each with the first rule of RFC 6455 or RFC 7692 that it
 * breaks. Nothing is refused for that, the peers decide: as long as lengths can be followed, frames are. What nobody wants is not done: payloads
 * are then skipped by their length. Pure, but for the memory of what is wanted.
 */
#ifndef WS_TALK_H
#define WS_TALK_H

#include "bytes.h"
#include "closing.h"
#include "extension.h"
#include "framing.h"
#include "inflater.h"
#include "utf8.h"

/* What observers want of a message, as it was at its first frame. */
struct talk_wants {
    bool text;    /* UTF-8 is checked, of texts */
    bool inflate; /* a compressed one is inflated: its length, text and data are known */
    bool frames;  /* the payload of each frame is kept, and what is not readable of a message as it is sent */
    uint64_t data; /* so many bytes of its content are kept, from its beginning; UINT64_MAX: all of them */
};

struct message {
    bool open;          /* more frames follow */
    bool compressed, readable; /* readable: text and data are looked at */
    bool reads;         /* and there is more to be learnt from what follows */
    bool text, payloads; /* as it was wanted when it began: UTF-8 is checked; each frame's payload is kept; */
    uint8_t opcode;
    uint64_t most;      /* so many bytes of its content are kept */
    uint64_t frames, bytes, inflated;
    uint64_t number;    /* from 1, when it is complete */
    struct utf8 utf8;
    const char *violation;
    size_t before;      /* of data: what there was of one that was broken off, which is judged with this one */
    struct bytes data;  /* last: the beginning of a message leaves it as it is */
};

/* Bytes of one direction. */
struct talk_side {
    struct framing framing;
    bool inside, closed, lost; /* in a frame; it has sent Close; what it compresses cannot be inflated any more */
    struct frame_head head;
    uint64_t left;             /* of the payload */
    const char *violation;
    bool part;                 /* the frame belongs to the message: data after Close and continuations of nothing do not */
    bool keeps;                /* its payload is kept */
    struct message message;
    struct inflater *inflater;
    struct bytes payload;
    uint64_t frames, bytes;    /* so far; bytes of payload */
    uint8_t control[FRAMING_CONTROL_MOST];
};

struct talk {
    struct extension extension;
    uint64_t max_message;
    struct talk_wants wants; /* from the next message on */
    uint64_t frames, messages;
    const char *violation;   /* the first */
    size_t head_used;        /* of the bytes that talk_take was given last: those of a header that is complete now */
    struct talk_side side[2];
};

/* A frame that is complete. */
struct talk_frame {
    const struct frame_head *head;
    uint64_t number;               /* from 1, of both directions together */
    const char *violation;
    struct soth_span payload;      /* absent unless it is wanted */
    bool begins, stray;            /* the first one of a message; belongs to none, and is no control frame */
    const struct message *message; /* it completes this one; NULL: none */
    const struct message *cut;     /* a Close that leaves this one unfinished */
    struct closing closing;        /* Close */
};

#define TALK_TOO_BIG (-1000) /* the message exceeds max_message */
#define TALK_LOST (-1001)    /* a length that cannot be */

/* What a message has of its own. */
static inline struct soth_span message_data(const struct message *m)
{
    struct soth_span data = bytes_span(&m->data);
    return m->before == 0 ? data : (struct soth_span){data.p + m->before, data.n - m->before};
}

/* Takes bytes up to the end of one frame at most; returns how many, *whole when *frame is complete. Negative: TALK_..., or -SOTH_ENOMEM; then it
 * must not be called again. What *frame points to is there until talk_release or the direction's next call. */
ssize_t talk_take(struct talk *talk, unsigned direction, const uint8_t *p, size_t n, struct talk_frame *frame, bool *whole);
void talk_release(struct talk *talk, unsigned direction);
/* Is the direction between frames, and between messages? */
bool talk_is_between(const struct talk *talk, unsigned direction);
/* Has a frame begun that is counted as data (no control frame, no stray one)? Its header, too, may have come only in part. */
bool talk_says(const struct talk *talk, unsigned direction);
/* The payload length of the frame that has begun; 0: none has. */
static inline uint64_t talk_pending(const struct talk *talk, unsigned direction)
{
    return talk->side[direction].inside ? talk->side[direction].left : 0;
}
void talk_fini(struct talk *talk);

#endif
