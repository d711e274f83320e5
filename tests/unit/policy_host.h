/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A host for tests of a policy's inside: the module is linked into the test, gets its configuration from YAML text, and is asked about
 * flows that can pause, be resumed from another thread, run out of time and go away. The head of a message is a list of fields.
 */
#ifndef TESTS_UNIT_POLICY_HOST_H
#define TESTS_UNIT_POLICY_HOST_H

#include "fake_host.h"
#include "judged.h"

extern struct soth_host policy_host; /* fake_api and what flows need; the clock is the real one, and this far ahead */
extern _Atomic uint64_t policy_clock_skew_ns;
/* The token of the next pauses is refused (no memory). */
extern int policy_no_token;

/* fake_open of the module that is linked into the test. Mistakes in the configuration are told with their places. */
int policy_open(struct fake_instance *policy, const char *config);
unsigned policy_log_count(const char *text); /* how often this text stands in the log */

/* ---- flows ---- */

enum flow_state { FLOW_RUNS, FLOW_PAUSED, FLOW_RESUMED };

#define FLOW_FIELDS 32

struct soth_flow {
    uint64_t id;
    enum flow_state state;
    struct soth_token token; /* of the pause */
    uint32_t deadline_ms, on_timeout;
    uint64_t arg;
    /* the head, and the target that was wished for */
    struct {
        char name[64], value[256];
    } fields[FLOW_FIELDS];
    unsigned field_count;
    char host[256], path[1024];
    uint32_t port;
    unsigned targets; /* how often set_target was called */
};

struct soth_flow *policy_flow_new(void);
void policy_flow_free(struct soth_flow *flow); /* cancels a pause, like a client that leaves */

/* Calls the hook. After SOTH_PAUSE: policy_flow_wait, then the same again. */
int ask_connect(struct fake_instance *policy, struct soth_flow *flow, const struct soth_connect *connect, struct soth_decision *out);
int ask_request(struct fake_instance *policy, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out);
int ask_rewrite(struct fake_instance *policy, struct soth_flow *flow, const struct soth_message *message);
/* Until the flow is resumed; fails the test when that takes too long. */
void policy_flow_wait(struct soth_flow *flow);
/* The deadline of its pause passes, or its client leaves: the module's cancel is called. */
void policy_flow_cancel(struct fake_instance *policy, struct soth_flow *flow);
/* Calls the hook until it has an answer. */
int answer_connect(struct fake_instance *policy, struct soth_flow *flow, const struct soth_connect *connect, struct soth_decision *out);
int answer_request(struct fake_instance *policy, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out);

/* Fields of the flow's head. policy_flow_fields prints "name: value\n" ... */
void policy_flow_field(struct soth_flow *flow, const char *name, const char *value);
const char *policy_flow_fields(const struct soth_flow *flow);

#endif
