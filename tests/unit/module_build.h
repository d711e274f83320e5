/* SPDX-License-Identifier: MPL-2.0 */
/* For tests: compiles a module as its author would, with the public headers and nothing else. */
#ifndef TESTS_UNIT_MODULE_BUILD_H
#define TESTS_UNIT_MODULE_BUILD_H

/* source is relative to $srcdir unless it is absolute; the outcome is DIRECTORY/NAME.so, writable for its owner alone. flags are
 * handed to the compiler. Returns its exit status; what it says goes to stderr. */
int module_build(const char *source, const char *directory, const char *name, const char *flags);

#endif
