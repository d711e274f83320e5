/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/sse/parser.c */
/*
 * The first byte chooses a limit and whether data is kept, the second where the rest is cut; the rest is an event stream, read whole, in two
 * pieces and byte by byte. What must hold: the same events and the same fault whatever the cut; no event is larger than the limit.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz/target.h"
#include "host/mem/buffer.h"
#include "modules/sse/parser.h"

static void note(struct buffer *out, const struct sse *s, const struct sse_event *e)
{
    const uint64_t numbers[] = {e->sequence_no, e->has_retry, e->has_retry ? e->retry_ms : 0, e->partial, e->data_lines, e->data_len};
    target_put(out, numbers, sizeof numbers);
    target_put(out, e->event.p, e->event.n);
    target_put(out, e->id.p, e->id.n);
    target_put(out, e->data.p ? e->data.p : "", e->data.n);
    MUST(e->data_lines > 0 && e->data_len <= s->max_event_bytes && e->event.n <= s->max_event_bytes && e->id.n <= s->max_event_bytes);
    MUST(!e->data.p || e->data.n == (e->data_len < s->keep_most ? e->data_len : s->keep_most));
}

static void play(struct buffer *out, const uint8_t *p, size_t n, size_t first, size_t every, uint8_t options)
{
    struct sse s = {.max_event_bytes = options & 2 ? 64 : 1u << 20, .keep_most = !(options & 1) ? 0 : options & 4 ? 7 : UINT64_MAX};
    struct sse_event event;
    int r = 0;
    for (size_t at = 0; at < n && r == 0;) {
        const size_t piece = target_piece(at, n, first, every);
        char *exact = malloc(piece);
        MUST(exact);
        memcpy(exact, p + at, piece);
        struct sse_input in = sse_input(exact, piece);
        while ((r = sse_next(&s, &in, &event)) > 0)
            note(out, &s, &event);
        MUST(r < 0 || in.at == in.end);
        free(exact);
        at += piece;
    }
    if (r < 0)
        target_put(out, s.fault, strlen(s.fault));
    else if (sse_finish(&s, &event))
        note(out, &s, &event);
    sse_fini(&s);
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
