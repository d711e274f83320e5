/* SPDX-License-Identifier: MPL-2.0 */
/* What peers sent, made fit for a terminal: nothing of it is a command, hides other text or begins a line. Pure. */
#ifndef SINK_CONSOLE_TEXT_H
#define SINK_CONSOLE_TEXT_H

#include <soth/sdk.h>

/* Copies text into out[size] (size >= 8), NUL-terminated. What is no UTF-8, controls, line separators and marks that turn the direction of
 * writing become `?`; what does not fit is cut between characters and ends in "...". */
void text_clean(char *out, size_t size, struct soth_span text);
/* "0B", "999B", "1.5k", "2.0M" of powers of 1024, in out[16]. */
void text_bytes(char out[16], uint64_t bytes);

#endif
