/* SPDX-License-Identifier: MPL-2.0 */
/* The modules' metrics as Prometheus text (exposition format 0.0.4): the samples of one name stand together, whichever instance they are of. */
#include <inttypes.h>
#include <string.h>

#include "host/module/instance.h"
#include "host/module/registry.h"

static const char *const type_names[] = {"counter", "gauge", "histogram"};

static void print_escaped(const char *text, bool quotes, FILE *out)
{
    for (; *text; text++) {
        if (*text == '\n') {
            fputs("\\n", out);
            continue;
        }
        if (*text == '\\' || (quotes && *text == '"'))
            fputc('\\', out);
        fputc(*text, out);
    }
}

/* Modules may have a "-" in their name, metrics may not. */
static void print_name(const struct soth_module *module, const struct metric *m, FILE *out)
{
    fputs("soth_", out);
    for (const char *c = module->name; *c; c++)
        fputc(*c == '-' ? '_' : *c, out);
    fprintf(out, "_%s%s", m->name, m->type == METRIC_COUNTER ? "_total" : "");
}

/* bound: NULL where a sample has none. */
static void print_sample(const struct instance *in, const struct metric *m, const char *suffix, const char *bound, uint64_t value, FILE *out)
{
    print_name(&in->module, m, out);
    fprintf(out, "%s{instance=\"%s\"", suffix, in->conf->name);
    if (m->label) {
        fputs(",label=\"", out);
        print_escaped(m->label, true, out);
        fputc('"', out);
    }
    if (bound)
        fprintf(out, ",le=\"%s\"", bound);
    fprintf(out, "} %" PRIu64 "\n", value);
}

static void print_histogram(const struct instance *in, const struct metric *m, FILE *out)
{
    uint64_t up_to = 0;
    for (size_t i = 0; i <= m->bound_count; i++) {
        char bound[24] = "+Inf";
        if (i < m->bound_count)
            snprintf(bound, sizeof bound, "%" PRIu64, m->bounds[i]);
        up_to += metric_sum(m, i);
        print_sample(in, m, "_bucket", bound, up_to, out);
    }
    print_sample(in, m, "_sum", NULL, metric_sum(m, m->bound_count + 1), out);
    print_sample(in, m, "_count", NULL, up_to, out);
}

static void print_metric(const struct instance *in, const struct metric *m, FILE *out)
{
    if (m->type == METRIC_HISTOGRAM)
        print_histogram(in, m, out);
    else
        print_sample(in, m, "", NULL, metric_sum(m, 0), out);
}

static bool has(const struct instance *in, const struct metric *wanted)
{
    for (int k = 0; k < in->metrics.count; k++)
        if (strcmp(in->metrics.v[k]->name, wanted->name) == 0 && in->metrics.v[k]->type == wanted->type)
            return true;
    return false;
}

static bool same_module(const struct instance *a, const struct instance *b)
{
    return strcmp(a->module.name, b->module.name) == 0;
}

/* A name's samples, unless an instance before this one has printed them. */
static void print_name_once(const struct registry *registry, size_t i, const struct metric *m, FILE *out)
{
    for (size_t k = 0; k < i; k++)
        if (same_module(registry->v[k], registry->v[i]) && has(registry->v[k], m))
            return;
    fputs("# HELP ", out);
    print_name(&registry->v[i]->module, m, out);
    fputc(' ', out);
    print_escaped(m->help, false, out);
    fputs("\n# TYPE ", out);
    print_name(&registry->v[i]->module, m, out);
    fprintf(out, " %s\n", type_names[m->type]);
    for (size_t k = i; k < registry->n; k++) {
        const struct instance *in = registry->v[k];
        for (int j = 0; same_module(in, registry->v[i]) && j < in->metrics.count; j++)
            if (strcmp(in->metrics.v[j]->name, m->name) == 0 && in->metrics.v[j]->type == m->type)
                print_metric(in, in->metrics.v[j], out);
    }
}

static void print_left_out(const struct registry *registry, FILE *out)
{
    bool titled = false;
    for (size_t i = 0; i < registry->n; i++) {
        const struct instance *in = registry->v[i];
        uint64_t n = atomic_load_explicit(&in->attrs_left_out, memory_order_relaxed);
        if (n > 0 && !titled)
            fputs("# HELP soth_module_attributes_left_out_total attributes of a module's events that their kinds do not have\n"
                  "# TYPE soth_module_attributes_left_out_total counter\n", out);
        if (n > 0)
            fprintf(out, "soth_module_attributes_left_out_total{instance=\"%s\"} %" PRIu64 "\n", in->conf->name, n);
        titled |= n > 0;
    }
}

void registry_print_metrics(const struct registry *registry, FILE *out)
{
    for (size_t i = 0; i < registry->n; i++)
        for (int k = 0; k < registry->v[i]->metrics.count; k++)
            if (registry->v[i]->metrics.v[k]->is_first)
                print_name_once(registry, i, registry->v[i]->metrics.v[k], out);
    print_left_out(registry, out);
}
