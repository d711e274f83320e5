/* SPDX-License-Identifier: MPL-2.0 */
/* The environment and the directories of the build come in, paths leave. Looks whether files exist and opens none. */
#include "host/conf/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/conf/load.h"

#ifndef SOTH_SYSCONFDIR
#define SOTH_SYSCONFDIR "/usr/local/etc"
#endif
#ifndef SOTH_LOCALSTATEDIR
#define SOTH_LOCALSTATEDIR "/usr/local/var"
#endif
#ifndef SOTH_MODULEDIR
#define SOTH_MODULEDIR "/usr/local/lib/soth-mitm/modules"
#endif

static char *join(const char *a, const char *b)
{
    char *out = NULL;
    return asprintf(&out, "%s%s", a, b) < 0 ? NULL : out;
}

/* The base directory specification: a variable with a whole path, else a directory below the home. */
static char *xdg(const char *variable, const char *below_home, const char *rest)
{
    const char *base = getenv(variable), *home = getenv("HOME");
    char *out = NULL;
    bool given = base && base[0] == '/';
    if (asprintf(&out, "%s%s/soth-mitm/%s", given ? base : home ? home : "", given ? "" : below_home, rest) < 0)
        return NULL;
    return out;
}

/* `installed`, unless it is not there and ../`moved` beside the program's directory is. */
static char *find(const char *installed, const char *moved)
{
    char *program = access(installed, F_OK) < 0 ? realpath("/proc/self/exe", NULL) : NULL, *out = NULL;
    for (int i = 0; program && i < 2; i++) { /* without /bin/soth-mitm */
        char *slash = strrchr(program, '/');
        if (slash)
            *slash = 0;
    }
    if (program)
        out = join(program, moved);
    free(program);
    if (out && access(out, F_OK) == 0)
        return out;
    free(out);
    return strdup(installed);
}

char *place_settings(void)
{
    char *own = xdg("XDG_CONFIG_HOME", "/.config", "soth-mitm.yaml");
    if (own && access(own, F_OK) == 0)
        return own;
    free(own);
    return find(SOTH_SYSCONFDIR "/soth-mitm/soth-mitm.yaml", "/etc/soth-mitm/soth-mitm.yaml");
}

char *place_modules(void)
{
    return find(SOTH_MODULEDIR, "/lib/soth-mitm/modules");
}

char *settings_default_ca(const char *file_name)
{
    if (geteuid() == 0)
        return join(SOTH_LOCALSTATEDIR "/lib/soth-mitm/ca/", file_name);
    char *rest = join("ca/", file_name), *out = rest ? xdg("XDG_DATA_HOME", "/.local/share", rest) : NULL;
    free(rest);
    return out;
}

char *place_beside(const char *file, const char *path)
{
    const char *slash = strrchr(file, '/');
    char *out = NULL;
    if (path[0] == '/' || path[0] == 0 || !slash)
        return strdup(path);
    return asprintf(&out, "%.*s%s", (int)(slash + 1 - file), file, path) < 0 ? NULL : out;
}
