/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/ndjson/records.c */
/* Streams of records by document (tests/golden/ndjson/records.md). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "golden.h"
#include "http_play.h"
#include "modules/ndjson/records.h"

static void say(struct buffer *out, const struct record *r)
{
    http_say(out, "%llu %llu", (unsigned long long)r->sequence_no, (unsigned long long)r->len);
    if (r->data.p) {
        assert_int_equal(r->data.n, r->len);
        http_say(out, " ");
        for (size_t i = 0; i < r->data.n; i++) {
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

static uint8_t keep = 1;

static void play(const struct golden_case *c, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out)
{
    const char *kind = golden_text(c, "kind"), *limit = golden_text(c, "limit");
    struct records r = {.max_record_bytes = limit ? strtoull(limit, NULL, 10) : 1000000, .keep_most = keep ? UINT64_MAX : 0};
    struct record record;
    int found = 0;
    r.kind = *kind == 'l' ? RECORDS_LINES : *kind == 's' ? RECORDS_SEQUENCE : RECORDS_CONCATENATED;
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
    }
    if (found < 0)
        http_say(out, "fault %s\n", r.fault);
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
        keep = 1;
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_document), cmocka_unit_test(without_data)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
