/* SPDX-License-Identifier: MPL-2.0 */
/* The services of soth/sdk.h's struct soth_host, as modules call them. `self` leads to the instance: it is a part of it. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/chain/chain.h"
#include "host/event/bus.h"
#include "host/http/mask.h"
#include "host/log.h"
#include "host/module/hostapi.h"
#include "host/module/instance.h"
#include "host/module/mailbox.h"

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

static void api_hold_flows(void *self, int on)
{
    instance_hold(instance_of(self), HOLD_WISH, on != 0);
}

static void api_ack(void *self, uint64_t sequence_id)
{
    struct instance *instance = instance_of(self);
    if (instance->registry->bus) /* nothing was offered without one */
        bus_ack(instance->registry->bus, instance, sequence_id);
}

/* From the same table that fills them. */
static int api_setting(void *self, const char *key, uint64_t *value)
{
    const char *base = (const char *)&instance_of(self)->registry->settings;
    for (const struct soth_opt *o = settings_options; o->key; o++) {
        if (strcmp(o->key, key) != 0)
            continue;
        const void *at = base + o->offset;
        switch (o->type) {
        case SOTH_OPT_T_BOOL:
            *value = *(const uint8_t *)at;
            return SOTH_OK;
        case SOTH_OPT_T_ENUM:
            *value = *(const uint32_t *)at;
            return SOTH_OK;
        case SOTH_OPT_T_INT:
        case SOTH_OPT_T_SIZE:
        case SOTH_OPT_T_DURATION:
            *value = *(const uint64_t *)at;
            return SOTH_OK;
        default:
            break;
        }
    }
    return -SOTH_ENOENT;
}

_Static_assert(sizeof(struct mask) <= sizeof(struct soth_redaction), "a redaction has room for it");

static void api_redact(void *self, struct soth_redaction *redaction, char *p, size_t n)
{
    const struct soth_strings *keys = &instance_of(self)->registry->settings.redact_keys;
    if (keys->n > 0)
        mask_values((struct mask *)(void *)redaction, keys, p, n);
}

static uint64_t api_payload(void *self)
{
    return instance_of(self)->conf->payload_bytes;
}

const struct soth_host hostapi = {
    .size = sizeof hostapi,
    .abi_minor = SOTH_ABI_MINOR,
    .log = api_log,
    .cfg_err = api_cfg_err,
    .monotonic_ns = api_monotonic_ns,
    .name = api_name,
    .counter = metrics_counter,
    .count = metrics_count,
    .hold_flows = api_hold_flows,
    .stream_key = event_stream_key,
    .token = api_token,
    .resume = mailbox_post,
    .resumed = api_resumed,
    .flow_id = api_flow_id,
    .flow_state = api_flow_state,
    .emit = api_emit,
    .wanted = api_wanted,
    .protocol = api_protocol, .fail = chain_fail, .unix_ms = api_unix_ms, .ended = api_ended, .inject = chain_inject, .between = chain_between,
    .hdr_get = api_hdr_get,
    .hdr_set = api_hdr_set,
    .hdr_add = api_hdr_add,
    .hdr_del = api_hdr_del,
    .set_target = api_set_target,
    .pass = cursor_pass,
    .drop = cursor_drop,
    .put = cursor_put,
    .frame = chain_frame,
    .timer = chain_set_timer,
    .gauge = metrics_gauge,
    .histogram = metrics_histogram,
    .set = metrics_set,
    .observe = metrics_observe,
    .ack = api_ack,
    .signal = api_signal,
    .setting = api_setting,
    .redact = api_redact,
    .payload_most = api_payload_most,
    .payload = api_payload,
    .form = api_form,
    .emit_form = api_emit_form,
    .flow_ns = api_flow_ns,
};
