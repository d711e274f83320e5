/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Exit codes and the automation status: one line of JSON a stage on stderr, behind `SOTH_MITM_STATUS` and a tab, and the same JSON
 * appended to the file that SOTH_MITM_AUTOMATION_STATUS_PATH names.
 */
#ifndef HOST_STATUS_H
#define HOST_STATUS_H

#include <stddef.h>
#include <stdint.h>

enum exit_class {
#define EXIT_CLASS(NAME, number, name, text) EXIT_CLASS_##NAME,
#include "host/exit.def"
#undef EXIT_CLASS
    EXIT_CLASS_COUNT
};
int exit_code(enum exit_class exit_class);
const char *exit_class_name(enum exit_class exit_class);
const char *exit_class_text(enum exit_class exit_class); /* for the man page and --help */

#define EXIT_USAGE 2 /* wrong command line */

/* stage: startup, running, exit; outcome: in_progress, ready, ok, error. detail: any text; what is not UTF-8 in it becomes U+FFFD. */
void status_print(const char *stage, const char *outcome, enum exit_class exit_class, const char *detail);
/* The line's JSON without its newline, as status_print writes it: into buf, always ended by NUL, a long detail is cut at a
 * character. Returns its length. size >= 512. */
size_t status_json(char *buf, size_t size, const char *stage, const char *outcome, enum exit_class exit_class, uint64_t unix_ms,
                   const char *detail);

#endif
