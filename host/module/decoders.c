/* SPDX-License-Identifier: MPL-2.0 */
/* Decoder instances for the chains, and what becomes of those that fail: told once, and after too many failures in a row left alone. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/log.h"
#include "host/module/breaker.h"
#include "host/module/instance.h"
#include "host/module/mailbox.h"
#include "host/module/registry.h"

/* on_overflow, an option that every decoder has that knows limits: whether it is `close`. -1: it has none. */
static int closes_on_overflow(const struct instance *instance)
{
    for (const struct soth_opt *o = instance->module.options; o && o->key; o++) {
        if (strcmp(o->key, "on_overflow") != 0 || o->type != SOTH_OPT_T_ENUM)
            continue;
        uint32_t chosen;
        const char *choice = o->choices;
        memcpy(&chosen, (const char *)instance->self + o->offset, sizeof chosen);
        while (chosen-- > 0 && (choice = strchr(choice, '|')))
            choice++;
        return choice && strncmp(choice, "close", strcspn(choice, "|")) == 0 && strcspn(choice, "|") == 5;
    }
    return -1;
}

int decoders_make(struct registry *registry)
{
    size_t n = 0;
    for (size_t i = 0; i < registry->n; i++)
        n += registry->v[i]->module.kind == SOTH_KIND_DECODER;
    if (n > 0 && !(registry->decoders = calloc(n, sizeof *registry->decoders)))
        return -SOTH_ENOMEM;
    for (size_t i = 0; i < registry->n; i++) {
        struct instance *instance = registry->v[i];
        if (instance->module.kind != SOTH_KIND_DECODER)
            continue;
        if (instance->module.instance_mode)
            instance->module.mode = instance->module.instance_mode(instance->self) == SOTH_TRANSFORM ? SOTH_TRANSFORM : SOTH_TAP;
        struct decoder *decoder = &registry->decoders[registry->decoder_count++];
        decoder->module = &instance->module;
        decoder->self = instance->self;
        decoder->name = instance->conf->name;
        decoder->site = instance->site;
        decoder->position = (unsigned)i;
        decoder->closed = instance->closed_on_error;
        decoder->closes_on_overflow = closes_on_overflow(instance) > 0;
    }
    return SOTH_OK;
}

void decoders_warn(const struct registry *registry)
{
    char names[256];
    size_t n = 0;
    for (size_t i = 0; i < registry->decoder_count; i++) {
        const struct decoder *decoder = &registry->decoders[i];
        bool passes = !decoder->closed && closes_on_overflow(instance_of(decoder->self)) == 0;
        if (decoder->module->stage == SOTH_STAGE_FRAME && passes && n < sizeof names)
            n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "", decoder->name);
    }
    if (n > 0 && (registry->hooks & SOTH_HOOK_FRAME))
        log_at(SOTH_LOG_WARN, "a policy judges frames: what is beyond the limits of %s passes without its verdict; on_overflow: close in their config "
               "ends the exchange instead", names);
}

static void failed(struct decoder *decoder, const char *hook, const char *code)
{
    breaker_failed(instance_of(decoder->self), hook, code);
}

static void fault(struct decoder *decoder, const char *hook, const char *what)
{
    log_at(SOTH_LOG_ERROR, "%s: %s (hook %s)", decoder->name, what, hook);
    breaker_tell(instance_of(decoder->self), hook, what);
}

static bool is_out(const struct decoder *decoder)
{
    return breaker_is_open(instance_of(decoder->self));
}

static void went_well(struct decoder *decoder)
{
    breaker_good(instance_of(decoder->self));
}

static enum ask_result ask(void *policy, struct soth_flow *flow, struct ask *question, const struct question *q)
{
    return registry_ask(policy, flow, question, q);
}

static void forget(void *policy, struct soth_flow *flow, struct ask *question)
{
    registry_forget(policy, flow, question);
}

static void stale(struct soth_flow *flow, const struct soth_token *token)
{
    mailbox_forget(flow->mailbox, flow->slot, token->pause);
}

void registry_chain_env(struct registry *registry, struct chain_env *out)
{
    *out = (struct chain_env){
        .decoders = registry->decoders,
        .count = registry->decoder_count,
        .gated = (registry->hooks & SOTH_HOOK_FRAME) != 0,
        .policy = registry,
        .ask = ask,
        .forget = forget,
        .stale = stale,
        .is_out = is_out,
        .failed = failed,
        .went_well = went_well,
        .fault = fault,
    };
}

/* ---- what went through them ---- */

struct column {
    const char *name, *help;
    size_t offset;
};

static const struct column columns[] = {
    {"calls", "calls of data", offsetof(struct decoder_counts, calls)},
    {"bytes_in", "bytes looked at", offsetof(struct decoder_counts, bytes_in)},
    {"bytes_out", "bytes passed or put", offsetof(struct decoder_counts, bytes_out)},
    {"failures", "times that it was detached or closed its message", offsetof(struct decoder_counts, failures)},
    {"faults", "times that it broke its contract without harm", offsetof(struct decoder_counts, faults)},
};

void registry_print_decoders(const struct registry *registry, FILE *out)
{
    for (size_t k = 0; registry->decoder_count > 0 && k < sizeof columns / sizeof *columns; k++) {
        fprintf(out, "# HELP soth_decoder_%s_total %s\n# TYPE soth_decoder_%s_total counter\n", columns[k].name, columns[k].help, columns[k].name);
        for (size_t i = 0; i < registry->decoder_count; i++) {
            const struct decoder *decoder = &registry->decoders[i];
            const atomic_uint_fast64_t *value = (const void *)((const char *)&decoder->counts + columns[k].offset);
            fprintf(out, "soth_decoder_%s_total{instance=\"%s\",module=\"%s\",stage=\"%s\"} %" PRIuFAST64 "\n", columns[k].name, decoder->name,
                    decoder->module->name, decoder_stage_name(decoder->module->stage), atomic_load_explicit(value, memory_order_relaxed));
        }
    }
}
