/* SPDX-License-Identifier: MPL-2.0 */
/* Threads that take no signals: those are the host's. */
#ifndef POLICY_WEBHOOK_THREAD_H
#define POLICY_WEBHOOK_THREAD_H

#include <pthread.h>
#include <signal.h>

#include <soth/sdk.h>

static inline int thread_start(pthread_t *thread, void *(*run)(void *), void *arg)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error ? -SOTH_ENOMEM : SOTH_OK;
}

#endif
