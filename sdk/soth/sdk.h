/* SPDX-License-Identifier: MPL-2.0 */
/*
 * soth/sdk.h - the module interface of soth-mitm. This header and the tables beside it (events.def, errors.def) are all
 * a module needs; they use libc only.
 *
 * A module is a shared object that exports one data symbol, `soth_mitm_module`, usually written with SOTH_SINK_MODULE or
 * SOTH_POLICY_MODULE at the end of the file. The host checks its prefix before it calls any code, reads the module's YAML
 * into the module's own struct by the module's option table, and calls the operations that are not NULL.
 *
 * General rules
 *   - Results: 0 or a positive verdict, or a negative -SOTH_E... number from errors.def.
 *   - Ownership never crosses: each side frees only what it allocated. Spans and structs that the host passes are
 *     borrowed and valid until the function returns; copy what you keep.
 *   - `self` is one zeroed block of `self_size` bytes per instance, allocated by the host, filled by the option table.
 *   - Threads: create, destroy and check run on the control thread. Policy hooks run on worker threads, several at once for
 *     one `self`. A sink's write, flush and reopen run on the sink's own thread, one at a time, and may block.
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
#define SOTH_ABI_TARGET SOTH_ABI_MINOR /* the oldest minor that this module wants to run on */
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
#define SOTH_CONTINUE 0 /* no opinion, go on */
#define SOTH_DECIDED 1  /* the decision is filled in */
#define SOTH_PEEK 2     /* connect hook: ask again when the ClientHello is known; then all policies are asked again */
#define SOTH_FAIL (-SOTH_EINVALID) /* any negative result: the instance's on_error applies */

/* Verdicts of a sink's write. */
#define SOTH_RETRY 3 /* nothing is lost: the rest of the batch is offered again after retry_ms */
#define SOTH_DROP 4  /* the rest of the batch cannot be written; it is counted as lost */

/* ---- bytes ---------------------------------------------------------------------------------------------------- */

/* Borrowed bytes, not NUL-terminated. {NULL, 0} means absent. */
struct soth_span {
    const char *p;
    size_t n;
};
/* For printf: "%.*s", SOTH_SPAN(span) */
#define SOTH_SPAN(span) (int)(span).n, ((span).p ? (span).p : "")

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

struct soth_attr {
    const char *name; /* NUL-terminated, static */
    struct soth_span text;
    uint64_t number;
    uint32_t type;
    uint32_t name_len;
};

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
};

struct soth_batch {
    uint32_t size;
    uint32_t count; /* may be 0: the wake-up that the sink asked for */
    const struct soth_event *const *events; /* in sequence order */
    uint64_t lost;                          /* events dropped from this sink's queue since the last write */
};

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

#define SOTH_REQUIRED 1u /* flag: the key must be there */
#define SOTH_SECRET 2u   /* flag: never printed */

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

/* clang-format off */
#define SOTH_OPT_BOOL(S, field, def, text) {#field, SOTH_OPT_T_BOOL, 0, offsetof(S, field), def, 0, 0, NULL, NULL, 0, text}
#define SOTH_OPT_INT(S, field, def, lo, hi, text) {#field, SOTH_OPT_T_INT, 0, offsetof(S, field), def, lo, hi, NULL, NULL, 0, text}
#define SOTH_OPT_SIZE(S, field, def, lo, hi, text) {#field, SOTH_OPT_T_SIZE, 0, offsetof(S, field), def, lo, hi, NULL, NULL, 0, text}
#define SOTH_OPT_DURATION(S, field, def, lo, hi, text) {#field, SOTH_OPT_T_DURATION, 0, offsetof(S, field), def, lo, hi, NULL, NULL, 0, text}
#define SOTH_OPT_STRING(S, field, flags, text) {#field, SOTH_OPT_T_STRING, flags, offsetof(S, field), "", 0, 0, NULL, NULL, 0, text}
#define SOTH_OPT_STRING_DEF(S, field, def, text) {#field, SOTH_OPT_T_STRING, 0, offsetof(S, field), def, 0, 0, NULL, NULL, 0, text}
#define SOTH_OPT_PATH(S, field, flags, text) {#field, SOTH_OPT_T_PATH, flags, offsetof(S, field), "", 0, 0, NULL, NULL, 0, text}
#define SOTH_OPT_ENUM(S, field, names, def, text) {#field, SOTH_OPT_T_ENUM, 0, offsetof(S, field), def, 0, 0, names, NULL, 0, text}
#define SOTH_OPT_STRINGS(S, field, def, text) {#field, SOTH_OPT_T_STRINGS, 0, offsetof(S, field), def, 0, 0, NULL, NULL, 0, text}
#define SOTH_OPT_LIST(S, field, table, item, text) {#field, SOTH_OPT_T_LIST, 0, offsetof(S, field), "[]", 0, 0, NULL, table, sizeof(item), text}
#define SOTH_OPT_MAP(S, field, table, text) {#field, SOTH_OPT_T_MAP, 0, offsetof(S, field), "", 0, 0, NULL, table, 0, text}
#define SOTH_OPT_END {NULL, 0, 0, 0, NULL, 0, 0, NULL, NULL, 0, NULL}
/* clang-format on */

/* ---- what a policy sees --------------------------------------------------------------------------------------- */

#define SOTH_INTERCEPT 0
#define SOTH_TUNNEL 1
#define SOTH_BLOCK 2
#define SOTH_ALLOW 3 /* request hooks: as good as SOTH_CONTINUE, but explicit */

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

struct soth_request {
    uint32_t size;
    uint32_t field_count;
    const struct soth_connect *connect; /* host: the request's authority */
    struct soth_span target_host;       /* the connection's target (CONNECT), which may differ from connect->host */
    struct soth_span method;
    struct soth_span scheme;
    struct soth_span target; /* origin-form path and query, as relayed */
    const struct soth_field *fields;
};

/* Filled by a hook that returns SOTH_DECIDED. `rule_id` must outlive the instance's use (usually it is configuration). */
struct soth_decision {
    uint32_t size;
    uint32_t action;     /* SOTH_INTERCEPT, SOTH_TUNNEL, SOTH_BLOCK; request hooks: SOTH_ALLOW, SOTH_BLOCK */
    uint32_t is_default; /* 1: nothing matched, this is the default: any explicit decision of another policy beats it */
    const char *reason;  /* a word of the contract's list, static: "rule", "blocked_host", "ignored_host", ... */
    struct soth_span rule_id;
};

/* ---- services of the host ------------------------------------------------------------------------------------- */

#define SOTH_LOG_ERROR 0
#define SOTH_LOG_WARN 1
#define SOTH_LOG_INFO 2
#define SOTH_LOG_DEBUG 3

#define SOTH_STREAM_KEY_MAX 512

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
    void (*count)(void *self, int counter, uint64_t amount);
    /* Sinks: while `on`, new flows are answered 503 (an audit that must not lose anything cannot write). */
    void (*hold_flows)(void *self, int on);
    /* Sinks: the event's stream key (docs/testing/event-log-v2-contract.md) into buf; returns its length. */
    size_t (*stream_key)(const struct soth_event *event, char buf[SOTH_STREAM_KEY_MAX]);
};

/* ---- the module ----------------------------------------------------------------------------------------------- */

#define SOTH_KIND_SINK 1
#define SOTH_KIND_POLICY 2

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
    uint32_t reserved;

    /* Cross-field checks without side effects; also run by `soth-mitm check`. */
    int (*check)(const struct soth_host *host, void *self);
    /* Opens what the instance needs. On failure destroy is not called. */
    int (*create)(const struct soth_host *host, void *self);
    void (*destroy)(void *self);

    /* Sinks. Writes events[0..count) in order; *done says how many are taken. SOTH_OK (all taken), SOTH_RETRY (again after
     * *retry_ms), SOTH_DROP, or negative: the instance is broken (on_error). With SOTH_OK, *retry_ms != 0 asks to be called again
     * after that many ms even when nothing arrives (batch->count is then 0). */
    int (*write)(void *self, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms);
    /* Everything taken must be on its way to where it goes; called at drain, before destroy. */
    int (*flush)(void *self, uint32_t deadline_ms);
    /* SIGUSR1: close and reopen what an operator may have moved away. */
    int (*reopen)(void *self);

    /* Policies. Which hooks this configuration needs: SOTH_HOOK_... ored. NULL = every hook that is not NULL. */
    uint32_t (*hooks)(void *self);
    int (*connect)(void *self, const struct soth_connect *connect, struct soth_decision *out);
    int (*request)(void *self, const struct soth_request *request, struct soth_decision *out);
};

#define SOTH_HOOK_CONNECT 1u
#define SOTH_HOOK_REQUEST 2u

#define SOTH_PREFIX(kind_) \
    .magic = SOTH_MAGIC, .abi_major = SOTH_ABI_MAJOR, .abi_minor = SOTH_ABI_TARGET, .size = sizeof(struct soth_module), .kind = (kind_)

#define SOTH_MODULE_(kind_, name_, version_, license_, ...)                                      \
    extern SOTH_EXPORT const struct soth_module soth_mitm_module;                                \
    SOTH_EXPORT const struct soth_module soth_mitm_module = {                                    \
        SOTH_PREFIX(kind_), .name = #name_, .version = (version_), .license = (license_), __VA_ARGS__}

#define SOTH_SINK_MODULE(name_, version_, license_, ...) SOTH_MODULE_(SOTH_KIND_SINK, name_, version_, license_, __VA_ARGS__)
#define SOTH_POLICY_MODULE(name_, version_, license_, ...) SOTH_MODULE_(SOTH_KIND_POLICY, name_, version_, license_, __VA_ARGS__)

#ifdef __cplusplus
}
#endif
#endif
