/* SPDX-License-Identifier: MPL-2.0 */
/* What instances there are, for people. */
#include <inttypes.h>

#include "host/module/inspect.h"
#include "host/module/instance.h"
#include "host/module/registry.h"

void registry_print(const struct registry *registry, FILE *out)
{
    fprintf(out, "%-8s %-20s %-20s %-10s %6s  %s\n", "kind", "instance", "module", "version", "order", "what it does");
    for (size_t i = 0; i < registry->n; i++) {
        const struct instance *in = registry->v[i];
        fprintf(out, "%-8s %-20s %-20s %-10s %6" PRId64 "  %s\n", inspect_kind(in->module.kind), in->conf->name,
                in->module.name, in->module.version, in->conf->order, in->module.doc ? in->module.doc : "");
    }
}
