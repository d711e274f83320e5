/* SPDX-License-Identifier: MPL-2.0 */
/* Media types of Content-Type fields (RFC 9110 8.3.1), compared without case and without their parameters. */
#ifndef MATCH_MEDIA_H
#define MATCH_MEDIA_H

#include <soth/sdk.h>

/* "Text/Event-Stream; charset=utf-8" -> "Text/Event-Stream" */
struct soth_span media_type(struct soth_span field);
/* Is it the one that `pattern` names? A `*` at its beginning or end stands for anything: "application/grpc*", "*+json". */
int media_is(struct soth_span type, const char *pattern);
int media_is_any(struct soth_span type, const struct soth_strings *patterns);
/* For `check`: can each of the option's patterns match anything? Says what is wrong with the first that cannot. */
int media_check(const struct soth_host *host, void *self, const char *key, const struct soth_strings *patterns);
/* May the message have a body? Not a response to HEAD, 204 and 304 (RFC 9112 6.3), whatever type they name. */
int media_may_have_body(const struct soth_message *message);

#endif
