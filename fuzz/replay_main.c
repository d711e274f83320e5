/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A main for fuzz targets where there is no libFuzzer: runs LLVMFuzzerTestOneInput once for every file given, and for every file in the
 * directories given. Ends with 1 when an argument cannot be read or there was no input at all.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz/target.h"

static size_t runs;

static int run_file(const char *path)
{
    size_t cap = 1 << 22;
    uint8_t *room = malloc(cap);
    FILE *file = fopen(path, "rb");
    if (!file || !room) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        free(room);
        if (file)
            fclose(file);
        return 1;
    }
    size_t n = fread(room, 1, cap, file);
    fclose(file);
    uint8_t *exact = malloc(n ? n : 1); /* so that the sanitizer sees a byte too far */
    if (exact) {
        memcpy(exact, room, n);
        LLVMFuzzerTestOneInput(exact, n);
        runs++;
    }
    free(exact);
    free(room);
    return exact ? 0 : 1;
}

static int run_path(const char *path)
{
    struct stat st;
    int bad = 0;
    if (stat(path, &st) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    if (!S_ISDIR(st.st_mode))
        return run_file(path);
    DIR *dir = opendir(path);
    if (!dir) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char inner[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        bad |= run_path(inner);
    }
    closedir(dir);
    return bad;
}

int main(int argc, char **argv)
{
    int bad = 0;
    for (int i = 1; i < argc; i++)
        if (argv[i][0] != '-')
            bad |= run_path(argv[i]);
    printf("%zu inputs\n", runs);
    return bad || runs == 0;
}
