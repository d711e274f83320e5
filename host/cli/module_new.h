/* SPDX-License-Identifier: MPL-2.0 */
/* `soth-mitm module new`. */
#ifndef HOST_CLI_MODULE_NEW_H
#define HOST_CLI_MODULE_NEW_H

#include "host/cli/cli.h"

/* words: KIND NAME [DIRECTORY]. Fills a new or empty directory, ./NAME by default, with the installed template of that kind, and says what
 * comes next. Returns the exit code. */
int module_new(const struct cli *cli, const char *const *words, size_t n);

#endif
