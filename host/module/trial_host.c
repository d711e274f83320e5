/* SPDX-License-Identifier: MPL-2.0 */
/* The services of a trial (trial.h): logging and naming work, metrics are numbered, and what needs a flow finds none. */
#include <stdarg.h>
#include <time.h>

#include "host/event/bus.h"
#include "host/log.h"
#include "host/module/trial.h"

struct trial *trial_current;

static void trial_log(void *self, int level, const char *format, ...)
{
    char text[1024];
    va_list args;
    (void)self;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (trial_current->logs)
        log_at(level, "%s: %s", trial_current->conf->name, text);
}

static int trial_cfg_err(void *self, const char *key, const char *format, ...)
{
    char text[1024], path[256];
    va_list args;
    (void)self;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(path, sizeof path, "config.%s", key);
    trial_current->told++;
    options_error(trial_current->conf->document, path, trial_current->errors, text);
    return -SOTH_ECONFIG;
}

static uint64_t trial_monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static const char *trial_name(void *self)
{
    (void)self;
    return trial_current->conf->name;
}

static int trial_counter(void *self, const char *name, const char *label, const char *help)
{
    (void)self, (void)name, (void)label, (void)help;
    return atomic_fetch_add(&trial_current->metrics, 1);
}

static int trial_histogram(void *self, const char *name, const char *label, const char *help, const uint64_t *bounds, size_t n)
{
    (void)bounds, (void)n;
    return trial_counter(self, name, label, help);
}

static void trial_count(void *self, int metric, uint64_t amount)
{
    (void)self, (void)metric, (void)amount;
}

static void trial_hold_flows(void *self, int on)
{
    (void)self, (void)on;
}

static void trial_ack(void *self, uint64_t sequence_id)
{
    (void)self, (void)sequence_id;
}

/* ---- nothing is waited for, and there is no flow ---- */

static struct soth_token trial_token(void *self, struct soth_flow *flow, uint32_t deadline_ms, uint32_t on_timeout)
{
    (void)self, (void)flow, (void)deadline_ms, (void)on_timeout;
    return (struct soth_token){0};
}

static int trial_resume(struct soth_token token, uint64_t arg)
{
    (void)token, (void)arg;
    return -SOTH_ESTALE;
}

static int trial_resumed(struct soth_flow *flow, uint64_t *arg)
{
    (void)flow, (void)arg;
    return 0;
}

static uint64_t trial_flow_id(const struct soth_flow *flow)
{
    (void)flow;
    return 0;
}

static void *trial_flow_state(struct soth_flow *flow)
{
    (void)flow;
    return NULL;
}

static int trial_emit(void *self, struct soth_flow *flow, uint32_t kind, const struct soth_attr *attrs, size_t n)
{
    (void)self, (void)flow, (void)kind, (void)attrs, (void)n;
    return SOTH_OK;
}

static int trial_form(void *self, uint32_t kind, const struct soth_attr *attrs, size_t n)
{
    const struct form *form;
    size_t bad;
    (void)self;
    return event_form(kind, attrs, n, &form, &bad);
}

static int trial_emit_form(void *self, struct soth_flow *flow, int form, const union soth_value *values, uint64_t present)
{
    (void)self, (void)flow, (void)form, (void)values, (void)present;
    return SOTH_OK;
}

static int trial_wanted(const struct soth_flow *flow, uint32_t kind)
{
    (void)flow, (void)kind;
    return 0;
}

static uint64_t trial_payload_most(const struct soth_flow *flow, uint32_t kind)
{
    (void)flow, (void)kind;
    return 0;
}

static void trial_protocol(struct soth_flow *flow, uint32_t protocol)
{
    (void)flow, (void)protocol;
}

static struct soth_span trial_hdr_get(struct soth_flow *flow, const char *name, uint32_t nth)
{
    (void)flow, (void)name, (void)nth;
    return (struct soth_span){NULL, 0};
}

static int trial_hdr_set(struct soth_flow *flow, const char *name, struct soth_span value)
{
    (void)flow, (void)name, (void)value;
    return -SOTH_EPERM;
}

static int trial_hdr_del(struct soth_flow *flow, const char *name)
{
    (void)flow, (void)name;
    return 0;
}

static int trial_set_target(struct soth_flow *flow, struct soth_span host, uint32_t port, struct soth_span path)
{
    (void)flow, (void)host, (void)port, (void)path;
    return -SOTH_EPERM;
}

static size_t trial_move(struct soth_cursor *cur, size_t n)
{
    (void)cur, (void)n;
    return 0;
}

static size_t trial_put(struct soth_cursor *cur, struct soth_span bytes)
{
    (void)cur, (void)bytes;
    return 0;
}

static int trial_frame(void *self, struct soth_flow *flow, const struct soth_frame *frame)
{
    (void)self, (void)flow, (void)frame;
    return SOTH_CONTINUE;
}

static int trial_timer(void *self, struct soth_flow *flow, uint32_t ms)
{
    (void)self, (void)flow, (void)ms;
    return -SOTH_EPERM;
}

static int trial_signal(void *self, const struct soth_signal *signal)
{
    (void)self, (void)signal;
    return SOTH_OK;
}

static int trial_fail(void *self, struct soth_flow *flow, const char *code, uint32_t flags)
{
    (void)self, (void)flow, (void)code, (void)flags;
    return SOTH_FAIL;
}

/* There is no soth-mitm.yaml. */
static int trial_setting(void *self, const char *key, uint64_t *value)
{
    (void)self, (void)key, (void)value;
    return -SOTH_ENOENT;
}

static uint64_t trial_clock(const struct soth_flow *flow)
{
    (void)flow;
    return 0;
}

static void trial_ended(struct soth_flow *flow, const char *why)
{
    (void)flow, (void)why;
}

static int trial_inject(void *self, struct soth_flow *flow, const struct soth_frame *frame)
{
    (void)self, (void)flow, (void)frame;
    return -SOTH_EUNSUPPORTED;
}

static void trial_redact(void *self, struct soth_redaction *redaction, char *p, size_t n)
{
    (void)self, (void)redaction, (void)p, (void)n;
}

static void trial_between(struct soth_cursor *cursor, size_t n)
{
    (void)cursor, (void)n;
}

static uint64_t trial_payload(void *self)
{
    (void)self;
    return UINT64_MAX;
}

const struct soth_host trial_host = {
    .size = sizeof trial_host, .abi_minor = SOTH_ABI_MINOR,
    .log = trial_log, .cfg_err = trial_cfg_err, .monotonic_ns = trial_monotonic_ns, .name = trial_name,
    .counter = trial_counter, .count = trial_count, .gauge = trial_counter, .histogram = trial_histogram,
    .set = trial_count, .observe = trial_count, .hold_flows = trial_hold_flows, .stream_key = event_stream_key, .ack = trial_ack,
    .token = trial_token, .resume = trial_resume, .resumed = trial_resumed, .flow_id = trial_flow_id, .flow_state = trial_flow_state,
    .emit = trial_emit, .wanted = trial_wanted, .protocol = trial_protocol,
    .hdr_get = trial_hdr_get, .hdr_set = trial_hdr_set, .hdr_add = trial_hdr_set, .hdr_del = trial_hdr_del, .set_target = trial_set_target,
    .pass = trial_move, .drop = trial_move, .put = trial_put, .frame = trial_frame, .timer = trial_timer, .signal = trial_signal, .fail = trial_fail,
    .setting = trial_setting,
    .unix_ms = trial_clock, .ended = trial_ended, .inject = trial_inject, .between = trial_between, .redact = trial_redact,
    .payload_most = trial_payload_most, .payload = trial_payload,
    .form = trial_form, .emit_form = trial_emit_form, .flow_ns = trial_clock,
};
