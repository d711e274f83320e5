/* SPDX-License-Identifier: MPL-2.0 */
/* The process's counters as Prometheus text. Reads the workers' counters without stopping them. */
#ifndef HOST_NET_METRICS_H
#define HOST_NET_METRICS_H

#include <stdio.h>

#include "host/net/server.h"

void metrics_print(const struct server_state *state, FILE *out);

#endif
