/* SPDX-License-Identifier: MPL-2.0 */
/* What there is, for people, and the modules' counters, for Prometheus. */
#include <inttypes.h>
#include <string.h>

#include "host/module/instance.h"
#include "host/module/registry.h"

void registry_print(const struct registry *registry, FILE *out)
{
    fprintf(out, "%-8s %-20s %-20s %-10s %6s  %s\n", "kind", "instance", "module", "version", "order", "what it does");
    for (size_t i = 0; i < registry->n; i++) {
        const struct instance *in = registry->v[i];
        fprintf(out, "%-8s %-20s %-20s %-10s %6" PRId64 "  %s\n", loader_kind_name(in->module.kind), in->conf->name,
                in->module.name, in->module.version, in->conf->order, in->module.doc ? in->module.doc : "");
    }
}

static void print_label(const char *text, FILE *out)
{
    fputs(",label=\"", out);
    for (; *text; text++) {
        if (*text == '\n') {
            fputs("\\n", out);
            continue;
        }
        if (*text == '"' || *text == '\\')
            fputc('\\', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static void print_samples(const struct instance *in, const char *name, FILE *out)
{
    for (int k = 0; k < in->counter_count; k++) {
        struct counter *c = in->counters[k];
        if (strcmp(c->name, name) != 0)
            continue;
        fprintf(out, "soth_%s_%s_total{instance=\"%s\"", in->module.name, name, in->conf->name);
        if (c->label)
            print_label(c->label, out);
        fprintf(out, "} %" PRIuFAST64 "\n", atomic_load(&c->value));
    }
}

static bool has_counter(const struct instance *in, const char *name)
{
    for (int k = 0; k < in->counter_count; k++)
        if (in->counters[k]->is_first && strcmp(in->counters[k]->name, name) == 0)
            return true;
    return false;
}

/* A metric's samples stand together, whichever instance of the module they are of. */
static void print_counter(const struct registry *registry, size_t i, const struct counter *c, FILE *out)
{
    const char *module = registry->v[i]->module.name;
    for (size_t k = 0; k < i; k++)
        if (strcmp(registry->v[k]->module.name, module) == 0 && has_counter(registry->v[k], c->name))
            return;
    fprintf(out, "# HELP soth_%s_%s_total %s\n# TYPE soth_%s_%s_total counter\n", module, c->name, c->help ? c->help : "", module, c->name);
    for (size_t k = i; k < registry->n; k++)
        if (strcmp(registry->v[k]->module.name, module) == 0)
            print_samples(registry->v[k], c->name, out);
}

void registry_print_metrics(const struct registry *registry, FILE *out)
{
    for (size_t i = 0; i < registry->n; i++)
        for (int k = 0; k < registry->v[i]->counter_count; k++)
            if (registry->v[i]->counters[k]->is_first)
                print_counter(registry, i, registry->v[i]->counters[k], out);
}
