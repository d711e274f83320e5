/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The watchdog of the workers: a thread that looks, some fifty times a second, which hook each of them is in (site.h). A hook that stays for
 * more than 100 ms is named once, in the log and as a module_fault; one that stays for hook_hang_timeout ends the process with a crash
 * report, since it cannot be unwound. Time in which the watchdog itself did not run counts for little: a machine that stands still, or a
 * process that was stopped, is no hook that hangs.
 */
#ifndef HOST_MODULE_WATCHDOG_H
#define HOST_MODULE_WATCHDOG_H

#include "host/module/site.h"

#define WATCHDOG_NAMED_MS 100u

struct bus;
struct watchdog;

/* Starts the thread. NULL on failure. */
struct watchdog *watchdog_new(struct bus *bus, uint64_t hang_ms);
void watchdog_free(struct watchdog *watchdog); /* nobody is watched any more */
void watchdog_set_limit(struct watchdog *watchdog, uint64_t hang_ms);
/* The calling thread is watched from here on, resp. no more. 0 or -SOTH_ENOMEM. */
int watchdog_enter(struct watchdog *watchdog);
void watchdog_leave(struct watchdog *watchdog);

/* ---- one look at one thread, without a clock: for the thread above, and for tests ---- */

struct watch {
    struct {
        uint64_t entry, stayed_ms;
        bool named;
    } level[SITE_DEPTH];
};
enum watch_finding { WATCH_FINE, WATCH_STAYS, WATCH_HANGS };
/* elapsed_ms: since the last look. STAYS and HANGS: *call is the innermost hook that overstays; STAYS comes once for each call. */
enum watch_finding watch_look(struct watch *watch, const struct site *site, uint64_t elapsed_ms, uint64_t hang_ms, struct site_call *call);

#endif
