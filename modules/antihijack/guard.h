/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The beginning of a body: is there one of the prefixes that servers put before JSON so that a script tag cannot run it? Only when JSON really
 * follows. Pure.
 */
#ifndef ANTIHIJACK_GUARD_H
#define ANTIHIJACK_GUARD_H

#include <soth/sdk.h>

#define GUARD_LOOK 1024u /* bytes of a body that are looked at */

enum guard { GUARD_MORE, GUARD_NONE, GUARD_FOUND };

/* The first n bytes; `end`: there are no more, or no more are looked at. FOUND: *strip bytes come before the JSON (byte order mark, white
 * space, prefix, line end) and *prefix is the one of the list. */
enum guard guard_look(const struct soth_strings *prefixes, const char *p, size_t n, int end, size_t *strip, const char **prefix);

#endif
