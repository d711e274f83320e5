/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/sink_file/sink_file.c modules/sink_file/log.c modules/sink_file/index.c modules/sink_file/line.c modules/sink_file/form.c modules/sink_file/json.c modules/sink_file/parts.c modules/sink_file/segment.c modules/sink_file/whole.c modules/sink_file/uncached.c modules/sink_file/bodies.c modules/sink_file/claim.c modules/sink_file/shelf.c modules/sink_file/sha256.c modules/coding/coding.c modules/coding/stage_zlib.c modules/coding/stage_brotli.c modules/coding/stage_zstd.c */
/* needs: CODING */
/* sink_file and what happens to its files meanwhile: moved away with and without a signal, others made there, trouble when its turn comes. */
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
#include "sink_log.h"

static char moved[300];

static void move_away(const char *file)
{
    snprintf(moved, sizeof moved, "%s/moved", log_folder);
    assert_int_equal(rename(file, moved), 0);
}

static int reopen(void)
{
    return log_sink.module->reopen(log_sink.self);
}

static ino_t inode(const char *file)
{
    struct stat st;
    assert_int_equal(stat(file, &st), 0);
    return st.st_ino;
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit = {bytes, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* ---- SIGUSR1: the index has no row of a file that was moved away ---- */

static void rows_of_a_moved_file_go(void **state)
{
    (void)state;
    log_use("");
    for (unsigned n = 0; n < 3; n++) {
        log_send(3);
        move_away(log_path);
        assert_int_equal(reopen(), SOTH_OK);
        assert_int_equal(log_rows(), 0);
        assert_int_equal(log_lines(moved, 1 + 3 * n), 3);
    }
    log_send(2);
    assert_int_equal(log_lines(log_path, 10), 2);
    assert_int_equal(log_rows(), 2);
    assert_string_equal(fake.log, "");
}

static const char *last_segment(void)
{
    unsigned last = 0;
    while (log_exists(log_segment(last + 1)) || !log_exists(log_segment(last)))
        last++;
    return log_segment(last);
}

static void move_the_last(void)
{
    move_away(last_segment());
}

/* They are cut off, which takes no time, however many there are before them. */
static void rows_of_other_segments_stay(void **state)
{
    (void)state;
    log_use("");
    log_send(3);
    log_use("rotate_bytes: 1000\n");
    log_send(10);
    const ino_t index = inode(log_index);
    for (unsigned n = 0; n < 2; n++) {
        const unsigned rows = log_rows();
        move_the_last();
        assert_int_equal(reopen(), SOTH_OK);
        assert_in_range(log_rows(), rows - 4, rows - 1);
        log_send(2);
        assert_in_range(log_rows(), rows - 2, rows + 1);
        assert_int_equal(inode(log_index), index);
    }
}

/* The index was made anew meanwhile, without the rows of what was removed. */
static void rows_of_other_segments_stay_after_a_removal(void **state)
{
    (void)state;
    log_use("rotate_bytes: 1000\nkeep_bytes: 2500\n");
    for (unsigned n = 1; n < 30; n++) {
        log_send(1);
        if (n % 7 > 0 || !log_exists(log_segment(1)))
            continue;
        const ino_t index = inode(log_index);
        move_the_last();
        assert_int_equal(reopen(), SOTH_OK);
        assert_int_equal(inode(log_index), index);
        log_rows();
    }
    assert_in_range(log_rows(), 1, 12);
}

/* As logrotate does with `create`. */
static void whoever_moves_it_may_make_another_one(void **state)
{
    (void)state;
    log_use("");
    log_send(3);
    move_away(log_path);
    log_append(log_path, "");
    assert_int_equal(reopen(), SOTH_OK);
    log_send(2);
    assert_int_equal(log_lines(log_path, 4), 2);
    assert_int_equal(log_rows(), 2);
}

static void a_moved_index_keeps_its_rows(void **state)
{
    char index[310];
    (void)state;
    log_use("");
    log_send(3);
    move_away(log_path);
    snprintf(index, sizeof index, "%s.index.tsv", moved);
    assert_int_equal(rename(log_index, index), 0);
    assert_int_equal(reopen(), SOTH_OK);
    log_send(2);
    assert_int_equal(log_rows(), 2);
    snprintf(log_path, sizeof log_path, "%s", moved);
    snprintf(log_index, sizeof log_index, "%s", index);
    assert_int_equal(log_rows(), 3);
}

/* They go before there is a new file: whenever it ends in between, no row is wrong. */
static void rows_go_before_there_is_a_file(void **state)
{
    (void)state;
    log_use("");
    log_send(3);
    move_away(log_path);
    assert_int_equal(mkdir(log_path, 0700), 0);
    assert_true(reopen() < 0);
    assert_int_equal(log_rows(), 0);
    log_send(1);
    assert_int_equal(rmdir(log_path), 0);
    assert_int_equal(reopen(), SOTH_OK);
    assert_int_equal(log_rows(), 0);
    assert_int_equal(log_lines(moved, 1), 4);
    log_send(1);
    assert_int_equal(log_rows(), 1);
}

/* What the disk did not take goes to the new file, and its rows say so. */
static void lines_that_wait_have_their_rows(void **state)
{
    uint32_t done, retry_ms;
    (void)state;
    log_use("");
    log_send(2);
    limit_files(600);
    assert_int_equal(log_offer(4, &done, &retry_ms), SOTH_RETRY);
    move_away(log_path);
    log_append(log_path, "{}\n");
    assert_int_equal(reopen(), SOTH_OK);
    limit_files(RLIM_INFINITY);
    log_send(4 - done);
    assert_int_equal(log_lines(moved, 1), 2);
    assert_int_equal(log_rows(), 4);
}

/* The lines were written, but their rows were not. */
static void rows_that_wait_go_with_their_lines(void **state)
{
    struct stat st;
    uint32_t done, retry_ms;
    (void)state;
    log_use("rotate_bytes: 1000\n");
    log_send(20);
    do {
        log_send(1);
        assert_int_equal(stat(last_segment(), &st), 0);
    } while (st.st_size > 500); /* the next line fits */
    const unsigned rows = log_rows();
    assert_int_equal(stat(log_index, &st), 0);
    limit_files((rlim_t)st.st_size + 10);
    assert_int_equal(log_offer(1, &done, &retry_ms), SOTH_RETRY);
    move_the_last();
    assert_int_equal(reopen(), SOTH_OK);
    limit_files(RLIM_INFINITY);
    log_send(1 - done);
    assert_in_range(log_rows(), 1, rows - 1);
    const unsigned left = log_rows();
    log_send(2);
    assert_int_equal(log_rows(), left + 2);
}

/* Of another process there are rows among them, which stay. */
static void rows_of_another_process_stay(void **state)
{
    static const char row[] = "7\t1\t1\trequest_headers\thttp1\tflow:1:1\t50\t0\t10\n";
    (void)state;
    log_use("");
    log_send(2);
    log_append(log_segment(50), "{}\n");
    log_append(log_index, row);
    log_send(1);
    move_away(log_path);
    assert_int_equal(reopen(), SOTH_OK);
    char *text = log_text(log_index);
    assert_string_equal(strchr(text, '\n') + 1, row);
    free(text);
    log_send(1);
    text = log_text(log_index);
    assert_non_null(strstr(text, row));
    assert_non_null(strstr(text, "\n4\t1\t4\t"));
    free(text);
}

/* ---- moved away while nobody wrote ---- */

static void a_number_that_is_given_anew_has_no_old_rows(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 2; n++) {
        log_use("");
        log_send(2);
    }
    fake_close(&log_sink);
    move_away(log_segment(1));
    log_use("");
    assert_int_equal(log_rows(), 2);
    log_send(3);
    assert_int_equal(log_rows(), 5);
    fake_close(&log_sink);
    unlink(log_segment(1));
    move_away(log_path);
    log_append(log_index, "9\t1\ttor");
    log_use("");
    log_send(1);
    assert_int_equal(log_lines(log_path, 8), 1);
    assert_int_equal(log_rows(), 1);
}

static void a_file_that_was_moved_at_a_reload(void **state)
{
    (void)state;
    log_use("");
    log_send(2);
    struct fake_instance before = log_sink;
    log_sink = (struct fake_instance){0};
    log_use("keep_segments: 9\n");
    move_away(log_path);
    assert_int_equal(before.module->flush(before.self, 1000), SOTH_OK);
    assert_int_equal(reopen(), SOTH_OK);
    log_send(3);
    fake_close(&before);
    assert_int_equal(log_lines(log_path, 3), 3);
    assert_int_equal(log_rows(), 3);
}

/* ---- an instance whose turn comes later ---- */

static struct fake_instance before;

static void begin_behind(const char *first, const char *config)
{
    log_use(first);
    log_send(2);
    before = log_sink;
    log_sink = (struct fake_instance){0};
    log_use(config);
}

static void end_before(void)
{
    assert_int_equal(before.module->flush(before.self, 1000), SOTH_OK);
    fake_close(&before);
}

static void what_it_cannot_write_is_found_at_once(void **state)
{
    (void)state;
    log_use("index: false\n");
    log_send(2);
    assert_int_equal(mkdir(log_index, 0700), 0);
    before = log_sink;
    log_sink = (struct fake_instance){0};
    assert_int_equal(log_open(""), -SOTH_ECONFIG);
    assert_non_null(strstr(fake.wrong, ".index.tsv: Is a directory"));
    fake_close(&log_sink);
    log_sink = before;
    log_send(1);
    assert_int_equal(log_lines(log_path, 1), 3);
    assert_false(log_exists(log_segment(1)));
}

/* It could when it was made. */
static void what_it_cannot_write_later_waits(void **state)
{
    uint32_t done, retry_ms;
    (void)state;
    begin_behind("index: false\n", "audit_required: true\n");
    end_before();
    assert_int_equal(mkdir(log_index, 0700), 0);
    for (unsigned n = 0; n < 3; n++) {
        assert_int_equal(log_offer(2, &done, &retry_ms), SOTH_RETRY);
        assert_int_equal(done, 0);
        assert_in_range(retry_ms, 1, 5000);
        assert_int_equal(reopen(), SOTH_OK);
    }
    assert_int_equal(fake.held, 1);
    assert_int_equal(fake_count("write_errors"), 3);
    assert_int_equal(log_said("error cannot write"), 1);
    assert_int_equal(log_said("index.tsv: Is a directory; events wait in the queue"), 1);
    assert_int_equal(log_sink.module->flush(log_sink.self, 0), SOTH_OK);
    assert_int_equal(rmdir(log_index), 0);
    log_send(2);
    assert_int_equal(fake.held, 0);
    assert_int_equal(log_said("can be written again"), 1);
    assert_int_equal(log_lines(log_segment(1), 3), 2);
    assert_int_equal(log_rows(), 2);
}

static void a_line_that_the_one_before_left_torn(void **state)
{
    (void)state;
    begin_behind("", "");
    end_before();
    log_append(log_path, "{\"half");
    log_append(log_index, "3\t1");
    log_send(1);
    assert_int_equal(log_lines(log_path, 1), 2);
    assert_int_equal(log_lines(log_segment(1), 3), 1);
    assert_int_equal(log_rows(), 3);
    assert_int_equal(log_said("6 bytes were moved to"), 1);
}

/* A pipe has no segments: it is opened at once. */
static void what_is_no_file_does_not_wait(void **state)
{
    (void)state;
    snprintf(log_path, sizeof log_path, "/dev/null");
    begin_behind("", "");
    log_send(1);
    end_before();
    log_send(1);
    assert_string_equal(fake.log, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, log_begin, log_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rows_of_a_moved_file_go),
        TEST(rows_of_other_segments_stay),
        TEST(rows_of_other_segments_stay_after_a_removal),
        TEST(whoever_moves_it_may_make_another_one),
        TEST(a_moved_index_keeps_its_rows),
        TEST(rows_go_before_there_is_a_file),
        TEST(lines_that_wait_have_their_rows),
        TEST(rows_that_wait_go_with_their_lines),
        TEST(rows_of_another_process_stay),
        TEST(a_number_that_is_given_anew_has_no_old_rows),
        TEST(a_file_that_was_moved_at_a_reload),
        TEST(what_it_cannot_write_is_found_at_once),
        TEST(what_it_cannot_write_later_waits),
        TEST(a_line_that_the_one_before_left_torn),
        TEST(what_is_no_file_does_not_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
