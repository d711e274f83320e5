/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/sink_file/sink_file.c modules/sink_file/line.c modules/sink_file/segment.c */
/* The files of the event log: segments, index, torn ends, full disks, moved files. */
#include <fcntl.h>
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

#include "conf_text.h"
#include "fake_host.h"
#include "host/event/bus.h"

extern const struct soth_module soth_mitm_module;

static char *folder;
static char path[256], index_path[300];
static struct fake_instance sink;
static uint64_t sent;

static int begin(void **state)
{
    (void)state;
    fake_reset();
    folder = scratch_new();
    snprintf(path, sizeof path, "%s/log/events.jsonl", folder);
    snprintf(index_path, sizeof index_path, "%s.index.tsv", path);
    sent = 0;
    return 0;
}

static int end(void **state)
{
    (void)state;
    fake_close(&sink);
    scratch_free(folder);
    return 0;
}

static int open_sink(const char *more)
{
    char config[512];
    snprintf(config, sizeof config, "path: %s\nflush_every: 1\n%s", path, more);
    return fake_open(&sink, &soth_mitm_module, config);
}

static int send(uint32_t n, uint32_t *done, uint32_t *retry_ms)
{
    struct soth_event *events[FAKE_EVENTS];
    for (uint32_t i = 0; i < n; i++) {
        events[i] = FAKE_EVENT(SOTH_EV_REQUEST_HEADERS, 1, ATTR_WORD("method", "GET"), ATTR_WORD("target", "/some/where"), );
        events[i]->sequence_id = ++sent;
        events[i]->flow_sequence_id = sent;
    }
    return fake_write(&sink, events, n, done, retry_ms);
}

static void send_all(uint32_t n)
{
    uint32_t done, retry_ms;
    assert_int_equal(send(n, &done, &retry_ms), SOTH_OK);
    assert_int_equal(done, n);
}

static char *content(const char *file)
{
    FILE *in = fopen(file, "r");
    char *text = NULL;
    size_t size = 0;
    if (!in)
        return NULL;
    if (getdelim(&text, &size, 0, in) < 0) {
        free(text);
        text = strdup("");
    }
    fclose(in);
    return text;
}

static const char *segment(unsigned number)
{
    static char name[300];
    snprintf(name, sizeof name, number ? "%s.part%05u" : "%s", path, number);
    return name;
}

static bool exists(const char *file)
{
    return access(file, F_OK) == 0;
}

/* Every line is whole and numbered on from `first`; returns how many there are. */
static uint64_t check_lines(const char *file, uint64_t first)
{
    char *text = content(file), *at = text, want[64];
    uint64_t n = 0;
    assert_non_null(text);
    while (*at) {
        char *line_end = strchr(at, '\n');
        assert_non_null(line_end);
        snprintf(want, sizeof want, "\"sequence_id\":%llu,", (unsigned long long)(first + n));
        assert_memory_equal(line_end - 2, "}}", 2);
        *line_end = 0;
        assert_non_null(strstr(at, want));
        n++;
        at = line_end + 1;
    }
    free(text);
    return n;
}

/* Every row points at its line. Returns how many there are. */
static unsigned check_index(void)
{
    FILE *rows = fopen(index_path, "r");
    char row[512], line[1024], want[64];
    unsigned n = 0;
    assert_non_null(rows);
    assert_non_null(fgets(row, sizeof row, rows));
    assert_string_equal(row, "sequence_id\tflow_id\tflow_sequence_id\tkind\tprotocol\tstream_key\tsegment_id\tbyte_offset\tline_bytes\n");
    while (fgets(row, sizeof row, rows)) {
        unsigned long long id, offset, bytes;
        unsigned number;
        assert_int_equal(sscanf(row, "%llu\t%*u\t%*u\t%*[^\t]\t%*[^\t]\t%*[^\t]\t%u\t%llu\t%llu", &id, &number, &offset, &bytes), 4);
        FILE *in = fopen(segment(number), "r");
        assert_non_null(in);
        assert_int_equal(fseek(in, (long)offset, SEEK_SET), 0);
        assert_int_equal(fread(line, 1, bytes, in), bytes);
        fclose(in);
        line[bytes] = 0;
        snprintf(want, sizeof want, "{\"schema\":\"soth-mitm-event-log-v2\",\"sequence_id\":%llu,", id);
        assert_memory_equal(line, want, strlen(want));
        assert_true(line[bytes - 1] == '\n' && strchr(line, '\n') == line + bytes - 1);
        n++;
    }
    fclose(rows);
    return n;
}

/* ---- segments and index ---- */

static void lines_and_rows(void **state)
{
    struct stat st;
    (void)state;
    assert_int_equal(open_sink(""), SOTH_OK);
    send_all(5);
    send_all(3);
    assert_int_equal(check_lines(path, 1), 8);
    assert_int_equal(check_index(), 8);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0137, 0); /* not for everybody, not to be run */
}

static void without_an_index(void **state)
{
    (void)state;
    assert_int_equal(open_sink("index: false\n"), SOTH_OK);
    send_all(5);
    assert_false(exists(index_path));
}

static void every_start_begins_a_segment(void **state)
{
    (void)state;
    for (unsigned start = 0; start < 3; start++) {
        assert_int_equal(open_sink(""), SOTH_OK);
        send_all(2);
        fake_close(&sink);
    }
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(check_lines(segment(i), 1 + 2 * i), 2);
    assert_false(exists(segment(3)));
    assert_int_equal(check_index(), 6); /* one index, one header */
}

static void segments_end_at_their_size(void **state)
{
    struct stat st;
    uint64_t first = 1;
    unsigned i;
    (void)state;
    assert_int_equal(open_sink("rotate_bytes: 1000\n"), SOTH_OK);
    send_all(20);
    send_all(20);
    for (i = 0; exists(segment(i)); i++) {
        assert_int_equal(stat(segment(i), &st), 0);
        assert_in_range(st.st_size, 1, 1000);
        first += check_lines(segment(i), first);
    }
    assert_int_equal(first, 41);
    assert_in_range(i, 5, 30);
    assert_int_equal(check_index(), 40);
}

static void a_line_longer_than_a_segment_has_its_own(void **state)
{
    (void)state;
    assert_int_equal(open_sink("rotate_bytes: 10\n"), SOTH_OK);
    send_all(3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(check_lines(segment(i), 1 + i), 1);
    assert_int_equal(check_index(), 3);
}

static void segments_end_at_their_age(void **state)
{
    (void)state;
    assert_int_equal(open_sink("rotate_age: 10s\n"), SOTH_OK);
    send_all(2);
    fake.now_ns += UINT64_C(9000000000);
    send_all(2);
    fake.now_ns += UINT64_C(2000000000);
    send_all(2);
    assert_int_equal(check_lines(path, 1), 4);
    assert_int_equal(check_lines(segment(1), 5), 2);
    assert_int_equal(check_index(), 6);
}

static void old_segments_go(void **state)
{
    (void)state;
    assert_int_equal(open_sink("rotate_bytes: 1000\nkeep_segments: 2\n"), SOTH_OK);
    send_all(40);
    unsigned last = 0, kept = 0;
    for (unsigned i = 0; i < 40; i++)
        if (exists(segment(i))) {
            last = i;
            kept++;
        }
    assert_int_equal(kept, 2);
    assert_true(last >= 5 && exists(segment(last - 1)));
}

static void old_segments_go_by_bytes(void **state)
{
    struct stat st;
    uint64_t total = 0;
    (void)state;
    assert_int_equal(open_sink("rotate_bytes: 1000\nkeep_bytes: 3000\n"), SOTH_OK);
    send_all(40);
    for (unsigned i = 0; i < 40; i++)
        if (stat(segment(i), &st) == 0)
            total += (uint64_t)st.st_size;
    assert_in_range(total, 1000, 4000); /* the bound is kept when a segment begins */
}

static void a_new_segment_that_cannot_be_opened(void **state)
{
    struct rlimit old, none;
    (void)state;
    assert_int_equal(open_sink("rotate_bytes: 1000\n"), SOTH_OK);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = (struct rlimit){3, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    uint32_t done, retry_ms;
    int r = send(20, &done, &retry_ms);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_int_equal(r, SOTH_OK);
    assert_int_equal(check_lines(path, 1), 20);
    char *said = strstr(fake.log, "cannot open a new segment");
    assert_non_null(said);
    assert_null(strstr(said + 1, "cannot open a new segment"));
    fake.now_ns += UINT64_C(6000000000);
    send_all(1);
    assert_int_equal(check_lines(segment(1), 21), 1);
    assert_int_equal(check_index(), 21);
}

/* ---- what a crash leaves ---- */

static void append_text(const char *file, const char *text)
{
    FILE *out = fopen(file, "a");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static void a_torn_line_is_put_aside(void **state)
{
    char torn[300];
    (void)state;
    snprintf(torn, sizeof torn, "%s.torn", path);
    assert_int_equal(open_sink(""), SOTH_OK);
    send_all(3);
    fake_close(&sink);
    append_text(path, "{\"schema\":\"soth-mi");
    append_text(index_path, "4\t1\t4\treq");
    assert_int_equal(open_sink(""), SOTH_OK);
    send_all(1);
    assert_int_equal(check_lines(path, 1), 3);
    assert_int_equal(check_lines(segment(1), 4), 1);
    assert_int_equal(check_index(), 4);
    char *aside = content(torn);
    assert_string_equal(aside, "{\"schema\":\"soth-mi\n");
    free(aside);
    assert_non_null(strstr(fake.log, "warn the last line of the previous log was torn: 18 bytes"));
}

static void a_log_of_one_torn_line(void **state)
{
    (void)state;
    assert_int_equal(open_sink(""), SOTH_OK);
    fake_close(&sink);
    append_text(path, "{");
    assert_int_equal(open_sink(""), SOTH_OK);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 0);
    assert_true(exists(segment(1)));
}

static void a_line_that_another_process_writes_is_not_torn(void **state)
{
    (void)state;
    assert_int_equal(open_sink(""), SOTH_OK);
    send_all(1);
    fake_close(&sink);
    append_text(path, "{\"half");
    int other = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(flock(other, LOCK_EX), 0);
    assert_int_equal(open_sink(""), SOTH_OK);
    char *text = content(path);
    assert_non_null(strstr(text, "{\"half"));
    free(text);
    close(other);
}

/* ---- trouble with the disk ---- */

static void limit_files(rlim_t bytes)
{
    struct rlimit limit = {bytes, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_is_said_once_and_recovered_from(void **state)
{
    uint32_t done = 0, retry_ms = 0, taken = 0;
    (void)state;
    assert_int_equal(open_sink("audit_required: true\n"), SOTH_OK);
    send_all(2);
    limit_files(600);
    struct soth_event *events[3];
    for (unsigned i = 0; i < 3; i++) {
        events[i] = FAKE_EVENT(SOTH_EV_REQUEST_HEADERS, 1, ATTR_WORD("method", "GET"), );
        events[i]->sequence_id = 3 + i;
    }
    for (unsigned tries = 0; tries < 4; tries++) {
        int r = fake_write(&sink, events + taken, 3 - taken, &done, &retry_ms);
        taken += done;
        limit_files(RLIM_INFINITY); /* looked at as the reader would */
        assert_int_equal(r, SOTH_RETRY);
        assert_true(retry_ms > 0);
        assert_int_equal(check_lines(path, 1), 2); /* no half line */
        limit_files(600);
    }
    assert_int_equal(fake.held, 1);
    assert_true(fake_count("write_errors") >= 4);
    char *said = strstr(fake.log, "error cannot write");
    assert_non_null(said);
    assert_null(strstr(said + 1, "error cannot write"));
    limit_files(RLIM_INFINITY);
    assert_int_equal(fake_write(&sink, events + taken, 3 - taken, &done, &retry_ms), SOTH_OK);
    assert_int_equal(check_lines(path, 1), 5);
    assert_int_equal(check_index(), 5);
    assert_int_equal(fake.held, 0);
    assert_non_null(strstr(fake.log, "can be written again"));
}

static void what_the_buffer_still_has_at_the_end_is_told(void **state)
{
    uint32_t done, retry_ms;
    (void)state;
    assert_int_equal(open_sink(""), SOTH_OK);
    limit_files(10);
    int r = send(3, &done, &retry_ms);
    int flushed = sink.module->flush(sink.self, 0);
    limit_files(RLIM_INFINITY);
    assert_int_equal(r, SOTH_RETRY);
    assert_true(flushed < 0);
    assert_non_null(strstr(fake.log, "3 events could not be written"));
}

static void a_path_that_cannot_be_written(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/dev/null/events.jsonl");
    assert_int_equal(open_sink(""), -SOTH_ECONFIG);
    assert_non_null(strstr(fake.wrong, "path: cannot write /dev/null/events.jsonl: Not a directory"));
}

static void what_is_no_file_is_written_to_as_it_is(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/dev/null");
    assert_int_equal(open_sink("rotate_bytes: 10\nfsync: always\n"), SOTH_OK);
    send_all(5);
    assert_false(exists("/dev/null.index.tsv"));
    assert_false(exists("/dev/null.part00001"));
    assert_int_equal(sink.module->reopen(sink.self), SOTH_OK);
    send_all(1);
}

static void a_moved_file_is_opened_anew(void **state)
{
    char moved[300];
    (void)state;
    snprintf(moved, sizeof moved, "%s.moved", path);
    assert_int_equal(open_sink("flush_every: 100\nflush_interval: 60s\n" + strlen("flush_every: 100\n")), SOTH_OK);
    send_all(2);
    assert_int_equal(rename(path, moved), 0);
    send_all(1);
    assert_int_equal(sink.module->reopen(sink.self), SOTH_OK);
    send_all(2);
    assert_int_equal(check_lines(moved, 1), 3);
    assert_int_equal(check_lines(path, 4), 2);
}

/* ---- when it is written ---- */

static int open_buffered(const char *more)
{
    char config[512];
    snprintf(config, sizeof config, "path: %s\nflush_every: 10\nflush_interval: 200ms\n%s", path, more);
    return fake_open(&sink, &soth_mitm_module, config);
}

static void the_buffer_waits_and_says_how_long(void **state)
{
    uint32_t done, retry_ms;
    (void)state;
    assert_int_equal(open_buffered(""), SOTH_OK);
    fake.now_ns += 50000000;
    assert_int_equal(send(3, &done, &retry_ms), SOTH_OK);
    assert_int_equal(retry_ms, 150);
    assert_int_equal(check_lines(path, 1), 0);
    fake.now_ns += 150000000;
    assert_int_equal(fake_write(&sink, NULL, 0, &done, &retry_ms), SOTH_OK);
    assert_int_equal(retry_ms, 0); /* nothing left to come for */
    assert_int_equal(check_lines(path, 1), 3);
    assert_int_equal(send(10, &done, &retry_ms), SOTH_OK); /* flush_every */
    assert_int_equal(check_lines(path, 1), 13);
    assert_int_equal(send(3, &done, &retry_ms), SOTH_OK);
    assert_int_equal(sink.module->flush(sink.self, 1000), SOTH_OK);
    assert_int_equal(check_lines(path, 1), 16);
}

static void the_disk_is_synced_after_its_interval(void **state)
{
    uint32_t done, retry_ms;
    (void)state;
    assert_int_equal(open_buffered("fsync: interval\nfsync_interval: 1s\n"), SOTH_OK);
    assert_int_equal(send(10, &done, &retry_ms), SOTH_OK);
    assert_int_equal(retry_ms, 1000);
    fake.now_ns += 1000000000;
    assert_int_equal(fake_write(&sink, NULL, 0, &done, &retry_ms), SOTH_OK);
    assert_int_equal(retry_ms, 0); /* synced: no need to come again while nothing happens */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lines_and_rows),
        TEST(without_an_index),
        TEST(every_start_begins_a_segment),
        TEST(segments_end_at_their_size),
        TEST(a_line_longer_than_a_segment_has_its_own),
        TEST(segments_end_at_their_age),
        TEST(old_segments_go),
        TEST(old_segments_go_by_bytes),
        TEST(a_new_segment_that_cannot_be_opened),
        TEST(a_torn_line_is_put_aside),
        TEST(a_log_of_one_torn_line),
        TEST(a_line_that_another_process_writes_is_not_torn),
        TEST(a_full_disk_is_said_once_and_recovered_from),
        TEST(what_the_buffer_still_has_at_the_end_is_told),
        TEST(a_path_that_cannot_be_written),
        TEST(what_is_no_file_is_written_to_as_it_is),
        TEST(a_moved_file_is_opened_anew),
        TEST(the_buffer_waits_and_says_how_long),
        TEST(the_disk_is_synced_after_its_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
