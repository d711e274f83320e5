/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One HTTP/1.1 response (RFC 9112), read in pieces: status 200 with a body that is not too long, by length, chunked or up to the end of the
 * connection. Whatever else comes is a fault with its name. Pure.
 */
#ifndef POLICY_WEBHOOK_REPLY_H
#define POLICY_WEBHOOK_REPLY_H

#include <soth/sdk.h>

#define REPLY_BODY_MOST 65536u
#define REPLY_HEAD_MOST 16384u
#define REPLY_LINE_MOST 4096u

enum reply_part {
    REPLY_STATUS,
    REPLY_FIELDS,
    REPLY_LENGTH, /* the body, `left` bytes of it missing */
    REPLY_TO_END, /* the body, up to the end of the connection */
    REPLY_CHUNK_SIZE,
    REPLY_CHUNK_DATA,
    REPLY_CHUNK_END,
    REPLY_TRAILERS,
    REPLY_DONE
};

struct reply {
    enum reply_part part;
    char line[REPLY_LINE_MOST];
    size_t line_n;
    size_t head_n; /* bytes of lines so far */
    unsigned status;
    uint8_t closes, has_length, chunked;
    size_t left;
    char *body; /* malloc'd */
    size_t body_n, body_room;
    const char *fault;
};

void reply_init(struct reply *reply);
void reply_fini(struct reply *reply);
/* Takes bytes. 1: the response is complete, *used says where it ends; 0: more is needed; -SOTH_EINVALID with a fault. */
int reply_feed(struct reply *reply, const char *p, size_t n, size_t *used);
/* The connection has ended: 1 or -SOTH_EINVALID. */
int reply_end(struct reply *reply);

#endif
