/* SPDX-License-Identifier: MPL-2.0 */
/*
 * `soth-mitm check`: reads the whole configuration, the host's and every module's, says everything that is wrong at once, and opens
 * nothing: no socket, no log, no CA.
 */
#include <stdio.h>

#include "host/cli/cli.h"
#include "host/conf/load.h"
#include "host/module/registry.h"
#include "host/status.h"

int check_command(const struct cli *cli)
{
    int wrong = 0;
    struct registry *registry = NULL;
    struct settings_file *file = settings_read(cli->config_path, stderr, &wrong);
    if (!file)
        return exit_code(EXIT_CLASS_CONFIG_INVALID);
    if (registry_open(settings_path(file), settings_get(file), true, stderr, &registry) < 0)
        wrong++;
    if (!wrong) {
        registry_print(registry, stdout);
        printf("%s is valid\n", settings_path(file));
    }
    registry_free(registry);
    settings_free(file);
    return exit_code(wrong ? EXIT_CLASS_CONFIG_INVALID : EXIT_CLASS_OK);
}
