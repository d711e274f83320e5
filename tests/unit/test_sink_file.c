/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/sink_file/sink_file.c modules/sink_file/log.c modules/sink_file/index.c modules/sink_file/line.c modules/sink_file/form.c modules/sink_file/json.c modules/sink_file/parts.c modules/sink_file/segment.c modules/sink_file/whole.c modules/sink_file/uncached.c modules/sink_file/bodies.c modules/sink_file/claim.c modules/sink_file/shelf.c modules/sink_file/sha256.c modules/coding/coding.c modules/coding/stage_zlib.c modules/coding/stage_brotli.c modules/coding/stage_zstd.c */
/* needs: CODING */
/* sink_file while all goes well: lines, rows and segments, when they are written and when the disk is told to keep them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/event/bus.h"
#include "sink_log.h"

/* ---- the disk's side of fsync ---- */

static ino_t synced[64];
static unsigned sync_count;

int fdatasync(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    synced[sync_count++ % 64] = st.st_ino;
    return 0;
}

static ino_t inode(const char *file)
{
    struct stat st;
    assert_int_equal(stat(file, &st), 0);
    return st.st_ino;
}

/* Was it among what was synced since sync_count was `from`? */
static bool was_synced(const char *file, unsigned from)
{
    ino_t wanted = inode(file);
    for (unsigned i = from; i < sync_count; i++)
        if (synced[i % 64] == wanted)
            return true;
    return false;
}

/* ---- lines and rows ---- */

static void lines_and_rows(void **state)
{
    struct stat st;
    (void)state;
    log_use("");
    log_send(5);
    log_send(3);
    assert_int_equal(log_lines(log_path, 1), 8);
    assert_int_equal(log_rows(), 8);
    assert_int_equal(stat(log_path, &st), 0);
    assert_int_equal(st.st_mode & 0137, 0); /* not for everybody, not to be run */
    assert_int_equal(stat(log_index, &st), 0);
    assert_int_equal(st.st_mode & 0137, 0);
    assert_string_equal(fake.log, "");
}

static void without_an_index(void **state)
{
    (void)state;
    log_use("index: false\n");
    log_send(5);
    assert_int_equal(log_lines(log_path, 1), 5);
    assert_false(log_exists(log_index));
}

static void times_on_request(void **state)
{
    (void)state;
    log_use("with_timestamps: true\n");
    log_send(1);
    char *text = log_text(log_path);
    assert_non_null(strstr(text, "},\"monotonic_ns\":1000000000000,\"unix_ms\":1700000000000,\"run_id\":\""));
    free(text);
}

/* More than the buffer takes, in one write: lines of 20 kB, longer rows than any other. */
static void more_than_the_buffer(void **state)
{
    static char big[20000];
    struct soth_event *events[40];
    uint32_t done, retry_ms;
    (void)state;
    memset(big, 'x', sizeof big);
    log_use("flush_every: 1000\n");
    for (unsigned i = 0; i < 40; i++) {
        events[i] = FAKE_EVENT(SOTH_EV_REQUEST_HEADERS, 1, ATTR_TEXT("target", ((struct soth_span){big, sizeof big})), );
        events[i]->sequence_id = i + 1;
    }
    assert_int_equal(fake_write(&log_sink, events, 40, &done, &retry_ms), SOTH_OK);
    assert_int_equal(log_lines(log_path, 1), 40); /* no half line stays */
}

/* ---- segments ---- */

static void every_start_begins_a_segment(void **state)
{
    char *before = NULL;
    (void)state;
    for (unsigned start = 0; start < 3; start++) {
        log_use("");
        log_send(2);
        if (!before)
            before = log_text(log_path);
    }
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(log_lines(log_segment(i), 1 + 2 * i), 2);
    char *after = log_text(log_path);
    assert_string_equal(before, after); /* older ones are not touched */
    assert_false(log_exists(log_segment(3)));
    assert_int_equal(log_rows(), 6); /* one index, one header */
    free(before);
    free(after);
}

/* Numbers go on behind the highest, whatever is missing below it; what only looks like a segment does not count. */
static void numbers_go_on(void **state)
{
    (void)state;
    log_use("");
    char other[320];
    snprintf(other, sizeof other, "%s.part", log_path);
    log_append(other, "");
    snprintf(other, sizeof other, "%s.part00099.gz", log_path);
    log_append(other, "");
    log_append(log_segment(7), "");
    log_use("");
    log_send(1);
    assert_int_equal(log_lines(log_segment(8), 1), 1);
    unlink(log_path);
    log_use("");
    assert_false(log_exists(log_path));
    assert_true(log_exists(log_segment(9)));
}

static void segments_end_at_their_size(void **state)
{
    struct stat st;
    uint64_t first = 1;
    unsigned i;
    (void)state;
    log_use("rotate_bytes: 1000\n");
    log_send(20);
    log_send(20);
    for (i = 0; log_exists(log_segment(i)); i++) {
        assert_int_equal(stat(log_segment(i), &st), 0);
        assert_in_range(st.st_size, 1, 1000);
        first += log_lines(log_segment(i), first);
    }
    assert_int_equal(first, 41);
    assert_in_range(i, 5, 30);
    assert_int_equal(log_rows(), 40);
}

static void a_line_longer_than_a_segment_has_its_own(void **state)
{
    (void)state;
    log_use("rotate_bytes: 10\n");
    log_send(3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(log_lines(log_segment(i), 1 + i), 1);
    assert_int_equal(log_rows(), 3);
}

static void segments_end_at_their_age(void **state)
{
    (void)state;
    log_use("rotate_age: 10s\n");
    log_later(11000);
    log_send(2); /* one without a line gets no older */
    log_later(9000);
    log_send(2);
    assert_false(log_exists(log_segment(2)));
    log_later(2000);
    log_send(2);
    assert_int_equal(log_lines(log_segment(0), 1) + log_lines(log_segment(1), 5), 6);
    assert_int_equal(log_rows(), 6);
}

static unsigned segments_kept(unsigned most, unsigned *last)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < most; i++)
        if (log_exists(log_segment(i))) {
            *last = i;
            kept++;
        }
    return kept;
}

/* In the segments that are there, of all that were sent. */
static uint64_t lines_kept(uint64_t sent)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < 40; i++) {
        char *text = log_text(log_segment(i));
        for (const char *at = text; at && (at = strchr(at, '\n')); at++)
            n++;
        free(text);
    }
    assert_in_range(n, 1, sent - 1);
    return n;
}

static void old_segments_go(void **state)
{
    unsigned last = 0;
    (void)state;
    log_use("rotate_bytes: 1000\nkeep_segments: 2\n");
    log_send(40);
    assert_int_equal(segments_kept(40, &last), 2);
    assert_true(last >= 5 && log_exists(log_segment(last - 1)));
    assert_int_equal(log_rows(), lines_kept(40)); /* the index has no row of what is gone */
    log_use("keep_segments: 2\n"); /* a start begins one, too; what is old goes with its first line, when the instance before it is done */
    assert_int_equal(segments_kept(40, &last), 3);
    log_send(1);
    assert_int_equal(segments_kept(40, &last), 2);
    assert_int_equal(log_rows(), lines_kept(40));
}

static void a_segment_that_got_nothing_goes(void **state)
{
    unsigned last = 0;
    (void)state;
    log_use("");
    log_send(1);
    log_use("");
    assert_true(log_exists(log_segment(1)));
    log_use("");
    assert_int_equal(segments_kept(4, &last), 2);
    assert_int_equal(last, 1);
}

static void old_segments_go_by_bytes(void **state)
{
    uint64_t highest = 0;
    (void)state;
    log_use("rotate_bytes: 1000\nkeep_bytes: 3000\n");
    for (unsigned n = 0; n < 60; n++) {
        struct stat st;
        uint64_t total = 0;
        log_send(1);
        for (unsigned i = 0; i < 40; i++)
            if (stat(log_segment(i), &st) == 0)
                total += (uint64_t)st.st_size;
        assert_in_range(total, 1, 3000); /* never more, also while a segment grows */
        highest = total > highest ? total : highest;
    }
    assert_in_range(highest, 2500, 3000);
    assert_int_equal(log_rows(), lines_kept(60));
}

/* The bound is kept when it is the older ones alone that break it, at a start without rotation. */
static void a_growing_segment_takes_the_room_of_older_ones(void **state)
{
    struct stat st;
    (void)state;
    log_use("");
    log_send(10);
    assert_int_equal(stat(log_path, &st), 0);
    char config[64];
    snprintf(config, sizeof config, "keep_bytes: %llu\n", (unsigned long long)st.st_size * 2);
    log_use(config);
    log_send(9);
    assert_true(log_exists(log_path));
    log_send(5);
    assert_false(log_exists(log_path));
    assert_int_equal(log_rows(), 14);
}

static void the_open_segment_stays(void **state)
{
    unsigned last;
    (void)state;
    log_use("rotate_bytes: 1000\nkeep_bytes: 1\nkeep_segments: 1\n");
    log_send(40);
    assert_int_equal(segments_kept(40, &last), 1);
    log_send(1);
    assert_int_equal(segments_kept(40, &last), 1);
}

/* Whatever is newer: another process has begun segments with higher numbers. */
static void the_open_segment_stays_whatever_is_newer(void **state)
{
    (void)state;
    log_use("rotate_bytes: 1000\nkeep_segments: 1\n");
    log_append(log_segment(50), "");
    log_send(4);
    assert_true(log_exists(log_segment(50)) && !log_exists(log_path));
    assert_int_equal(log_lines(log_segment(1), 4), 1);
}

/* ---- a reload: two instances at once, the one before writes on until it is flushed ---- */

/* Another one on the path; the one before is the result. */
static struct fake_instance reload_with(const char *config)
{
    struct fake_instance before = log_sink;
    log_sink = (struct fake_instance){0};
    log_use(config);
    return before;
}

static void send_on(struct fake_instance *instance, uint32_t n)
{
    struct fake_instance other = log_sink;
    log_sink = *instance;
    log_send(n);
    *instance = log_sink;
    log_sink = other;
}

static void flush(const struct fake_instance *instance)
{
    assert_int_equal(instance->module->flush(instance->self, 1000), SOTH_OK);
}

/* Of all that were sent the last ones are there, in order, each with its row. */
static void newest_are_kept(uint64_t sent, unsigned segments)
{
    unsigned last;
    const uint64_t n = lines_kept(sent + 1);
    uint64_t next = sent - n + 1;
    assert_int_equal(segments_kept(40, &last), segments);
    for (unsigned i = 0; i < 40; i++)
        if (log_exists(log_segment(i)))
            next += log_lines(log_segment(i), next);
    assert_int_equal(next, sent + 1);
    assert_int_equal(log_rows(), n);
}

static void the_next_instance_begins_behind_the_one_before(void **state)
{
    unsigned last;
    (void)state;
    log_use("rotate_bytes: 1000\nkeep_segments: 3\n");
    log_send(1);
    struct fake_instance before = reload_with("rotate_bytes: 1100\nkeep_segments: 3\n");
    assert_int_equal(segments_kept(40, &last), 1); /* what is there is not touched */
    send_on(&before, 30);
    newest_are_kept(31, 3);
    flush(&before);
    log_send(1);
    newest_are_kept(32, 3); /* also when the one before is not destroyed yet */
    log_send(20);
    newest_are_kept(52, 3);
    fake_close(&before);
    log_send(2);
    newest_are_kept(54, 3);
}

/* The first has not ended when the third is made. */
static void three_instances_at_once(void **state)
{
    (void)state;
    log_use("rotate_bytes: 1000\nkeep_segments: 4\n");
    log_send(1);
    struct fake_instance first = reload_with("rotate_bytes: 1100\nkeep_segments: 4\n");
    struct fake_instance second = reload_with("rotate_bytes: 1200\nkeep_segments: 4\n");
    send_on(&first, 12);
    flush(&first);
    send_on(&second, 12);
    fake_close(&first);
    send_on(&second, 12);
    flush(&second);
    log_send(12);
    fake_close(&second);
    newest_are_kept(49, 4);
}

static void a_path_is_the_same_however_it_is_spelt(void **state)
{
    unsigned last;
    (void)state;
    log_use("");
    log_send(1);
    char folder[256];
    snprintf(folder, sizeof folder, "%.*s/../log/./events.jsonl", (int)(strrchr(log_path, '/') - log_path), log_path);
    memcpy(log_path, folder, sizeof log_path);
    struct fake_instance before = reload_with("");
    assert_int_equal(segments_kept(4, &last), 1);
    flush(&before);
    log_send(1);
    assert_int_equal(log_lines(log_segment(1), 2), 1);
    fake_close(&before);
}

static void what_never_wrote_leaves_nothing(void **state)
{
    unsigned last;
    (void)state;
    log_use("");
    log_send(1);
    struct fake_instance before = reload_with("keep_segments: 1\n"); /* of a reload that is refused afterwards */
    fake_close(&log_sink);
    assert_int_equal(segments_kept(4, &last), 1);
    log_sink = before;
    before = reload_with("");
    flush(&before);
    fake_close(&before);
    assert_int_equal(log_sink.module->reopen(log_sink.self), SOTH_OK);
    flush(&log_sink);
    assert_int_equal(segments_kept(4, &last), 1);
    assert_int_equal(log_rows(), 1);
    log_use("keep_segments: 2\n"); /* a start, and a reload before there is an event: an empty segment is none that is kept */
    assert_int_equal(segments_kept(4, &last), 2);
    before = reload_with("keep_segments: 2\n");
    flush(&before);
    log_send(1);
    newest_are_kept(2, 2);
    fake_close(&before);
    newest_are_kept(2, 2);
}

/* Two at once that do not wait for each other, as when one is stuck: each has segments of its own all the same. */
static void two_at_once_share_no_segment(void **state)
{
    (void)state;
    log_use("rotate_bytes: 1000\n");
    log_send(1);
    struct fake_instance first = reload_with("");
    log_send(1);
    send_on(&first, 10); /* its next segment is not the other's */
    log_send(1);
    assert_int_equal(log_rows(), 13);
    assert_true(log_exists(log_segment(4)));
    fake_close(&first);
}

/* ---- when it is written ---- */

#define BUFFERED "flush_every: 10\nflush_interval: 200ms\n"

static void the_buffer_waits_and_says_how_long(void **state)
{
    (void)state;
    log_use(BUFFERED);
    log_later(50);
    assert_int_equal(log_send(3), 150);
    assert_int_equal(log_lines(log_path, 1), 0);
    log_later(150);
    assert_int_equal(log_send(0), 0); /* nothing left to come for */
    assert_int_equal(log_lines(log_path, 1), 3);
    log_send(10); /* flush_every */
    assert_int_equal(log_lines(log_path, 1), 13);
    log_send(3);
    assert_int_equal(log_lines(log_path, 1), 13);
    assert_int_equal(log_sink.module->flush(log_sink.self, 1000), SOTH_OK);
    assert_int_equal(log_lines(log_path, 1), 16);
    assert_int_equal(log_rows(), 16);
}

/* A burst is written at its end, not by flush_every, unless it takes too long. */
static void what_comes_at_once_goes_with_it(void **state)
{
    (void)state;
    log_use(BUFFERED);
    log_sink.waiting = 20;
    log_send(15);
    assert_int_equal(log_lines(log_path, 1), 0);
    log_later(200);
    log_send(15);
    assert_int_equal(log_lines(log_path, 1), 30);
    log_send(15);
    assert_int_equal(log_lines(log_path, 1), 30);
    log_sink.waiting = 0;
    log_send(1);
    assert_int_equal(log_lines(log_path, 1), 46);
    assert_int_equal(log_rows(), 46);
}

static void what_comes_after_silence_does_not_wait(void **state)
{
    (void)state;
    log_use(BUFFERED);
    log_later(5000);
    log_send(1);
    assert_int_equal(log_lines(log_path, 1), 1);
}

static void the_disk_is_never_asked_unless_told(void **state)
{
    (void)state;
    sync_count = 0;
    log_use("rotate_bytes: 1000\n");
    log_send(20);
    assert_int_equal(log_sink.module->flush(log_sink.self, 0), SOTH_OK);
    assert_int_equal(log_sink.module->reopen(log_sink.self), SOTH_OK);
    assert_int_equal(sync_count, 0);
}

static void the_disk_keeps_every_write(void **state)
{
    (void)state;
    log_use("fsync: always\n");
    for (unsigned i = 0; i < 3; i++) {
        unsigned before = sync_count;
        log_send(2);
        assert_true(was_synced(log_path, before) && was_synced(log_index, before));
    }
    unsigned before = sync_count;
    log_send(0);
    assert_int_equal(sync_count, before); /* there was nothing new */
}

static void the_disk_is_asked_after_its_interval(void **state)
{
    (void)state;
    log_use("fsync: interval\nfsync_interval: 1s\n");
    unsigned before = sync_count;
    assert_int_equal(log_send(10), 1000);
    log_later(999);
    assert_int_equal(log_send(1), 1);
    assert_int_equal(sync_count, before);
    log_later(1);
    assert_int_equal(log_send(0), 0); /* no need to come again while nothing happens */
    assert_true(was_synced(log_path, before) && was_synced(log_index, before));
}

/* The rest of a segment that ends, of a file that was moved away, of a log that ends: nobody would ask for it later. */
static void the_disk_keeps_what_is_closed(void **state)
{
    char moved[300];
    (void)state;
    log_use("fsync: interval\nfsync_interval: 1h\nrotate_bytes: 1000\n");
    unsigned before = sync_count;
    log_send(4);
    assert_true(log_exists(log_segment(1)));
    assert_true(was_synced(log_path, before));
    snprintf(moved, sizeof moved, "%s.moved", log_path);
    assert_int_equal(rename(log_segment(1), moved), 0);
    before = sync_count;
    assert_int_equal(log_sink.module->reopen(log_sink.self), SOTH_OK);
    assert_true(was_synced(moved, before));
    log_send(1);
    before = sync_count;
    assert_int_equal(log_sink.module->flush(log_sink.self, 0), SOTH_OK);
    assert_true(was_synced(log_segment(1), before));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, log_begin, log_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lines_and_rows),
        TEST(without_an_index),
        TEST(times_on_request),
        TEST(more_than_the_buffer),
        TEST(every_start_begins_a_segment),
        TEST(numbers_go_on),
        TEST(segments_end_at_their_size),
        TEST(a_line_longer_than_a_segment_has_its_own),
        TEST(segments_end_at_their_age),
        TEST(old_segments_go),
        TEST(a_segment_that_got_nothing_goes),
        TEST(old_segments_go_by_bytes),
        TEST(a_growing_segment_takes_the_room_of_older_ones),
        TEST(the_open_segment_stays),
        TEST(the_open_segment_stays_whatever_is_newer),
        TEST(the_next_instance_begins_behind_the_one_before),
        TEST(three_instances_at_once),
        TEST(a_path_is_the_same_however_it_is_spelt),
        TEST(what_never_wrote_leaves_nothing),
        TEST(two_at_once_share_no_segment),
        TEST(the_buffer_waits_and_says_how_long),
        TEST(what_comes_at_once_goes_with_it),
        TEST(what_comes_after_silence_does_not_wait),
        TEST(the_disk_is_never_asked_unless_told),
        TEST(the_disk_keeps_every_write),
        TEST(the_disk_is_asked_after_its_interval),
        TEST(the_disk_keeps_what_is_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
