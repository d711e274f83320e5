/* SPDX-License-Identifier: MPL-2.0 */
/* `soth-mitm config doc`: every key of the configuration as Markdown, out of the tables that read it. docs/configuration.md is this text. */
#include <stdio.h>
#include <string.h>

#include "host/cli/cli.h"
#include "host/conf/load.h"
#include "host/status.h"

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

void config_doc_print(FILE *out)
{
    fputs(head, out);
    options_doc(settings_options, "", out);
    fputs(modules, out);
    options_doc(conf_module_options, "", out);
}

int config_command(const struct cli *cli)
{
    const char *what;
    int n = cli_words(cli, 0, NULL, &what, 1);
    if (n < 0)
        return EXIT_USAGE;
    if (n == 0 || strcmp(what, "doc") != 0)
        return cli_wrong(cli, "expected is: config doc");
    config_doc_print(stdout);
    return exit_code(ferror(stdout) ? EXIT_CLASS_RUNTIME_FAILED : EXIT_CLASS_OK);
}
