/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Lines for the operator on stderr: `soth-mitm: warn: text`. Leveled, thread-safe, one write each. What traffic does is an event and
 * never a line here.
 */
#ifndef HOST_LOG_H
#define HOST_LOG_H

#include <stdarg.h>
#include <stdbool.h>

#include <soth/sdk.h>

/* Levels are SOTH_LOG_ERROR ... SOTH_LOG_DEBUG; SOTH_LOG_INFO until this is called. Before threads start. */
void log_level(int level);
/* "error", "warn", "info", "debug" to a level, or -SOTH_EINVALID. */
int log_level_by_name(const char *name);
bool log_on(int level);

/* A line of at most 2,000 bytes; a longer one is cut, and control characters are shown as `?`: text may come from a peer. */
void log_at(int level, const char *format, ...) SOTH_PRINTF(2, 3);
void log_at_v(int level, const char *format, va_list args) SOTH_PRINTF(2, 0);

/* Many lines as they are, whatever the level: what other threads say meanwhile comes before them or behind them. */
void log_verbatim(const char *text, size_t n);

#endif
