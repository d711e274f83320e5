/* SPDX-License-Identifier: MPL-2.0 */
/* See confd_rig.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "confd_rig.h"
#include "module_build.h"

char *confd_modules, confd_journal_path[512];
struct settings confd_settings;
struct registry_shared confd_shared;

static char *folder, conf_d[512];

int confd_build(const struct confd_module *modules, size_t count)
{
    int r = 0;
    confd_modules = scratch_new();
    for (size_t i = 0; i < count && r == 0; i++)
        r = module_build(modules[i].source, confd_modules, modules[i].name, modules[i].flags);
    return r;
}

int confd_drop(void **state)
{
    (void)state;
    scratch_free(confd_modules);
    return 0;
}

int confd_begin(void **state)
{
    (void)state;
    folder = scratch_new();
    snprintf(conf_d, sizeof conf_d, "%s/conf.d", folder);
    snprintf(confd_journal_path, sizeof confd_journal_path, "%s/journal", folder);
    confd_settings = (struct settings){.modules_dir = {(const char *const *)&confd_modules, 1}, .conf_d = conf_d};
    free(scratch_file(folder, "conf.d/00-nothing.yaml", "", 0600));
    return 0;
}

int confd_end(void **state)
{
    (void)state;
    scratch_free(folder);
    return 0;
}

/* A document; $J is the journal's path. */
void confd_document(const char *file, const char *text)
{
    char name[64], full[2048], *at = full;
    for (; *text; text++) {
        if (text[0] == '$' && text[1] == 'J') {
            at += sprintf(at, "%s", confd_journal_path);
            text++;
        } else {
            *at++ = *text;
        }
    }
    *at = 0;
    snprintf(name, sizeof name, "conf.d/%s.yaml", file);
    free(scratch_file(folder, name, full, 0600));
}

int confd_open(bool check_only, struct registry **out, char **messages)
{
    struct said said;
    said_begin(&said);
    int r = registry_open("soth-mitm.yaml", &confd_settings, check_only, said.out, out);
    *messages = said_end(&said);
    return r;
}

char *confd_journal(void)
{
    static char text[4096];
    FILE *in = fopen(confd_journal_path, "r");
    size_t n = in ? fread(text, 1, sizeof text - 1, in) : 0;
    if (in)
        fclose(in);
    text[n] = 0;
    return text;
}

/* ---- with a bus ---- */

struct registry *confd_next(struct registry *previous)
{
    struct registry *registry;
    struct said said;
    said_begin(&said);
    int r = registry_open_next(&confd_settings, &confd_shared, previous, said.out, &registry);
    char *messages = said_end(&said);
    if (r != SOTH_OK)
        fail_msg("%s", messages);
    free(messages);
    return registry;
}

/* As a reload does it, without workers. */
static void take_over(struct registry *registry, struct registry *previous)
{
    char err[256];
    struct bus_change *change = bus_change_new(confd_shared.bus);
    assert_int_equal(registry_change_sinks(registry, previous, change), SOTH_OK);
    assert_int_equal(registry_start_sources(registry, previous, err, sizeof err), SOTH_OK);
    bus_change_commit(change, 5000);
    registry_make_current(&confd_shared, registry);
}

struct registry *confd_follow(struct registry *previous)
{
    struct registry *registry = confd_next(previous);
    take_over(registry, previous);
    return registry;
}

struct registry *confd_start(struct bus **bus)
{
    *bus = bus_new();
    registry_shared_init(&confd_shared, *bus);
    struct registry *registry = confd_next(NULL);
    take_over(registry, NULL);
    return registry;
}

void confd_stop(struct registry *registry, struct bus *bus)
{
    bus_stop(bus, 5000);
    registry_stop_sources(registry);
    bus_reap(bus, registry_sink_ended);
    registry_make_current(&confd_shared, NULL);
    registry_free(registry);
    bus_free(bus);
    registry_shared_fini(&confd_shared);
}

void confd_publish(struct bus *bus)
{
    struct bus_port *port = bus_port_new(bus, NULL, NULL);
    struct event_source source = {.flow_id = 1, .next_sequence = 1};
    for (unsigned kind = 1; kind < SOTH_EV_COUNT; kind++)
        bus_emit(port, &source, kind, NULL, 0);
    bus_port_free(port);
}
