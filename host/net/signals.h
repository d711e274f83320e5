/* SPDX-License-Identifier: MPL-2.0 */
/* TLS failures of other engines, which sources bring: counted and told like our own, as events of flow 0. */
#ifndef HOST_NET_SIGNALS_H
#define HOST_NET_SIGNALS_H

#include "host/net/worker.h"

/* For registry_shared.heard; shared is a struct shared. Any thread. */
void signals_heard(void *shared, const struct soth_signal *signal);

#endif
