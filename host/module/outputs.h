/* SPDX-License-Identifier: MPL-2.0 */
/* What only one instance of a generation may write. Inside this room only. */
#ifndef HOST_MODULE_OUTPUTS_H
#define HOST_MODULE_OUTPUTS_H

#include <stdio.h>

struct registry;

/* Of the instances that are listed, before they are created. 0, -SOTH_ECONFIG with a message for each that writes where another one does, or
 * -SOTH_ENOMEM. */
int outputs_check(const struct registry *registry, FILE *errors);

#endif
