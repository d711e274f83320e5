/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Resumes on their way to a worker: any thread posts a token, the worker takes what has come and steps the flows. A flow that pauses has a
 * slot here; a token is the slot, its generation and the number of the pause, so that one that nobody waits for any more is known as such
 * without looking at the flow. Each worker has one, found by its number in the token's slot. Locked; touched only by flows that pause.
 */
#ifndef HOST_MODULE_MAILBOX_H
#define HOST_MODULE_MAILBOX_H

#include <stdbool.h>
#include <stdint.h>

#include <soth/sdk.h>

struct mailbox;

#define MAILBOX_WORKERS 1024u /* most that can exist at once */

/* One resume. `owner` is what mailbox_enter was given. */
struct mail {
    void *owner;
    uint64_t pause, arg;
};

/* `wake` is called from any thread when the first mail comes after a take; it must only signal the worker. NULL without memory or when
 * there are too many. */
struct mailbox *mailbox_new(void (*wake)(void *arg), void *arg);
void mailbox_free(struct mailbox *mailbox); /* every token of it is stale from here on */

/* A slot for a flow of this worker, until mailbox_leave. 0, or -SOTH_ENOMEM. The worker's thread. */
int mailbox_enter(struct mailbox *mailbox, void *owner, uint32_t *slot, uint32_t *generation);
void mailbox_leave(struct mailbox *mailbox, uint32_t slot);
/* From here on this pause of the slot is waited for, resp. not any more. A flow has at most MAILBOX_PAUSES at once: false, it has. */
#define MAILBOX_PAUSES 8
bool mailbox_expect(struct mailbox *mailbox, uint32_t slot, uint64_t pause);
void mailbox_forget(struct mailbox *mailbox, uint32_t slot, uint64_t pause);

/* soth_host.resume. Any thread. */
int mailbox_post(struct soth_token token, uint64_t arg);

/* One that has come; its owner is alive. The worker's thread: one at a time, since what a mail leads to may end its owner. */
bool mailbox_take(struct mailbox *mailbox, struct mail *out);
/* Resumes of the process that nobody waited for: the pause was over, the flow gone, or the token posted twice. */
uint64_t mailbox_stale(void);

#endif
