/* SPDX-License-Identifier: MPL-2.0 */
#include "conf_text.h"

#include <assert.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A test that cannot prepare its world ends here. */
#define MUST(condition)                                    \
    do {                                                   \
        if (!(condition)) {                                \
            perror(#condition);                            \
            abort();                                       \
        }                                                  \
    } while (0)

void said_begin(struct said *said)
{
    said->out = open_memstream(&said->text, &said->size);
    MUST(said->out);
}

char *said_end(struct said *said)
{
    fclose(said->out);
    return said->text;
}

char *scratch_new(void)
{
    char *directory = strdup("/tmp/soth-conf-XXXXXX");
    MUST(directory && mkdtemp(directory));
    return directory;
}

static int drop(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st;
    (void)type;
    (void)walk;
    return remove(path);
}

void scratch_free(char *directory)
{
    if (directory)
        nftw(directory, drop, 8, FTW_DEPTH | FTW_PHYS);
    free(directory);
}

char *scratch_file(const char *directory, const char *name, const char *text, mode_t mode)
{
    char *path = NULL;
    MUST(asprintf(&path, "%s/%s", directory, name) > 0);
    char *slash = strrchr(path, '/');
    *slash = 0;
    mkdir(path, 0700);
    *slash = '/';
    FILE *out = fopen(path, "w");
    MUST(out && fputs(text, out) >= 0 && fclose(out) == 0 && chmod(path, mode) == 0);
    return path;
}
