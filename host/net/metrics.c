/* SPDX-License-Identifier: MPL-2.0 */
/* See metrics.h: counters of the workers are summed, sinks and modules add theirs. */
#include "host/net/metrics.h"

#include <inttypes.h>

#include "host/event/bus.h"
#include "host/module/mailbox.h"
#include "host/module/registry.h"
#include "host/net/workers.h"
#include "host/tls/authority.h"

static void line(FILE *out, const char *type, const char *name, const char *help, uint64_t value)
{
    fprintf(out, "# HELP soth_%s %s\n# TYPE soth_%s %s\nsoth_%s %" PRIu64 "\n", name, help, name, type, name, value);
}

static void print_decisions(FILE *out, const struct flow_counters *sum)
{
    static const char *const actions[] = {"intercept", "tunnel", "block"};
    fprintf(out, "# HELP soth_decisions_total connect decisions by action\n# TYPE soth_decisions_total counter\n");
    for (unsigned i = 0; i < 3; i++)
        fprintf(out, "soth_decisions_total{action=\"%s\"} %" PRIu64 "\n", actions[i], sum->decisions[i]);
    fprintf(out, "# HELP soth_flows_closed_total flows by reason_code\n# TYPE soth_flows_closed_total counter\n");
    for (unsigned i = 1; i < CLOSE_CODE_COUNT; i++)
        fprintf(out, "soth_flows_closed_total{reason_code=\"%s\"} %" PRIu64 "\n", close_code_name((enum close_code)i), sum->closed[i]);
}

static void print_sinks(FILE *out, struct bus *bus)
{
    struct bus_sink_stats sinks[64];
    size_t n = bus_stats(bus, sinks, sizeof sinks / sizeof *sinks);
    fprintf(out, "# HELP soth_sink_events_total events by sink and fate\n# TYPE soth_sink_events_total counter\n");
    for (size_t i = 0; i < n; i++) {
        fprintf(out, "soth_sink_events_total{sink=\"%s\",fate=\"written\"} %" PRIu64 "\n", sinks[i].name, sinks[i].written);
        fprintf(out, "soth_sink_events_total{sink=\"%s\",fate=\"lost\"} %" PRIu64 "\n", sinks[i].name, sinks[i].lost);
    }
    fprintf(out, "# HELP soth_sink_queue_events events waiting for a sink\n# TYPE soth_sink_queue_events gauge\n");
    for (size_t i = 0; i < n; i++)
        fprintf(out, "soth_sink_queue_events{sink=\"%s\"} %" PRIu64 "\n", sinks[i].name, sinks[i].queued_events);
}

static void print_generations(FILE *out, const struct server_state *state)
{
    fprintf(out, "# HELP soth_config_reloads_total SIGHUPs by outcome\n# TYPE soth_config_reloads_total counter\n");
    fprintf(out, "soth_config_reloads_total{outcome=\"applied\"} %" PRIu64 "\n", state->reloads);
    fprintf(out, "soth_config_reloads_total{outcome=\"refused\"} %" PRIu64 "\n", state->refused_reloads);
    line(out, "gauge", "config_generation", "number of the configuration that new connections get", state->current->number);
    line(out, "gauge", "config_generations", "configurations that some connection still has, the current one included", state->generations);
    line(out, "gauge", "ca_expires_timestamp_seconds", "end of the CA certificate's validity", (uint64_t)authority_expires(state->current->authority));
    line(out, "counter", "ca_rotations_total", "successors that took the CA's place by its age", state->ca_rotations);
}

void metrics_print(const struct server_state *state, FILE *out)
{
    struct flow_counters sum;
    const struct shared *shared = state->shared;
    uint64_t stale = mailbox_stale();
    workers_counters(state->workers, &sum);
    line(out, "counter", "flows_total", "client connections accepted", sum.flows);
    line(out, "gauge", "flows_active", "client connections open now", sum.active);
    line(out, "counter", "flows_denied_total", "client connections over max_concurrent_flows", atomic_load(&shared->governor.denied));
    line(out, "counter", "flow_illegal_transitions_total", "events that were illegal in their flow's state", sum.illegal_transitions);
    line(out, "counter", "exchanges_total", "HTTP requests read", sum.exchanges);
    line(out, "counter", "origin_reused_total", "requests sent on an origin connection that was used before", sum.origin_reused);
    line(out, "counter", "origin_retries_total", "requests repeated after a stale origin connection", sum.origin_retries);
    line(out, "counter", "stale_resumes_total", "resumes by modules that no flow waited for", sum.stale_resumes + stale);
    line(out, "counter", "leaf_cache_hits_total", "leaf certificates taken from the cache", sum.leaf_hits);
    line(out, "counter", "leaf_cache_misses_total", "leaf certificates signed", sum.leaf_misses);
    line(out, "gauge", "http2_body_bytes", "bytes of HTTP/2 bodies that wait for their receiver", sum.h2_body_bytes);
    line(out, "counter", "http2_window_changes_total", "connections whose windows were made smaller or larger for what is held", sum.h2_window_changes);
    print_decisions(out, &sum);
    print_sinks(out, shared->bus);
    print_generations(out, state);
    registry_print_metrics(state->current->registry, out);
    registry_print_decoders(state->current->registry, out);
    registry_print_states(state->current->registry, out);
    fputs("# EOF\n", out); /* as OpenMetrics ends: who reads a stream knows that this was all */
}
