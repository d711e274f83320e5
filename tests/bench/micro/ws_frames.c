/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What reading WebSocket frames costs by itself: `ws_frames [MEGABYTES]` reads frames of 1 KiB in pieces of 64 KiB, as they come from a client (masked) and
 * from a server, while nobody wants messages, while their text is checked, and while it is kept. Prints a line of JSON for each. Under callgrind the
 * instructions of talk_take divided by the bytes are what counts.
 * build: modules/ws/talk.c modules/ws/turns.c modules/ws/framing.c modules/ws/mask.c modules/ws/utf8.c modules/ws/closing.c modules/ws/extension.c modules/ws/inflater.c
 * needs: ZLIB
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "modules/ws/mask.h"
#include "modules/ws/talk.h"
#include "modules/ws/turns.h"

#define PIECE 65536u
#define FRAME 1024u

static uint8_t piece[PIECE];

static size_t fill(unsigned direction)
{
    static const uint8_t key[4] = {0x11, 0x22, 0x33, 0x44};
    uint8_t text[FRAME];
    bool masked = direction == SOTH_TO_SERVER;
    size_t n = 0;
    memset(text, 'a', sizeof text);
    while (n + FRAMING_HEAD_MOST + FRAME <= PIECE) {
        n += framing_put(piece + n, OP_TEXT, FRAME, masked ? key : NULL);
        memcpy(piece + n, text, FRAME);
        if (masked)
            mask_apply(piece + n, text, FRAME, key, 0);
        n += FRAME;
    }
    return n;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void look(struct talk *talk, struct turns *turns, unsigned direction, size_t n)
{
    struct talk_frame frame;
    struct turn_step step;
    bool whole;
    for (size_t at = 0; at < n;) {
        ssize_t used = talk_take(talk, direction, piece + at, n - at, &frame, &whole);
        if (used < 0)
            abort();
        at += (size_t)used;
        if (!whole)
            continue;
        turns_frame(turns, &(struct turn_frame){direction, TURN_BEGIN, true, frame.number, frame.head->length, 0}, &step);
        talk_release(talk, direction);
    }
}

static void run(unsigned direction, const char *what, struct talk_wants wants, double megabytes)
{
    struct talk talk = {.max_message = 1u << 24, .wants = wants};
    struct turns turns = {.open = false};
    size_t n = fill(direction);
    uint64_t bytes = 0;
    double begin = seconds();
    while ((double)bytes < megabytes * 1e6) {
        look(&talk, &turns, direction, n);
        bytes += n;
    }
    double took = seconds() - begin;
    printf("{\"from\": \"%s\", \"wanted\": \"%s\", \"gb_per_s\": %.2f, \"ns_per_frame\": %.1f, \"frames\": %llu}\n", direction ? "server" : "client", what,
           (double)bytes / took / 1e9, took * 1e9 / (double)talk.frames, (unsigned long long)talk.frames);
    talk_fini(&talk);
}

int main(int argc, char **argv)
{
    double megabytes = argc > 1 ? atof(argv[1]) : 2000;
    for (unsigned direction = 0; direction < 2; direction++) {
        run(direction, "frames", (struct talk_wants){.text = false}, megabytes);
        run(direction, "text", (struct talk_wants){.text = true}, megabytes);
        run(direction, "content", (struct talk_wants){.text = true, .data = UINT64_MAX}, megabytes);
    }
    return 0;
}
