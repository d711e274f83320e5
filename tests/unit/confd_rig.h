/* SPDX-License-Identifier: MPL-2.0 */
/* For tests of the registry: modules that are built for the program, a conf.d for each test, and what its instances have written to a journal. */
#ifndef TESTS_UNIT_CONFD_RIG_H
#define TESTS_UNIT_CONFD_RIG_H

#include "conf_text.h"
#include "host/event/bus.h"
#include "host/module/registry.h"

struct confd_module {
    const char *source, *name, *flags; /* as of module_build */
};

/* Of a cmocka group: into confd_modules, where the registry finds them. 0, or it failed. */
int confd_build(const struct confd_module *modules, size_t count);
int confd_drop(void **state);
/* Setup and teardown of a test: an empty conf.d, settings that have nothing but it and the modules. */
int confd_begin(void **state);
int confd_end(void **state);
extern char *confd_modules, confd_journal_path[512];
extern struct settings confd_settings;

void confd_document(const char *file, const char *text); /* conf.d/FILE.yaml; $J in it is the journal's path */
int confd_open(bool check_only, struct registry **out, char **messages);
char *confd_journal(void); /* until the next call */

/* A registry with its sinks and sources on a bus; what follows it, taken over as a reload does, without workers, or only opened. */
extern struct registry_shared confd_shared;
struct registry *confd_start(struct bus **bus);
struct registry *confd_follow(struct registry *previous);
struct registry *confd_next(struct registry *previous);
void confd_stop(struct registry *registry, struct bus *bus);
void confd_publish(struct bus *bus); /* an event of each kind */

#endif
