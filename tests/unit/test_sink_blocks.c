/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/sink_file/sink_file.c modules/sink_file/log.c modules/sink_file/index.c modules/sink_file/line.c modules/sink_file/form.c modules/sink_file/json.c modules/sink_file/parts.c modules/sink_file/segment.c modules/sink_file/whole.c modules/sink_file/uncached.c modules/sink_file/bodies.c modules/sink_file/claim.c modules/sink_file/shelf.c modules/sink_file/sha256.c modules/coding/coding.c modules/coding/stage_zlib.c modules/coding/stage_brotli.c modules/coding/stage_zstd.c */
/* needs: CODING */
/* sink_file in a burst: it writes pieces that end where a block of the file does, in the middle of a line mostly, and nobody loses by it. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/event/bus.h"
#include "modules/sink_file/segment.h"
#include "modules/sink_file/whole.h"
#include "sink_log.h"

#define BURST "flush_every: 10\nflush_interval: 1h\n"

static uint64_t size_of(const char *file)
{
    struct stat st;
    assert_int_equal(stat(file, &st), 0);
    return (uint64_t)st.st_size;
}

static uint32_t all; /* events that were sent */

/* Events of which more are to come, until the file has so many blocks. */
static void burst(unsigned blocks)
{
    log_sink.waiting = 1000000;
    for (unsigned i = 0; size_of(log_path) < blocks * (uint64_t)SEGMENT_BLOCK; i++) {
        assert_in_range(i, 0, 1000);
        log_send(FAKE_EVENTS);
        all += FAKE_EVENTS;
    }
}

/* The last event of it. */
static void burst_ends(void)
{
    log_sink.waiting = 0;
    log_send(1);
    all++;
}

static void everything_is_there(void)
{
    assert_int_equal(log_lines(log_path, 1), all);
    assert_int_equal(log_rows(), all);
}

static int begin(void **state)
{
    all = 0;
    return log_begin(state);
}

static void pieces_end_where_a_block_does(void **state)
{
    (void)state;
    log_use(BURST);
    for (unsigned blocks = 1; blocks < 5; blocks++) {
        burst(blocks);
        assert_int_equal(size_of(log_path), blocks * (uint64_t)SEGMENT_BLOCK);
    }
    burst_ends();
    everything_is_there();
}

/* After a write that ended anywhere the first piece ends the block that it is in, unless that is nearly full. */
static void wherever_the_one_before_ended(void **state)
{
    (void)state;
    log_use(BURST);
    for (unsigned blocks = 1; blocks < 8; blocks++) {
        burst_ends();
        while (size_of(log_path) % SEGMENT_BLOCK < blocks * (uint64_t)30000) { /* further into the block each time */
            log_sink.waiting = 0;
            log_send(FAKE_EVENTS);
            all += FAKE_EVENTS;
        }
        everything_is_there();
        burst((unsigned)(size_of(log_path) / SEGMENT_BLOCK) + 1);
        assert_int_equal(size_of(log_path) % SEGMENT_BLOCK, 0);
    }
    burst_ends();
    everything_is_there();
}

/* Lines that are longer than blocks do not pile up. */
static void long_lines_are_written_as_they_come(void **state)
{
    static char big[700000];
    (void)state;
    memset(big, 'x', sizeof big);
    log_use(BURST);
    log_sink.waiting = 1000000;
    for (unsigned i = 0; i < 9; i++) {
        struct soth_event *event = FAKE_EVENT(SOTH_EV_REQUEST_HEADERS, 1, ATTR_TEXT("target", ((struct soth_span){big, sizeof big})), );
        uint32_t done, retry_ms;
        event->sequence_id = ++all;
        assert_int_equal(fake_write(&log_sink, &event, 1, &done, &retry_ms), SOTH_OK);
        assert_in_range(size_of(log_path), i * (uint64_t)sizeof big - (i > 0 ? SEGMENT_BLOCK * 5 / 4 : 0), (i + 1) * (uint64_t)sizeof big);
        assert_int_equal(size_of(log_path) % SEGMENT_BLOCK, 0);
    }
    assert_int_equal(log_sink.module->flush(log_sink.self, 1000), SOTH_OK);
    assert_int_equal(log_lines(log_path, 1), all);
}

/* A row is not there before its line. */
static void rows_wait_for_their_lines(void **state)
{
    (void)state;
    log_use(BURST);
    burst(2);
    assert_int_equal(log_rows(), 0);
    assert_int_equal(log_sink.module->flush(log_sink.self, 1000), SOTH_OK);
    everything_is_there();
}

/* But no longer than there is room for them. */
static void rows_have_a_bound(void **state)
{
    (void)state;
    log_use(BURST);
    burst(8);
    assert_in_range(log_rows(), 1, all);
    burst_ends();
    everything_is_there();
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit = {bytes, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Also the half line that was written before. */
static void what_fails_leaves_no_half_line(void **state)
{
    uint32_t done, retry_ms;
    (void)state;
    log_use(BURST);
    burst(1);
    log_sink.waiting = 0;
    limit_files(SEGMENT_BLOCK + 1000);
    assert_int_equal(log_offer(1, &done, &retry_ms), SOTH_RETRY);
    limit_files(RLIM_INFINITY);
    all += done;
    assert_in_range(size_of(log_path), SEGMENT_BLOCK - 1024, SEGMENT_BLOCK - 1);
    assert_in_range(log_lines(log_path, 1), 1, all);
    burst(2);
    burst_ends();
    everything_is_there();
    assert_int_equal(log_said("can be written again"), 1);
}

/* Fewer events than flush_every would have waited. */
static void no_half_line_stays(void **state)
{
    (void)state;
    log_use("flush_every: 100000\nflush_interval: 1h\n");
    burst(1);
    burst_ends();
    everything_is_there();
}

/* The piece itself does not fit. */
static void a_piece_that_fails_is_written_again(void **state)
{
    uint32_t done = FAKE_EVENTS, retry_ms;
    int r = SOTH_OK;
    (void)state;
    log_use(BURST);
    log_sink.waiting = 1000000;
    limit_files(SEGMENT_BLOCK / 2);
    for (unsigned i = 0; i < 100000 && r == SOTH_OK; i++) {
        r = log_offer(FAKE_EVENTS, &done, &retry_ms);
        all += done;
    }
    assert_int_equal(r, SOTH_RETRY);
    limit_files(RLIM_INFINITY);
    assert_int_equal(size_of(log_path), 0);
    assert_int_equal(fake_count("write_errors"), 1);
    burst(2);
    burst_ends();
    everything_is_there();
}

static void segments_have_whole_lines(void **state)
{
    uint64_t first = 1;
    (void)state;
    log_use(BURST "rotate_bytes: 300000\n");
    log_sink.waiting = 1000000;
    for (unsigned i = 0; i < 100; i++) {
        log_send(FAKE_EVENTS);
        all += FAKE_EVENTS;
    }
    burst_ends();
    for (unsigned i = 0; log_exists(log_segment(i)); i++) {
        assert_in_range(size_of(log_segment(i)), 1, 300000);
        first += log_lines(log_segment(i), first);
    }
    assert_int_equal(first, all + 1);
    assert_int_equal(log_rows(), all);
    assert_true(log_exists(log_segment(3)));
}

/* A half line is completed in the file where it began. */
static void a_file_that_is_moved_has_whole_lines(void **state)
{
    char moved[300];
    (void)state;
    log_use(BURST);
    burst(1);
    snprintf(moved, sizeof moved, "%s.1", log_path);
    assert_int_equal(rename(log_path, moved), 0);
    assert_int_equal(log_sink.module->reopen(log_sink.self), SOTH_OK);
    assert_int_equal(log_lines(moved, 1), all);
    log_sink.waiting = 0;
    log_send(10);
    assert_int_equal(log_lines(log_path, all + 1), 10);
}

/* ---- the parts alone ---- */

/* A line longer than pieces are, and pieces that end with a line. */
static void pieces_of_any_length(void **state)
{
    static const char text[] = "a\nbb\n\ncccccccccccc\nd\n";
    const size_t n = sizeof text - 1;
    (void)state;
    for (size_t piece = 1; piece <= n; piece++) {
        char file[300];
        struct whole whole;
        size_t at = 0, counted = 0;
        snprintf(file, sizeof file, "%s/pieces", log_folder);
        unlink(file);
        assert_int_equal(whole_open(&whole, file, 0), SOTH_OK);
        while (at + whole.begun + piece < n) {
            assert_int_equal(whole_append_until(&whole, text + at, whole.begun + piece, &counted), SOTH_OK);
            at += counted;
            assert_int_equal(whole.size, at);
            assert_true(at == 0 || text[at - 1] == '\n');
            assert_null(memchr(text + at, '\n', whole.begun));
            assert_int_equal(size_of(file), at + whole.begun);
        }
        assert_int_equal(whole_append(&whole, text + at, n - at), SOTH_OK);
        close(whole.fd);
        assert_int_equal(whole.size, n);
        assert_int_equal(whole.begun, 0);
        char *there = log_text(file);
        assert_string_equal(there, text);
        free(there);
    }
}

static void the_block_in_sight(void **state)
{
    struct segment s = {.file.size = 0};
    (void)state;
    assert_int_equal(segment_block(&s), SEGMENT_BLOCK);
    s.file.size = SEGMENT_BLOCK - 10;
    s.file.begun = 10; /* a half line up to the end of a block */
    assert_int_equal(segment_block(&s), 10 + SEGMENT_BLOCK);
    s.file.begun = 11;
    assert_int_equal(segment_block(&s), 10 + SEGMENT_BLOCK);
    s.file.size = SEGMENT_BLOCK / 4 * 3;
    s.file.begun = 0;
    assert_int_equal(segment_block(&s), SEGMENT_BLOCK / 4);
    s.file.size++; /* the rest is not worth a write */
    assert_int_equal(segment_block(&s), SEGMENT_BLOCK / 4 - 1 + SEGMENT_BLOCK);
    s.file.size = 7 * (uint64_t)SEGMENT_BLOCK + 5;
    s.file.begun = 3;
    assert_int_equal(segment_block(&s), SEGMENT_BLOCK - 5);
    assert_int_equal(segment_blocks(&s, SEGMENT_BLOCK - 5), SEGMENT_BLOCK - 5);
    assert_int_equal(segment_blocks(&s, 2 * (size_t)SEGMENT_BLOCK - 6), SEGMENT_BLOCK - 5);
    assert_int_equal(segment_blocks(&s, 4 * (size_t)SEGMENT_BLOCK), 4 * (size_t)SEGMENT_BLOCK - 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, log_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pieces_end_where_a_block_does),
        TEST(wherever_the_one_before_ended),
        TEST(long_lines_are_written_as_they_come),
        TEST(rows_wait_for_their_lines),
        TEST(rows_have_a_bound),
        TEST(what_fails_leaves_no_half_line),
        TEST(no_half_line_stays),
        TEST(a_piece_that_fails_is_written_again),
        TEST(segments_have_whole_lines),
        TEST(a_file_that_is_moved_has_whole_lines),
        TEST(pieces_of_any_length),
        cmocka_unit_test(the_block_in_sight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
