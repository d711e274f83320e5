/* SPDX-License-Identifier: MPL-2.0 */
/* See signals.h. What comes here is normalised already (registry_life.c). */
#include "host/net/signals.h"

#include <string.h>
#include <time.h>

#include "host/event/lesson.h"
#include "host/module/registry.h"

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static enum tls_reason reason_of(const char *word)
{
    enum tls_reason reason = TLS_REASON_UNKNOWN_CA;
    while (reason < TLS_REASON_OTHER && strcmp(tls_reason_name(reason), word) != 0)
        reason++;
    return reason;
}

static uint16_t port_of(const struct soth_signal *signal)
{
    return (uint16_t)(signal->port <= 65535 ? signal->port : 0);
}

static struct soth_attr number_if(bool there, struct soth_attr attr)
{
    return there ? attr : (struct soth_attr){"", {NULL, 0}, 0, SOTH_ATTR_TEXT, 0};
}

/* A handshake that began or succeeded. */
static void heard_other(struct shared *shared, const struct soth_signal *signal)
{
    unsigned kind = signal->phase == SOTH_TLS_STARTED ? SOTH_EV_TLS_HANDSHAKE_STARTED : SOTH_EV_TLS_HANDSHAKE_SUCCEEDED;
    struct soth_attr attrs[] = {ATTR_WORD("peer", signal->peer), ATTR_WORD("tls_ops_provider", signal->provider)};
    bus_emit_outside(shared->bus, signal->client, signal->host, port_of(signal), kind, attrs, sizeof attrs / sizeof *attrs);
}

void signals_heard(void *arg, const struct soth_signal *signal)
{
    struct shared *shared = arg;
    if (signal->phase != SOTH_TLS_FAILED) {
        heard_other(shared, signal);
        return;
    }
    struct tls_failure_counts counts = {0};
    tls_failure_stats_add(shared->failures, signal->host, reason_of(signal->reason), now_ns(), &counts);
    bool down = strcmp(signal->peer, "downstream") == 0, taught = signal->lesson->reason_code != NULL;
    uint16_t port = port_of(signal);
    struct soth_attr attrs[] = {
        ATTR_BYTES("detail", signal->detail),
        ATTR_WORD("normalized_reason", signal->reason),
        ATTR_WORD("peer", signal->peer),
        ATTR_WORD("peer_rejected_ca", down ? signal->rejected_ca : NULL),
        ATTR_BYTES("provider_identity", signal->identity),
        ATTR_BYTES("raw_provider_error", signal->raw_error),
        ATTR_WORD("source_confidence", signal->authoritative ? "authoritative" : "inferred"),
        number_if(signal->alert != UINT32_MAX, ATTR_NUMBER("tls_alert", signal->alert)),
        ATTR_NUMBER("tls_failure_global_count", counts.global),
        ATTR_NUMBER("tls_failure_host_count", counts.host),
        ATTR_NUMBER("tls_failure_host_rolling_count", counts.host_rolling),
        ATTR_WORD("tls_failure_reason", signal->reason),
        ATTR_NUMBER("tls_failure_reason_count", counts.reason),
        ATTR_WORD("tls_failure_source", signal->source),
        ATTR_NUMBER("tls_failure_source_count", counts.source),
        ATTR_WORD("tls_learning_decision", taught ? lesson_decision(signal->lesson) : NULL),
        ATTR_WORD("tls_learning_reason_code", signal->lesson->reason_code),
        ATTR_WORD("tls_ops_provider", signal->provider),
        number_if(signal->verify_code != 0, ATTR_NUMBER("tls_verify_code", signal->verify_code)),
    };
    bus_emit_outside(shared->bus, signal->client, signal->host, port, SOTH_EV_TLS_HANDSHAKE_FAILED, attrs, sizeof attrs / sizeof *attrs);
    if (!taught)
        return;
    struct soth_attr audit[LESSON_ATTRS];
    lesson_audit(signal, audit);
    bus_emit_outside(shared->bus, signal->client, signal->host, port, SOTH_EV_TLS_LEARNING_AUDIT, audit, LESSON_ATTRS);
}
