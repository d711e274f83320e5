/* SPDX-License-Identifier: MPL-2.0 */
#include "fake_host.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/event/bus.h"

struct fake_host fake;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void add(char *to, size_t size, const char *first, const char *format, va_list args)
{
    size_t n = strlen(to);
    n += (size_t)snprintf(to + n, size - n, "%s", first);
    if (n < size)
        n += (size_t)vsnprintf(to + n, size - n, format, args);
    if (n < size)
        snprintf(to + n, size - n, "\n");
}

static void fake_log(void *self, int level, const char *format, ...)
{
    static const char *const levels[] = {"error ", "warn ", "info ", "debug "};
    va_list args;
    (void)self;
    va_start(args, format);
    pthread_mutex_lock(&lock);
    add(fake.log, sizeof fake.log, levels[level & 3], format, args);
    pthread_mutex_unlock(&lock);
    va_end(args);
}

static int fake_cfg_err(void *self, const char *key, const char *format, ...)
{
    char first[128];
    va_list args;
    (void)self;
    snprintf(first, sizeof first, "%s: ", key);
    va_start(args, format);
    add(fake.wrong, sizeof fake.wrong, first, format, args);
    va_end(args);
    return -SOTH_ECONFIG;
}

static uint64_t fake_monotonic_ns(void)
{
    return fake.now_ns;
}

static const char *fake_name(void *self)
{
    (void)self;
    return "fake";
}

static int fake_counter(void *self, const char *name, const char *label, const char *help)
{
    char full[80];
    (void)self;
    (void)help;
    snprintf(full, sizeof full, label ? "%s{%s}" : "%s", name, label);
    for (int i = 0; i < fake.counters; i++)
        if (strcmp(fake.names[i], full) == 0)
            return i;
    if (fake.counters == FAKE_COUNTERS)
        return -SOTH_ENOMEM;
    memcpy(fake.names[fake.counters], full, sizeof full);
    return fake.counters++;
}

static void fake_add(void *self, int counter, uint64_t amount)
{
    (void)self;
    pthread_mutex_lock(&lock);
    if (counter >= 0 && counter < fake.counters)
        fake.values[counter] += amount;
    pthread_mutex_unlock(&lock);
}

static void fake_hold(void *self, int on)
{
    (void)self;
    fake.held += on ? 1 : -1;
}

static void fake_set(void *self, int gauge, uint64_t value)
{
    (void)self;
    pthread_mutex_lock(&lock);
    if (gauge >= 0 && gauge < fake.counters)
        fake.values[gauge] = value;
    pthread_mutex_unlock(&lock);
}

static int fake_emit(void *self, struct soth_flow *flow, uint32_t kind, const struct soth_attr *attrs, size_t n)
{
    struct soth_attr proper[EVENT_ATTRS_MOST];
    unsigned left_out = 0;
    (void)self, (void)flow;
    int count = event_attrs_check(kind, attrs, n, proper, &left_out);
    if (count < 0 || left_out)
        abort(); /* the kind does not have it */
    pthread_mutex_lock(&lock);
    size_t at = strlen(fake.events), size = sizeof fake.events;
    at += (size_t)snprintf(fake.events + at, size - at, "%s", event_kind_name(kind));
    for (int i = 0; i < count && at < size; i++)
        if ((proper[i].type & 3u) == SOTH_ATTR_U64)
            at += (size_t)snprintf(fake.events + at, size - at, " %s=%llu", proper[i].name, (unsigned long long)proper[i].number);
        else
            at += (size_t)snprintf(fake.events + at, size - at, " %s=%.*s", proper[i].name, SOTH_SPAN(proper[i].text));
    if (at < size)
        snprintf(fake.events + at, size - at, "\n");
    pthread_mutex_unlock(&lock);
    return SOTH_OK;
}

int fake_emitted(const char *text)
{
    pthread_mutex_lock(&lock);
    int yes = strstr(fake.events, text) != NULL;
    pthread_mutex_unlock(&lock);
    return yes;
}

static struct {
    const char *key;
    uint64_t value;
} settings[8];
static unsigned setting_count;

static int fake_get_setting(void *self, const char *key, uint64_t *value)
{
    (void)self;
    for (unsigned i = 0; i < setting_count; i++)
        if (strcmp(settings[i].key, key) == 0) {
            *value = settings[i].value;
            return SOTH_OK;
        }
    return -SOTH_ENOENT;
}

void fake_setting(const char *key, uint64_t value)
{
    unsigned i = 0;
    while (i < setting_count && strcmp(settings[i].key, key) != 0)
        i++;
    if (i == sizeof settings / sizeof *settings)
        abort();
    settings[i].key = key;
    settings[i].value = value;
    setting_count += i == setting_count;
}

static uint64_t fake_payload(void *self)
{
    (void)self;
    return UINT64_MAX;
}

const struct soth_host fake_api = {
    .size = sizeof fake_api,
    .abi_minor = SOTH_ABI_MINOR,
    .log = fake_log,
    .cfg_err = fake_cfg_err,
    .monotonic_ns = fake_monotonic_ns,
    .name = fake_name,
    .counter = fake_counter,
    .count = fake_add,
    .hold_flows = fake_hold,
    .stream_key = event_stream_key,
    .gauge = fake_counter,
    .set = fake_set,
    .emit = fake_emit,
    .setting = fake_get_setting,
    .payload = fake_payload,
};

void fake_reset(void)
{
    memset(&fake, 0, sizeof fake);
    fake.now_ns = UINT64_C(1000000000000);
}

int fake_open_on(struct fake_instance *instance, const struct soth_module *module, const struct soth_host *host, const char *config)
{
    char *said = NULL;
    size_t size = 0;
    FILE *errors = open_memstream(&said, &size);
    *instance = (struct fake_instance){.module = module, .self = calloc(1, module->self_size)};
    if (!errors || !instance->self)
        abort();
    instance->yaml = conf_file_from_text("config", config, errors);
    int wrong = !instance->yaml;
    if (!wrong)
        wrong = options_fill(module->options, conf_file_document(instance->yaml, 0), instance->self, &instance->owned, errors, "");
    fclose(errors);
    snprintf(fake.wrong, sizeof fake.wrong, "%s", said);
    free(said);
    if (wrong)
        return -SOTH_ECONFIG;
    int r = module->check ? module->check(host, instance->self) : SOTH_OK;
    if (r == SOTH_OK && module->create)
        r = module->create(host, instance->self);
    instance->created = r == SOTH_OK;
    return r;
}

int fake_open(struct fake_instance *instance, const struct soth_module *module, const char *config)
{
    return fake_open_on(instance, module, &fake_api, config);
}

void fake_close(struct fake_instance *instance)
{
    if (instance->created && instance->module->destroy)
        instance->module->destroy(instance->self);
    options_fini(instance->owned);
    conf_file_free(instance->yaml);
    free(instance->self);
    memset(instance, 0, sizeof *instance);
}

uint64_t fake_count(const char *name)
{
    uint64_t value = 0;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < fake.counters; i++)
        if (strcmp(fake.names[i], name) == 0)
            value = fake.values[i];
    pthread_mutex_unlock(&lock);
    return value;
}

/* ---- events ---- */

static uint64_t next_sequence = 1;

struct soth_event *fake_event(unsigned kind, uint64_t flow_id, const struct soth_attr *attrs)
{
    static struct soth_event events[FAKE_EVENTS];
    static struct soth_attr copies[FAKE_EVENTS][16];
    uint64_t number = next_sequence++, slot = number % FAKE_EVENTS;
    uint32_t n = 0;
    for (; attrs[n].name && n < 16; n++)
        copies[slot][n] = attrs[n];
    events[slot] = (struct soth_event){
        .size = sizeof events[slot],
        .kind = (uint16_t)kind,
        .protocol = SOTH_PROTO_HTTP1,
        .sequence_id = number,
        .flow_id = flow_id,
        .flow_sequence_id = 1,
        .monotonic_ns = fake.now_ns,
        .unix_ms = 1700000000000,
        .kind_name = event_kind_name(kind),
        .protocol_name = "http1",
        .run_id = soth_span("0123456789abcdef0123456789abcdef"),
        .client_addr = soth_span("127.0.0.1:4711"),
        .server_host = soth_span("example.com"),
        .server_port = 443,
        .attr_count = n,
        .attrs = copies[slot],
    };
    return &events[slot];
}

int fake_write(struct fake_instance *instance, struct soth_event *const *events, uint32_t n, uint32_t *done, uint32_t *retry_ms)
{
    const struct soth_event *list[FAKE_EVENTS];
    struct soth_batch batch = {sizeof batch, n, list, 0, instance->waiting};
    for (uint32_t i = 0; i < n; i++)
        list[i] = events[i];
    *done = *retry_ms = 0;
    return instance->module->write(instance->self, &batch, done, retry_ms);
}
