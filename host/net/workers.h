/* SPDX-License-Identifier: MPL-2.0 */
/* All workers of the process: started, asked and stopped together. Control thread. */
#ifndef HOST_NET_WORKERS_H
#define HOST_NET_WORKERS_H

#include "host/net/worker.h"

struct workers;

/* What they tell of themselves: see struct worker_reports. */
struct workers_reports {
    void (*idle)(void *arg);
    void (*cut)(void *arg);
    void (*released)(void *arg);
    void *arg;
};

/* As many as shared->workers. NULL with a sentence. */
struct workers *workers_start(struct shared *shared, const struct workers_reports *reports, char *err, size_t err_size);
void workers_command(struct workers *workers, unsigned commands);
/* All make ready for the generation. 0, or -SOTH_EIO with a sentence; then none has it. Returns when all have answered. */
int workers_prepare(struct workers *workers, struct generation *generation, char *err, size_t err_size);
/* What was prepared is taken over, resp. forgotten. Returns when all have done it. */
void workers_adopt(struct workers *workers);
void workers_discard(struct workers *workers);
/* Their counters of now, summed. A worker that does not answer within a moment, since a hook keeps it, counts as it last was. */
void workers_counters(struct workers *workers, struct flow_counters *sum);
/* Stops what still runs. NULL is fine. */
void workers_free(struct workers *workers);

#endif
