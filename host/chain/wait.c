/* SPDX-License-Identifier: MPL-2.0 */
/* Pauses of TRANSFORMs: a promise to be called again, kept by a resume, a deadline or the end of a moment. */
#include "host/chain/parts.h"

#define BUSY_FIRST_MS 1
#define BUSY_MOST_MS 64
#define BUSY_TIMES 200 /* some twelve seconds; then it is as if it had failed */

static uint64_t from_now(const struct chain *chain, uint64_t ms)
{
    return chain->flow->bus->monotonic_ns + ms * UINT64_C(1000000);
}

bool wait_begin(struct chain *chain, struct lane *lane, int verdict)
{
    struct pause *pause = &lane->pause;
    if (verdict == SOTH_PAUSE && pause->state == PAUSE_TAKEN) {
        pause->state = PAUSE_WAITING;
        pause->busy = 0;
        pause->deadline_ns = from_now(chain, pause->deadline_ms);
        return true;
    }
    if (verdict == SOTH_BUSY && pause->busy < BUSY_TIMES) {
        unsigned times = pause->busy + 1;
        if (pause->state == PAUSE_TAKEN && chain->env->stale)
            chain->env->stale(chain->flow, &pause->token);
        *pause = (struct pause){.state = PAUSE_BUSY, .busy = times};
        pause->deadline_ns = from_now(chain, times < 7 ? (uint64_t)BUSY_FIRST_MS << (times - 1) : BUSY_MOST_MS);
        return true;
    }
    return false;
}

/* Was it not ended by a resume, its module hears that the token is dead. */
void wait_end(struct chain *chain, struct place *place, struct lane *lane)
{
    struct pause *pause = &lane->pause;
    bool waited = pause->state == PAUSE_WAITING || pause->state == PAUSE_LATE;
    if ((waited || pause->state == PAUSE_TAKEN) && chain->env->stale)
        chain->env->stale(chain->flow, &pause->token);
    if (waited)
        call_cancel(chain, place, &pause->token);
    *pause = (struct pause){.state = PAUSE_NONE};
}
