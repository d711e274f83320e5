/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The state file: a store as lines of text, written whole beside the old one and put in its place, so that a crash leaves one or the other.
 * Times in it are those of the wall clock. Anything that was not written by this is garbage: nothing of it is believed.
 *
 *     soth-mitm tls learning 1
 *     HOST CLIENT FAILURES LAST_UNIX_MS EXPIRES_UNIX_MS TTL_MS      client "-": all; spaces, "%" and what is no ASCII as %XX
 *     end NUMBER_OF_LINES
 */
#ifndef POLICY_TLS_LEARNING_STATE_H
#define POLICY_TLS_LEARNING_STATE_H

#include <stdio.h>

#include "store.h"

struct state_clock {
    uint64_t monotonic_ns, unix_ms; /* the same moment */
};

void state_write(const struct store *store, const struct state_clock *now, FILE *out);
/* Adds what the text says to an empty store, at most `most` entries. A bypass that is over is left out and counted in *ended, one that has longer
 * than ttl_ms to go gets ttl_ms. SOTH_OK, -SOTH_ENOMEM, or -SOTH_EINVALID with a sentence. */
int state_read(const char *text, size_t n, struct store *store, size_t most, const struct state_clock *now, uint64_t ttl_ms, uint64_t *ended,
               char *why, size_t why_size);

/* SOTH_OK also when there is no file; -SOTH_EINVALID with a sentence: it is garbage, or not to be trusted; -SOTH_EIO with a sentence. */
int state_load(const char *path, struct store *store, size_t most, const struct state_clock *now, uint64_t ttl_ms, uint64_t *ended, char *why,
               size_t why_size);
/* SOTH_OK or -SOTH_EIO with a sentence. */
int state_save(const char *path, const char *text, size_t n, char *why, size_t why_size);

#endif
