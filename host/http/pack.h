/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A request's head in as few bytes as it can wait in. Requests of one client mostly differ in nothing but their target: what is as it was in the
 * one before is there once.
 */
#ifndef HOST_HTTP_PACK_H
#define HOST_HTTP_PACK_H

#include "host/http/message.h"

struct pack;
struct pack_common; /* what packs share; whoever makes some keeps the last one's, NULL at first */

/* NULL without memory. *last: what may be shared, then this one's. */
struct pack *pack_make(const struct message *msg, struct pack_common **last);
void pack_free(struct pack *pack);               /* NULL is legal */
void pack_forget(struct pack_common **last);
/* A copy as message_copy makes it; NULL without memory. */
struct message *pack_open(const struct pack *pack);
/* Method, target, host and authority, as they stand in it. */
#define PACK_NAMES 4u
void pack_names(const struct pack *pack, struct soth_span names[PACK_NAMES]);

#endif
