/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/coding/ */
/* needs: CODING */
/*
 * The first byte chooses codings, the second how the rest is cut and how much room there is. What must hold: never more than max_bytes come out;
 * a stream without fault gives the same whatever the cut; one with a fault gives the beginning of the same.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz/target.h"
#include "host/mem/buffer.h"
#include "modules/coding/coding.h"

#define BYTES_MOST 300000u

static int play(struct buffer *made, uint8_t codings, const uint8_t *p, size_t n, size_t first, size_t every, size_t room)
{
    static const char *const names[] = {"gzip", "deflate", "br", "zstd", "gzip, gzip", "br, gzip", "zstd, deflate", "gzip, br, zstd"};
    const struct coding_limits limits = {.max_ratio = 100, .max_bytes = BYTES_MOST, .max_window = 1u << 20};
    struct coding_list list = {.n = 0};
    char out[4096];
    int r = 0;
    MUST(coding_list_add(&list, soth_span(names[codings % 8])) == 0);
    struct coding *coding = coding_new(&list, &limits);
    MUST(coding);
    for (size_t at = 0; at < n && r == 0;) {
        const size_t piece = target_piece(at, n, first, every);
        size_t got = room;
        char *exact = malloc(piece);
        MUST(exact);
        memcpy(exact, p + at, piece);
        struct soth_span in = {exact, piece};
        while (r == 0 && (in.n > 0 || got == room)) {
            size_t before = in.n;
            r = coding_take(coding, &in, out, room, &got);
            MUST(got <= room && (r < 0 || got > 0 || in.n < before || before == 0));
            MUST(buffer_append(made, out, got) == 0 && buffer_size(made) <= BYTES_MOST);
        }
        free(exact);
        at += piece;
    }
    if (r == 0)
        r = coding_end(coding);
    MUST(r == 0 || coding_fault(coding)[0]);
    coding_free(coding);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer whole = {0};
    if (size < 2 || size > 8000)
        return 0;
    size_t n = size - 2;
    int result = play(&whole, data[0], data + 2, n, 0, 0, 4096);
    for (int way = 0; way < 3; way++) {
        struct buffer other = {0};
        int r = play(&other, data[0], data + 2, n, way == 1 ? data[1] * n / 256 : 0, way == 0, way == 2 ? 1 + data[1] : 4096);
        size_t both = buffer_size(&other) < buffer_size(&whole) ? buffer_size(&other) : buffer_size(&whole);
        MUST((r == 0) == (result == 0));
        MUST(r < 0 || buffer_size(&other) == buffer_size(&whole));
        MUST(both == 0 || memcmp(buffer_data(&other), buffer_data(&whole), both) == 0);
        buffer_fini(&other);
    }
    buffer_fini(&whole);
    return 0;
}
