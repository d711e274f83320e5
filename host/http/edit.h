/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Copies of message heads that outlive their codec's buffer, and heads whose fields are changed on their way (soth_host.hdr_set and
 * its like). Pure.
 */
#ifndef HOST_HTTP_EDIT_H
#define HOST_HTTP_EDIT_H

#include "host/http/message.h"

/* One block with everything in it; free() it. NULL without memory. */
struct message *message_copy(const struct message *msg);
/* The same of a head or trailers whose body becomes another one: what holds for the old bytes alone - digests (RFC 9530, and the older fields),
 * Accept-Ranges - is gone, a strong ETag is a weak one (RFC 9110 8.8.1). */
struct message *message_copy_changed(const struct message *msg);

struct head_edit;
/* A copy of msg that can be changed. NULL without memory. */
struct head_edit *head_edit_new(const struct message *msg);
void head_edit_free(struct head_edit *edit);
/* The head as it is now, until the next change. */
const struct message *head_edit_message(const struct head_edit *edit);

/*
 * Names are compared without case. What frames the message, names the connection's protocol or its host is not theirs to change: -SOTH_EPERM.
 * A name that is no token (RFC 9110 5.6.2) or a value with CR, LF or NUL: -SOTH_EINVALID; surrounding blanks of a value are cut.
 * More than 1000 fields: -SOTH_ELIMIT.
 */
int head_edit_set(struct head_edit *edit, const char *name, struct soth_span value); /* the first of that name is replaced, others go; else added */
int head_edit_add(struct head_edit *edit, const char *name, struct soth_span value);
int head_edit_del(struct head_edit *edit, const char *name); /* how many went */

#endif
