/* SPDX-License-Identifier: MPL-2.0 */
/* The ranges of what a sink did not get, few and in order, until they are told in events_lost. */
#include <string.h>

#include "host/event/private.h"

static void extend(struct loss *loss, struct loss more)
{
    loss->first = more.first < loss->first ? more.first : loss->first;
    loss->last = more.last > loss->last ? more.last : loss->last;
    loss->count += more.count;
}

void losses_add(struct losses *losses, struct loss more, uint64_t arrived)
{
    struct loss *v = losses->v;
    unsigned at = losses->n;
    while (at > 0 && v[at - 1].first > more.first)
        at--;
    bool goes_on = at > 0 && (v[at - 1].last >= arrived || v[at - 1].last + 1 == more.first);
    if (goes_on || losses->n == LOSSES) {
        extend(&v[at > 0 ? at - 1 : 0], more);
        return;
    }
    memmove(v + at + 1, v + at, (losses->n - at) * sizeof *v);
    v[at] = more;
    losses->n++;
}
