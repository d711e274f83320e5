/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Stands in for a distribution's tool in a scratch root: writes down how it was called, and joins the local certificates (ANCHORS) to the bundle
 * (BUNDLE) behind the roots of the distribution. Static: nothing else is in that root. EXIT is what it ends with.
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#ifndef EXIT
#define EXIT 0
#endif

static void append(FILE *out, const char *path)
{
    char text[65536];
    FILE *in = fopen(path, "r");
    size_t n = in ? fread(text, 1, sizeof text, in) : 0;
    fwrite(text, 1, n, out);
    if (in)
        fclose(in);
}

int main(int argc, char **argv)
{
    FILE *log = fopen("/called", "a"), *out = fopen(BUNDLE, "w");
    DIR *anchors = opendir(ANCHORS);
    for (int i = 0; log && i < argc; i++)
        fprintf(log, "%s%s", argv[i], i + 1 < argc ? " " : "\n");
    if (log)
        fclose(log);
    if (!out)
        return 1;
    append(out, "/distribution.pem");
    for (struct dirent *e; anchors && (e = readdir(anchors));) {
        char path[4096];
        snprintf(path, sizeof path, ANCHORS "/%s", e->d_name);
        if (strstr(e->d_name, ".crt"))
            append(out, path);
    }
    fclose(out);
    return EXIT;
}
