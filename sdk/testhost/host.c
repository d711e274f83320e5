/* SPDX-License-Identifier: MPL-2.0 */
/* One instance of a module, made and unmade as a host does it, and the services that belong to no flow. */
#include "parts.h"

#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

void th_fault(struct testhost *host, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "%s: %s\n", host->module.name ? host->module.name : "module", text);
    atomic_fetch_add(&host->faults, 1);
}

const char *th_error_name(int result)
{
    static const char *const names[] = {
#define SOTH_ERROR(name, number, text) [number] = #name,
#include <soth/errors.def>
#undef SOTH_ERROR
    };
    static _Thread_local char lower[24];
    const char *name = result < 0 && (size_t)-result < sizeof names / sizeof *names ? names[-result] : NULL;
    if (!name)
        return result < 0 ? "unknown" : "verdict";
    size_t i = 0;
    for (; name[i] && i < sizeof lower - 1; i++)
        lower[i] = (char)(name[i] | 0x20);
    lower[i] = 0;
    return lower;
}

/* ---- what a module may say and ask ---- */

static void on_log(void *self, int level, const char *format, ...)
{
    va_list args;
    if (!getenv("TESTHOST_LOG"))
        return;
    fprintf(stderr, "%s: log %d: ", th_host_of(self)->module.name, level);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static int on_cfg_err(void *self, const char *key, const char *format, ...)
{
    struct testhost *host = th_host_of(self);
    va_list args;
    if (!host->setting_up)
        th_fault(host, "cfg_err is called outside of check and create");
    fprintf(stderr, "%s: config.%s: ", host->module.name, key);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    host->told++;
    return -SOTH_ECONFIG;
}

static atomic_uint_fast64_t skew_ns;

void th_later(uint64_t ms)
{
    atomic_fetch_add(&skew_ns, ms * UINT64_C(1000000));
}

static uint64_t on_monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec + atomic_load(&skew_ns);
}

static const char *on_name(void *self)
{
    return th_host_of(self)->module.name;
}

/* ---- metrics ---- */

static int metric(void *self, const char *name, const char *label, bool histogram)
{
    struct testhost *host = th_host_of(self);
    if (!host->setting_up)
        th_fault(host, "metric %s is made outside of create", name);
    for (int i = 0; i < host->metric_count; i++)
        if (strcmp(host->metrics[i].name, name) == 0 && strcmp(host->metrics[i].label, label ? label : "") == 0)
            return i;
    if (host->metric_count == METRICS_MOST)
        return -SOTH_ENOMEM;
    struct metric *m = &host->metrics[host->metric_count];
    snprintf(m->name, sizeof m->name, "%s", name);
    snprintf(m->label, sizeof m->label, "%s", label ? label : "");
    m->histogram = histogram;
    return host->metric_count++;
}

static int on_counter(void *self, const char *name, const char *label, const char *help)
{
    (void)help;
    return metric(self, name, label, false);
}

static int on_histogram(void *self, const char *name, const char *label, const char *help, const uint64_t *bounds, size_t n)
{
    (void)help;
    for (size_t i = 1; i < n; i++)
        if (bounds[i] <= bounds[i - 1])
            th_fault(th_host_of(self), "histogram %s: its bounds do not ascend", name);
    return metric(self, name, label, true);
}

static struct metric *known(void *self, int number, const char *what)
{
    struct testhost *host = th_host_of(self);
    if (number >= 0 && number < host->metric_count)
        return &host->metrics[number];
    th_fault(host, "%s: there is no metric %d", what, number);
    return NULL;
}

static void on_count(void *self, int number, uint64_t amount)
{
    struct metric *m = known(self, number, "count");
    if (m)
        atomic_fetch_add(&m->value, amount);
}

static void on_set(void *self, int number, uint64_t value)
{
    struct metric *m = known(self, number, "set");
    if (m)
        atomic_store(&m->value, value);
}

static void on_observe(void *self, int number, uint64_t value)
{
    struct metric *m = known(self, number, "observe");
    (void)value;
    if (m && !m->histogram)
        th_fault(th_host_of(self), "observe: %s is no histogram", m->name);
    if (m)
        atomic_fetch_add(&m->value, 1);
}

uint64_t testhost_count(struct testhost *host, const char *name)
{
    uint64_t sum = 0;
    for (int i = 0; i < host->metric_count; i++)
        if (strcmp(host->metrics[i].name, name) == 0)
            sum += atomic_load(&host->metrics[i].value);
    return sum;
}

/* ---- sinks and sources ---- */

static void on_hold_flows(void *self, int on)
{
    th_host_of(self)->held = on != 0;
}

/* The first rule that applies, as in docs/testing/event-log-v2-contract.md, without those of protocols. */
static size_t on_stream_key(const struct soth_event *event, char buf[SOTH_STREAM_KEY_MAX])
{
    for (uint32_t i = 0; i < event->attr_count; i++)
        if (strcmp(event->attrs[i].name, "sequence_no") == 0)
            return (size_t)snprintf(buf, SOTH_STREAM_KEY_MAX, "sequence:%llu", (unsigned long long)event->attrs[i].number);
    return (size_t)snprintf(buf, SOTH_STREAM_KEY_MAX, "flow:%llu:%llu", (unsigned long long)event->flow_id, (unsigned long long)event->flow_sequence_id);
}

static void on_ack(void *self, uint64_t sequence_id)
{
    struct testhost *host = th_host_of(self);
    pthread_mutex_lock(&host->lock);
    if (sequence_id > host->delivered)
        th_fault(host, "ack of event %llu, which it never got", (unsigned long long)sequence_id);
    host->acked = sequence_id > host->acked ? sequence_id : host->acked;
    pthread_mutex_unlock(&host->lock);
}

static int on_signal(void *self, const struct soth_signal *signal)
{
    struct testhost *host = th_host_of(self);
    if (!signal->reason || !signal->peer || !signal->source) {
        th_fault(host, "signal without peer, reason or source");
        return -SOTH_EINVALID;
    }
    pthread_mutex_lock(&host->lock);
    th_text_say(&host->signals, "%s %s %s %.*s\n", signal->peer, signal->reason, signal->source, SOTH_SPAN(signal->host));
    pthread_mutex_unlock(&host->lock);
    return SOTH_OK;
}

#define SETTINGS_MOST 16u
static struct setting {
    const char *key;
    uint64_t value;
} settings[SETTINGS_MOST];
static unsigned setting_count;

static int on_setting(void *self, const char *key, uint64_t *value)
{
    (void)self;
    for (unsigned i = 0; i < setting_count; i++)
        if (strcmp(settings[i].key, key) == 0) {
            *value = settings[i].value;
            return SOTH_OK;
        }
    return -SOTH_ENOENT;
}

void testhost_setting(const char *key, uint64_t value)
{
    unsigned i = 0;
    while (i < setting_count && strcmp(settings[i].key, key) != 0)
        i++;
    if (i == SETTINGS_MOST)
        abort();
    settings[i] = (struct setting){key, value};
    setting_count = i < setting_count ? setting_count : i + 1;
}

const char *testhost_signals(const struct testhost *host)
{
    return th_text_of(&host->signals);
}

/* ---- flows ---- */

static uint64_t on_flow_id(const struct soth_flow *view)
{
    return view->flow->id;
}

static void *on_flow_state(struct soth_flow *view)
{
    return view->flow->seat ? view->flow->seat->state : NULL;
}

static int on_wanted(const struct soth_flow *view, uint32_t kind)
{
    const struct flow *flow = view->flow;
    if (!flow || kind >= SOTH_EV_COUNT)
        return 0;
    int judged = flow->seat && flow->seat->is_open && flow->plan && flow->plan->frames != FRAMES_FREE && flow->host->module.stage == SOTH_STAGE_FRAME;
    int told = view->flow->host->kinds >> kind & 1 ? SOTH_WANTED_EVENT | (view->flow->host->payload_most ? SOTH_WANTED_PAYLOAD : 0) : 0;
    return told | (judged ? SOTH_WANTED_FRAME : 0);
}

static uint64_t on_payload_most(const struct soth_flow *view, uint32_t kind)
{
    const struct testhost *host = view->flow ? view->flow->host : NULL;
    return host && kind < SOTH_EV_COUNT && (host->kinds >> kind & 1) ? host->payload_most : 0;
}

void testhost_wanted(struct testhost *host, uint64_t kinds, uint64_t payload_most)
{
    host->kinds = kinds;
    host->payload_most = payload_most;
}

static int on_fail(void *self, struct soth_flow *view, const char *code, uint32_t flags)
{
    struct testhost *host = th_host_of(self);
    struct seat *seat = view->flow->seat;
    if (!seat || !seat->is_open) {
        th_fault(host, "fail is called outside of data and trailers");
        return SOTH_FAIL;
    }
    if (!code || !*code || strlen(code) > 23)
        th_fault(host, "fail: the code must have 1 to 23 bytes");
    snprintf(seat->reason, sizeof seat->reason, "%.23s%s", code ? code : "", flags & SOTH_FAIL_CLOSE ? " close" : "");
    return SOTH_FAIL;
}

/* 2023-11-14 and what a test has let pass. */
static uint64_t on_unix_ms(const struct soth_flow *view)
{
    return UINT64_C(1700000000000) + view->flow->later_ms;
}

/* The clock as it is. */
static uint64_t on_flow_ns(const struct soth_flow *view)
{
    (void)view;
    return on_monotonic_ns();
}

static void on_ended(struct soth_flow *view, const char *why)
{
    th_text_say(&view->flow->events, "ended %s\n", why ? why : "well");
}

static void on_protocol(struct soth_flow *view, uint32_t protocol)
{
    if (protocol > SOTH_PROTO_STREAMABLE_HTTP)
        th_fault(view->flow->host, "protocol: there is no protocol %u", (unsigned)protocol);
}

/* There is no soth-mitm.yaml, so nothing is named in it. */
static void on_redact(void *self, struct soth_redaction *redaction, char *p, size_t n)
{
    (void)self, (void)redaction, (void)p, (void)n;
}

/* There is no document either: a sink is given all that the test gives it. */
static uint64_t on_payload(void *self)
{
    (void)self;
    return UINT64_MAX;
}

const struct soth_host th_api = {
    .size = sizeof th_api,
    .abi_minor = SOTH_ABI_MINOR,
    .log = on_log,
    .cfg_err = on_cfg_err,
    .monotonic_ns = on_monotonic_ns,
    .name = on_name,
    .counter = on_counter,
    .count = on_count,
    .hold_flows = on_hold_flows,
    .stream_key = on_stream_key,
    .gauge = on_counter,
    .histogram = on_histogram,
    .set = on_set,
    .observe = on_observe,
    .ack = on_ack,
    .redact = on_redact,
    .payload_most = on_payload_most,
    .payload = on_payload,
    .token = th_token,
    .resume = th_resume,
    .resumed = th_resumed,
    .flow_id = on_flow_id,
    .flow_state = on_flow_state,
    .emit = th_emit,
    .form = th_form,
    .emit_form = th_emit_form,
    .flow_ns = on_flow_ns,
    .wanted = on_wanted,
    .protocol = on_protocol,
    .fail = on_fail,
    .hdr_get = th_hdr_get,
    .hdr_set = th_hdr_set,
    .hdr_add = th_hdr_add,
    .hdr_del = th_hdr_del,
    .set_target = th_set_target,
    .pass = th_pass,
    .drop = th_drop,
    .put = th_put,
    .frame = th_frame,
    .timer = th_timer,
    .signal = on_signal,
    .setting = on_setting,
    .unix_ms = on_unix_ms,
    .ended = on_ended,
    .inject = th_inject,
    .between = th_between,
};

/* ---- life ---- */

static int set_up(struct testhost *host)
{
    struct soth_module *m = &host->module;
    host->setting_up = true;
    int r = m->check ? m->check(&th_api, host->self) : SOTH_OK;
    if (r >= 0 && m->create)
        r = m->create(&th_api, host->self);
    host->setting_up = false;
    if (r >= 0 && m->instance_mode)
        m->mode = m->instance_mode(host->self);
    if (r < 0) {
        if (host->told == 0)
            fprintf(stderr, "%s: cannot be created: %s\n", m->name, th_error_name(r));
        return r;
    }
    host->running = true;
    if (m->worker_init && (r = m->worker_init(host->self, 0)) < 0)
        fprintf(stderr, "%s: worker_init: %s\n", m->name, th_error_name(r));
    else if (m->start && (r = m->start(host->self)) < 0)
        fprintf(stderr, "%s: start: %s\n", m->name, th_error_name(r));
    return r;
}

static void drop(struct testhost *host)
{
    th_tokens_forget(host);
    th_config_free(host->owned);
    th_forms_free(host);
    th_text_free(&host->signals);
    th_text_free(&host->injected);
    th_text_free(&host->events);
    th_text_free(&host->out[0]);
    th_text_free(&host->out[1]);
    th_text_free(&host->head);
    th_text_free(&host->target);
    pthread_mutex_destroy(&host->lock);
    pthread_cond_destroy(&host->resumed);
    free(host);
}

struct testhost *testhost_new(const struct soth_module *module, const char *const *config, void (*fill)(void *self))
{
    struct testhost *host = calloc(1, sizeof *host + module->self_size);
    if (!host)
        return NULL;
    memcpy(&host->module, module, module->size < sizeof host->module ? module->size : sizeof host->module);
    testhost_wanted(host, UINT64_MAX, UINT64_MAX);
    pthread_mutex_init(&host->lock, NULL);
    pthread_cond_init(&host->resumed, NULL);
    if (module->magic != SOTH_MAGIC || module->abi_major != SOTH_ABI_MAJOR) {
        fprintf(stderr, "testhost: this is no module of ABI %d\n", SOTH_ABI_MAJOR);
        drop(host);
        return NULL;
    }
    int r = th_config_fill(host->module.options, config, host->self, &host->owned);
    if (r == SOTH_OK && fill)
        fill(host->self);
    if (r == SOTH_OK)
        r = set_up(host);
    if (r >= 0)
        return host;
    if (host->running && host->module.destroy)
        host->module.destroy(host->self);
    drop(host);
    return NULL;
}

unsigned testhost_free(struct testhost *host)
{
    if (!host)
        return 1;
    if (host->module.stop)
        host->module.stop(host->self);
    if (host->module.worker_fini)
        host->module.worker_fini(host->self, 0);
    if (host->module.destroy)
        host->module.destroy(host->self);
    for (unsigned i = 0; i < TOKENS_MOST; i++)
        if (host->promises[i].state == TOKEN_GIVEN || host->promises[i].state == TOKEN_RESUMED)
            th_fault(host, "a token was left behind");
    unsigned faults = atomic_load(&host->faults);
    drop(host);
    return faults;
}

void *testhost_self(struct testhost *host)
{
    return host->self;
}

unsigned testhost_faults(const struct testhost *host)
{
    return atomic_load(&host->faults);
}

void testhost_expect(struct testhost *host, int condition, const char *what)
{
    if (!condition)
        th_fault(host, "expected: %s", what);
}
