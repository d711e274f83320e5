/* SPDX-License-Identifier: MPL-2.0 */
/* The inside of the HTTP/2 codec, shared by h2*.c only. nghttp2 keeps frames, header tables and windows; what is here is what it does not tell. */
#ifndef HOST_HTTP_H2_STATE_H
#define HOST_HTTP_H2_STATE_H

#include <nghttp2/nghttp2.h>

#include "host/http/h2.h"

enum h2_flood {
#define H2_FLOOD(NAME, text, burst, rate, earned) FLOOD_##NAME,
#include "host/http/h2_flood.def"
#undef H2_FLOOD
    FLOOD_COUNT
};

/* A stream, from its first frame until its H2_CLOSED was told or its owner reset it. */
struct h2_stream {
    struct h2_stream *prev, *next;   /* all of the connection */
    struct h2_stream *due_next;      /* those that have something to tell */
    void *user;
    uint64_t left;             /* body bytes that may still come */
    int32_t id;
    uint32_t code;
    uint8_t fault;             /* h2_fault_text; 0 = none */
    uint8_t cause;             /* enum h2_cause */
    bool announced : 1;        /* the owner knows it */
    bool head_done : 1;        /* the peer's final head was read */
    bool heard_end : 1;        /* the peer has sent all */
    bool answered : 1;         /* our final head is sent */
    bool ended : 1;            /* we have sent all, or h2_body was given the end */
    bool blocked : 1;          /* h2_body took less than it was given */
    bool due : 1;              /* waits to tell: H2_CLOSED when closed, else H2_WRITABLE */
    bool closed : 1;
};

/* A header block while it is decoded: records of two sizes, name, value. */
struct h2_block {
    struct h2_stream *stream; /* NULL: nobody's, it is only decoded */
    struct buffer text;
    uint32_t count;
    size_t size;              /* as RFC 7541 4.1 counts */
    bool open;
};

struct h2_budget {
    uint64_t millis; /* thousandths of a frame */
    uint64_t at_ns;
};

/* What a client said of streams that it has not begun (RFC 9218 7.1): the last EARLY_MOST of them. */
#define EARLY_MOST 8u
#define EARLY_TEXT 60u
struct h2_early {
    unsigned next;
    struct {
        int32_t id;
        uint8_t n;
        char text[EARLY_TEXT];
    } said[EARLY_MOST];
};

#define FRAME_HEAD 9
#define GONE_MOST 128 /* closed streams that are remembered */

struct h2 {
    nghttp2_session *session;
    struct h2_limits limits;
    bool server, lost, said_goodbye, heard_goodbye, settled;
    bool saying;             /* a GOAWAY of ours is on its way */
    int error;               /* negative: over */
    const char *fault;
    uint64_t now_ns;
    /* input */
    uint8_t preface_left, head_have;
    uint8_t head[FRAME_HEAD];
    uint32_t frame_left;     /* payload bytes of the frame that is being read */
    uint8_t depends_have;    /* of a PRIORITY frame: bytes of the stream that it depends on */
    uint32_t depends;
    int reading;             /* type of the frame that nghttp2 reads; -1 = none */
    struct h2_block block;
    /* server: the highest stream of the client's, and those that closed last, by id; negative: we have reset it and frames may still come */
    int32_t last_heard;
    int32_t gone[GONE_MOST];
    uint32_t gone_count;
    /* events */
    struct h2_event event;   /* due next when its type is not H2_NONE */
    int32_t end_of;          /* then H2_END of this stream */
    void *end_user;
    struct h2_early *early;  /* NULL = nothing was said */
    int32_t wish_of;         /* then H2_PRIORITY of this stream, whose head was told, out of `early` */
    struct h2_stream *due, **due_tail;
    /* streams */
    struct h2_stream *streams, *last_stream;
    uint32_t stream_count;
    uint64_t held;           /* body bytes out with the owner */
    uint32_t blocked;        /* streams whose bodies wait for the peer's windows */
    uint64_t stalled_ns;     /* since when the peer lets no body through, for want of windows; 0 = it does */
    /* output */
    const struct h2_stream *sending; /* while h2_body runs: whose, */
    struct soth_span data;           /* and what of it is left */
    struct h2_page *pages;   /* replies that wait for the peer's windows, */
    uint32_t page_count, pages_left; /* how many, and how many of them on streams that nobody owns any more */
    size_t page_bytes;       /* of them that were sent, in all */
    struct buffer ready;     /* serialised, not yet taken by h2_output */
    struct buffer *to;       /* where nghttp2's bytes go now */
    size_t answers;          /* bytes of `ready` that the peer's frames have caused */
    struct h2_budget budgets[FLOOD_UNREAD];
};

/* h2.c */
const char *h2_code_fault(uint32_t code); /* "h2_protocol_error" */

/* h2_early.c */
void h2_early_keep(struct h2 *h2, int32_t id, const uint8_t *value, size_t n);
void h2_early_due(struct h2 *h2, int32_t id); /* the stream has begun */
bool h2_early_take(struct h2 *h2, struct h2_event *event);

/* h2_events.c */
void h2_events_set(nghttp2_session_callbacks *to);
void h2_tell(struct h2 *h2, const struct h2_event *event);

/* h2_stream.c */
int h2_fail(struct h2 *h2, int error, const char *fault); /* the first one counts; the error is returned */
int h2_fail_saying(struct h2 *h2, int error, const char *fault, uint32_t code); /* with a GOAWAY */
int h2_fail_flood(struct h2 *h2, enum h2_flood kind);
/* A class of faults, by a number: there are few, and many streams. */
uint8_t h2_fault_number(const char *fault);
const char *h2_fault_text(uint8_t number);
void h2_due(struct h2 *h2, struct h2_stream *stream);
void h2_not_due(struct h2 *h2, struct h2_stream *stream);
void h2_close_due(struct h2 *h2, struct h2_stream *stream, enum h2_cause cause, uint32_t code);
struct h2_stream *h2_stream_new(struct h2 *h2, int32_t id);
void h2_stream_announce(struct h2 *h2, struct h2_stream *stream);
void h2_stream_block(struct h2 *h2, struct h2_stream *stream);
void h2_stream_unblock(struct h2 *h2, struct h2_stream *stream);
struct h2_stream *h2_stream_find(const struct h2 *h2, int32_t id); /* the owner's, closed or not */
void h2_stream_free(struct h2 *h2, struct h2_stream *stream);
void h2_hold(struct h2 *h2, int64_t n); /* so many body bytes more, or fewer, are out with the owner */
bool h2_is_used_up(const struct h2 *h2, int32_t id); /* the peer has little left of the stream's window */
struct h2_stream *h2_stream_of(const struct h2 *h2, int32_t id); /* NULL: there is none, or it is closed */
void h2_stream_fault(struct h2 *h2, int32_t id, const char *fault, uint32_t code); /* resets it */

/* h2_closed.c */
void h2_gone(struct h2 *h2, int32_t id, bool reset_by_us);
int h2_check_frame(struct h2 *h2); /* what nghttp2 lets through of the frame whose head was read; 0, or the failure of the connection */
void h2_check_payload(struct h2 *h2, const uint8_t *p, size_t n); /* and of its payload's first bytes */

/* h2_head.c: nghttp2's callbacks for header blocks */
int h2_head_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user);
int h2_head_field(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len, const uint8_t *value,
                  size_t value_len, uint8_t flags, void *user);
int h2_head_invalid(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len, const uint8_t *value,
                    size_t value_len, uint8_t flags, void *user);
void h2_head_complete(struct h2 *h2, const nghttp2_frame *frame);
void h2_head_release(struct h2 *h2); /* after the event was used */

/* h2_send.c */
int h2_pump(struct h2 *h2, struct buffer *to); /* 0 or a negative error */
int h2_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t length, nghttp2_data_source *source, void *user);

/* h2_page.c */
struct h2_page *h2_page_new(struct h2 *h2, int32_t id, struct soth_span text); /* of the stream that is answered with it. NULL without memory */
ssize_t h2_page_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length, uint32_t *flags, nghttp2_data_source *source, void *user);
bool h2_page_waits(struct h2 *h2, int32_t id); /* is some of it not sent? */
bool h2_page_leave(struct h2 *h2, int32_t id); /* the stream's owner goes: true, some of it is not sent, and is sent without him */
void h2_page_drop(struct h2 *h2, int32_t id);  /* the stream is over */
void h2_pages_free(struct h2 *h2);

/* h2_flood.c */
void h2_flood_init(struct h2 *h2);
int h2_flood_frame(struct h2 *h2, uint8_t type, uint8_t flags, uint32_t length); /* 0, or the failure of the connection */
int h2_flood_data(struct h2 *h2, uint8_t flags, size_t bytes); /* the same of a body's frame, when it is known what of it is padding */
int h2_flood_count(struct h2 *h2, enum h2_flood kind);
void h2_flood_earn(struct h2 *h2);           /* a frame that did work */
void h2_dwell(struct h2 *h2, bool moved);    /* streams or windows have changed, or body bytes left (moved) */
void h2_flood_earn_reset(struct h2 *h2);     /* a stream that ended well */
const char *h2_flood_name(enum h2_flood kind); /* "h2_flood:ping" */

#endif
