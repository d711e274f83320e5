/* SPDX-License-Identifier: MPL-2.0 */
/*
 * `soth-mitm module new`: copies the files of module-template/common and module-template/KIND, with NAME in their names and @NAME@ in their
 * text replaced. Overwrites nothing.
 */
#include "host/cli/module_new.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host/log.h"
#include "host/status.h"

#define TEMPLATES SOTH_PKGDATADIR "/module-template"

struct making {
    const char *kind, *name, *directory;
};

static int failed(const char *path, const char *what)
{
    log_at(SOTH_LOG_ERROR, "%s: %s: %s", path, what, strerror(errno));
    return exit_code(EXIT_CLASS_HOST_INIT_FAILED);
}

/* ---- one file ---- */

/* The value of the placeholder at `text`, and its length; NULL when it is none. */
static const char *placeholder(const struct making *m, const char *text, size_t *n)
{
    const struct {
        const char *mark, *value;
    } all[] = {{"@NAME@", m->name}, {"@KIND@", m->kind}, {"@PKGCONFIGDIR@", SOTH_PKGCONFIGDIR}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strncmp(text, all[i].mark, strlen(all[i].mark)) == 0) {
            *n = strlen(all[i].mark);
            return all[i].value;
        }
    return NULL;
}

static void replace(const struct making *m, const char *text, FILE *out)
{
    for (size_t n; *text; text += n) {
        const char *value = placeholder(m, text, &n);
        if (value) {
            fputs(value, out);
        } else {
            fputc(*text, out);
            n = 1;
        }
    }
}

/* malloc'd; NULL with errno. */
static char *read_file(const char *path)
{
    char *text = NULL;
    size_t size = 0;
    FILE *in = fopen(path, "r");
    if (in && getdelim(&text, &size, 0, in) < 0 && !feof(in)) {
        free(text);
        text = NULL;
    }
    if (in)
        fclose(in);
    return text;
}

static int write_file(const struct making *m, const char *from, const char *to)
{
    char *text = read_file(from);
    if (!text)
        return failed(from, "cannot be read");
    int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644); /* whatever the umask: others must not write a configuration */
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    if (out)
        replace(m, text, out);
    free(text);
    bool bad = !out || ferror(out);
    if (out && fclose(out) != 0)
        bad = true;
    if (bad)
        return failed(to, "cannot be written");
    printf("  %s\n", to);
    return 0;
}

/* test_NAME.c is test_mine.c. A dot in front cannot be installed well: dot.gitignore is .gitignore. */
static void target_name(const struct making *m, const char *file, char *out, size_t size)
{
    const char *at = strstr(file, "NAME");
    if (strncmp(file, "dot.", 4) == 0)
        snprintf(out, size, "%s/%s", m->directory, file + 3);
    else if (at)
        snprintf(out, size, "%s/%.*s%s%s", m->directory, (int)(at - file), file, m->name, at + 4);
    else
        snprintf(out, size, "%s/%s", m->directory, file);
}

/* ---- the folder ---- */

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int is_entry(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static void free_names(struct dirent **names, int n)
{
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

static int copy_template(const struct making *m, const char *part)
{
    char from[1024], path[2048], to[2048];
    struct dirent **names = NULL;
    snprintf(from, sizeof from, TEMPLATES "/%s", part);
    int r = 0, n = scandir(from, &names, is_visible, alphasort);
    if (n < 0)
        return failed(from, "is not installed");
    for (int i = 0; r == 0 && i < n; i++) {
        snprintf(path, sizeof path, "%s/%s", from, names[i]->d_name);
        target_name(m, names[i]->d_name, to, sizeof to);
        r = write_file(m, path, to);
    }
    free_names(names, n);
    return r;
}

static int make_directory(const char *path)
{
    struct dirent **names = NULL;
    if (mkdir(path, 0755) == 0)
        return 0;
    if (errno != EEXIST)
        return failed(path, "cannot be made");
    int n = scandir(path, &names, is_entry, NULL);
    if (n < 0)
        return failed(path, "cannot be read");
    free_names(names, n);
    if (n == 0)
        return 0;
    log_at(SOTH_LOG_ERROR, "%s: is not empty; name another directory behind the module's name", path);
    return exit_code(EXIT_CLASS_HOST_INIT_FAILED);
}

/* ---- the command line ---- */

static bool is_one_of(const char *word, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(word, *list) == 0)
            return true;
    return false;
}

/* It becomes the file's name and a part of names in C. */
static bool is_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz", others[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    static const char *const taken[] = {"auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum",
        "extern", "float", "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed", "sizeof", "static",
        "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while", "linux", "unix", NULL};
    return strspn(name, letters) > 0 && strspn(name, others) == strlen(name) && strlen(name) <= 40 && strncmp(name, "soth_", 5) != 0 &&
           !is_one_of(name, taken);
}

int module_new(const struct cli *cli, const char *const *words, size_t n)
{
    static const char *const kinds[] = {"sink", "decoder", "policy", NULL};
    if (n < 2)
        return cli_wrong(cli, "expected is: module new sink|decoder|policy NAME [DIRECTORY]");
    const struct making m = {words[0], words[1], n > 2 ? words[2] : words[1]};
    if (!is_one_of(m.kind, kinds))
        return cli_wrong(cli, "%s: a module to begin with is a sink, a decoder or a policy", m.kind);
    if (!is_name(m.name))
        return cli_wrong(cli, "%s: a module's name begins with a letter, has at most 40 letters a-z, digits and _, and is no word of C", m.name);
    int r = make_directory(m.directory);
    if (r == 0)
        r = copy_template(&m, "common");
    if (r == 0)
        r = copy_template(&m, m.kind);
    if (r == 0)
        printf("\nNow: cd %s && make && make check && make install; README.md says more.\n", m.directory);
    return r;
}
