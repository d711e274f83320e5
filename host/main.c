/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The program: global options are taken out of the command line wherever they stand, the first other word is the command. Without a
 * command the proxy runs.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/cli/cli.h"
#include "host/cli/version.h"
#include "host/log.h"
#include "host/status.h"

static const struct command {
    const char *name;
    int (*run)(const struct cli *cli);
    const char *usage; /* what may follow the name, one line a form */
    const char *text;
} commands[] = {
    {"run", run_command, "", "the proxy in the foreground; also without any command"},
    {"check", check_command, "", "validates the whole configuration and opens nothing"},
    {"ca", ca_command, "init", "creates the certificate authority when there is none"},
    {"ca", ca_command, "show", "prints its subject, fingerprint and validity"},
    {"ca", ca_command, "export [--out FILE] [--format pem|der|p12] [--with-key] [--password-file FILE]", "writes its certificate"},
    {"ca", ca_command, "rotate [--prepare] [--drop-old]", "puts a successor in its place, or makes one ready for that"},
    {"ca", ca_command, "install [--dry-run] [--cert FILE] [--root DIR] [system|nss|java]...", "lets the system, browsers or Java trust it"},
    {"ca", ca_command, "uninstall [--dry-run] [--cert FILE] [--root DIR] [system|nss|java]...", "takes that back"},
    {"ca", ca_command, "status [--cert FILE] [--root DIR] [system|nss|java]...", "says who trusts it; exits with 0 or 25"},
    {"ca", ca_command, "env [--shell sh|fish|json] [--proxy URL]", "environment for clients that ignore the system's CA store"},
    {"module", module_command, "list", "which modules there are, which are on, in which order, and why others are not"},
    {"module", module_command, "check FILE.so [--config FILE]", "tries a module out; FILE is a file as in conf.d"},
    {"module", module_command, "doc FILE.so", "its options as Markdown"},
    {"module", module_command, "new sink|decoder|policy NAME [DIRECTORY]", "a folder to begin a module with"},
    {"config", config_command, "doc", "every configuration key as Markdown"},
    {NULL, NULL, NULL, NULL},
};

static void help(FILE *out)
{
    fputs("usage: soth-mitm [-c FILE] [--log-level error|warn|info|debug] [COMMAND]\n"
          "       soth-mitm --version | --help\n\ncommands:\n",
          out);
    for (const struct command *c = commands; c->name; c++)
        fprintf(out, "  %s%s%s\n      %s\n", c->name, *c->usage ? " " : "", c->usage, c->text);
    fputs("\nWithout -c: $XDG_CONFIG_HOME/soth-mitm/soth-mitm.yaml if it exists, else the system's.\n\nexit codes:\n", out);
    for (int i = 0; i < EXIT_CLASS_COUNT; i++)
        fprintf(out, "  %2d  %s: %s\n", exit_code((enum exit_class)i), exit_class_name((enum exit_class)i), exit_class_text((enum exit_class)i));
    fputs("   2  wrong command line\n", out);
}

/* A standard stream that was closed by who started us would become a connection or the log, and what is printed would land in it. */
static void keep_standard_streams(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

/* The value of a global option that takes one, or NULL after saying that there is none. */
static const char *value(const struct cli *cli, int argc, char **argv, int *i, const char *name)
{
    size_t n = strlen(name);
    if (argv[*i][n] == '=')
        return argv[*i] + n + 1;
    if (*i + 1 < argc)
        return argv[++*i];
    cli_wrong(cli, "%s needs a value", name);
    return NULL;
}

static bool is_option(const char *word, const char *name)
{
    size_t n = strlen(name);
    return strncmp(word, name, n) == 0 && (word[n] == 0 || (word[n] == '=' && name[1] == '-'));
}

static int set_level(const struct cli *cli, const char *name)
{
    int level = name ? log_level_by_name(name) : 0;
    if (level < 0)
        return cli_wrong(cli, "--log-level %s: expected is error, warn, info or debug", name);
    log_level(level);
    return name ? 0 : EXIT_USAGE;
}

/* 0: go on; else the exit code + 1. */
static int take_global(struct cli *cli, int argc, char **argv, int *i)
{
    const char *word = argv[*i];
    if (strcmp(word, "--version") == 0) {
        version_print(stdout);
        return 1;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        help(stdout);
        return 1;
    }
    if (is_option(word, "--log-level"))
        return set_level(cli, value(cli, argc, argv, i, "--log-level")) ? EXIT_USAGE + 1 : 0;
    cli->config_path = value(cli, argc, argv, i, is_option(word, "-c") ? "-c" : "--config");
    return cli->config_path ? 0 : EXIT_USAGE + 1;
}

static bool is_global(const char *word)
{
    static const char *const names[] = {"--version", "--help", "-h", "--log-level", "-c", "--config"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (is_option(word, names[i]))
            return true;
    return false;
}

static int dispatch(struct cli *cli)
{
    if (cli->count == 0)
        return run_command(cli);
    if (cli->words[0][0] == '-')
        return cli_wrong(cli, "unknown option %s", cli->words[0]);
    for (const struct command *c = commands; c->name; c++)
        if (strcmp(c->name, cli->words[0]) == 0) {
            cli->command = c->name;
            cli->words++;
            cli->count--;
            if (!*c->usage && cli->count > 0)
                return cli_wrong(cli, "takes no further words, but here is %s", cli->words[0]);
            return c->run(cli);
        }
    return cli_wrong(cli, "unknown command %s", cli->words[0]);
}

int main(int argc, char **argv)
{
    struct cli cli = {0};
    const char **words = calloc((size_t)argc + 1, sizeof *words);
    size_t n = 0;
    keep_standard_streams();
    if (!words)
        return exit_code(EXIT_CLASS_HOST_INIT_FAILED);
    for (int i = 1; i < argc; i++) {
        if (!is_global(argv[i])) {
            words[n++] = argv[i];
            continue;
        }
        int end = take_global(&cli, argc, argv, &i);
        if (end) {
            free(words);
            return end - 1;
        }
    }
    cli.words = words;
    cli.count = n;
    int r = dispatch(&cli);
    free(words);
    return r;
}
