/* SPDX-License-Identifier: MPL-2.0 */
/* For tests of host/conf: texts as files, and the messages that reading them gave. */
#ifndef TESTS_UNIT_CONF_TEXT_H
#define TESTS_UNIT_CONF_TEXT_H

#include <stdio.h>
#include <sys/types.h>

#include "host/conf/options.h"

/* Collects what is printed to `out`; said_end returns it, malloc'd. */
struct said {
    FILE *out;
    char *text;
    size_t size;
};
void said_begin(struct said *said);
char *said_end(struct said *said);

/* A scratch directory, its files, and all of it gone again. */
char *scratch_new(void); /* malloc'd path; scratch_free removes it with what is in it (one level of directories) */
void scratch_free(char *directory);
/* Writes a file of this mode below the directory (and the directory it is in); returns its malloc'd path. */
char *scratch_file(const char *directory, const char *name, const char *text, mode_t mode);

#endif
