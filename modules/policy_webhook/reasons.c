/* SPDX-License-Identifier: MPL-2.0 */
/* See reasons.h. */
#include "reasons.h"

#include <search.h>
#include <stdlib.h>

struct reasons {
    void *tree; /* of struct reason */
    size_t count, most;
};

struct reason {
    struct soth_span text; /* behind the struct, but for one that is only looked for */
};

static int by_text(const void *a, const void *b)
{
    const struct soth_span *x = &((const struct reason *)a)->text, *y = &((const struct reason *)b)->text;
    if (x->n != y->n)
        return x->n < y->n ? -1 : 1;
    return memcmp(x->p, y->p, x->n);
}

struct reasons *reasons_new(size_t most)
{
    struct reasons *reasons = calloc(1, sizeof *reasons);
    if (reasons)
        reasons->most = most;
    return reasons;
}

void reasons_free(struct reasons *reasons)
{
    while (reasons && reasons->tree) {
        struct reason *one = *(struct reason **)reasons->tree;
        tdelete(one, &reasons->tree, by_text);
        free(one);
    }
    free(reasons);
}

struct soth_span reasons_keep(struct reasons *reasons, struct soth_span text)
{
    const struct reason wanted = {text};
    const struct soth_span none = {NULL, 0};
    struct reason *const *found = text.n ? tfind(&wanted, &reasons->tree, by_text) : NULL;
    if (found)
        return (*found)->text;
    struct reason *one = text.n && reasons->count < reasons->most ? malloc(sizeof *one + text.n) : NULL;
    if (!one)
        return none;
    one->text = (struct soth_span){memcpy(one + 1, text.p, text.n), text.n};
    if (!tsearch(one, &reasons->tree, by_text)) {
        free(one);
        return none;
    }
    reasons->count++;
    return one->text;
}
