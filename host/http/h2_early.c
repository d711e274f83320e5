/* SPDX-License-Identifier: MPL-2.0 */
/*
 * PRIORITY_UPDATE frames that come before the stream they are about (RFC 9218 7.1): kept until its head has been told. Few, and short: who says more
 * than that says it again, or in the priority field.
 */
#include <stdlib.h>
#include <string.h>

#include "host/http/h2_state.h"

void h2_early_keep(struct h2 *h2, int32_t id, const uint8_t *value, size_t n)
{
    unsigned at = 0;
    if (n > EARLY_TEXT || (!h2->early && !(h2->early = calloc(1, sizeof *h2->early))))
        return;
    while (at < EARLY_MOST && h2->early->said[at].id != id)
        at++;
    if (at == EARLY_MOST)
        at = h2->early->next++ % EARLY_MOST;
    h2->early->said[at].id = id;
    h2->early->said[at].n = (uint8_t)n;
    if (n)
        memcpy(h2->early->said[at].text, value, n);
}

void h2_early_due(struct h2 *h2, int32_t id)
{
    for (unsigned i = 0; h2->early && i < EARLY_MOST; i++)
        if (h2->early->said[i].id == id)
            h2->wish_of = id;
}

bool h2_early_take(struct h2 *h2, struct h2_event *event)
{
    static _Thread_local char text[EARLY_TEXT];
    const struct h2_stream *stream = h2_stream_of(h2, h2->wish_of);
    const int32_t id = h2->wish_of;
    h2->wish_of = 0;
    for (unsigned i = 0; stream && id && i < EARLY_MOST; i++) {
        if (h2->early->said[i].id != id)
            continue;
        memcpy(text, h2->early->said[i].text, sizeof text);
        h2->early->said[i].id = 0;
        *event = (struct h2_event){.type = H2_PRIORITY, .stream = id, .user = stream->user, .data = {text, h2->early->said[i].n}};
        return true;
    }
    return false;
}
