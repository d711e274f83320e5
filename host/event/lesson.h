/* SPDX-License-Identifier: MPL-2.0 */
/* The event tls_learning_audit: what was made of a TLS failure, by whoever tells of it. */
#ifndef HOST_EVENT_LESSON_H
#define HOST_EVENT_LESSON_H

#include <soth/sdk.h>

#include "host/event/bus.h"

#define LESSON_ATTRS 7u

/* The word of tls_learning_decision. */
const char *lesson_decision(const struct soth_lesson *lesson);
/* Its attributes, which borrow from the signal. signal->lesson has a reason code. */
void lesson_audit(const struct soth_signal *signal, struct soth_attr attrs[LESSON_ATTRS]);

#endif
