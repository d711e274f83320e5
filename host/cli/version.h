/* SPDX-License-Identifier: MPL-2.0 */
/* What this binary is made of. */
#ifndef HOST_CLI_VERSION_H
#define HOST_CLI_VERSION_H

#include <stdio.h>

/* "soth-mitm 0.1.0", the module ABI, the libraries' versions as linked now, and whether the cryptography is accelerated on this CPU. */
void version_print(FILE *out);

#endif
