/* SPDX-License-Identifier: MPL-2.0 */
/* A command's words sorted into its options and the rest; messages about wrong command lines. */
#include "host/cli/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "host/status.h"

int cli_wrong(const struct cli *cli, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "soth-mitm%s%s: ", cli->command ? " " : "", cli->command ? cli->command : "");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs("\nsoth-mitm --help lists commands and options\n", stderr);
    return EXIT_USAGE;
}

static const struct cli_option *find(const struct cli_option *options, const char *word, size_t n)
{
    for (; options && options->name; options++)
        if (strlen(options->name) == n && memcmp(options->name, word, n) == 0)
            return options;
    return NULL;
}

/* Takes the option at word *i; 0 or EXIT_USAGE. */
static int take_option(const struct cli *cli, size_t *i, const struct cli_option *options)
{
    const char *word = cli->words[*i], *equals = strchr(word, '=');
    const struct cli_option *option = find(options, word, equals ? (size_t)(equals - word) : strlen(word));
    if (!option)
        return cli_wrong(cli, "unknown option %s", word);
    if (option->flag) {
        *option->flag = true;
        return equals ? cli_wrong(cli, "%s takes no value", option->name) : 0;
    }
    if (!equals && *i + 1 == cli->count)
        return cli_wrong(cli, "%s needs a value", option->name);
    *option->value = equals ? equals + 1 : cli->words[++*i];
    return 0;
}

int cli_words(const struct cli *cli, size_t first, const struct cli_option *options, const char **others, size_t most)
{
    size_t n = 0;
    for (size_t i = first; i < cli->count; i++) {
        if (cli->words[i][0] == '-') {
            if (take_option(cli, &i, options) != 0)
                return -EXIT_USAGE;
        } else if (n == most) {
            cli_wrong(cli, "%s is one word too many", cli->words[i]);
            return -EXIT_USAGE;
        } else {
            others[n++] = cli->words[i];
        }
    }
    return (int)n;
}
