/* SPDX-License-Identifier: MPL-2.0 */
/* Filling for the host's own tables. Inside this room only. */
#ifndef HOST_CONF_OPTIONS_LATER_H
#define HOST_CONF_OPTIONS_LATER_H

#include "host/conf/options.h"

/* A type of our own beside SOTH_OPT_T_...: const struct conf_node *, any value, for whoever reads it later; NULL when it is not there. */
#define OPT_T_NODE 1000

/* As options_fill; `absent` are keys that this version does not have yet ("listen[].client_ca_file"), ended by NULL: they get an error of
 * their own. */
int options_fill_later(const struct soth_opt *table, const struct conf_node *mapping, void *base, struct options_owned **owned, FILE *errors,
                       const char *prefix, const char *const *absent);

#endif
