/* SPDX-License-Identifier: MPL-2.0 */
/* One module file, loaded as a run would load it and described out of its own tables. Makes no instance. */
#include <ctype.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>

#include "host/module/inspect.h"
#include "host/module/instance.h"
#include "host/module/registry.h"

/* A sink's own subscription, as it would be written in its YAML. */
static void describe_events(const struct soth_module *m, FILE *out)
{
    static const char *const groups[] = {"connect", "tls", "http", "body", "stream", "grpc", "decoder", "system"};
    const char *between = "";
    fputs("Events, unless `events:` says otherwise: ", out);
    if (m->events == 0 || m->events == SOTH_GROUP_ALL)
        fputs("all", out);
    for (size_t i = 0; m->events && m->events != SOTH_GROUP_ALL && i < sizeof groups / sizeof *groups; i++)
        if (m->events >> i & 1) {
            fprintf(out, "%s%s", between, groups[i]);
            between = ", ";
        }
    fputs(".\n\n", out);
}

static void describe(const struct soth_module *m, FILE *out)
{
    fprintf(out, "# %s\n\n", m->name);
    if (m->doc)
        fprintf(out, "%c%s.\n\n", toupper((unsigned char)*m->doc), *m->doc ? m->doc + 1 : "");
    fprintf(out, "A %s, version %s, licence %s, module ABI %u.%u.\n\n", inspect_kind(m->kind), m->version, m->license, m->abi_major, m->abi_minor);
    if (m->kind == SOTH_KIND_SINK)
        describe_events(m, out);
    fprintf(out, "```yaml\nmodule: %s\n%s```\n\n", m->name, m->options ? "config: {...}\n" : "");
    if (m->options) {
        fputs("The keys of `config:`\n\n", out);
        options_doc(m->options, "", out);
    } else {
        fputs("Takes no configuration.\n", out);
    }
}

int registry_describe(const char *file, FILE *out, char *err, size_t err_size)
{
    char *copy = strdup(file), *second = strdup(file);
    size_t n = strlen(file);
    int r = -SOTH_ENOENT;
    const struct soth_module *module = NULL;
    if (!copy || !second) {
        snprintf(err, err_size, "out of memory");
    } else if (n < 4 || strcmp(file + n - 3, ".so") != 0) {
        snprintf(err, err_size, "%s: a module's file is NAME.so", file);
    } else {
        const char *directory = dirname(copy);
        char *name = basename(second);
        name[strlen(name) - 3] = 0;
        module = loader_get(&(struct soth_strings){&directory, 1}, name, &r, err, err_size);
    }
    if (module) {
        struct soth_module known = {0};
        memcpy(&known, module, module->size < sizeof known ? module->size : sizeof known);
        describe(&known, out);
        r = SOTH_OK;
    }
    free(copy);
    free(second);
    return r;
}
