/* SPDX-License-Identifier: MPL-2.0 */
/* Pauses of TRANSFORMs: a promise to be called again, kept by a resume, a deadline or the end of a moment. */
#include "host/chain/parts.h"

bool wait_begin(struct chain *chain, struct lane *lane, int verdict)
{
    struct pause *pause = &lane->pause;
    if (verdict == SOTH_BUSY && pause->state == PAUSE_TAKEN && chain->env->stale)
        chain->env->stale(chain->flow, &pause->token);
    return pause_begin(pause, verdict, chain->flow->bus->monotonic_ns);
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
