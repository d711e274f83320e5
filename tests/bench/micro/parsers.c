/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/sse/parser.c modules/ndjson/records.c */
/*
 * Parsers of streams by themselves, without sink and without host: `parsers PART MB` reads so many MB of 200-byte events or records in pieces of
 * 16 kB, as TLS brings them. Prints a line of JSON with the bytes and the seconds of CPU that it took.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "modules/ndjson/records.h"
#include "modules/sse/parser.h"

#define ONE 200u
#define PIECE 16384u

static char text[PIECE * ONE]; /* pieces begin everywhere in an event */

static void fill(const char *begin, const char *end)
{
    for (size_t at = 0; at < sizeof text; at += ONE) {
        memset(text + at, 'x', ONE);
        memcpy(text + at, begin, strlen(begin));
        memcpy(text + at + ONE - strlen(end), end, strlen(end));
    }
}

static uint64_t sse(uint64_t pieces)
{
    struct sse s = {.max_event_bytes = 1u << 20};
    struct sse_event event;
    fill("data: {\"delta\":\"", "\"}\n\n");
    for (uint64_t i = 0; i < pieces; i++) {
        struct sse_input in = sse_input(text + i % ONE * PIECE, PIECE);
        while (sse_next(&s, &in, &event) > 0) {}
    }
    sse_fini(&s);
    return s.sequence_no;
}

static uint64_t records(uint64_t pieces, uint8_t kind, const char *end)
{
    struct records r = {.max_record_bytes = 1u << 20, .kind = kind};
    struct record record;
    fill("{\"delta\":\"", end);
    for (uint64_t i = 0; i < pieces; i++) {
        struct soth_span in = {text + i % ONE * PIECE, PIECE};
        while (records_next(&r, &in, &record) > 0) {}
    }
    records_fini(&r);
    return r.sequence_no;
}

static double cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
    const char *part = argc == 3 ? argv[1] : "";
    uint64_t pieces = argc == 3 ? strtoull(argv[2], NULL, 10) * 64 : 0, found;
    double from = cpu();
    if (strcmp(part, "sse") == 0)
        found = sse(pieces);
    else if (strcmp(part, "ndjson") == 0)
        found = records(pieces, RECORDS_LINES, "\"}\n");
    else if (strcmp(part, "json") == 0)
        found = records(pieces, RECORDS_CONCATENATED, "\"}");
    else {
        fprintf(stderr, "parsers: sse, ndjson or json, and MB\n");
        return 2;
    }
    if (found + 1 < pieces * PIECE / ONE) { /* the last one may not have ended */
        fprintf(stderr, "parsers: %llu found, there are %llu\n", (unsigned long long)found, (unsigned long long)(pieces * PIECE / ONE));
        return 1;
    }
    printf("{\"bytes\": %llu, \"found\": %llu, \"seconds\": %.6f}\n", (unsigned long long)(pieces * PIECE), (unsigned long long)found, cpu() - from);
    return 0;
}
