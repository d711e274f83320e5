/* SPDX-License-Identifier: MPL-2.0 */
/* See module_build.h. $CC compiles, or cc. */
#include "module_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int module_build(const char *source, const char *directory, const char *name, const char *flags)
{
    const char *root = getenv("srcdir"), *compiler = getenv("CC");
    char *command = NULL, path[512];
    root = root ? root : ".";
    if (asprintf(&command, "%s -std=gnu11 -Wall -Wextra -Werror -g -shared -fPIC -I'%s/sdk' %s -o '%s/%s.so' '%s%s%s'",
                 compiler ? compiler : "cc", root, flags, directory, name, *source == '/' ? "" : root, *source == '/' ? "" : "/", source) < 0)
        return -1;
    int status = system(command);
    free(command);
    snprintf(path, sizeof path, "%s/%s.so", directory, name);
    return status == 0 ? chmod(path, 0700) : status;
}
