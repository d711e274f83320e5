/* SPDX-License-Identifier: MPL-2.0 */
/*
 * `soth-mitm module`: list prints what the configuration loads, in the order in which it is asked; check and doc take one file. No sink
 * is opened, no policy is asked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/cli.h"
#include "host/conf/load.h"
#include "host/log.h"
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

/* check: only whether the file would be taken; doc: the whole description. */
static int describe(const char *file, bool check)
{
    char err[1024] = "", *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return exit_code(EXIT_CLASS_HOST_INIT_FAILED);
    int r = registry_describe(file, out, err, sizeof err);
    fclose(out);
    if (r < 0)
        log_at(SOTH_LOG_ERROR, "%s", err);
    else if (check)
        printf("%s: version, operations, options and their defaults are fine\n", file);
    else
        fputs(text, stdout);
    free(text);
    return exit_code(r < 0 ? EXIT_CLASS_MODULE_LOAD_FAILED : EXIT_CLASS_OK);
}

int module_command(const struct cli *cli)
{
    const char *words[2];
    int n = cli_words(cli, 0, NULL, words, 2);
    if (n < 0)
        return EXIT_USAGE;
    if (n == 1 && strcmp(words[0], "list") == 0)
        return list(cli);
    if (n == 2 && (strcmp(words[0], "check") == 0 || strcmp(words[0], "doc") == 0))
        return describe(words[1], strcmp(words[0], "check") == 0);
    return cli_wrong(cli, "expected is: module list, module check FILE.so or module doc FILE.so");
}
