/* SPDX-License-Identifier: MPL-2.0 */
/* See parts.h. */
#include "parts.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *parts_path(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b) + 1;
    char *out = malloc(n + m);
    if (out) {
        memcpy(out, a, n);
        memcpy(out + n, b, m);
    }
    return out;
}

char *parts_name(const char *path, uint64_t number)
{
    char part[32];
    snprintf(part, sizeof part, ".part%05llu", (unsigned long long)number);
    return parts_path(path, number ? part : "");
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int is_part(const char *file, const char *base, uint64_t *number)
{
    size_t n = strlen(base);
    char *end;
    if (strncmp(file, base, n) != 0)
        return 0;
    if (file[n] == 0) {
        *number = 0;
        return 1;
    }
    if (strncmp(file + n, ".part", 5) != 0 || file[n + 5] < '0' || file[n + 5] > '9')
        return 0;
    *number = strtoull(file + n + 5, &end, 10);
    return *end == 0 && *number > 0;
}

const char *parts_file(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *parts_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = parts_path(slash ? path : ".", "");
    if (dir && slash)
        dir[slash == path ? 1 : slash - path] = 0;
    return dir;
}

struct parts parts_list(const char *path)
{
    struct parts l = {NULL, 0, 0};
    const char *base = parts_file(path);
    char *dir = parts_folder(path);
    DIR *d = dir ? opendir(dir) : NULL;
    l.error = d ? 0 : errno;
    for (struct dirent *entry; d && (entry = readdir(d));) {
        uint64_t number;
        if (!is_part(entry->d_name, base, &number))
            continue;
        uint64_t *bigger = realloc(l.numbers, (l.n + 1) * sizeof *bigger);
        if (!bigger) {
            l.error = ENOMEM;
            break;
        }
        l.numbers = bigger;
        bigger[l.n++] = number;
    }
    if (d)
        closedir(d);
    free(dir);
    if (l.n)
        qsort(l.numbers, l.n, sizeof *l.numbers, by_number);
    return l;
}

int parts_has(const struct parts *parts, uint64_t number)
{
    return parts->n > 0 && bsearch(&number, parts->numbers, parts->n, sizeof number, by_number) != NULL;
}

void parts_drop(struct parts *parts, uint64_t number)
{
    size_t n = 0;
    for (size_t i = 0; i < parts->n; i++)
        if (parts->numbers[i] != number)
            parts->numbers[n++] = parts->numbers[i];
    parts->n = n;
}

void parts_fini(struct parts *parts)
{
    free(parts->numbers);
}
