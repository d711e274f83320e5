/* SPDX-License-Identifier: MPL-2.0 */
/* For tests of sink_file: an instance that writes a log into a scratch directory, and what a reader finds there. */
#ifndef TESTS_UNIT_SINK_LOG_H
#define TESTS_UNIT_SINK_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "fake_host.h"

extern char *log_folder;                /* the scratch directory */
extern char log_path[256];              /* log/events.jsonl in it; may be changed before log_open */
extern char log_index[300], log_torn[300];
extern struct fake_instance log_sink;

/* Setup and teardown of a test. */
int log_begin(void **state);
int log_end(void **state);

/* Opens the sink with flush_every 1 and this further configuration. */
int log_open(const char *more);
void log_use(const char *more); /* the same, and the test fails where that does not work */
/* Offers n events, numbered on from the last that was sent. */
int log_offer(uint32_t n, uint32_t *done, uint32_t *retry_ms);
/* The same, and all are taken. Returns the wake-up that the sink asked for. */
uint32_t log_send(uint32_t n);
void log_later(uint64_t ms); /* the clock goes on */

/* A file's text, malloc'd; NULL when there is none. */
char *log_text(const char *file);
void log_append(const char *file, const char *text);
bool log_exists(const char *file);
const char *log_segment(unsigned number); /* its path, good until the next call */
/* Every line is whole and numbered on from `first`; returns how many there are. */
uint64_t log_lines(const char *file, uint64_t first);
/* Every row of the index points at its line. Returns how many there are. */
unsigned log_rows(void);
/* How often the module said this. */
unsigned log_said(const char *text);

#endif
