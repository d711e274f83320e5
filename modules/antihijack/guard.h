/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The beginning of a body: is there one of the prefixes that servers put before JSON so that a script tag cannot run it? Only when JSON really
 * follows. Pure.
 */
#ifndef ANTIHIJACK_GUARD_H
#define ANTIHIJACK_GUARD_H

#include <soth/sdk.h>

#define GUARD_LOOK 1024u /* bytes of a body that are looked at: what they leave open (MORE) is nothing found */

enum guard { GUARD_MORE, GUARD_NONE, GUARD_FOUND };

/* The first n bytes; `end`: there are no more, so that the answer is not MORE. FOUND: *strip bytes come before the JSON (byte order mark, white
 * space, prefix, line end) and *prefix is the one of the list. */
enum guard guard_look(const struct soth_strings *prefixes, const char *p, size_t n, int end, size_t *strip, const char **prefix);

/* Does it begin with what is skipped in front of a prefix? Then it is found nowhere. */
int guard_skips(const char *prefix);

#endif
