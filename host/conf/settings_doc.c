/* SPDX-License-Identifier: MPL-2.0 */
/* The tables of the configuration as one Markdown document: docs/configuration.md is this text. */
#include "host/conf/load.h"

static const char head[] =
    "# Configuration\n\n"
    "Printed by `soth-mitm config doc`. Files are YAML without anchors, aliases and tags. A key that is unknown, given twice, of the wrong\n"
    "type or out of range is an error with file, line and column, and so is a file that group or others may write. `soth-mitm check` says\n"
    "all of them at once. Sizes take `k`, `M` and `G` (powers of 1024), durations `ms`, `s`, `m` and `h`; relative paths start at the file\n"
    "that has them.\n\n"
    "## soth-mitm.yaml\n\n";
static const char modules[] =
    "\n## conf.d/*.yaml\n\n"
    "Every document of every `*.yaml` file, in the order of their names, configures one instance of a module. `config:` holds what the module\n"
    "itself takes.\n\n";

void settings_doc(FILE *out)
{
    fputs(head, out);
    options_doc(settings_options, "", out);
    fputs(modules, out);
    options_doc(conf_module_options, "", out);
}
