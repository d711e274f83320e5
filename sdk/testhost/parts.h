/* SPDX-License-Identifier: MPL-2.0 */
/* The inside of testhost, shared by the files of this folder only. What is not static begins with th_, so that nothing of yours is in the way. */
#ifndef SOTH_TESTHOST_PARTS_H
#define SOTH_TESTHOST_PARTS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#include "testhost.h"

/* ---- text.c: bytes that grow ---- */

struct text {
    char *p; /* NUL-terminated when it is not NULL */
    size_t n, room;
};
void th_text_add(struct text *t, const void *p, size_t n);
void th_text_say(struct text *t, const char *format, ...) SOTH_PRINTF(2, 3);
void th_text_escape(struct text *t, struct soth_span bytes); /* what is not printable as \n, \xHH */
void th_text_drop(struct text *t, size_t n);                 /* its first bytes */
void th_text_clear(struct text *t);
void th_text_free(struct text *t);
const char *th_text_of(const struct text *t); /* never NULL */

/* ---- guard.c: borrowed memory that is gone when it is given back; of the calling thread ---- */

unsigned th_guard_mark(void);
void *th_guard_lend(const void *p, size_t n);         /* ends at an inaccessible page; p may be NULL: zeroed */
void *th_guard_lend_aligned(const void *p, size_t n); /* of structs */
struct soth_span th_guard_span(struct soth_span span);
void th_guard_return(unsigned mark); /* everything lent since */
void th_guard_end(void);             /* the calling thread borrows no more */

/* ---- host.c ---- */

struct metric {
    char name[64], label[64];
    bool histogram;
    atomic_uint_fast64_t value;
};

#define METRICS_MOST 256

/* What the module has told of its events. */
struct form {
    uint32_t kind;
    size_t n;
    struct soth_attr *attrs;
};
#define TOKENS_MOST 1024

enum token_state { TOKEN_FREE, TOKEN_GIVEN, TOKEN_RESUMED, TOKEN_OVER };
struct promise {
    enum token_state state;
    uint32_t generation;
    uint64_t pause, arg;
    uint32_t deadline_ms, on_timeout;
};

struct testhost {
    struct soth_module module;
    void *owned; /* memory of the configuration */
    atomic_uint faults;
    unsigned told; /* cfg_err */
    bool setting_up, running;
    uint64_t kinds, payload_most; /* testhost_wanted */
    struct metric metrics[METRICS_MOST];
    int metric_count;
    struct form *forms;
    int form_count;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t resumed;
    struct promise promises[TOKENS_MOST];
    uint64_t pauses, resumes, stale;
    bool nobody_resumes; /* a deadline has passed: later pauses end at once */
    struct text signals, injected;
    uint64_t acked, delivered;
    int held;
    /* of the last exchange or question */
    struct text events, out[2], head, target;
    _Alignas(16) unsigned char self[];
};

void th_fault(struct testhost *host, const char *format, ...) SOTH_PRINTF(2, 3);
const char *th_error_name(int result); /* "limit"; "verdict" for what is no failure */
void th_later(uint64_t ms);            /* the clock of all hosts moves */
static inline struct testhost *th_host_of(void *self) { return (struct testhost *)(void *)((char *)self - offsetof(struct testhost, self)); }

/* config.c */
int th_config_fill(const struct soth_opt *options, const char *const *config, void *self, void **owned);
void th_config_free(void *owned);

/* ---- head.c ---- */

struct field {
    char *name, *value;
};
struct head {
    char *start[3]; /* method target version, version status reason */
    struct field *fields;
    size_t count, room;
};
void th_head_read(struct head *head, const char *text); /* NULL or "": empty */
void th_head_free(struct head *head);
void th_head_say(const struct head *head, struct text *out);
struct field *th_head_find(struct head *head, const char *name, uint32_t nth);
void th_head_add(struct head *head, const char *name, struct soth_span value);
void th_head_remove(struct head *head, const struct field *field);
/* The head as hooks see it, in lent memory. `request` is that which a response answers. */
struct soth_message *th_head_lend(const struct head *head, const struct head *request, uint32_t direction, const struct testhost_question *q);
struct soth_connect *th_connect_lend(const struct testhost_question *q, bool hello);

/* ---- flow.c: what a hook gets as its flow ---- */

struct lane {
    struct text kept; /* TRANSFORM: not taken yet */
    uint64_t in, made, framed;
    unsigned calls_in_vain;
    bool end, done, stalled;
};

/* A decoder that was opened: for one message, or for both when it watches both. */
struct seat {
    void *state;
    uint64_t timer_ns;
    bool is_open;
    char reason[32]; /* what it said to fail */
};

struct flow {
    struct testhost *host;
    uint64_t id, later_ms; /* later_ms: that have passed */
    struct seat seats[2];
    struct seat *seat_of[2], *seat; /* by direction, NULL: it has none; of the hook that runs */
    struct text events, frames, out[2];
    struct lane lane[2];
    /* of the hook that runs */
    struct head *head; /* that may be read, and changed if `edits` */
    bool edits, wishes, has_path;
    struct text *target;
    bool may_pause, was_resumed;
    uint64_t arg;
    struct soth_token token; /* pause 0: none was taken */
    struct cursor *cursor;
    /* what policies say about frames */
    const struct plan *plan;
    unsigned frame_count;
    bool frame_waits, blocked;
    bool watches[2], detached;
};

/* What the module sees, lent for one call. */
struct soth_flow {
    struct flow *flow;
};
struct soth_flow *th_flow_lend(struct flow *flow);

struct cursor {
    struct soth_cursor open; /* first */
    struct flow *flow;
    struct lane *lane;
    const char *in;
    size_t left, room, taken, made;
    struct text *out;
    int stopped; /* what frame said, if not CONTINUE */
};

enum frame_policy { FRAMES_FREE, FRAMES_ALLOWED, FRAMES_PAUSE, FRAMES_BUSY };

/* One way to run an exchange. */
struct plan {
    char name[80];
    size_t every;             /* pieces of so many bytes; 0: whole steps */
    size_t cut;               /* or: cut in two at this byte of all, if not 0 */
    size_t room;              /* 0: plenty */
    size_t close_after;       /* bytes; SIZE_MAX: never */
    bool end_apart;           /* the end comes by itself */
    enum frame_policy frames;
    unsigned block_at;        /* this frame, from 1; 0: none */
    bool cancels;             /* the flow goes away while the decoder waits */
    bool late;                /* nobody waits for a resume: every deadline has passed */
};

extern const struct soth_host th_api;

/* tokens.c */
void th_tokens_forget(struct testhost *host); /* all of its tokens are stale */
/* Waits for the resume of flow->token. 1: resumed; 0: its deadline passed (`at_once`: it has), *late = on_timeout. Either way the token is over. */
int th_token_wait(struct flow *flow, bool at_once, uint32_t *late);
void th_token_cancel(struct flow *flow); /* the flow goes away: the module hears of it */
void th_token_unused(struct flow *flow); /* the hook did not return PAUSE */
struct soth_token th_token(void *self, struct soth_flow *flow, uint32_t deadline_ms, uint32_t on_timeout);
int th_resume(struct soth_token token, uint64_t arg);
int th_resumed(struct soth_flow *flow, uint64_t *arg);

/* event.c */
bool th_event_allowed(uint32_t kind, const char *attribute, size_t n);
const char *th_event_name(uint32_t kind);
uint32_t th_event_number(struct soth_span name);
void th_event_say(struct text *out, const char *name, const struct soth_attr *attrs, size_t n, uint64_t payload_most);
int th_form(void *self, uint32_t kind, const struct soth_attr *attrs, size_t n);
int th_emit_form(void *self, struct soth_flow *flow, int form, const union soth_value *values, uint64_t present);
void th_forms_free(struct testhost *host);
int th_emit(void *self, struct soth_flow *flow, uint32_t kind, const struct soth_attr *attrs, size_t n);

/* cursor.c */
size_t th_pass(struct soth_cursor *cur, size_t n);
size_t th_drop(struct soth_cursor *cur, size_t n);
size_t th_put(struct soth_cursor *cur, struct soth_span bytes);
int th_frame(void *self, struct soth_flow *flow, const struct soth_frame *frame);
int th_inject(void *self, struct soth_flow *flow, const struct soth_frame *frame);
void th_between(struct soth_cursor *cursor, size_t n);
int th_timer(void *self, struct soth_flow *flow, uint32_t ms);

/* fields.c */
struct soth_span th_hdr_get(struct soth_flow *flow, const char *name, uint32_t nth);
int th_hdr_set(struct soth_flow *flow, const char *name, struct soth_span value);
int th_hdr_add(struct soth_flow *flow, const char *name, struct soth_span value);
int th_hdr_del(struct soth_flow *flow, const char *name);
int th_set_target(struct soth_flow *flow, struct soth_span host, uint32_t port, struct soth_span path);

/* decode.c: the decoder in it */
void th_match(struct flow *flow, struct head *head, struct head *request, uint32_t direction);
void th_give(struct flow *flow, unsigned direction, const char *p, size_t n, bool end);
bool th_sees(const struct flow *flow, unsigned direction); /* it has a seat there, has not left, and watches */
bool th_settled(struct flow *flow, const char *hook, int r); /* the verdict of a hook that may not wait; false: it has left */
void th_leave(struct flow *flow, const char *why); /* close; why NULL: complete */

/* exchange.c: one exchange of a decoder, run by a plan */
void th_exchange_run(struct testhost *host, const struct testhost_case *c, const struct plan *plan, struct flow *flow);
struct progress {
    size_t step, at, total; /* total: bytes given so far */
    bool response_met, ended[2];
    struct head request, response;
};
void th_exchange_begin(struct testhost *host, const struct testhost_case *c, const struct plan *plan, struct flow *flow, struct progress *progress);
bool th_exchange_step(const struct testhost_case *c, struct flow *flow, struct progress *progress);
void th_farewell(struct flow *flow); /* a frame was blocked: last words in both directions */
void th_exchange_end(const struct testhost_case *c, struct flow *flow, struct progress *progress);
void th_flow_free(struct flow *flow);

#endif
