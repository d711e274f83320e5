/* SPDX-License-Identifier: MPL-2.0 */
/* A message head in as few bytes as it can wait in: one block of memory, about as long as its text. */
#ifndef HOST_HTTP_PACK_H
#define HOST_HTTP_PACK_H

#include "host/http/message.h"

struct pack;

/* NULL without memory. free() gives it back. */
struct pack *pack_make(const struct message *msg);
/* A copy as message_copy makes it; NULL without memory. */
struct message *pack_open(const struct pack *pack);
/* Method, target, host and authority of a request that is packed, as they stand in it. */
#define PACK_NAMES 4u
void pack_names(const struct pack *pack, struct soth_span names[PACK_NAMES]);

#endif
