/* SPDX-License-Identifier: MPL-2.0 */
/*
 * gRPC's framing of one direction: a flag, four bytes of length, that many bytes; again and again, cut anywhere. Bytes in, one finding a call
 * out. The bytes of a message are passed over by its length; they are looked at only when they are to be kept or to be decompressed. Pure.
 */
#ifndef GRPC_FRAMES_H
#define GRPC_FRAMES_H

#include "../coding/coding.h"

#define FRAMES_HEAD 5u
#define FRAMES_KEPT_MOST 65536u /* bytes of a message that is kept; of a longer one nothing is */

enum frames_class { CLASS_NONE, CLASS_INVALID_COMPRESSED_FLAG, CLASS_MESSAGE_TOO_LARGE, CLASS_TRUNCATED_PREFIX, CLASS_LENGTH_MISMATCH };
const char *frames_class_name(enum frames_class class); /* "invalid_compressed_flag" */

enum frames_kind {
    FRAMES_MORE,     /* all was taken */
    FRAMES_MESSAGE,  /* one is complete */
    FRAMES_TRAILERS, /* grpc-web: the frame with the trailers; data is what it says */
    FRAMES_MALFORMED /* nothing can be read after it but the end */
};

struct frames_found {
    enum frames_kind kind;
    enum frames_class class;
    uint64_t sequence_no;    /* from 1; of a malformed one too */
    uint64_t offset;         /* of its prefix in the stream; where the stream ended too early: its length */
    uint64_t message_len;    /* as the prefix says */
    uint64_t decompressed_len;
    uint8_t compressed;
    uint8_t has_decompressed; /* 0: not asked for, or it is no such coding */
    struct soth_span data;    /* when kept and whole: the message, decompressed, keep_most bytes of it; until the next call */
};

struct frames {
    /* set by the owner */
    uint64_t max_message_bytes; /* announced, and decompressed */
    uint8_t coding;      /* enum coding_id that compressed messages have; 0 = none that is known */
    uint8_t may_compress; /* a coding was announced, known or not */
    uint8_t trailers;    /* grpc-web responses: frames with trailers may come */
    uint8_t inflate;     /* whether decompressed_len is wanted, or that a message keeps to the limit decompressed */
    uint64_t keep_most;  /* bytes of data that are wanted, for messages that begin from then on */
    /* its own */
    uint8_t head[FRAMES_HEAD];
    uint8_t head_have;
    uint8_t broken;
    uint8_t compressed, is_trailers, keeps;
    uint32_t most;       /* bytes of this one that are kept */
    uint32_t length, left;
    uint64_t offset, begun; /* bytes taken; where this frame's prefix is */
    uint64_t sequence_no;
    struct coding *open;
    uint64_t inflated;
    char *kept;
    uint32_t kept_n, kept_room;
};

/* Takes off `in` up to the next finding. -SOTH_ENOMEM, or the kind. After FRAMES_MALFORMED everything is taken and FRAMES_MORE returned. */
int frames_take(struct frames *f, struct soth_span *in, struct frames_found *out);
/* Nothing follows: FRAMES_MORE (it is well) or FRAMES_MALFORMED. */
int frames_end(struct frames *f, struct frames_found *out);
void frames_fini(struct frames *f);

#endif
