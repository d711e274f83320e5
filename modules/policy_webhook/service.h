/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Talking to the decision service: a thread of its own that POSTs questions over kept-alive connections, one question a connection at a
 * time, and hands the answers back. It never blocks on the network. How many questions are open at once is the caller's business.
 */
#ifndef POLICY_WEBHOOK_SERVICE_H
#define POLICY_WEBHOOK_SERVICE_H

#include <stdatomic.h>

#include <soth/sdk.h>

#include "url.h"

enum outcome {
    OUTCOME_OK,       /* a body came */
    OUTCOME_TIMEOUT,  /* the deadline passed */
    OUTCOME_ERROR,    /* anything else; the fault says what */
    OUTCOME_ABANDONED /* nobody waits for it any more */
};

struct conn;

/* One question. The caller fills the first part and keeps it unchanged until `finished` hands it back. */
struct job {
    const char *body; /* JSON */
    size_t body_n;
    _Atomic uint64_t deadline_ns; /* may be moved while it runs */
    /* the service's own */
    atomic_int abandoned;
    struct job *next;
    uint8_t retried; /* on a new connection, since a kept one had ended */
    uint8_t tried;   /* addresses that could not be connected to */
};

struct service_calls {
    const struct soth_host *host; /* for the clock */
    /* On the service's thread, once for each job: it is the caller's again. The body is borrowed; fault only with OUTCOME_ERROR. */
    void (*finished)(void *arg, struct job *job, enum outcome outcome, struct soth_span body, const char *fault);
    void *arg;
};

struct service;

/* 0, -SOTH_ENOMEM or -SOTH_EIO. */
int service_open(const struct url *url, const struct service_calls *calls, struct service **out);
/* Ends the thread; every job that is still open is finished with OUTCOME_ABANDONED first. */
void service_close(struct service *service);
/* Any thread. */
void service_submit(struct service *service, struct job *job);
/* Any thread, while the job was not handed back yet. */
void service_abandon(struct service *service, struct job *job);

#endif
