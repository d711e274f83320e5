/* SPDX-License-Identifier: MPL-2.0 */
/* `soth-mitm config doc`: every key of the configuration as Markdown, out of the tables that read it. */
#include <stdio.h>
#include <string.h>

#include "host/cli/cli.h"
#include "host/conf/load.h"
#include "host/status.h"

int config_command(const struct cli *cli)
{
    const char *what;
    int n = cli_words(cli, 0, NULL, &what, 1);
    if (n < 0)
        return EXIT_USAGE;
    if (n == 0 || strcmp(what, "doc") != 0)
        return cli_wrong(cli, "expected is: config doc");
    settings_doc(stdout);
    return exit_code(ferror(stdout) ? EXIT_CLASS_RUNTIME_FAILED : EXIT_CLASS_OK);
}
