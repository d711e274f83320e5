/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A host for tests of a module's inside: one module linked into the test gets its configuration from YAML text, and what it says, counts
 * and asks for is kept here. The clock is `now_ns`. Log and counters may be used from any thread.
 */
#ifndef TESTS_UNIT_FAKE_HOST_H
#define TESTS_UNIT_FAKE_HOST_H

#include <soth/sdk.h>

#include "host/conf/options.h"

#define FAKE_COUNTERS 64

struct fake_host {
    uint64_t now_ns;
    char log[8192];  /* "level text\n" ... */
    char wrong[2048]; /* "key: text\n" ... of cfg_err, and what the option tables found */
    int held;
    int counters;
    char names[FAKE_COUNTERS][80]; /* "name" or "name{label}" */
    uint64_t values[FAKE_COUNTERS];
    char events[8192]; /* "kind name=value name=value\n" ... of emit */
};
extern struct fake_host fake;
extern const struct soth_host fake_api;

struct fake_instance {
    const struct soth_module *module;
    void *self;
    struct conf_file *yaml;
    struct options_owned *owned;
    int created;
    uint64_t waiting; /* of the batches of fake_write */
};

void fake_reset(void);
/* Fills, checks and creates. The first result that is not SOTH_OK, or SOTH_OK. fake_close in either case. */
int fake_open(struct fake_instance *instance, const struct soth_module *module, const char *config);
/* The same with services of another host, which passes the log and the counters on to this one. */
int fake_open_on(struct fake_instance *instance, const struct soth_module *module, const struct soth_host *host, const char *config);
void fake_close(struct fake_instance *instance);
/* Of a counter, 0 when there is none of this name. */
uint64_t fake_count(const char *name);

/* Is that text in fake.events by now? They may come from any thread. */
int fake_emitted(const char *text);

/* What soth_host.setting answers; stays over fake_reset. `key` is a literal. */
void fake_setting(const char *key, uint64_t value);

/* An event, good until the next FAKE_EVENTS of them are made. attrs ends with a name NULL. */
#define FAKE_EVENTS 64
struct soth_event *fake_event(unsigned kind, uint64_t flow_id, const struct soth_attr *attrs);
#define FAKE_EVENT(kind, flow_id, ...) fake_event(kind, flow_id, (const struct soth_attr[]){__VA_ARGS__ {NULL, {NULL, 0}, 0, 0, 0}})
/* One write of these events; returns its verdict. */
int fake_write(struct fake_instance *instance, struct soth_event *const *events, uint32_t n, uint32_t *done, uint32_t *retry_ms);

#endif
