/* SPDX-License-Identifier: MPL-2.0 */
/* The services of soth/sdk.h's struct soth_host, as modules call them. `self` leads to the instance: it is a part of it. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/event/bus.h"
#include "host/log.h"
#include "host/module/instance.h"

static void api_log(void *self, int level, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log_at(level, "%s: %s", instance_of(self)->conf->name, text);
}

static int api_cfg_err(void *self, const char *key, const char *format, ...)
{
    struct instance *instance = instance_of(self);
    char text[1024], path[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(path, sizeof path, "config.%s", key);
    instance->told++;
    if (instance->errors)
        options_error(instance->conf->document, path, instance->errors, text);
    return -SOTH_ECONFIG;
}

static uint64_t api_monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static const char *api_name(void *self)
{
    return instance_of(self)->conf->name;
}

static bool same_text(const char *a, const char *b)
{
    return (!a && !b) || (a && b && strcmp(a, b) == 0);
}

static struct counter *counter_new(const char *name, const char *label, const char *help)
{
    struct counter *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->name = strdup(name);
    c->label = label ? strdup(label) : NULL;
    c->help = help;
    c->is_first = true;
    if (c->name && (!label || c->label))
        return c;
    free(c->name);
    free(c->label);
    free(c);
    return NULL;
}

static int api_counter(void *self, const char *name, const char *label, const char *help)
{
    struct instance *instance = instance_of(self);
    bool is_first = true;
    for (int i = 0; i < instance->counter_count; i++) {
        const struct counter *have = instance->counters[i];
        bool same_name = strcmp(have->name, name) == 0;
        if (same_name && same_text(have->label, label))
            return i;
        is_first = is_first && !same_name;
    }
    struct counter **bigger = realloc(instance->counters, ((size_t)instance->counter_count + 1) * sizeof *bigger);
    if (bigger)
        instance->counters = bigger;
    struct counter *c = bigger ? counter_new(name, label, help) : NULL;
    if (!c)
        return -SOTH_ENOMEM;
    c->is_first = is_first;
    instance->counters[instance->counter_count] = c;
    return instance->counter_count++;
}

static void api_count(void *self, int counter, uint64_t amount)
{
    struct instance *instance = instance_of(self);
    if (counter >= 0 && counter < instance->counter_count)
        atomic_fetch_add_explicit(&instance->counters[counter]->value, amount, memory_order_relaxed);
}

static void api_hold_flows(void *self, int on)
{
    instance_hold(instance_of(self), HOLD_WISH, on != 0);
}

const struct soth_host hostapi = {
    .size = sizeof hostapi,
    .abi_minor = SOTH_ABI_MINOR,
    .log = api_log,
    .cfg_err = api_cfg_err,
    .monotonic_ns = api_monotonic_ns,
    .name = api_name,
    .counter = api_counter,
    .count = api_count,
    .hold_flows = api_hold_flows,
    .stream_key = event_stream_key,
    .signal = api_signal,
};
