/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Where flows wait for answers. A question is looked up among the answers that still hold, joins a call that is asking just that, or becomes
 * a call of its own; the call's answer resumes everyone who waits for it. Any thread; never blocks longer than its lock.
 */
#ifndef POLICY_WEBHOOK_DESK_H
#define POLICY_WEBHOOK_DESK_H

#include "question.h"
#include "service.h"

struct desk_config {
    const struct soth_host *host;
    void *self;
    uint64_t timeout_ms, cache_ttl_ms;
    uint64_t max_in_flight;
    int calls_counter;
    /* Any thread. The service has begun to fail (what it does wrong), or, with NULL, to answer again after so many failures. */
    void (*episode)(void *self, const char *fault, uint64_t failures);
};

struct desk;

/* 0, -SOTH_ENOMEM or -SOTH_EIO. */
int desk_open(const struct url *url, const struct desk_config *config, struct desk **out);
void desk_close(struct desk *desk);

/* Reasons in answers are good until desk_close. */
enum desk_look { DESK_CACHED, DESK_FULL, DESK_ASK };
/* DESK_CACHED: the answer. DESK_FULL: too many calls are open. DESK_ASK: desk_ask may well take it. */
enum desk_look desk_look(struct desk *desk, const char *key, struct answer *out);
/* Takes the key (malloc'd) in any case. SOTH_PAUSE: the token will be resumed, with the number of what desk_collect returns; SOTH_BUSY: too
 * many calls are open; -SOTH_ENOMEM. */
int desk_ask(struct desk *desk, char *key, uint32_t hook, struct question *question, uint64_t flow_id, struct soth_token token);
/* What became of it; OUTCOME_ERROR when there is no such number. */
enum outcome desk_collect(struct desk *desk, uint64_t number, struct answer *out);
/* Nobody waits with this token any more. OUTCOME_TIMEOUT: since its time is over, OUTCOME_ABANDONED: before that, or it did not wait. */
enum outcome desk_cancel(struct desk *desk, struct soth_token token);

#endif
