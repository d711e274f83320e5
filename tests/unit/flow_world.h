/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What flows need around them and a test makes once: a CA, a trust store that knows it, tickets, an event port with a clock that is a
 * number. Also for programs without cmocka.
 */
#ifndef TESTS_UNIT_FLOW_WORLD_H
#define TESTS_UNIT_FLOW_WORLD_H

#include <stdbool.h>

#include "host/event/bus.h"
#include "host/tls/authority.h"
#include "host/tls/session.h"

#define WORLD_START_NS UINT64_C(1000000000)

struct world {
    struct authority *authority;
    struct trust *trust; /* the CA of `authority`, and nothing else */
    struct session_tickets *tickets;
    struct tls_failure_stats *failures;
    struct bus *bus;
    struct bus_port *port; /* every kind is wanted; events are read from it before they are published */
};

/* false: err says why. */
bool world_init(struct world *world, char *err, size_t err_size);
void world_fini(struct world *world);
struct world *world_once(void); /* one for a program that has nothing to say an error to; aborts */
/* Back to the beginning of time, and no failures are counted yet. */
bool world_reset(struct world *world);

#endif
