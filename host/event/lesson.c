/* SPDX-License-Identifier: MPL-2.0 */
/* See lesson.h. */
#include "host/event/lesson.h"

const char *lesson_decision(const struct soth_lesson *lesson)
{
    return lesson->applied ? "applied" : "ignored";
}

void lesson_audit(const struct soth_signal *signal, struct soth_attr attrs[LESSON_ATTRS])
{
    attrs[0] = ATTR_BYTES("signal_host", signal->host);
    attrs[1] = ATTR_BOOL("signal_inferred", !signal->authoritative);
    attrs[2] = ATTR_WORD("signal_provider", signal->provider);
    attrs[3] = ATTR_WORD("signal_reason", signal->reason);
    attrs[4] = ATTR_WORD("signal_source", signal->source);
    attrs[5] = ATTR_WORD("tls_learning_decision", lesson_decision(signal->lesson));
    attrs[6] = ATTR_WORD("tls_learning_reason_code", signal->lesson->reason_code);
}
