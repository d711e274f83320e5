/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The command line: global options anywhere, then a command and what belongs to it. One file a command. A command returns the exit code;
 * whatever it prints for machines goes to stdout, everything else to stderr.
 */
#ifndef HOST_CLI_CLI_H
#define HOST_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include <soth/sdk.h>

struct cli {
    const char *config_path; /* -c; NULL = the default place */
    const char *command;     /* for messages: "ca export" */
    const char *const *words; /* what follows the command, without global options */
    size_t count;
};

int run_command(const struct cli *cli);
int check_command(const struct cli *cli);
int ca_command(const struct cli *cli);
int module_command(const struct cli *cli);
int config_command(const struct cli *cli);

/* An option of one command. */
struct cli_option {
    const char *name;   /* "--out" */
    const char **value; /* gets the word behind it, or behind '=' ... */
    bool *flag;         /* ... or the option takes none and this becomes true */
};
/* Sorts the words from `first` on into options and, at most `most`, other words. Returns how many others there are, or -EXIT_USAGE after
 * it said what is wrong. options ends with {NULL}. */
int cli_words(const struct cli *cli, size_t first, const struct cli_option *options, const char **others, size_t most);
/* Prints "soth-mitm COMMAND: text" and where help is, to stderr; returns EXIT_USAGE. */
int cli_wrong(const struct cli *cli, const char *format, ...) SOTH_PRINTF(2, 3);

#endif
