/* SPDX-License-Identifier: MPL-2.0 */
/* One generation follows another. Control thread. */
#ifndef HOST_NET_RELOAD_H
#define HOST_NET_RELOAD_H

#include "host/net/generation.h"
#include "host/net/workers.h"

/*
 * The generation takes effect: all workers make ready for it, sources change, then sinks, then the workers accept connections of it. When it
 * returns, every connection accepted from then on is of this generation. previous: NULL = it is the first. 0, or negative with the class and
 * a sentence: then everything is as it was, and the generation can be freed.
 */
int reload_take_over(struct shared *shared, struct workers *workers, struct generation *generation, struct generation *previous,
                     enum exit_class *class, char *err, size_t err_size);
/* What of the new configuration takes effect only at the next start; "" = nothing. */
void reload_leftovers(const struct shared *shared, const struct generation *generation, char *text, size_t size);

#endif
