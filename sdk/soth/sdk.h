/* SPDX-License-Identifier: MPL-2.0 */
/*
 * soth/sdk.h - the module interface of soth-mitm. This header and the tables beside it (events.def, errors.def) are all
 * a module needs; they use libc only.
 *
 * A module is a shared object that exports one data symbol, `soth_mitm_module`, written with SOTH_SINK_MODULE,
 * SOTH_POLICY_MODULE, SOTH_DECODER_MODULE or SOTH_SOURCE_MODULE at the end of the file. The host checks its prefix before it
 * calls any code, reads the module's YAML into the module's own struct by the module's option table, and calls the operations
 * that are not NULL.
 *
 * General rules
 *   - Results: 0 or a positive verdict, or a negative -SOTH_E... number from errors.def.
 *   - Ownership never crosses: each side frees only what it allocated. Spans and structs that the host passes are
 *     borrowed and valid until the function returns; copy what you keep.
 *   - `self` is one zeroed block of `self_size` bytes per instance, allocated by the host, filled by the option table.
 *   - Threads: check, create and destroy run on the control thread. Hooks of policies and decoders run on worker threads, several
 *     at once for one `self`, those of one flow one after another; they must not block. A sink's write, flush and reopen run on the
 *     sink's own thread, one at a time, and may block. A source has the thread that it makes between start and stop.
 */
#ifndef SOTH_SDK_H
#define SOTH_SDK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- versions ------------------------------------------------------------------------------------------------- */

#define SOTH_ABI_MAJOR 0 /* differs: refused */
#define SOTH_ABI_MINOR 1 /* the host accepts its own and every smaller one */
#ifndef SOTH_ABI_TARGET
#define SOTH_ABI_TARGET SOTH_ABI_MINOR /* the oldest minor that this module wants to run on; later slots stand in #if SOTH_ABI_TARGET >= n */
#endif
#define SOTH_MAGIC UINT32_C(0x534f5448) /* "SOTH" */

#if defined(__GNUC__)
#define SOTH_EXPORT __attribute__((visibility("default")))
#define SOTH_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define SOTH_EXPORT
#define SOTH_PRINTF(fmt, args)
#endif

/* ---- results -------------------------------------------------------------------------------------------------- */

enum {
    SOTH_OK = 0,
#define SOTH_ERROR(name, number, text) SOTH_E##name = number,
#include <soth/errors.def>
#undef SOTH_ERROR
};

/* Verdicts of hooks. */
#define SOTH_CONTINUE 0 /* no opinion; decoders: go on, progress is what the cursor consumed */
#define SOTH_DECIDED 1  /* policies: the decision is filled in */
#define SOTH_PEEK 2     /* connect: all are asked again when the ClientHello is known; request, response: this one, with need_bytes of body */
#define SOTH_PAUSE 5    /* a token is held (soth_host.token): reading stops until resume or the deadline, then the hook is called again */
#define SOTH_BUSY 6     /* no capacity: reading stops, the hook is called again a moment later */
#define SOTH_DETACH 7   /* never call this instance again for this flow (a decoder's close excepted) */
#define SOTH_DONE 9     /* decoders, data: enough of this exchange was seen; close follows, the next exchange begins as ever */
#define SOTH_FAIL (-SOTH_EINVALID) /* any negative result: the instance's on_error applies */

/* Verdicts of a sink's write. */
#define SOTH_RETRY 3 /* nothing is lost: the rest of the batch is offered again after retry_ms */
#define SOTH_DROP 4  /* the rest of the batch cannot be written; it is counted as lost */
#define SOTH_DEAD 8  /* it will never work again: the rest is lost and the instance is switched off */

/* ---- bytes ---------------------------------------------------------------------------------------------------- */

/* Borrowed bytes, not NUL-terminated. {NULL, 0} means absent. */
struct soth_span {
    const char *p;
    size_t n;
};
#define SOTH_SPAN(span) (int)(span).n, ((span).p ? (span).p : "") /* for printf's "%.*s" */

static inline struct soth_span soth_span(const char *text)
{
    struct soth_span s = {text, text ? strlen(text) : 0};
    return s;
}

static inline int soth_span_is(struct soth_span s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

/* An address without its port: family 0 (unknown, unix), 4 or 6; IPv4 uses the first four bytes; network order. */
struct soth_addr {
    uint8_t family;
    uint8_t reserved[7];
    uint8_t bytes[16];
};

/* ---- events --------------------------------------------------------------------------------------------------- */

/* Subscription groups, usable in `events:` of a sink's YAML and in SOTH_EVENTS masks. */
#define SOTH_GROUP_CONNECT (1u << 0)
#define SOTH_GROUP_TLS (1u << 1)
#define SOTH_GROUP_HTTP (1u << 2)
#define SOTH_GROUP_BODY (1u << 3)
#define SOTH_GROUP_STREAM (1u << 4)
#define SOTH_GROUP_GRPC (1u << 5)
#define SOTH_GROUP_DECODER (1u << 6)
#define SOTH_GROUP_SYSTEM (1u << 7)
#define SOTH_GROUP_ALL UINT32_MAX

enum {
#define SOTH_EVENT(id, NAME, name, groups, attributes, text) SOTH_EV_##NAME = id,
#include <soth/events.def>
#undef SOTH_EVENT
    SOTH_EV_COUNT /* one past the last kind */
};

/* Values of soth_event.protocol, with their names in soth_event.protocol_name. */
#define SOTH_PROTO_TUNNEL 0
#define SOTH_PROTO_HTTP1 1
#define SOTH_PROTO_HTTP2 2
#define SOTH_PROTO_WS 3
#define SOTH_PROTO_SSE 4
#define SOTH_PROTO_STREAMABLE_HTTP 5

/* Types of soth_attr. Whatever the type, an attribute's value is text for whoever reads a log: numbers are decimal. */
#define SOTH_ATTR_TEXT 0  /* .text */
#define SOTH_ATTR_U64 1   /* .number, decimal */
#define SOTH_ATTR_BOOL 2  /* .number, "true" or "false" */
#define SOTH_ATTR_BYTES 3 /* .text, not known to be UTF-8: serialised as base64 under NAME_b64 when it is not */
#define SOTH_ATTR_PAYLOAD 4 /* emit, ored to TEXT and BYTES: content of a message, .number its offset there; for sinks with `payload` */
#define SOTH_ATTR_FULL 8    /* emit, ored: only for sinks with `payload: full` (query strings). Sinks see plain types */
#define SOTH_ATTR_WORD 16   /* form, ored to TEXT: each value's span and text are static const, and the text is not empty: neither is copied */

struct soth_attr {
    const char *name; /* NUL-terminated, static */
    struct soth_span text;
    uint64_t number;
    uint32_t type;
    uint32_t name_len;
};

/* A value of a form (soth_host.form): a number (U64, BOOL), or where the span of a text or of bytes is. */
union soth_value { uint64_t number; const struct soth_span *text; };

/* One event: immutable, shared by all sinks; borrowed for the duration of write. Absent spans have p == NULL. */
struct soth_event {
    uint32_t size; /* of this struct in the running host */
    uint16_t kind; /* SOTH_EV_... */
    uint16_t protocol;
    uint64_t sequence_id;      /* of the process, from 1, in the order of publication */
    uint64_t flow_id;          /* from 1; 0 is the process itself */
    uint64_t flow_sequence_id; /* of the flow, from 1, contiguous */
    uint64_t parent_flow_id;   /* 0: none */
    uint64_t monotonic_ns;
    uint64_t unix_ms;
    const char *kind_name;
    const char *protocol_name;
    struct soth_span run_id;
    struct soth_span client_addr; /* "192.0.2.1:4711", "[2001:db8::1]:4711", "unix:/path" */
    struct soth_span server_host; /* lower case, without brackets and trailing dot */
    uint32_t server_port;         /* 0: absent */
    uint32_t attr_count;
    const struct soth_attr *attrs; /* sorted by name */
    const void *shape; /* not NULL: what has the same one, while this sink lives, is of the same kind and has the same names and types of attributes */
};

struct soth_batch {
    uint32_t size;
    uint32_t count; /* may be 0: the wake-up that the sink asked for */
    const struct soth_event *const *events; /* in sequence order */
    uint64_t lost;                          /* events dropped from this sink's queue since the last write */
    uint64_t waiting;                       /* events that come with the next calls, at once: what is slow may be left to the last of these */
};

/* For SOTH_ATTRS({"sequence_no", SOTH_U64(n)}, {"event", SOTH_TEXT(span)}): an attribute list for soth_host.emit and frame. */
#define SOTH_U64(n_) {"", 0}, (uint64_t)(n_), SOTH_ATTR_U64, 0
#define SOTH_TEXT(span_) (span_), 0, SOTH_ATTR_TEXT, 0
#define SOTH_BYTES(span_) (span_), 0, SOTH_ATTR_BYTES, 0
#define SOTH_ATTRS(...) (const struct soth_attr[]){__VA_ARGS__}, sizeof((const struct soth_attr[]){__VA_ARGS__}) / sizeof(struct soth_attr)

/* ---- options -------------------------------------------------------------------------------------------------- */

/* Types of a YAML value and of the field it fills. */
#define SOTH_OPT_T_BOOL 1     /* uint8_t, 0 or 1 */
#define SOTH_OPT_T_INT 2      /* int64_t */
#define SOTH_OPT_T_SIZE 3     /* uint64_t bytes; k, M, G (powers of 1024) */
#define SOTH_OPT_T_DURATION 4 /* uint64_t milliseconds; ms, s, m, h */
#define SOTH_OPT_T_STRING 5   /* const char *, never NULL */
#define SOTH_OPT_T_PATH 6     /* const char *, relative to the file that has it */
#define SOTH_OPT_T_ENUM 7     /* uint32_t, index into `choices` ("a|b|c") */
#define SOTH_OPT_T_STRINGS 8  /* struct soth_strings; one value or a list */
#define SOTH_OPT_T_LIST 9     /* struct soth_list: a list of mappings, described by `sub`, each item_size bytes */
#define SOTH_OPT_T_MAP 10     /* a mapping, described by `sub`, its fields at `offset` of the struct */
#define SOTH_OPT_T_PAIRS 11   /* struct soth_strings: any keys, in order: key, value, key, value; a list of values repeats its key */
#define SOTH_REQUIRED 1u /* flag: the key must be there */
#define SOTH_SECRET 2u   /* flag: never printed */
#define SOTH_EXCLUSIVE 4u /* flag of a path of the table itself, not below it: two instances that name one place are refused */

struct soth_strings {
    const char *const *v;
    size_t n;
};
struct soth_list {
    const void *items;
    size_t n;
};

/* One key of a mapping. `preset` is YAML text ("64k", "[a, b]", "" = none). min and max bound numbers, sizes and durations;
 * both 0 = unbounded; for strings they bound the length. A table ends with SOTH_OPT_END. */
struct soth_opt {
    const char *key;
    uint32_t type;
    uint32_t flags;
    size_t offset;
    const char *preset;
    int64_t min, max;
    const char *choices;
    const struct soth_opt *sub;
    size_t item_size;
    const char *doc; /* one sentence */
};

#define SOTH_OPT_BOOL(S, field, def, text) {#field, SOTH_OPT_T_BOOL, 0, offsetof(S, field), def, 0, 0, NULL, NULL, 0, text}
#define SOTH_OPT_INT(S, field, def, lo, hi, text) {#field, SOTH_OPT_T_INT, 0, offsetof(S, field), def, lo, hi, NULL, NULL, 0, text}
#define SOTH_OPT_SIZE(S, field, def, lo, hi, text) {#field, SOTH_OPT_T_SIZE, 0, offsetof(S, field), def, lo, hi, NULL, NULL, 0, text}
#define SOTH_OPT_DURATION(S, field, def, lo, hi, text) {#field, SOTH_OPT_T_DURATION, 0, offsetof(S, field), def, lo, hi, NULL, NULL, 0, text}
#define SOTH_OPT_STRING(S, field, flags, text) {#field, SOTH_OPT_T_STRING, flags, offsetof(S, field), "", 0, 0, NULL, NULL, 0, text}
#define SOTH_OPT_STRING_DEF(S, field, def, text) {#field, SOTH_OPT_T_STRING, 0, offsetof(S, field), def, 0, 0, NULL, NULL, 0, text}
#define SOTH_OPT_PATH(S, field, flags, text) {#field, SOTH_OPT_T_PATH, flags, offsetof(S, field), "", 0, 0, NULL, NULL, 0, text}
#define SOTH_OPT_ENUM(S, field, names, def, text) {#field, SOTH_OPT_T_ENUM, 0, offsetof(S, field), def, 0, 0, names, NULL, 0, text}
#define SOTH_OPT_STRINGS(S, field, def, text) {#field, SOTH_OPT_T_STRINGS, 0, offsetof(S, field), def, 0, 0, NULL, NULL, 0, text}
#define SOTH_OPT_PAIRS(S, field, text) {#field, SOTH_OPT_T_PAIRS, 0, offsetof(S, field), "", 0, 0, NULL, NULL, 0, text}
#define SOTH_OPT_LIST(S, field, table, item, text) {#field, SOTH_OPT_T_LIST, 0, offsetof(S, field), "[]", 0, 0, NULL, table, sizeof(item), text}
#define SOTH_OPT_MAP(S, field, table, text) {#field, SOTH_OPT_T_MAP, 0, offsetof(S, field), "", 0, 0, NULL, table, 0, text}
#define SOTH_OPT_END {NULL, 0, 0, 0, NULL, 0, 0, NULL, NULL, 0, NULL}

/* ---- what policies and decoders see --------------------------------------------------------------------------- */

struct soth_flow; /* the flow of a hook; valid until the hook returns */

/* A promise to go on: a value, never a pointer, safe to keep and to use from any thread at any time. */
struct soth_token {
    uint32_t slot, generation;
    uint64_t pause;
};

#define SOTH_INTERCEPT 0
#define SOTH_TUNNEL 1
#define SOTH_BLOCK 2
#define SOTH_ALLOW 3 /* request, response, frame hooks: as good as SOTH_CONTINUE, but explicit */

/* Which name of the connection is being judged (soth_connect.identity). Rules apply to each of them. */
#define SOTH_ID_TARGET 0    /* CONNECT target, absolute-form target, reverse upstream */
#define SOTH_ID_SNI 1       /* the ClientHello's server name, when it differs from the target */
#define SOTH_ID_AUTHORITY 2 /* the Host field, when it differs from the target */

struct soth_connect {
    uint32_t size;
    uint32_t identity;
    struct soth_span host; /* the name being judged: lower case, no brackets, no trailing dot */
    uint32_t port;
    uint32_t has_hello; /* 1: sni, alpn and ja4 are final (and absent when not sent); a target is asked about with 0 first */
    struct soth_span client;       /* text of the client's address */
    struct soth_addr client_addr;  /* for CIDR matches */
    struct soth_addr host_addr;    /* family != 0: host is an address */
    struct soth_span sni;
    struct soth_span alpn; /* comma-separated, as offered */
    struct soth_span ja4;
};

struct soth_field {
    struct soth_span name; /* as sent */
    struct soth_span value;
};

#define SOTH_TO_SERVER 0 /* direction: client_to_server */
#define SOTH_TO_CLIENT 1 /* direction: server_to_client */

/* The head of a request (RFC 9110 6) or of its response, which carries the request's method, scheme and target too. */
struct soth_message {
    uint32_t size, direction;           /* SOTH_TO_SERVER: a request; SOTH_TO_CLIENT: a response */
    const struct soth_connect *connect; /* host: the request's authority */
    struct soth_span target_host;       /* the connection's target (CONNECT), which may differ from connect->host */
    struct soth_span method;
    struct soth_span scheme;
    struct soth_span target; /* origin-form path and query, as relayed */
    uint32_t status;         /* responses */
    uint32_t field_count;
    const struct soth_field *fields; /* as received; hdr_get sees what hdr_set and its like have changed */
    struct soth_span body;  /* after PEEK: the beginning of the body as it came, at least need_bytes of it or all */
    uint32_t body_complete, reserved; /* after PEEK: body is all of it */
    uint32_t coded, reserved2; /* match: 1: the body will come in a content coding that no decoder before this one takes away */
};

/* One protocol frame that a decoder has found complete, for policies with a frame hook. */
struct soth_frame {
    uint32_t size, direction;
    uint32_t kind; /* the event kind that reports it: SOTH_EV_SSE_EVENT, ... */
    uint32_t attr_count;
    const struct soth_attr *attrs;
    struct soth_span payload;
    uint32_t flags, reserved; /* SOTH_FRAME_... */
};
#define SOTH_FRAME_HOLD 1u /* a part of something: judged now, but held until a frame without this is allowed too */
#define SOTH_FRAME_PASS 2u /* none: nothing that was passed since the last one belongs to a frame; nobody is asked, it goes on */
#define SOTH_FRAME_MOST 65536u /* bytes from one verdict to the next: what is longer cannot be judged */

/* soth_decision.overrides, connect hook */
#define SOTH_OVERRIDE_DISABLE_H2 1u
#define SOTH_OVERRIDE_STRICT_HEADERS 2u
#define SOTH_OVERRIDE_LENIENT_HEADERS 4u
#define SOTH_OVERRIDE_SKIP_UPSTREAM_VERIFY 8u
#define SOTH_OVERRIDE_FORCE_TUNNEL 16u

/* Filled by a hook that returns SOTH_DECIDED (or SOTH_PEEK: need_bytes). Spans must outlive the instance's use. */
struct soth_decision {
    uint32_t size;
    uint32_t action;     /* connect: SOTH_INTERCEPT, _TUNNEL, _BLOCK, or _ALLOW for overrides alone; other hooks: SOTH_ALLOW, _BLOCK */
    uint32_t is_default; /* 1: nothing matched, this is the default: any explicit decision of another policy beats it */
    uint32_t need_bytes; /* with SOTH_PEEK, at most 65536 */
    const char *reason;  /* a word of the contract's list, static: "rule", "blocked_host", "ignored_host", ... */
    struct soth_span rule_id;
    uint32_t overrides, reserved; /* SOTH_OVERRIDE_..., taken unless somebody blocks */
    struct soth_span override_pattern;
};

/* What a policy makes of a signal, for the events tls_handshake_failed and tls_learning_audit. */
struct soth_lesson {
    uint32_t size;
    uint32_t applied;        /* tls_learning_decision: 1 applied, 0 ignored */
    const char *reason_code; /* tls_learning_reason_code, static; NULL: no opinion */
};

/* soth_signal.phase: sources may tell of handshakes that begin and succeed, too; these have no reason. */
#define SOTH_TLS_FAILED 0
#define SOTH_TLS_STARTED 1
#define SOTH_TLS_SUCCEEDED 2

/* A TLS failure, seen by the host itself or by a source, for policies with a signal hook. Words as in the event tls_handshake_failed. */
struct soth_signal {
    uint32_t size;
    uint32_t authoritative; /* 0: inferred */
    uint64_t flow_id;       /* 0: of another engine */
    const char *peer, *reason; /* "downstream" or "upstream"; normalized_reason */
    const char *source, *provider, *rejected_ca; /* tls_failure_source, tls_ops_provider, peer_rejected_ca */
    struct soth_span host, client;
    uint32_t alert, port; /* alert UINT32_MAX: none */
    struct soth_span raw_error, identity, detail; /* raw_provider_error, provider_identity, detail */
    uint32_t verify_code, phase; /* tls_verify_code, 0: none; SOTH_TLS_FAILED: policies get nothing else */
    struct soth_lesson *lesson; /* NULL, or for the hook to fill: the first policy with an opinion is told of. Sources leave it */
};

/* ---- decoders ------------------------------------------------------------------------------------------------- */

#define SOTH_TAP 0       /* looks on: borrowed views, never delays bytes */
#define SOTH_TRANSFORM 1 /* may change, hold back and add bytes */

/* Where in the chain; observers of one message run in this order. */
#define SOTH_STAGE_CONTENT 1  /* content_decode: what it puts is what later stages see */
#define SOTH_STAGE_FRAME 2    /* protocol_frame_parse */
#define SOTH_STAGE_SANITIZE 3 /* payload_sanitize */

/* Results of match. Every head is asked about. BODY: the message is opened for itself, with its own state and close, and what fails in it leaves
 * the other direction's alone. BOTH: the two are one; the response's head is asked about, too, its answer changes nothing. After a 101 both
 * directions begin anew, for those that then want them. */
#define SOTH_WATCH_NO 0
#define SOTH_WATCH_BODY 1 /* this message's body and trailers. A TRANSFORM, of a HEAD's response or a 304: it would change a GET's body */
#define SOTH_WATCH_BOTH 2 /* of a request its response too, of a 101 what follows it in both directions */

#define SOTH_CUR_END 1u     /* nothing comes after `in` */
#define SOTH_CUR_STALLED 2u /* TRANSFORM: the window is full; consume something now or fail */
#define SOTH_CUR_RESUMED 4u /* called again after PAUSE or BUSY */
#define SOTH_CUR_UNSEEN 8u  /* TAP: nobody looks at what is passed and put: who only makes a view for others need not */

/*
 * What a decoder works on, made by the host for one call. pass, drop and put say what becomes of `in` and move it on; put and pass take no
 * more than room, and who uses it up is called again; 4096 bytes of it must be enough to go on. What a TRANSFORM leaves in `in` is offered again with what follows it, at least
 * min_window bytes in all; who then takes nothing is STALLED and fails the next time. A TAP never holds bytes: with what it leaves it is called
 * again at once, and a call that passes, drops and puts nothing lets everything pass. What it does shapes what later stages see, never what
 * is relayed.
 */
struct soth_cursor {
    uint32_t size, direction;
    uint32_t flags, reserved; /* SOTH_CUR_... */
    size_t room;         /* bytes that may still be passed or put in this call */
    struct soth_span in; /* what was not consumed yet */
    uint64_t offset;     /* of in.p[0] in what this stage was ever given in this direction */
};

/* ---- services of the host ------------------------------------------------------------------------------------- */

#define SOTH_LOG_ERROR 0
#define SOTH_LOG_WARN 1
#define SOTH_LOG_INFO 2
#define SOTH_LOG_DEBUG 3
#define SOTH_STREAM_KEY_MAX 512
/* Results of wanted. */
#define SOTH_WANTED_EVENT 1   /* somebody listens */
#define SOTH_WANTED_PAYLOAD 2 /* and to its payload */
#define SOTH_WANTED_FRAME 4   /* inside a decoder of the frame stage: policies judge what `frame` is given */
/* What `fail` says besides why. */
#define SOTH_FAIL_CLOSE 1u /* do not let the rest pass unseen, whatever on_error says (on_overflow: close) */

struct soth_redaction { /* how far a text has come; zeros at its beginning */
    uint64_t opaque[12];
};

/* `self` names the instance in every call. All functions may be called from any thread unless said otherwise. */
struct soth_host {
    uint32_t size;
    uint32_t abi_minor;
    /* For the operator, on stderr. Traffic facts are events, not log lines. */
    void (*log)(void *self, int level, const char *format, ...) SOTH_PRINTF(3, 4);
    /* check and create only: says what is wrong with a key ("rules[2].host") at its place in the file; returns -SOTH_ECONFIG. */
    int (*cfg_err)(void *self, const char *key, const char *format, ...) SOTH_PRINTF(3, 4);
    uint64_t (*monotonic_ns)(void);
    /* The instance's name from the YAML (or the module's). */
    const char *(*name)(void *self);
    /* A counter by name, created at first use and exported as soth_<module>_<name>_total{instance=,label=}; label may be NULL.
     * Returns its number (create only), or -SOTH_ENOMEM. */
    int (*counter)(void *self, const char *name, const char *label, const char *help);
    void (*count)(void *self, int metric, uint64_t amount);
    /* Sinks: while `on`, new flows are answered 503 (an audit that must not lose anything cannot write). */
    void (*hold_flows)(void *self, int on);
    /* Sinks: the event's stream key (docs/testing/event-log-v2-contract.md) into buf; returns its length. */
    size_t (*stream_key)(const struct soth_event *event, char buf[SOTH_STREAM_KEY_MAX]);
    /* A gauge, or a histogram with the given upper bounds (ascending; +Inf is added), like counter. */
    int (*gauge)(void *self, const char *name, const char *label, const char *help);
    int (*histogram)(void *self, const char *name, const char *label, const char *help, const uint64_t *bounds, size_t n);
    void (*set)(void *self, int metric, uint64_t value);     /* a gauge */
    void (*observe)(void *self, int metric, uint64_t value); /* a histogram */
    /* Sinks with SOTH_SINK_ASYNC_ACK: events up to this sequence_id have arrived where they go. Any thread, also inside write. */
    void (*ack)(void *self, uint64_t sequence_id);
    /* For hooks, inside the hook: a promise to PAUSE for at most deadline_ms (1 to 3600000). on_timeout: 1 = open (as if the hook had had no
     * opinion), 0 = closed (policies block with module_timeout, decoders fail). Then return SOTH_PAUSE. */
    struct soth_token (*token)(void *self, struct soth_flow *flow, uint32_t deadline_ms, uint32_t on_timeout);
    /* Any thread. The hook is called again on the flow's worker, and `resumed` gives it arg. A stale, early or doubled resume does nothing
     * but be counted. SOTH_OK or -SOTH_ESTALE; OK is no promise: the flow may end before it hears of it (then cancel was called). */
    int (*resume)(struct soth_token token, uint64_t arg);
    int (*resumed)(struct soth_flow *flow, uint64_t *arg); /* 1: this call follows a resume, 0: it does not */
    uint64_t (*flow_id)(const struct soth_flow *flow);
    void *(*flow_state)(struct soth_flow *flow); /* state_size bytes, zeroed at open: a message's, with BOTH the exchange's; NULL: not open */
    /* Publishes an event of the flow (flow NULL: of the process), copied. Attributes the kind does not have are left out and counted. */
    int (*emit)(void *self, struct soth_flow *flow, uint32_t kind, const struct soth_attr *attrs, size_t n);
    int (*wanted)(const struct soth_flow *flow, uint32_t kind); /* SOTH_WANTED_... ored; 0: nobody. Saves making the attributes */
    /* SOTH_PROTO_WS, ...: of what decoders emit from here on in this exchange, and of stream_closed if it is the flow's last one. */
    void (*protocol)(struct soth_flow *flow, uint32_t protocol);
    /* request and response hooks, rewrite; hdr_get also in match and open: the head's fields, in the order of the message, names compared without
     * case. Framing, connection and Host fields are the host's: -SOTH_EPERM. Names that are no token, values with CR, LF or NUL: -SOTH_EINVALID. */
    struct soth_span (*hdr_get)(struct soth_flow *flow, const char *name, uint32_t nth);
    int (*hdr_set)(struct soth_flow *flow, const char *name, struct soth_span value); /* replaces all of that name, or adds */
    int (*hdr_add)(struct soth_flow *flow, const char *name, struct soth_span value);
    int (*hdr_del)(struct soth_flow *flow, const char *name); /* number of removed fields */
    /* rewrite: another target; n == 0 or port 0 leaves that part. path is an origin-form target (only in requests). */
    int (*set_target)(struct soth_flow *flow, struct soth_span host, uint32_t port, struct soth_span path);
    /* The cursor, inside `data`. All return the number of bytes done, less than asked when room or `in` end. */
    size_t (*pass)(struct soth_cursor *cur, size_t n);
    size_t (*drop)(struct soth_cursor *cur, size_t n);
    size_t (*put)(struct soth_cursor *cur, struct soth_span bytes); /* copied */
    /* Frame stage: a complete frame of at most SOTH_FRAME_MOST bytes, which were passed; what is dropped between frames waits for no verdict.
     * Anything but SOTH_CONTINUE: return it from `data` at once, you will be called again behind the frame when it is judged. */
    int (*frame)(void *self, struct soth_flow *flow, const struct soth_frame *frame);
    int (*timer)(void *self, struct soth_flow *flow, uint32_t ms); /* decoders: calls `on_timer` once after ms; 0 = never */
    /* Sources, any thread: copied, given to the policies, told as tls_handshake_failed (_started, _succeeded). source is mitmproxy_authoritative or hudsucker_inferred,
     * which is never authoritative, reason a word of contract section 6: else -SOTH_EINVALID. */
    int (*signal)(void *self, const struct soth_signal *signal);
    /* Decoders, data and trailers: the traffic cannot be read, and that is not the module's fault: it does not count for switching the instance
     * off. code: the failure_code, a word of at most 23 bytes. Return what it returns. */
    int (*fail)(void *self, struct soth_flow *flow, const char *code, uint32_t flags);
    /* A number, duration (ms), size, boolean or word (its place among the words) of soth-mitm.yaml, by its key. SOTH_OK or -SOTH_ENOENT. */
    int (*setting)(void *self, const char *key, uint64_t *value);
    uint64_t (*unix_ms)(const struct soth_flow *flow); /* the wall clock, as in the flow's events of this moment */
    /* Decoders, close: the conversation ended as its protocol wants it (why NULL), or why it did not: a static word, told by stream_closed. */
    void (*ended)(struct soth_flow *flow, const char *why);
    /* Frame hooks, decoders: adds a message of this kind (WS_MESSAGE: payload, opcode_label "text" or "binary") to frame->direction, behind what has
     * been allowed so far, between two messages. -SOTH_EUNSUPPORTED: nothing to add to; -SOTH_EPERM: it has ended; -SOTH_ELIMIT: over 64 KiB wait. */
    int (*inject)(void *self, struct soth_flow *flow, const struct soth_frame *frame);
    /* Decoders that compose, data: behind the first n bytes of `in` one message has ended and none has begun: what is injected may go there. */
    void (*between)(struct soth_cursor *cur, size_t n);
    /* Sinks: the values of redact_keys of soth-mitm.yaml in the next n bytes of a text become asterisks, for content that a sink has decoded by itself. */
    void (*redact)(void *self, struct soth_redaction *redaction, char *p, size_t n);
    /* Bytes from the beginning of each message that somebody wants of its content, in events of this kind: 0: none, UINT64_MAX: all of it. What is behind
     * them no sink sees: who keeps content for an event need not keep more. Policies (SOTH_WANTED_FRAME) get all of it, whatever this says. */
    uint64_t (*payload_most)(const struct soth_flow *flow, uint32_t kind);
    /* Sinks: the `payload` of this instance's document, bytes of each message: 0: none, UINT64_MAX: full. */
    uint64_t (*payload)(void *self);
    /* create only: the attributes of events of this kind, for places that emit often (values are not read). Returns the form's number, -SOTH_EINVALID
     * (none, an attribute that the kind has not, one twice, an unknown type) or -SOTH_EPERM (a kind of the host's alone). */
    int (*form)(void *self, uint32_t kind, const struct soth_attr *attrs, size_t n);
    /* Like emit, of a form: its values in the order of its attributes, of which those are read whose bit (1 << i) is in present; UINT64_MAX: all.
     * Content begins at offset 0 of its message. -SOTH_EINVALID: no such form. */
    int (*emit_form)(void *self, struct soth_flow *flow, int form, const union soth_value *values, uint64_t present);
    uint64_t (*flow_ns)(const struct soth_flow *flow); /* monotonic_ns as in the flow's events of this moment: nobody is asked for it */
};

/* ---- the module ----------------------------------------------------------------------------------------------- */

#define SOTH_KIND_SINK 1
#define SOTH_KIND_POLICY 2
#define SOTH_KIND_DECODER 3
#define SOTH_KIND_SOURCE 4

#define SOTH_HOOK_CONNECT 1u
#define SOTH_HOOK_REQUEST 2u
#define SOTH_HOOK_RESPONSE 4u
#define SOTH_HOOK_FRAME 8u
#define SOTH_HOOK_SIGNAL 16u
#define SOTH_HOOK_REWRITE 32u
#define SOTH_SINK_ASYNC_ACK 1u /* flags: `done` means taken (copied); events stay charged to the queue until ack */

/* The first five fields are frozen for ever. Later fields are only appended. */
struct soth_module {
    uint32_t magic;
    uint16_t abi_major;
    uint16_t abi_minor;
    uint32_t size; /* sizeof(struct soth_module) when the module was compiled */
    uint32_t kind;

    const char *name; /* the file is NAME.so */
    const char *version;
    const char *license; /* SPDX */
    const char *doc;     /* one sentence */
    const struct soth_opt *options; /* of `config:`; NULL = takes no configuration */
    size_t self_size;
    uint32_t events; /* sinks: default subscription, SOTH_GROUP_... ored; 0 = all */
    uint32_t flags;  /* SOTH_SINK_ASYNC_ACK */

    /* Cross-field checks without side effects; also run by `soth-mitm check`. */
    int (*check)(const struct soth_host *host, void *self);
    /* Opens what the instance needs, perhaps while the instance that it replaces still works. On failure destroy is not called. */
    int (*create)(const struct soth_host *host, void *self);
    void (*destroy)(void *self);

    /* Sinks. Writes events[0..count) in order; *done says how many are taken. SOTH_OK (all taken), SOTH_RETRY (again after
     * *retry_ms; 0: a growing while), SOTH_DROP, SOTH_DEAD, or negative: it is broken (on_error). With SOTH_OK, *retry_ms != 0 asks to be called
     * again after that many ms even when nothing arrives (batch->count is then 0). */
    int (*write)(void *self, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms);
    /* Everything taken must be on its way to where it goes; called at drain, before destroy; then the host waits for what is not acked. */
    int (*flush)(void *self, uint32_t deadline_ms);
    /* SIGUSR1: close and reopen what an operator may have moved away. */
    int (*reopen)(void *self);

    /* Policies. Which hooks this configuration needs: SOTH_HOOK_... ored. NULL = every hook that is not NULL. */
    uint32_t (*hooks)(void *self);
    int (*connect)(void *self, struct soth_flow *flow, const struct soth_connect *connect, struct soth_decision *out);
    int (*request)(void *self, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out);

    /* Policies, decoders: per-worker state, called on each worker's thread before its first and after its last hook; counts from 0. */
    int (*worker_init)(void *self, uint32_t worker);
    void (*worker_fini)(void *self, uint32_t worker);
    int (*response)(void *self, struct soth_flow *flow, const struct soth_message *response, struct soth_decision *out);
    int (*frame)(void *self, struct soth_flow *flow, const struct soth_frame *frame, struct soth_decision *out);
    /* Before anybody judges: of a connection (message->method is CONNECT), a request, a response. May change target and fields. */
    int (*rewrite)(void *self, struct soth_flow *flow, const struct soth_message *message);
    /* A pause ended without resume: its deadline passed or its flow is gone. The token is dead. */
    void (*cancel)(void *self, struct soth_token token);
    void (*signal)(void *self, const struct soth_signal *signal); /* on the flow's worker or the source's thread; before the event is told */

    /* Decoders. */
    uint32_t mode;       /* SOTH_TAP, SOTH_TRANSFORM */
    uint32_t stage;      /* SOTH_STAGE_... */
    uint32_t min_window, reserved; /* TRANSFORM: most bytes it must see at once, up to 65536; 0 = 16384 */
    size_t state_size;   /* of soth_host.flow_state */
    int (*match)(void *self, struct soth_flow *flow, const struct soth_message *message); /* SOTH_WATCH_...; NULL: every body */
    int (*open)(void *self, struct soth_flow *flow); /* after a match that wants it, at once and on the same thread */
    int (*data)(void *self, struct soth_flow *flow, struct soth_cursor *cur);
    int (*trailers)(void *self, struct soth_flow *flow, const struct soth_message *trailers); /* before SOTH_CUR_END is told */
    int (*on_timer)(void *self, struct soth_flow *flow);
    void (*close)(void *self, struct soth_flow *flow, uint32_t complete); /* once for each open; 1: both ends were seen; may emit */

    /* Sources. */
    int (*start)(void *self);
    void (*stop)(void *self);

    uint32_t (*instance_mode)(void *self); /* decoders, after create: SOTH_TAP or SOTH_TRANSFORM for this configuration; NULL: mode */
    /* Decoders of the frame stage: writes what a frame is on the wire in its direction and returns the bytes (0: nothing is due), for `inject`, and the
     * last words to a peer, between frames: with kind SOTH_EV_FRAME_DECISION after a policy has blocked, SOTH_EV_WS_CLOSED (close_code) when the host ends. */
    int (*compose)(void *self, struct soth_flow *flow, const struct soth_frame *frame, char *out, size_t room);
};

#define SOTH_PREFIX(kind_) \
    .magic = SOTH_MAGIC, .abi_major = SOTH_ABI_MAJOR, .abi_minor = SOTH_ABI_TARGET, .size = sizeof(struct soth_module), .kind = (kind_)

#define SOTH_MODULE_(kind_, name_, version_, license_, ...)                                      \
    extern SOTH_EXPORT const struct soth_module soth_mitm_module;                                \
    SOTH_EXPORT const struct soth_module soth_mitm_module = {                                    \
        SOTH_PREFIX(kind_), .name = #name_, .version = (version_), .license = (license_), __VA_ARGS__}

#define SOTH_SINK_MODULE(name_, version_, license_, ...) SOTH_MODULE_(SOTH_KIND_SINK, name_, version_, license_, __VA_ARGS__)
#define SOTH_POLICY_MODULE(name_, version_, license_, ...) SOTH_MODULE_(SOTH_KIND_POLICY, name_, version_, license_, __VA_ARGS__)
#define SOTH_DECODER_MODULE(name_, version_, license_, ...) SOTH_MODULE_(SOTH_KIND_DECODER, name_, version_, license_, __VA_ARGS__)
#define SOTH_SOURCE_MODULE(name_, version_, license_, ...) SOTH_MODULE_(SOTH_KIND_SOURCE, name_, version_, license_, __VA_ARGS__)

#ifdef __cplusplus
}
#endif
#endif
