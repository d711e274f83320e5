/* SPDX-License-Identifier: MPL-2.0 */
/* For tests of sdk/testhost: what their made-up modules share. */
#ifndef TESTS_UNIT_TESTHOST_RIG_H
#define TESTS_UNIT_TESTHOST_RIG_H

#include <stdbool.h>

#include "sdk/testhost/testhost.h"

#define SAYS(text_) ((const struct testhost_step[]){{SOTH_TO_CLIENT, TESTHOST_TEXT(text_)}})
#define PLAIN "HTTP/1.1 200 OK\nContent-Type: text/plain"
#define DECODER(mode_, stage_, ...)                                                                                                  \
    {                                                                                                                                \
        SOTH_PREFIX(SOTH_KIND_DECODER), .name = "wrong", .version = "1", .license = "MIT", .mode = (mode_), .stage = (stage_), __VA_ARGS__ \
    }

/* A module's create that keeps the host's services, and a decoder's data that does nothing. */
extern const struct soth_host *rig_api;
int rig_keeps_host(const struct soth_host *host, void *self);
int rig_takes_nothing(void *self, struct soth_flow *flow, struct soth_cursor *cur);

void rig_hush(bool on); /* what is said on stderr is expected, and not shown */
bool rig_crashes(void (*run)(void *arg), void *arg); /* in a process of its own, without a core file */

#endif
