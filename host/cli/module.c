/* SPDX-License-Identifier: MPL-2.0 */
/* `soth-mitm module list`: what the configuration loads, in the order in which it is asked. Opens no sink. */
#include <stdio.h>
#include <string.h>

#include "host/cli/cli.h"
#include "host/conf/load.h"
#include "host/module/registry.h"
#include "host/status.h"

static enum exit_class class_of(int error)
{
    return error == -SOTH_ENOENT || error == -SOTH_EABI ? EXIT_CLASS_MODULE_LOAD_FAILED : EXIT_CLASS_CONFIG_INVALID;
}

static int list(const struct cli *cli)
{
    struct registry *registry = NULL;
    struct settings_file *file = settings_load(cli->config_path, stderr);
    if (!file)
        return exit_code(EXIT_CLASS_CONFIG_INVALID);
    int r = registry_open(settings_path(file), settings_get(file), true, stderr, &registry);
    if (r == 0)
        registry_print(registry, stdout);
    registry_free(registry);
    settings_free(file);
    return exit_code(r < 0 ? class_of(r) : EXIT_CLASS_OK);
}

int module_command(const struct cli *cli)
{
    const char *what;
    int n = cli_words(cli, 0, NULL, &what, 1);
    if (n < 0)
        return EXIT_USAGE;
    if (n == 0 || strcmp(what, "list") != 0)
        return cli_wrong(cli, "expected is: module list");
    return list(cli);
}
