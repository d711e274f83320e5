/* SPDX-License-Identifier: MPL-2.0 */
/* What emit*.c share: attributes that may be absent, and the one way on which the events of a flow go out. */
#ifndef HOST_FLOW_EMIT_H
#define HOST_FLOW_EMIT_H

#include "host/flow/stage.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define ABSENT ((struct soth_attr){"", {NULL, 0}, 0, SOTH_ATTR_TEXT, 0})
#define WORD_OR_ABSENT(name, text) ((text) && *(text) ? ATTR_WORD(name, text) : ABSENT)
#define NUMBER_IF(condition, name, value) ((condition) ? ATTR_NUMBER(name, value) : ABSENT)

/* Publishes an event, after the state machine was asked; one that is illegal is counted and closes the flow. */
void emit_event(struct flow *flow, unsigned kind, const struct soth_attr *attrs, size_t n);
struct soth_attr emit_exchange_attr(const struct flow *flow); /* exchange_no */

#endif
