/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/antihijack/guard.c */
/*
 * The beginning of a body, looked at whole and as it grows byte by byte. What must hold: the first answer that is not MORE is the one about
 * the whole; at the end there is one; what is stripped has a prefix of the list in it and JSON behind it.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz/target.h"
#include "modules/antihijack/guard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const list[] = {")]}'", "while(1);", "for(;;);", "for (;;);", "{}&&", "for", ")]}',"};
    const struct soth_strings prefixes = {list, sizeof list / sizeof *list};
    const char *prefix = NULL, *early = NULL;
    size_t strip = 0, early_strip = 0;
    if (size > GUARD_LOOK)
        return 0;
    char *exact = malloc(size ? size : 1);
    MUST(exact);
    memcpy(exact, data, size);
    enum guard whole = guard_look(&prefixes, exact, size, 1, &strip, &prefix), answer = GUARD_MORE;
    MUST(whole != GUARD_MORE);
    for (size_t n = 0; n <= size && answer == GUARD_MORE; n++) {
        char *grown = malloc(n ? n : 1);
        MUST(grown);
        memcpy(grown, data, n);
        answer = guard_look(&prefixes, grown, n, 0, &early_strip, &early);
        free(grown);
    }
    MUST(answer == GUARD_MORE || (answer == whole && (whole == GUARD_NONE || (strip == early_strip && prefix == early))));
    if (whole == GUARD_FOUND) {
        size_t n = strlen(prefix);
        MUST(strip >= n && strip < size && strchr("{[\"-0123456789tfn", exact[strip]));
        int found = 0;
        for (size_t i = 0; i + n <= strip; i++)
            found = found || memcmp(exact + i, prefix, n) == 0;
        MUST(found);
    }
    free(exact);
    return 0;
}
