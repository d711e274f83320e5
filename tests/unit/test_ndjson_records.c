/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/ndjson/records.c */
/* Streams of records by document (tests/golden/ndjson). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "golden.h"
#include "http_play.h"
#include "modules/ndjson/records.h"

static uint64_t seen = UINT64_MAX; /* bytes of a record that a sink sees */

static void say_data(struct buffer *out, const struct record *r)
{
    size_t most = r->data.n < seen ? r->data.n : (size_t)seen;
    if (r->data.p && seen > 0) {
        assert_true(r->data.n <= r->len);
        http_say(out, " ");
        for (size_t i = 0; i < most; i++) {
            unsigned char c = (unsigned char)r->data.p[i];
            if (c == '\n')
                http_say(out, "\\n");
            else if (c == '\r')
                http_say(out, "\\r");
            else if (c == '\\')
                http_say(out, "\\\\");
            else
                http_say(out, c < ' ' || c > '~' ? "\\x%02x" : "%c", c);
        }
    }
    http_say(out, "\n");
}

static void say(struct buffer *out, const struct record *r)
{
    http_say(out, "%llu %llu", (unsigned long long)r->sequence_no, (unsigned long long)r->len);
    say_data(out, r);
}

static uint64_t keep = UINT64_MAX;

static uint8_t kind_of(const struct golden_case *c)
{
    const char *kind = golden_text(c, "kind");
    return *kind == 'l' ? RECORDS_LINES : *kind == 's' ? RECORDS_SEQUENCE : RECORDS_CONCATENATED;
}

static void play(const struct golden_case *c, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out)
{
    const char *limit = golden_text(c, "limit");
    struct records r = {.max_record_bytes = limit ? strtoull(limit, NULL, 10) : 1000000, .keep_most = keep, .kind = kind_of(c)};
    struct record record;
    size_t place = 0;
    int found = 0;
    for (size_t at = 0; at < n && found >= 0;) {
        size_t piece = golden_piece(cut, at, n);
        char *exact = malloc(piece);
        memcpy(exact, p + at, piece);
        struct soth_span in = {exact, piece};
        while ((found = records_next(&r, &in, &record)) > 0)
            say(out, &record);
        assert_true(found < 0 || in.n == 0);
        free(exact);
        at += piece;
        place = at - in.n;
    }
    if (found < 0)
        http_say(out, "fault %s at %zu\n", r.fault, place);
    else if (records_finish(&r, &record))
        say(out, &record);
    if (r.truncated)
        http_say(out, "truncated %llu\n", (unsigned long long)r.truncated);
    records_fini(&r);
}

static void by_document(void **state)
{
    (void)state;
    golden_check_all("tests/golden/ndjson/records.md", play);
}

static void say_held(struct buffer *out, int found, size_t held, const struct record *record)
{
    if (found == 1)
        http_say(out, "%llu %zu", (unsigned long long)record->sequence_no, held);
    else if (found == RECORDS_CUT)
        http_say(out, "cut %zu", held);
    if (found == 1 || found == RECORDS_CUT)
        say_data(out, record);
}

/* From where on bytes wait for a policy's verdict. */
static void play_gaps(const struct golden_case *c, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out)
{
    struct records r = {.max_record_bytes = 1000000, .keep_most = UINT64_MAX, .kind = kind_of(c), .gaps = 1};
    struct record record;
    size_t held = 0;
    int found;
    for (size_t at = 0; at < n;) {
        size_t piece = golden_piece(cut, at, n);
        char *exact = malloc(piece);
        memcpy(exact, p + at, piece);
        struct soth_span in = {exact, piece};
        for (; (found = records_next(&r, &in, &record)) > 0; held = at + piece - in.n)
            say_held(out, found, held, &record);
        free(exact);
        at += piece;
    }
    found = records_finish(&r, &record);
    say_held(out, found, held, &record);
    http_say(out, "rest %zu\n", found ? n : held);
    if (r.truncated)
        http_say(out, "truncated %llu\n", (unsigned long long)r.truncated);
    records_fini(&r);
}

static void what_is_between_records(void **state)
{
    (void)state;
    golden_check_all("tests/golden/ndjson/between.md", play_gaps);
}

/* Lengths are the same when nobody wants the bytes. */
static void without_data(void **state)
{
    struct golden golden;
    (void)state;
    golden_open(&golden, "tests/golden/ndjson/records.md");
    for (size_t i = 0; i < golden.count; i++) {
        struct buffer in = {0}, out = {0};
        const char *wanted = golden_text(&golden.cases[i], "events");
        golden_bytes(&golden.cases[i], "in", &in);
        keep = 0;
        play(&golden.cases[i], buffer_data(&in), buffer_size(&in), &(struct golden_cut){.every = 3}, &out);
        keep = UINT64_MAX;
        buffer_append(&out, "", 1);
        const char *got = (const char *)buffer_data(&out);
        for (; *got; got = strchr(got, '\n') + 1) {
            size_t n = strcspn(got, "\n");
            assert_int_equal(strncmp(got, wanted, n), 0);
            wanted += strcspn(wanted, "\n");
            wanted += *wanted == '\n';
        }
        assert_int_equal(*wanted, 0);
        buffer_fini(&in);
        buffer_fini(&out);
    }
    golden_close(&golden);
}

static void play_kept(const struct golden_case *c, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out)
{
    keep = seen;
    play(c, p, n, cut, out);
    keep = UINT64_MAX;
}

/* What a sink sees that wants so many bytes of a record is the same, whether all of it was kept or no more than that. */
static void samples_are_beginnings(void **state)
{
    (void)state;
    for (seen = 0; seen < 25; seen++)
        golden_same_all("tests/golden/ndjson/records.md", play, play_kept);
    seen = UINT64_MAX;
}

static void a_sample_needs_no_more_memory(void **state)
{
    static const uint8_t kinds[] = {RECORDS_LINES, RECORDS_SEQUENCE, RECORDS_CONCATENATED};
    static char text[65536];
    (void)state;
    memset(text, 'x', sizeof text);
    for (size_t k = 0; k < sizeof kinds; k++) {
        struct records r = {.max_record_bytes = 1u << 30, .keep_most = 64, .kind = kinds[k]};
        struct record record = {.len = 0};
        struct soth_span in = soth_span("[\"");
        assert_int_equal(records_next(&r, &in, &record), 0);
        for (unsigned i = 0; i < 256; i++) { /* 16 MiB */
            in = (struct soth_span){text, sizeof text};
            assert_int_equal(records_next(&r, &in, &record), 0);
            assert_true(r.size <= 64 && r.room <= 256);
        }
        in = soth_span("\"]\n");
        assert_int_equal(records_next(&r, &in, &record), 1);
        assert_true(record.len == 256 * sizeof text + 4 && record.data.n == 64);
        assert_memory_equal(record.data.p, "[\"", 2);
        assert_memory_equal(record.data.p + 2, text, 62);
        records_fini(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_document),
        cmocka_unit_test(what_is_between_records),
        cmocka_unit_test(without_data),
        cmocka_unit_test(samples_are_beginnings),
        cmocka_unit_test(a_sample_needs_no_more_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
