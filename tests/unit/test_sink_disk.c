/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/sink_file/sink_file.c modules/sink_file/log.c modules/sink_file/index.c modules/sink_file/line.c modules/sink_file/form.c modules/sink_file/json.c modules/sink_file/parts.c modules/sink_file/segment.c modules/sink_file/whole.c modules/sink_file/uncached.c modules/sink_file/bodies.c modules/sink_file/claim.c modules/sink_file/shelf.c modules/sink_file/sha256.c modules/coding/coding.c modules/coding/stage_zlib.c modules/coding/stage_brotli.c modules/coding/stage_zstd.c */
/* needs: CODING */
/* sink_file in trouble: what a crash left, disks that are full, files that were moved away, paths that are no files. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/event/bus.h"
#include "sink_log.h"

static int sync_error; /* of the next fdatasync, 0 = none */

int fdatasync(int fd)
{
    (void)fd;
    errno = sync_error;
    return sync_error ? -1 : 0;
}

static int reopen(void)
{
    return log_sink.module->reopen(log_sink.self);
}

/* ---- what a crash leaves ---- */

static void a_torn_line_is_put_aside(void **state)
{
    (void)state;
    log_use("");
    log_send(3);
    fake_close(&log_sink);
    log_append(log_path, "{\"schema\":\"soth-mi");
    log_append(log_index, "4\t1\t4\treq");
    log_use("");
    log_send(1);
    assert_int_equal(log_lines(log_path, 1), 3);
    assert_int_equal(log_lines(log_segment(1), 4), 1);
    assert_int_equal(log_rows(), 4);
    char *aside = log_text(log_torn);
    assert_string_equal(aside, "{\"schema\":\"soth-mi\n");
    free(aside);
    assert_int_equal(log_said("warn the last line of the previous log was torn: 18 bytes were moved to"), 1);
}

/* The one that was written to last is the one that may be torn; what was put aside before stays. */
static void the_last_segment_is_looked_at(void **state)
{
    (void)state;
    for (unsigned start = 0; start < 3; start++) {
        log_use("");
        log_send(1);
        fake_close(&log_sink);
        log_append(log_segment(start), "{\"torn");
    }
    log_use("");
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(log_lines(log_segment(i), i + 1), 1);
    char *aside = log_text(log_torn);
    assert_string_equal(aside, "{\"torn\n{\"torn\n{\"torn\n");
    free(aside);
    assert_int_equal(log_rows(), 3);
}

static void a_torn_line_of_many_blocks(void **state)
{
    static char half[20001];
    static const size_t sizes[] = {4094, 4095, 4096, 4097, 8191, 20000};
    (void)state;
    memset(half, 'x', sizeof half - 1);
    log_use("");
    for (unsigned i = 0; i < 6; i++) {
        log_send(2);
        fake_close(&log_sink);
        log_append(log_segment(i), half + sizeof half - 1 - sizes[i]);
        log_use("");
        assert_int_equal(log_lines(log_segment(i), 1 + 2 * i), 2);
        char *aside = log_text(log_torn);
        assert_int_equal(strlen(aside), sizes[i] + 1);
        free(aside);
        unlink(log_torn);
    }
}

static void a_log_of_one_torn_line(void **state)
{
    struct stat st;
    (void)state;
    log_use("");
    fake_close(&log_sink);
    log_append(log_path, "{");
    log_use("");
    assert_int_equal(stat(log_path, &st), 0);
    assert_int_equal(st.st_size, 0);
    assert_true(log_exists(log_segment(1)));
}

static void a_whole_log_is_left_alone(void **state)
{
    (void)state;
    log_use("");
    log_send(2);
    log_use("");
    log_use("");
    assert_int_equal(log_lines(log_path, 1), 2);
    assert_false(log_exists(log_torn));
    assert_string_equal(fake.log, "");
}

static void what_cannot_be_put_aside_stays(void **state)
{
    (void)state;
    log_use("");
    log_send(1);
    fake_close(&log_sink);
    log_append(log_path, "{\"half");
    assert_int_equal(mkdir(log_torn, 0700), 0);
    log_use("");
    char *text = log_text(log_path);
    assert_non_null(strstr(text, "{\"half"));
    free(text);
    assert_int_equal(log_said("warn the last line of the previous log is torn: its 6 bytes could not be moved to"), 1);
}

static void a_line_that_another_process_writes_is_not_torn(void **state)
{
    (void)state;
    log_use("");
    log_send(1);
    fake_close(&log_sink);
    log_append(log_path, "{\"half");
    int other = open(log_path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(flock(other, LOCK_EX), 0);
    log_use("");
    assert_false(log_exists(log_torn));
    char *text = log_text(log_path);
    assert_non_null(strstr(text, "{\"half"));
    free(text);
    close(other);
}

static bool is_locked(const char *file)
{
    int fd = open(file, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    int r = flock(fd, LOCK_EX | LOCK_NB), error = errno;
    close(fd);
    return r < 0 && error == EWOULDBLOCK;
}

/* The lock is how the next process knows that; it must outlive whatever happens to the segment. */
static void what_is_open_is_locked(void **state)
{
    char moved[300];
    (void)state;
    log_use("rotate_bytes: 1000\n");
    assert_true(is_locked(log_path));
    assert_int_equal(reopen(), SOTH_OK); /* nothing was moved */
    assert_true(is_locked(log_path) && is_locked(log_index));
    log_send(4);
    assert_true(is_locked(log_segment(1)) && !is_locked(log_path));
    snprintf(moved, sizeof moved, "%s.moved", log_path);
    assert_int_equal(rename(log_segment(1), moved), 0);
    assert_int_equal(reopen(), SOTH_OK);
    assert_true(is_locked(log_segment(1)) && !is_locked(moved));
}

/* ---- trouble with the disk ---- */

static void limit_files(rlim_t bytes)
{
    struct rlimit limit = {bytes, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* An offer while no file may be longer than this. */
static int offer_within(rlim_t bytes, uint32_t n, uint32_t *done)
{
    uint32_t retry_ms;
    limit_files(bytes);
    int r = log_offer(n, done, &retry_ms);
    limit_files(RLIM_INFINITY); /* looked at as a reader would */
    if (r == SOTH_RETRY)
        assert_in_range(retry_ms, 1, 5000);
    return r;
}

static void a_full_disk(const char *config, int held)
{
    uint32_t done = 0, offered = 3;
    log_use(config);
    log_send(2);
    for (unsigned tries = 0; tries < 4; tries++) {
        assert_int_equal(offer_within(600, offered, &done), SOTH_RETRY);
        offered -= done;
        assert_int_equal(log_lines(log_path, 1), 2); /* no half line */
        assert_int_equal(log_rows(), 2);
    }
    assert_int_equal(fake.held, held);
    assert_in_range(fake_count("write_errors"), 4, 8);
    assert_int_equal(log_said("error cannot write"), 1);
    log_send(offered);
    assert_int_equal(log_lines(log_path, 1), 5);
    assert_int_equal(log_rows(), 5);
    assert_int_equal(fake.held, 0);
    assert_int_equal(log_said("can be written again"), 1);
}

static void a_full_disk_is_said_once_and_recovered_from(void **state)
{
    (void)state;
    a_full_disk("", 0);
    assert_int_equal(log_said("503"), 0);
}

static void an_audit_holds_new_flows_meanwhile(void **state)
{
    (void)state;
    a_full_disk("audit_required: true\n", 1);
    assert_int_equal(log_said("new flows are answered 503 until it works"), 1);
}

/* The second time is said again. */
static void every_episode_is_said(void **state)
{
    uint32_t done;
    (void)state;
    log_use("");
    for (unsigned i = 1; i <= 2; i++) {
        assert_int_equal(offer_within(10, 1, &done), SOTH_RETRY);
        log_send(1 - done);
        assert_int_equal(log_said("error cannot write"), i);
        assert_int_equal(log_said("can be written again"), i);
    }
}

/* Only the index is too long for the disk: the lines are there, once, and their rows follow. */
static void an_index_that_cannot_grow(void **state)
{
    struct stat st;
    uint32_t done, offered = 8;
    uint64_t lines = 0;
    (void)state;
    log_use("rotate_bytes: 2000\n");
    log_send(20);
    assert_int_equal(stat(log_index, &st), 0);
    for (unsigned tries = 0; tries < 3; tries++) {
        assert_int_equal(offer_within((rlim_t)st.st_size + 10, offered, &done), SOTH_RETRY);
        offered -= done;
        assert_int_equal(log_rows(), 20);
    }
    assert_int_equal(log_said("error cannot write"), 1);
    log_send(offered);
    for (unsigned i = 0; log_exists(log_segment(i)); i++)
        lines += log_lines(log_segment(i), lines + 1);
    assert_int_equal(lines, 28);
    assert_int_equal(log_rows(), 28);
}

static void rotate_away(void)
{
    log_send(40);
    for (unsigned i = 0; i < 3; i++)
        assert_false(log_exists(log_segment(i)));
}

/* Segments go all the same; their rows go with the next ones. */
static void an_index_that_cannot_be_shortened(void **state)
{
    char blocked[340];
    (void)state;
    snprintf(blocked, sizeof blocked, "%s.new", log_index);
    log_use("rotate_bytes: 1000\nkeep_segments: 2\n");
    assert_int_equal(mkdir(blocked, 0700), 0);
    rotate_away();
    assert_int_equal(log_said("warn cannot shorten"), 1);
    assert_in_range(fake_count("write_errors"), 2, 40);
    assert_int_equal(log_said("error"), 0);
    assert_int_equal(rmdir(blocked), 0);
    log_send(10);
    assert_in_range(log_rows(), 1, 8);
    assert_false(log_exists(blocked));
}

/* One process may drain while the next one writes already: each to segments of its own. */
static void another_process_has_its_own_segments(void **state)
{
    (void)state;
    log_use("");
    log_send(1);
    fake_close(&log_sink);
    int other = open(log_path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(flock(other, LOCK_EX), 0);
    log_use("keep_segments: 1\n");
    log_send(2);
    assert_int_equal(write(other, "{}\n", 3), 3);
    log_send(1);
    char *text = log_text(log_path);
    assert_non_null(strstr(text, "}}\n{}\n"));
    free(text);
    assert_int_equal(log_lines(log_segment(1), 2), 3);
    close(other);
}

/* What another process writes to is not replaced under it. */
static void an_index_of_two_processes_is_not_shortened(void **state)
{
    char *before, *after;
    (void)state;
    log_use("");
    log_send(1);
    fake_close(&log_sink);
    int other = open(log_index, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(flock(other, LOCK_EX), 0);
    before = log_text(log_index);
    log_use("rotate_bytes: 1000\nkeep_segments: 2\n");
    rotate_away();
    assert_int_equal(write(other, "row\n", 4), 4);
    after = log_text(log_index);
    assert_memory_equal(after, before, strlen(before));
    assert_string_equal(after + strlen(after) - 4, "row\n");
    free(before);
    free(after);
    close(other);
}

static void what_the_buffer_still_has_at_the_end_is_told(void **state)
{
    uint32_t done;
    (void)state;
    log_use("");
    assert_int_equal(offer_within(10, 3, &done), SOTH_RETRY);
    limit_files(10);
    int flushed = log_sink.module->flush(log_sink.self, 0);
    limit_files(RLIM_INFINITY);
    assert_true(flushed < 0);
    assert_int_equal(log_said("3 events could not be written"), 1);
}

static void a_device_that_is_full(void **state)
{
    uint32_t done, retry_ms;
    (void)state;
    snprintf(log_path, sizeof log_path, "/dev/full");
    log_use("");
    for (unsigned tries = 0; tries < 3; tries++)
        assert_int_equal(log_offer(2, &done, &retry_ms), SOTH_RETRY);
    assert_int_equal(log_said("error cannot write /dev/full: No space left on device; events wait in the queue"), 1);
    assert_int_equal(fake_count("write_errors"), 3);
}

/* A disk that does not answer for what it has is one that cannot be written to, also between two intervals. */
static void a_disk_that_keeps_nothing(const char *config)
{
    uint32_t done, retry_ms;
    fake_reset();
    log_use(config);
    sync_error = EIO;
    log_later(5000);
    assert_int_equal(log_offer(1, &done, &retry_ms), SOTH_RETRY);
    for (unsigned tries = 0; tries < 3; tries++) {
        log_later(100);
        assert_int_equal(log_offer(1, &done, &retry_ms), SOTH_RETRY);
        assert_int_equal(done, 0);
    }
    assert_int_equal(fake.held, 1);
    sync_error = 0;
    log_send(1);
    assert_int_equal(fake.held, 0);
    assert_int_equal(log_said("error cannot write"), 1);
    assert_int_equal(log_said("can be written again"), 1);
}

static void a_disk_that_does_not_sync(void **state)
{
    (void)state;
    a_disk_that_keeps_nothing("audit_required: true\nfsync: always\n");
    a_disk_that_keeps_nothing("audit_required: true\nfsync: interval\nfsync_interval: 1s\n");
}

/* Descriptors have run out: the old segment goes on, it is said once and tried again later. */
static void a_new_segment_that_cannot_be_opened(void **state)
{
    struct rlimit old, none;
    uint32_t done, retry_ms;
    (void)state;
    log_use("rotate_bytes: 1000\n");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = (struct rlimit){3, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int r = log_offer(20, &done, &retry_ms);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_int_equal(r, SOTH_OK);
    assert_int_equal(log_lines(log_path, 1), 20);
    assert_int_equal(log_said("error cannot open a new segment"), 1);
    assert_int_equal(fake_count("write_errors"), 1);
    log_later(6000);
    log_send(1);
    assert_int_equal(log_lines(log_segment(1), 21), 1);
    assert_int_equal(log_rows(), 21);
}

/* ---- paths ---- */

static void a_path_that_cannot_be_written(void **state)
{
    (void)state;
    snprintf(log_path, sizeof log_path, "/dev/null/events.jsonl");
    assert_int_equal(log_open(""), -SOTH_ECONFIG);
    assert_string_equal(fake.wrong, "path: cannot write /dev/null/events.jsonl: Not a directory\n");
}

static void a_path_that_is_a_directory(void **state)
{
    char wanted[400];
    (void)state;
    snprintf(log_path, sizeof log_path, "%s", log_folder);
    assert_int_equal(log_open(""), -SOTH_ECONFIG);
    snprintf(wanted, sizeof wanted, "path: cannot write %s: Is a directory\n", log_path);
    assert_string_equal(fake.wrong, wanted);
}

static void an_index_that_cannot_be_written(void **state)
{
    char wanted[400];
    (void)state;
    snprintf(log_path, sizeof log_path, "%s/events.jsonl", log_folder);
    snprintf(log_index, sizeof log_index, "%s.index.tsv", log_path);
    assert_int_equal(mkdir(log_index, 0700), 0);
    assert_int_equal(log_open(""), -SOTH_ECONFIG);
    snprintf(wanted, sizeof wanted, "path: cannot write %s: Is a directory\n", log_index);
    assert_string_equal(fake.wrong, wanted);
    assert_false(log_exists(log_path)); /* nothing is left of what did not begin */
    log_use("index: false\n");
}

static void what_is_no_file_is_written_to_as_it_is(void **state)
{
    (void)state;
    snprintf(log_path, sizeof log_path, "/dev/null");
    sync_error = EINVAL; /* as such files answer */
    log_use("rotate_bytes: 10\nrotate_age: 1s\nfsync: always\n");
    log_send(5);
    log_later(2000);
    log_send(5);
    assert_int_equal(reopen(), SOTH_OK);
    assert_int_equal(log_sink.module->flush(log_sink.self, 0), SOTH_OK);
    sync_error = 0;
    assert_false(log_exists("/dev/null.index.tsv"));
    assert_false(log_exists("/dev/null.part00001"));
    assert_string_equal(fake.log, "");
}

static void pipe_path(void)
{
    snprintf(log_path, sizeof log_path, "%s/pipe", log_folder);
    assert_int_equal(mkfifo(log_path, 0600), 0);
}

/* A start that waits for somebody to open the other end would be a proxy that hangs. */
static void a_pipe_without_a_reader(void **state)
{
    (void)state;
    pipe_path();
    assert_int_equal(log_open(""), -SOTH_ECONFIG);
    assert_non_null(strstr(fake.wrong, "No such device or address"));
}

/* What fits into a full pipe is a part of a line: the rest follows behind it, nothing twice. */
static void a_pipe_that_is_full(void **state)
{
    char copy[320], block[1000];
    uint32_t done, retry_ms, taken = 0;
    (void)state;
    pipe_path();
    snprintf(copy, sizeof copy, "%s/copy", log_folder);
    int from = open(log_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), to = open(copy, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(from >= 0 && to >= 0);
    assert_int_equal(fcntl(from, F_SETPIPE_SZ, 4096), 4096);
    log_use("");
    assert_int_equal(log_offer(20, &done, &retry_ms), SOTH_RETRY);
    for (taken = done; taken < 20 || retry_ms > 0; taken += done) {
        ssize_t n = read(from, block, sizeof block); /* not as much as a line */
        assert_true(n > 0 && write(to, block, (size_t)n) == n);
        while ((n = read(from, block, sizeof block)) > 0)
            assert_int_equal(write(to, block, (size_t)n), n);
        log_offer(20 - taken, &done, &retry_ms);
    }
    for (ssize_t n; (n = read(from, block, sizeof block)) > 0;)
        assert_int_equal(write(to, block, (size_t)n), n);
    close(from);
    close(to);
    assert_int_equal(log_lines(copy, 1), 20);
    assert_int_equal(log_said("error cannot write"), 1);
}

static void *read_it_all(void *arg)
{
    char block[500];
    int from = *(int *)arg;
    size_t lines = 0;
    for (ssize_t n; (n = read(from, block, sizeof block)) > 0;)
        for (ssize_t i = 0; i < n; i++)
            lines += block[i] == '\n';
    return (void *)lines;
}

/* A reader that is merely slower gets its moment: that is no trouble. */
static void a_pipe_with_a_slow_reader(void **state)
{
    pthread_t reader;
    void *lines;
    (void)state;
    pipe_path();
    int from = open(log_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_int_equal(fcntl(from, F_SETPIPE_SZ, 4096), 4096);
    assert_int_equal(fcntl(from, F_SETFL, 0), 0);
    log_use("");
    assert_int_equal(pthread_create(&reader, NULL, read_it_all, &from), 0);
    for (unsigned i = 0; i < 10; i++)
        log_send(60);
    fake_close(&log_sink);
    assert_int_equal(pthread_join(reader, &lines), 0);
    assert_int_equal((size_t)lines, 600);
    assert_string_equal(fake.log, "");
    close(from);
}

/* ---- files that were moved away ---- */

static void a_moved_file_is_opened_anew(void **state)
{
    char moved[300], moved_index[310];
    (void)state;
    snprintf(moved, sizeof moved, "%s.moved", log_path);
    snprintf(moved_index, sizeof moved_index, "%s.moved", log_index);
    log_use("flush_every: 100\nflush_interval: 60s\n");
    log_send(3);
    assert_int_equal(rename(log_path, moved), 0);
    assert_int_equal(rename(log_index, moved_index), 0);
    assert_int_equal(reopen(), SOTH_OK); /* what the buffer had belongs to the old one */
    assert_int_equal(log_lines(moved, 1), 3);
    log_send(2);
    assert_int_equal(log_sink.module->flush(log_sink.self, 0), SOTH_OK);
    assert_int_equal(log_lines(moved, 1), 3);
    assert_int_equal(log_lines(log_path, 4), 2);
    assert_int_equal(log_rows(), 2);
}

static void a_file_that_was_not_moved_goes_on(void **state)
{
    (void)state;
    log_use("");
    log_send(2);
    assert_int_equal(reopen(), SOTH_OK);
    log_send(2);
    assert_int_equal(log_lines(log_path, 1), 4);
    assert_int_equal(log_rows(), 4);
    assert_false(log_exists(log_segment(1)));
}

/* The directory is gone: the file that was moved with it goes on, nothing is lost. */
static void a_file_that_cannot_be_opened_anew(void **state)
{
    char directory[300], moved[300], file[340];
    (void)state;
    log_use("");
    log_send(1);
    snprintf(directory, sizeof directory, "%s/log", log_folder);
    snprintf(moved, sizeof moved, "%s/old", log_folder);
    snprintf(file, sizeof file, "%s/events.jsonl", moved);
    assert_int_equal(rename(directory, moved), 0);
    assert_true(reopen() < 0);
    log_send(1);
    assert_int_equal(log_lines(file, 1), 2);
    assert_int_equal(log_said("error cannot open"), 1);
    assert_int_equal(log_said("what is open goes on"), 1);
    assert_int_equal(fake_count("write_errors"), 1);
    assert_int_equal(mkdir(directory, 0700), 0);
    assert_int_equal(reopen(), SOTH_OK);
    log_send(1);
    assert_int_equal(log_lines(log_path, 3), 1);
    assert_int_equal(log_rows(), 1);
}

static void an_index_that_cannot_be_opened_anew(void **state)
{
    char moved[300];
    (void)state;
    log_use("");
    log_send(1);
    snprintf(moved, sizeof moved, "%s/log/rows", log_folder);
    assert_int_equal(rename(log_index, moved), 0);
    assert_int_equal(mkdir(log_index, 0700), 0);
    assert_true(reopen() < 0);
    log_send(2);
    assert_int_equal(log_lines(log_path, 1), 3);
    snprintf(log_index, sizeof log_index, "%s", moved);
    assert_int_equal(log_rows(), 3);
}

/* Somebody else empties the file under us (as logrotate's copytruncate): what a failed write left is not where we think it is. */
static void a_file_that_was_emptied(void **state)
{
    struct stat st;
    uint32_t done;
    (void)state;
    log_use("");
    log_send(5);
    assert_int_equal(stat(log_path, &st), 0);
    assert_int_equal(truncate(log_path, 0), 0);
    assert_int_equal(offer_within((rlim_t)st.st_size + 100, 40, &done), SOTH_RETRY);
    log_send(40 - done);
    assert_int_equal(log_lines(log_path, 6), 40);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, log_begin, log_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_torn_line_is_put_aside),
        TEST(the_last_segment_is_looked_at),
        TEST(a_torn_line_of_many_blocks),
        TEST(a_log_of_one_torn_line),
        TEST(a_whole_log_is_left_alone),
        TEST(what_cannot_be_put_aside_stays),
        TEST(a_line_that_another_process_writes_is_not_torn),
        TEST(what_is_open_is_locked),
        TEST(a_full_disk_is_said_once_and_recovered_from),
        TEST(an_audit_holds_new_flows_meanwhile),
        TEST(every_episode_is_said),
        TEST(an_index_that_cannot_grow),
        TEST(an_index_that_cannot_be_shortened),
        TEST(another_process_has_its_own_segments),
        TEST(an_index_of_two_processes_is_not_shortened),
        TEST(what_the_buffer_still_has_at_the_end_is_told),
        TEST(a_device_that_is_full),
        TEST(a_disk_that_does_not_sync),
        TEST(a_new_segment_that_cannot_be_opened),
        TEST(a_path_that_cannot_be_written),
        TEST(a_path_that_is_a_directory),
        TEST(an_index_that_cannot_be_written),
        TEST(what_is_no_file_is_written_to_as_it_is),
        TEST(a_pipe_without_a_reader),
        TEST(a_pipe_that_is_full),
        TEST(a_pipe_with_a_slow_reader),
        TEST(a_moved_file_is_opened_anew),
        TEST(a_file_that_was_not_moved_goes_on),
        TEST(a_file_that_cannot_be_opened_anew),
        TEST(an_index_that_cannot_be_opened_anew),
        TEST(a_file_that_was_emptied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
