/* SPDX-License-Identifier: MPL-2.0 */
/* See reload.h: first everything that can fail, in an order in which it can be taken back, then what cannot. */
#include "host/net/reload.h"

#include <stdio.h>

#include "host/event/bus.h"
#include "host/module/registry.h"
#include "host/module/watchdog.h"

#define LEAVE_MS 10000 /* a sink that is taken out may take this long to write what it has */

static struct bus_change *change_sinks(struct shared *shared, struct generation *generation, struct generation *previous)
{
    struct bus_change *change = bus_change_new(shared->bus);
    if (change && registry_change_sinks(generation->registry, previous ? previous->registry : NULL, change) == SOTH_OK)
        return change;
    bus_change_cancel(change);
    return NULL;
}

/* Nothing fails from here on. */
static void commit(struct shared *shared, struct workers *workers, struct generation *generation, struct bus_change *change)
{
    const struct settings *s = generation->settings;
    bus_change_commit(change, LEAVE_MS); /* events of flows that are under way go to the new sinks too */
    registry_make_current(&shared->modules, generation->registry);
    atomic_store(&shared->governor.max_flows, (uint64_t)s->max_concurrent_flows);
    watchdog_set_limit(shared->watchdog, s->hook_hang_timeout);
    workers_adopt(workers);
}

int reload_take_over(struct shared *shared, struct workers *workers, struct generation *generation, struct generation *previous,
                     enum exit_class *class, char *err, size_t err_size)
{
    *class = EXIT_CLASS_HOST_INIT_FAILED;
    if (workers_prepare(workers, generation, err, err_size) < 0)
        return -SOTH_EIO;
    struct bus_change *change = change_sinks(shared, generation, previous);
    if (!change) {
        *class = EXIT_CLASS_EVENT_SINK_INIT_FAILED;
        snprintf(err, err_size, "cannot start the event sinks");
    } else if (registry_start_sources(generation->registry, previous ? previous->registry : NULL, err, err_size) == SOTH_OK) {
        commit(shared, workers, generation, change);
        return SOTH_OK;
    }
    bus_change_cancel(change);
    workers_discard(workers);
    return -SOTH_EIO;
}

void reload_leftovers(const struct shared *shared, const struct generation *generation, char *text, size_t size)
{
    int64_t wanted = generation->settings->workers;
    unsigned replaced = registry_replaced_files();
    int n = 0;
    *text = 0;
    if ((wanted ? (unsigned)wanted : worker_cores()) != shared->workers)
        n = snprintf(text, size, "workers: another number takes effect at the next start, %u go on", shared->workers);
    if (replaced && n >= 0 && (size_t)n < size)
        snprintf(text + n, size - (size_t)n, "%smodule files replaced on disk: %u, the code that was loaded goes on until the next start",
                 n ? "; " : "", replaced);
}
