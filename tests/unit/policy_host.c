/* SPDX-License-Identifier: MPL-2.0 */
#include "policy_host.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

/* The module under test. */
extern const struct soth_module soth_mitm_module;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t resumed = PTHREAD_COND_INITIALIZER;
static struct {
    uint64_t last_flow, last_pause;
    struct soth_flow *flows[1024]; /* by slot */
} host;
static const struct fake_instance *opening;

_Atomic uint64_t policy_clock_skew_ns;
int policy_no_token;

/* ---- services ---- */

static int host_cfg_err(void *self, const char *key, const char *format, ...)
{
    char text[1024] = "", *said = NULL;
    size_t size = 0;
    va_list args;
    (void)self;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    FILE *out = open_memstream(&said, &size);
    options_error(conf_file_document(opening->yaml, 0), key, out, text);
    fclose(out);
    size_t n = strlen(fake.wrong);
    snprintf(fake.wrong + n, sizeof fake.wrong - n, "%s", said);
    free(said);
    return -SOTH_ECONFIG;
}

static uint64_t host_monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec + policy_clock_skew_ns;
}

/* ---- pauses ---- */

static struct soth_token host_token(void *self, struct soth_flow *flow, uint32_t deadline_ms, uint32_t on_timeout)
{
    (void)self;
    if (policy_no_token)
        return (struct soth_token){0, 0, 0};
    pthread_mutex_lock(&lock);
    flow->token = (struct soth_token){(uint32_t)(flow->id % 1024), 1, ++host.last_pause};
    flow->deadline_ms = deadline_ms;
    flow->on_timeout = on_timeout;
    host.flows[flow->token.slot] = flow;
    pthread_mutex_unlock(&lock);
    return flow->token;
}

static int host_resume(struct soth_token token, uint64_t arg)
{
    pthread_mutex_lock(&lock);
    struct soth_flow *flow = host.flows[token.slot];
    int stale = !flow || flow->token.pause != token.pause || flow->state == FLOW_RESUMED;
    if (!stale) {
        flow->state = FLOW_RESUMED;
        flow->arg = arg;
        pthread_cond_broadcast(&resumed);
    }
    pthread_mutex_unlock(&lock);
    return stale ? -SOTH_ESTALE : SOTH_OK;
}

static int host_resumed(struct soth_flow *flow, uint64_t *arg)
{
    pthread_mutex_lock(&lock);
    int yes = flow->state == FLOW_RESUMED;
    if (yes)
        *arg = flow->arg;
    pthread_mutex_unlock(&lock);
    return yes;
}

static uint64_t host_flow_id(const struct soth_flow *flow)
{
    return flow->id;
}

/* ---- heads ---- */

static unsigned find(const struct soth_flow *flow, const char *name, uint32_t nth)
{
    unsigned i = 0;
    for (; i < flow->field_count; i++)
        if (strcasecmp(flow->fields[i].name, name) == 0 && nth-- == 0)
            break;
    return i;
}

static int refuses(const char *name, struct soth_span value)
{
    if (strcasecmp(name, "host") == 0 || strcasecmp(name, "content-length") == 0 || strcasecmp(name, "transfer-encoding") == 0)
        return -SOTH_EPERM;
    return memchr(value.p, '\n', value.n) || !*name ? -SOTH_EINVALID : SOTH_OK;
}

static struct soth_span host_hdr_get(struct soth_flow *flow, const char *name, uint32_t nth)
{
    unsigned i = find(flow, name, nth);
    return i < flow->field_count ? soth_span(flow->fields[i].value) : (struct soth_span){NULL, 0};
}

static int host_hdr_add(struct soth_flow *flow, const char *name, struct soth_span value)
{
    int r = refuses(name, value);
    if (r < 0)
        return r;
    if (flow->field_count == FLOW_FIELDS)
        return -SOTH_ENOMEM;
    snprintf(flow->fields[flow->field_count].name, sizeof flow->fields[0].name, "%s", name);
    snprintf(flow->fields[flow->field_count].value, sizeof flow->fields[0].value, "%.*s", SOTH_SPAN(value));
    flow->field_count++;
    return SOTH_OK;
}

static int host_hdr_del(struct soth_flow *flow, const char *name)
{
    int n = 0;
    for (unsigned i; (i = find(flow, name, 0)) < flow->field_count; n++) {
        memmove(&flow->fields[i], &flow->fields[i + 1], (flow->field_count - i - 1) * sizeof flow->fields[0]);
        flow->field_count--;
    }
    return n;
}

static int host_hdr_set(struct soth_flow *flow, const char *name, struct soth_span value)
{
    int r = refuses(name, value);
    if (r == SOTH_OK)
        host_hdr_del(flow, name);
    return r < 0 ? r : host_hdr_add(flow, name, value);
}

static int host_set_target(struct soth_flow *flow, struct soth_span name, uint32_t port, struct soth_span path)
{
    flow->targets++;
    if (name.n)
        snprintf(flow->host, sizeof flow->host, "%.*s", SOTH_SPAN(name));
    if (port)
        flow->port = port;
    if (path.n)
        snprintf(flow->path, sizeof flow->path, "%.*s", SOTH_SPAN(path));
    return SOTH_OK;
}

struct soth_host policy_host;

int policy_open(struct fake_instance *policy, const char *config)
{
    policy_host = fake_api;
    policy_host.cfg_err = host_cfg_err;
    policy_host.monotonic_ns = host_monotonic_ns;
    policy_host.token = host_token;
    policy_host.resume = host_resume;
    policy_host.resumed = host_resumed;
    policy_host.flow_id = host_flow_id;
    policy_host.hdr_get = host_hdr_get;
    policy_host.hdr_set = host_hdr_set;
    policy_host.hdr_add = host_hdr_add;
    policy_host.hdr_del = host_hdr_del;
    policy_host.set_target = host_set_target;
    opening = policy;
    fake_reset();
    return fake_open_on(policy, &soth_mitm_module, &policy_host, config);
}

unsigned policy_log_count(const char *text)
{
    unsigned n = 0;
    for (const char *at = fake.log; (at = strstr(at, text)); at++)
        n++;
    return n;
}

/* ---- flows ---- */

struct soth_flow *policy_flow_new(void)
{
    struct soth_flow *flow = calloc(1, sizeof *flow);
    if (!flow)
        abort();
    pthread_mutex_lock(&lock);
    flow->id = ++host.last_flow;
    pthread_mutex_unlock(&lock);
    return flow;
}

static void forget(struct soth_flow *flow)
{
    pthread_mutex_lock(&lock);
    if (host.flows[flow->token.slot] == flow)
        host.flows[flow->token.slot] = NULL;
    flow->state = FLOW_RUNS;
    pthread_mutex_unlock(&lock);
}

void policy_flow_free(struct soth_flow *flow)
{
    forget(flow);
    free(flow);
}

void policy_flow_cancel(struct fake_instance *policy, struct soth_flow *flow)
{
    struct soth_token token = flow->token;
    forget(flow);
    policy->module->cancel(policy->self, token);
}

/* What the hook has said: a pause is waited for, anything else ends what was resumed. */
static int said(struct soth_flow *flow, int verdict, int again)
{
    pthread_mutex_lock(&lock);
    if (again)
        flow->state = FLOW_RUNS;
    if (verdict == SOTH_PAUSE && flow->state == FLOW_RUNS)
        flow->state = FLOW_PAUSED;
    pthread_mutex_unlock(&lock);
    return verdict;
}

int ask_connect(struct fake_instance *policy, struct soth_flow *flow, const struct soth_connect *connect, struct soth_decision *out)
{
    int again = flow->state == FLOW_RESUMED;
    *out = (struct soth_decision){.size = sizeof *out};
    return said(flow, policy->module->connect(policy->self, flow, connect, out), again);
}

int ask_request(struct fake_instance *policy, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out)
{
    int again = flow->state == FLOW_RESUMED;
    *out = (struct soth_decision){.size = sizeof *out};
    return said(flow, policy->module->request(policy->self, flow, request, out), again);
}

int ask_rewrite(struct fake_instance *policy, struct soth_flow *flow, const struct soth_message *message)
{
    return policy->module->rewrite(policy->self, flow, message);
}

void policy_flow_wait(struct soth_flow *flow)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 60;
    pthread_mutex_lock(&lock);
    while (flow->state != FLOW_RESUMED)
        if (pthread_cond_timedwait(&resumed, &lock, &end) != 0)
            abort(); /* nobody resumes it */
    pthread_mutex_unlock(&lock);
}

int answer_connect(struct fake_instance *policy, struct soth_flow *flow, const struct soth_connect *connect, struct soth_decision *out)
{
    int r;
    while ((r = ask_connect(policy, flow, connect, out)) == SOTH_PAUSE)
        policy_flow_wait(flow);
    return r;
}

int answer_request(struct fake_instance *policy, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out)
{
    int r;
    while ((r = ask_request(policy, flow, request, out)) == SOTH_PAUSE)
        policy_flow_wait(flow);
    return r;
}

void policy_flow_field(struct soth_flow *flow, const char *name, const char *value)
{
    host_hdr_add(flow, name, soth_span(value));
}

const char *policy_flow_fields(const struct soth_flow *flow)
{
    static char text[FLOW_FIELDS * sizeof flow->fields[0] + 1];
    size_t n = 0;
    text[0] = 0;
    for (unsigned i = 0; i < flow->field_count; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s: %s\n", flow->fields[i].name, flow->fields[i].value);
    return text;
}
