/* SPDX-License-Identifier: MPL-2.0 */
/* What the process holds (trial.h): allocated bytes, mapped pages, descriptors, threads. */
#include <dirent.h>
#include <malloc.h>

#include "host/module/trial.h"

/* There when a sanitizer has taken the allocator's place; then mallinfo2 knows nothing. */
extern size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static uint64_t allocated(void)
{
    if (__sanitizer_get_current_allocated_bytes)
        return __sanitizer_get_current_allocated_bytes();
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static uint64_t entries(const char *path)
{
    uint64_t n = 0;
    DIR *directory = opendir(path);
    for (const struct dirent *e; directory && (e = readdir(directory));)
        n += e->d_name[0] != '.';
    if (directory)
        closedir(directory);
    return n;
}

static uint64_t pages(void)
{
    unsigned long long n = 0;
    FILE *in = fopen("/proc/self/statm", "r");
    if (in && fscanf(in, "%llu", &n) != 1)
        n = 0;
    if (in)
        fclose(in);
    return n;
}

void usage_now(struct usage *usage)
{
    *usage = (struct usage){allocated(), pages(), entries("/proc/self/fd"), entries("/proc/self/task")};
}
