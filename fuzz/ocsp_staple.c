/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Any bytes go to staple_watch as handshake messages. What must hold: however they are cut, the same is found; and the DER of a response is
 * never read beyond its end (sanitizers).
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz/target.h"
#include "host/tls/staple_watch.h"

static int watch(const uint8_t *data, size_t size, size_t step)
{
    struct staple_watch *one = staple_watch_new();
    if (!one)
        return -1;
    for (size_t at = 0; at < size; at += step)
        staple_watch_feed(one, data + at, size - at < step ? size - at : step);
    int found = staple_watch_revoked(one);
    staple_watch_free(one);
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *own = malloc(size ? size : 1); /* a block of its own: what is behind it traps */
    if (!own)
        return 0;
    memcpy(own, data, size);
    int revoked = staple_says_revoked(own, size);
    if (revoked != 0 && revoked != 1)
        abort();
    free(own);
    int whole = watch(data, size, size ? size : 1);
    if (watch(data, size, 1) != whole || watch(data, size, 7) != whole)
        abort();
    return 0;
}
