/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/ndjson/records.c */
/*
 * The first byte chooses the kind of records, a limit and whether they are kept, the second where the rest is cut. What must hold: the same
 * records and the same fault whatever the cut; none is larger than the limit; a kept one is as long as it says.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz/target.h"
#include "host/mem/buffer.h"
#include "modules/ndjson/records.h"

static void note(struct buffer *out, const struct records *r, const struct record *record)
{
    MUST(record->len > 0 || r->kind == RECORDS_LINES);
    MUST(record->len <= r->max_record_bytes);
    MUST(!record->data.p || record->data.n == (record->len < r->keep_most ? record->len : r->keep_most));
    target_put(out, &record->sequence_no, sizeof record->sequence_no);
    target_put(out, &record->len, sizeof record->len);
    target_put(out, record->data.p ? record->data.p : "", record->data.n);
}

static void play(struct buffer *out, const uint8_t *p, size_t n, size_t first, size_t every, uint8_t options)
{
    struct records r = {.max_record_bytes = options & 8 ? 16 : 1u << 20, .keep_most = !(options & 4) ? 0 : options & 16 ? 7 : UINT64_MAX,
                        .kind = (uint8_t)(1 + (options & 3) % 3)};
    struct record record;
    int found = 0;
    for (size_t at = 0; at < n && found == 0;) {
        const size_t piece = target_piece(at, n, first, every);
        char *exact = malloc(piece);
        MUST(exact);
        memcpy(exact, p + at, piece);
        struct soth_span in = {exact, piece};
        while ((found = records_next(&r, &in, &record)) > 0)
            note(out, &r, &record);
        MUST(found < 0 || in.n == 0);
        free(exact);
        at += piece;
    }
    if (found < 0)
        target_put(out, r.fault, strlen(r.fault));
    else if (records_finish(&r, &record))
        note(out, &r, &record);
    target_put(out, &r.truncated, sizeof r.truncated);
    records_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer whole = {0};
    if (size < 2 || size > 20000)
        return 0;
    size_t n = size - 2;
    play(&whole, data + 2, n, 0, 0, data[0]);
    for (int way = 0; way < 2; way++) {
        struct buffer other = {0};
        play(&other, data + 2, n, data[1] * n / 256, way, data[0]);
        MUST(target_same(&other, &whole));
        buffer_fini(&other);
    }
    buffer_fini(&whole);
    return 0;
}
