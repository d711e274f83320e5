/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/policy_tls_learning/state.c modules/policy_tls_learning/store.c */
/*
 * Any bytes are a state file of policy_tls_learning. What must hold: it is believed whole or not at all, no more entries come out than may, and
 * what came out reads the same when it is written and read again.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz/target.h"
#include "modules/policy_tls_learning/state.h"

#define MOST 8u

static const struct state_clock now = {UINT64_C(1000000000000000), UINT64_C(1700000000000)};

static char *text_of(const struct store *store, size_t *n)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, n);
    MUST(out);
    state_write(store, &now, out);
    MUST(fclose(out) == 0);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct store store, again;
    char why[256] = "";
    uint64_t ended;
    size_t n, m;
    MUST(store_init(&store) == SOTH_OK && store_init(&again) == SOTH_OK);
    int r = state_read((const char *)data, size, &store, MOST, &now, 600000, &ended, why, sizeof why);
    MUST(r == SOTH_OK || (r == -SOTH_EINVALID && *why));
    MUST(store_size(&store) <= MOST && store_next_expiry(&store) <= now.monotonic_ns + UINT64_C(600000000000));
    if (r == SOTH_OK) {
        char *first = text_of(&store, &n);
        MUST(state_read(first, n, &again, MOST, &now, 600000, &ended, why, sizeof why) == SOTH_OK && ended == 0);
        char *second = text_of(&again, &m);
        MUST(m == n && memcmp(first, second, n) == 0);
        free(first);
        free(second);
    }
    store_fini(&store);
    store_fini(&again);
    return 0;
}
