/* SPDX-License-Identifier: MPL-2.0 */
/* What became of the instances, for Prometheus. */
#include "host/module/breaker.h"
#include "host/module/inspect.h"
#include "host/module/registry.h"

void registry_print_states(const struct registry *registry, FILE *out)
{
    fputs("# HELP soth_module_off instances that failed too often and are not called any more\n# TYPE soth_module_off gauge\n", out);
    for (size_t i = 0; i < registry->n; i++) {
        const struct instance *in = registry->v[i];
        fprintf(out, "soth_module_off{kind=\"%s\",module=\"%s\",instance=\"%s\"} %d\n", inspect_kind(in->module.kind), in->module.name,
                in->conf->name, breaker_is_open(in));
    }
    fprintf(out, "# HELP soth_module_files_replaced modules whose file is not the one that was loaded: the old code goes on until a restart\n"
                 "# TYPE soth_module_files_replaced gauge\nsoth_module_files_replaced %u\n", registry_replaced_files());
}
