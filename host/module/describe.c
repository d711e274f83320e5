/* SPDX-License-Identifier: MPL-2.0 */
/* One module file, loaded as a run would load it and described out of its own tables. Makes no instance. */
#include <ctype.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>

#include "host/module/instance.h"
#include "host/module/registry.h"

static void describe(const struct soth_module *m, FILE *out)
{
    const char *kind = loader_kind_name(m->kind);
    fprintf(out, "# %s\n\n%c%s %s, %s, module ABI %u.%u", m->name, toupper((unsigned char)*kind), kind + 1, m->version, m->license, m->abi_major,
            m->abi_minor);
    fprintf(out, "%s%s.\n\n", m->doc ? ": " : "", m->doc ? m->doc : "");
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
