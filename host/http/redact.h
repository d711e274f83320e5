/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Message heads as events may show them: values of fields that hold credentials, and user information in URIs, are replaced by
 * "[redacted]" before they leave the worker. Pure; what comes out goes to the end of a buffer, whose `failed` tells of missing memory.
 */
#ifndef HOST_HTTP_REDACT_H
#define HOST_HTTP_REDACT_H

#include "host/http/message.h"
#include "host/mem/buffer.h"

/* Authorization, Cookie, Set-Cookie, X-Api-Key and their like; `more`: further names. Compared without case. */
bool redact_is_secret(struct soth_span name, const struct soth_strings *more);

/* "Name: value\n" for each field, in order, names as sent. queries false: of URIs in Referer, Location and their like what follows "?" or
 * "#" is left out; returns whether there was any. */
bool redact_fields(struct buffer *out, const struct message *msg, const struct soth_strings *more, bool queries);

/* Is there user information in an absolute URI inside the text? */
bool redact_has_userinfo(struct soth_span text);
/* The text, user information replaced. */
void redact_userinfo(struct buffer *out, struct soth_span text);

#endif
