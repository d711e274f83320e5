/* SPDX-License-Identifier: MPL-2.0 */
/*
 * `soth-mitm module`: list prints every instance and module there is, with its state; check and doc take one file; new writes a folder to
 * begin with. No sink of the configuration is opened, no policy is asked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/module_new.h"
#include "host/conf/load.h"
#include "host/log.h"
#include "host/module/inspect.h"
#include "host/module/registry.h"
#include "host/status.h"

#define STEP_MS 20000 /* for one operation of a module that is checked */

static enum exit_class class_of(int error)
{
    switch (-error) {
    case SOTH_OK:
        return EXIT_CLASS_OK;
    case SOTH_ENOENT:
    case SOTH_EABI:
        return EXIT_CLASS_MODULE_LOAD_FAILED;
    case SOTH_ECONFIG:
        return EXIT_CLASS_CONFIG_INVALID;
    default:
        return EXIT_CLASS_HOST_INIT_FAILED;
    }
}

static int list(const struct cli *cli, int words)
{
    if (words != 0)
        return cli_wrong(cli, "list takes no further words");
    struct settings_file *file = settings_load(cli->config_path, stderr);
    if (!file)
        return exit_code(EXIT_CLASS_CONFIG_INVALID);
    int r = inspect_list(settings_get(file), stdout, stderr);
    settings_free(file);
    return exit_code(class_of(r));
}

static int check(const char *file, const char *config)
{
    char text[1024] = "";
    int r = inspect_check(file, config, STEP_MS, text, sizeof text);
    if (r < 0)
        log_at(SOTH_LOG_ERROR, "%s", text);
    else
        printf("%s\n", text);
    return exit_code(class_of(r));
}

static int doc(const char *file)
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
    else
        fputs(text, stdout);
    free(text);
    return exit_code(r < 0 || !ferror(stdout) ? class_of(r) : EXIT_CLASS_RUNTIME_FAILED);
}

int module_command(const struct cli *cli)
{
    const char *words[4];
    int n = cli_words(cli, 0, NULL, words, 4);
    if (n < 0)
        return EXIT_USAGE;
    const char *what = n > 0 ? words[0] : "";
    if (strcmp(what, "list") == 0)
        return list(cli, n - 1);
    if (strcmp(what, "new") == 0)
        return module_new(cli, words + 1, (size_t)n - 1);
    if (n == 2 && strcmp(what, "check") == 0)
        return check(words[1], cli->config_path);
    if (n == 2 && strcmp(what, "doc") == 0)
        return doc(words[1]);
    return cli_wrong(cli, "expected is: module list, module check FILE.so [--config FILE], module doc FILE.so or "
                     "module new sink|decoder|policy NAME [DIRECTORY]");
}
