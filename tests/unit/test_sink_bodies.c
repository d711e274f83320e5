/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/sink_file/bodies.c modules/sink_file/shelf.c modules/sink_file/claim.c modules/sink_file/parts.c modules/sink_file/sha256.c modules/coding/coding.c modules/coding/stage_zlib.c modules/coding/stage_brotli.c modules/coding/stage_zstd.c */
/* needs: CODING */
/* Bodies in files: which ending they get, what a lost piece means, who is removed first, and a disk that takes nothing. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#include "conf_text.h"
#include "fake_host.h"
#include "modules/sink_file/bodies.h"
#include "modules/sink_file/shelf.h"

static char *folder, dir[512];
static struct bodies *bodies;

static int begin(void **state)
{
    (void)state;
    fake_reset();
    folder = scratch_new();
    snprintf(dir, sizeof dir, "%s/deep/bodies", folder);
    bodies = NULL;
    return 0;
}

static int end(void **state)
{
    (void)state;
    bodies_free(bodies);
    scratch_free(folder);
    return 0;
}

static void open_bodies(uint64_t max_bytes)
{
    bodies = bodies_new(&(struct bodies_options){.dir = dir, .max_bytes = max_bytes});
    assert_non_null(bodies);
}

#define NUMBER(name_, value_) {name_, {"", 0}, (value_), SOTH_ATTR_U64, sizeof(name_) - 1},
#define BYTES(name_, p_, n_) {name_, {(p_), (n_)}, 0, SOTH_ATTR_BYTES, sizeof(name_) - 1},

static void head(uint64_t flow, uint64_t exchange, int64_t length)
{
    if (length < 0)
        bodies_event(bodies, FAKE_EVENT(SOTH_EV_RESPONSE_HEADERS, flow, NUMBER("exchange_no", exchange)));
    else
        bodies_event(bodies, FAKE_EVENT(SOTH_EV_RESPONSE_HEADERS, flow, NUMBER("content_length", (uint64_t)length) NUMBER("exchange_no", exchange)));
}

static void piece(uint64_t flow, uint64_t exchange, uint64_t offset, const char *text)
{
    size_t n = strlen(text);
    bodies_event(bodies, FAKE_EVENT(SOTH_EV_RESPONSE_BODY_CHUNK, flow, NUMBER("bytes", n) NUMBER("exchange_no", exchange) NUMBER("offset", offset)
                                    BYTES("payload", text, n)));
}

static void bare(uint64_t flow, uint64_t exchange, uint64_t offset, uint64_t n)
{
    bodies_event(bodies, FAKE_EVENT(SOTH_EV_RESPONSE_BODY_CHUNK, flow, NUMBER("bytes", n) NUMBER("exchange_no", exchange) NUMBER("offset", offset)));
}

static void closed(uint64_t flow, const char *reason)
{
    bodies_event(bodies, FAKE_EVENT(SOTH_EV_STREAM_CLOSED, flow, BYTES("reason_code", reason, strlen(reason))));
}

/* What a file whose name ends like this holds; NULL: there is none. */
static const char *content(const char *ending)
{
    static char text[1024];
    char path[1024] = "";
    DIR *d = opendir(dir);
    for (struct dirent *entry; (entry = readdir(d));) {
        size_t n = strlen(entry->d_name), m = strlen(ending);
        if (n >= m && strcmp(entry->d_name + n - m, ending) == 0)
            snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
    }
    closedir(d);
    int fd = *path ? open(path, O_RDONLY) : -1;
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    return n >= 0 ? text : NULL;
}

static void endings(void **state)
{
    (void)state;
    open_bodies(1 << 20);
    head(1, 1, 6);
    piece(1, 1, 0, "abc");
    assert_string_equal(content("1-1-response.part"), "abc");
    piece(1, 1, 3, "def");
    head(1, 2, -1);
    assert_string_equal(content("1-1-response.body"), "abcdef");
    assert_null(content(".part"));
    assert_non_null(strstr(content("1-1-response.sha256"), "bef57ec7f53a6d40beb640a780a639c83bc29ac8a9816f1fc6c5c6dcd93c4721  "));
    piece(1, 2, 0, "x");
    bare(1, 2, 1, 100);
    head(1, 3, 10);
    assert_string_equal(content("1-2-response.sample"), "x");
    piece(1, 3, 0, "short");
    closed(1, "mitm_http_error");
    assert_string_equal(content("1-3-response.cut"), "short");
    head(2, 1, -1);
    piece(2, 1, 0, "until the close");
    closed(2, "relay_eof");
    assert_string_equal(content("2-1-response.body"), "until the close");
    assert_int_equal(bodies_counts(bodies)->written, 4);
    assert_int_equal(bodies_counts(bodies)->cut, 1);
    assert_int_equal(bodies_counts(bodies)->errors, 0);
}

static void who_knows_the_length_does_not_wait(void **state)
{
    (void)state;
    open_bodies(1 << 20);
    head(1, 1, 6);
    piece(1, 1, 0, "abc");
    assert_string_equal(content("1-1-response.part"), "abc");
    piece(1, 1, 3, "def");
    assert_string_equal(content("1-1-response.body"), "abcdef");
    assert_non_null(content("1-1-response.sha256"));
    closed(1, "client_aborted");
    assert_string_equal(content("1-1-response.body"), "abcdef");
    head(2, 1, 100);
    piece(2, 1, 0, "x");
    bare(2, 1, 1, 99);
    assert_string_equal(content("2-1-response.sample"), "x");
    assert_int_equal(bodies_counts(bodies)->written, 2);
}

static void ends(uint64_t flow, uint64_t exchange, uint64_t offset, const char *text)
{
    size_t n = strlen(text);
    bodies_event(bodies, FAKE_EVENT(SOTH_EV_RESPONSE_BODY_CHUNK, flow, NUMBER("bytes", n) NUMBER("exchange_no", exchange)
                                    {"last", {"", 0}, 1, SOTH_ATTR_BOOL, 4}, NUMBER("offset", offset) BYTES("payload", n ? text : NULL, n)));
}

/* The message is over, and nobody knows when its connection will be. */
static void the_last_piece_ends_a_body(void **state)
{
    (void)state;
    open_bodies(1 << 20);
    head(1, 1, -1);
    piece(1, 1, 0, "abc");
    ends(1, 1, 3, "");
    assert_string_equal(content("1-1-response.body"), "abc");
    assert_non_null(content("1-1-response.sha256"));
    assert_null(content(".part"));
    head(1, 2, -1);
    ends(1, 2, 0, "all at once");
    assert_string_equal(content("1-2-response.body"), "all at once");
    head(1, 3, -1);
    piece(1, 3, 0, "x");
    bare(1, 3, 1, 9);
    ends(1, 3, 10, "");
    assert_string_equal(content("1-3-response.sample"), "x");
    ends(1, 7, 0, "whose head nobody subscribed to");
    assert_string_equal(content("1-7-response.body"), "whose head nobody subscribed to");
    closed(1, "client_aborted");
    assert_int_equal(bodies_counts(bodies)->written, 4);
    assert_int_equal(bodies_counts(bodies)->cut, 0);
}

/* The end says how long the body was: what was lost in front of it is missed. */
static void a_lost_tail_is_missed(void **state)
{
    (void)state;
    open_bodies(1 << 20);
    head(1, 1, -1);
    piece(1, 1, 0, "abc");
    ends(1, 1, 6, "");
    assert_string_equal(content("1-1-response.cut"), "abc");
    assert_int_equal(bodies_counts(bodies)->cut, 1);
}

static void between_exchanges_nothing_is_cut(void **state)
{
    static const char *const phases[] = {"idle", "request_head", "response_body"};
    (void)state;
    open_bodies(1 << 20);
    for (uint64_t flow = 1; flow <= 3; flow++) {
        head(flow, 1, -1);
        piece(flow, 1, 0, "chunked");
        bodies_event(bodies, FAKE_EVENT(SOTH_EV_STREAM_CLOSED, flow, BYTES("reason_code", "client_aborted", 14)
                                        BYTES("reason_detail", phases[flow - 1], strlen(phases[flow - 1]))));
    }
    assert_string_equal(content("1-1-response.body"), "chunked");
    assert_string_equal(content("2-1-response.body"), "chunked");
    assert_string_equal(content("3-1-response.cut"), "chunked");
    assert_int_equal(bodies_counts(bodies)->cut, 1);
}

static void a_lost_piece_is_no_whole_body(void **state)
{
    (void)state;
    open_bodies(1 << 20);
    head(1, 1, 9);
    piece(1, 1, 0, "abc");
    piece(1, 1, 6, "ghi");
    closed(1, "mitm_http_completed");
    assert_string_equal(content("1-1-response.cut"), "abc");
    head(2, 1, 9); /* its beginning is lost */
    piece(2, 1, 3, "def");
    closed(2, "mitm_http_completed");
    assert_null(content("2-1-response.body"));
    assert_null(content("2-1-response.cut"));
}

static void the_oldest_go_first(void **state)
{
    (void)state;
    open_bodies(40000); /* room for four files of a block and their digests */
    for (uint64_t flow = 1; flow <= 8; flow++) {
        piece(flow, 1, 0, "a body");
        closed(flow, "mitm_http_completed");
    }
    assert_null(content("-4-1-response.body"));
    assert_null(content("-4-1-response.sha256"));
    assert_string_equal(content("-8-1-response.body"), "a body");
    assert_non_null(content("-8-1-response.sha256"));
    assert_true(bodies_counts(bodies)->evicted >= 4);
    bodies_free(bodies); /* the next one knows what is there */
    open_bodies(16384);
    piece(9, 1, 0, "one more");
    closed(9, "mitm_http_completed");
    assert_null(content("-6-1-response.body"));
    assert_string_equal(content("-9-1-response.body"), "one more");
}

/* What is remembered of the folder is as long as what is in it, however many bodies have gone. */
static void many_have_gone(void **state)
{
    struct shelf s;
    (void)state;
    assert_int_equal(shelf_open(&s, dir, 100 * 8192), 0); /* a hundred of a block and a digest each */
    for (unsigned i = 0; i < 10000; i++) {
        char name[32];
        snprintf(name, sizeof name, "x-%u-1-response.body", i);
        assert_true(shelf_reserve(&s, 0, 4096));
        shelf_add(&s, name, 4096);
        assert_true(s.n <= 100 && s.room <= 256 && s.used <= 100 * 8192);
        assert_string_equal(s.items[s.first + s.n - 1].name, name);
    }
    assert_int_equal(s.n, 100);
    assert_int_equal(s.evicted, 9900);
    assert_string_equal(s.items[s.first].name, "x-9900-1-response.body");
    shelf_close(&s);
}

static void no_redaction(void *self, struct soth_redaction *redaction, char *p, size_t n)
{
    (void)self, (void)redaction, (void)p, (void)n;
}

/* A beginning out of which nothing has come yet is a file without bytes, and its digest is of that. */
static void nothing_decoded_yet(void **state)
{
    static const char fields[] = "Content-Encoding: gzip\n";
    struct soth_host host = fake_api;
    (void)state;
    host.redact = no_redaction;
    bodies = bodies_new(&(struct bodies_options){.dir = dir, .max_bytes = 1u << 20, .decoded = 1, .sample = UINT64_MAX, .host = &host});
    assert_non_null(bodies);
    bodies_event(bodies, FAKE_EVENT(SOTH_EV_RESPONSE_HEADERS, 1, NUMBER("content_length", 5000) NUMBER("exchange_no", 1)
                                    BYTES("headers", fields, sizeof fields - 1)));
    bodies_event(bodies, FAKE_EVENT(SOTH_EV_RESPONSE_BODY_CHUNK, 1, NUMBER("bytes", 5000) NUMBER("exchange_no", 1) NUMBER("offset", 0)
                                    BYTES("payload", "\x1f\x8b\x08", 3)));
    closed(1, "mitm_http_completed");
    assert_string_equal(content(".sample"), "");
    assert_non_null(strstr(content(".sha256"), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  "));
    assert_int_equal(bodies_counts(bodies)->errors, 0);
}

static size_t gzipped(const char *text, size_t n, char out[512])
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)text, .avail_in = (uInt)n, .next_out = (Bytef *)out, .avail_out = 512};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return z.total_out;
}

/* A range of coded bytes has no beginning: it is kept as it was relayed, wherever the field stands. */
static void a_range_is_not_decoded(void **state)
{
    static const char *const fields[] = {"Content-Encoding: gzip\nContent-Range: bytes 20-24/100\n",
                                         "content-range: bytes 20-24/100\ncontent-encoding: gzip\n",
                                         "Content-Encoding: gzip\nContent-Range: \nContent-Encoding: br\n"};
    struct soth_host host = fake_api;
    (void)state;
    host.redact = no_redaction;
    bodies = bodies_new(&(struct bodies_options){.dir = dir, .max_bytes = 1u << 20, .decoded = 1, .sample = UINT64_MAX, .host = &host});
    assert_non_null(bodies);
    for (uint64_t flow = 1; flow <= sizeof fields / sizeof *fields; flow++) {
        char ending[32];
        snprintf(ending, sizeof ending, "-%u-1-response.body", (unsigned)flow);
        bodies_event(bodies, FAKE_EVENT(SOTH_EV_RESPONSE_HEADERS, flow, NUMBER("content_length", 5) NUMBER("exchange_no", 1)
                                        BYTES("headers", fields[flow - 1], strlen(fields[flow - 1]))));
        piece(flow, 1, 0, "range");
        assert_string_equal(content(ending), "range");
    }
    assert_int_equal(bodies_counts(bodies)->cut, 0);
}

/* N of sample:N counts what is in the file: of something decoded, decoded bytes. */
static void a_sample_of_what_is_decoded(void **state)
{
    static const char fields[] = "Content-Encoding: gzip\n";
    static const struct {
        size_t size, lost;
        const char *ending;
    } cases[] = {{9, 0, "-1-1-response.body"}, {10, 0, "-2-1-response.body"}, {11, 0, "-3-1-response.sample"}, {50000, 0, "-4-1-response.sample"},
                 {50000, 8, "-5-1-response.sample"}, {10, 8, "-6-1-response.cut"}};
    static char text[50000], wire[512];
    struct soth_host host = fake_api;
    (void)state;
    host.redact = no_redaction;
    memset(text, 'a', sizeof text);
    bodies = bodies_new(&(struct bodies_options){.dir = dir, .max_bytes = 1u << 20, .decoded = 1, .sample = 10, .host = &host});
    assert_non_null(bodies);
    for (uint64_t flow = 1; flow <= sizeof cases / sizeof *cases; flow++) {
        size_t n = gzipped(text, cases[flow - 1].size, wire) - cases[flow - 1].lost, half = n / 2;
        bodies_event(bodies, FAKE_EVENT(SOTH_EV_RESPONSE_HEADERS, flow, NUMBER("exchange_no", 1) BYTES("headers", fields, sizeof fields - 1)));
        for (size_t at = 0; at < n; at += half ? half : n)
            bodies_event(bodies, FAKE_EVENT(SOTH_EV_RESPONSE_BODY_CHUNK, flow, NUMBER("bytes", n - at < half ? n - at : half) NUMBER("exchange_no", 1)
                                            NUMBER("offset", at) BYTES("payload", wire + at, n - at < half ? n - at : half)));
        closed(flow, "mitm_http_completed");
        const char *got = content(cases[flow - 1].ending);
        assert_non_null(got);
        assert_int_equal(strlen(got), cases[flow - 1].size < 10 ? cases[flow - 1].size : 10);
    }
    assert_int_equal(bodies_counts(bodies)->cut, 1);
    assert_int_equal(bodies_counts(bodies)->errors, 0);
}

static void a_disk_that_is_full(void **state)
{
    struct rlimit old, small = {4, RLIM_INFINITY};
    (void)state;
    open_bodies(1 << 20);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    piece(1, 1, 0, "abcdef");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    piece(1, 1, 6, "ghi");
    closed(1, "mitm_http_completed");
    assert_string_equal(content("1-1-response.cut"), "abcd");
    assert_int_equal(bodies_counts(bodies)->errors, 1);
    piece(2, 1, 0, "abcdef");
    closed(2, "mitm_http_completed");
    assert_string_equal(content("2-1-response.body"), "abcdef");
}

/* A folder that two sinks share is a mistake: neither writes into the other's files. */
static void a_folder_is_not_shared(void **state)
{
    struct bodies *other;
    (void)state;
    open_bodies(1 << 20);
    other = bodies_new(&(struct bodies_options){.dir = dir, .max_bytes = 1 << 20});
    assert_non_null(other);
    piece(1, 1, 0, "abc");
    bodies_event(other, FAKE_EVENT(SOTH_EV_RESPONSE_BODY_CHUNK, 1, NUMBER("bytes", 3) NUMBER("exchange_no", 1) NUMBER("offset", 0) BYTES("payload", "abc", 3)));
    piece(1, 1, 3, "def");
    assert_int_equal(bodies_counts(other)->errors, 1);
    bodies_free(other);
    assert_null(content(".cut"));
    assert_string_equal(content("1-1-response.part"), "abcdef");
    closed(1, "mitm_http_completed");
    assert_string_equal(content("1-1-response.body"), "abcdef");
    assert_int_equal(bodies_counts(bodies)->errors, 0);
}

/* In another process: 0 = it could have the folder, else why not. */
static int elsewhere(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) { /* what it inherits of this one's claims is not its own */
        execl("/bin/sh", "sh", "-c", "exec 9<\"$1\" && flock -n 9", "sh", dir, (char *)NULL);
        _exit(99);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WEXITSTATUS(status);
}

/* Of the same process several may have it, one after the other; it is free when the last of them is gone. */
static void a_folder_is_one_process_s(void **state)
{
    (void)state;
    open_bodies(1 << 20);
    assert_int_equal(elsewhere(), 1);
    struct bodies *next = bodies_new(&(struct bodies_options){.dir = dir, .max_bytes = 1 << 20});
    assert_non_null(next);
    bodies_free(bodies);
    bodies = next;
    assert_int_equal(elsewhere(), 1);
    bodies_free(bodies);
    assert_int_equal(elsewhere(), 0);
    open_bodies(1 << 20);
}

static void put(const char *name, const char *text);
static int lock_folder(void)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    return fd;
}

/* Another process has the folder: ours go there, too, and of its files none is cut, or counted, or removed to make room for ours. */
static void a_guest_touches_nothing(void **state)
{
    static char text[900];
    (void)state;
    memset(text, 'x', sizeof text - 1);
    open_bodies(1 << 20);
    bodies_free(bodies);
    put("deadbeef-1-1-response.part", "abc");
    put("deadbeef-2-1-response.body", text);
    int other = lock_folder();
    open_bodies(3 * 4096);
    for (uint64_t flow = 1; flow <= 3; flow++) {
        head(flow, 1, 2);
        piece(flow, 1, 0, "me");
    }
    assert_string_equal(content("3-1-response.body"), "me");
    assert_int_equal(bodies_counts(bodies)->evicted, 2); /* its own, with their digests */
    assert_string_equal(content("deadbeef-1-1-response.part"), "abc");
    assert_string_equal(content("deadbeef-2-1-response.body"), text);
    bodies_free(bodies);
    close(other);
    open_bodies(1 << 20);
    head(4, 1, 2);
    assert_string_equal(content("deadbeef-1-1-response.cut"), "abc");
    assert_null(content("deadbeef-1-1-response.part"));
}

/* The other one has gone before the first body. */
static void a_folder_that_is_left_is_taken(void **state)
{
    (void)state;
    open_bodies(1 << 20);
    bodies_free(bodies);
    put("deadbeef-1-1-response.part", "abc");
    int other = lock_folder();
    open_bodies(1 << 20);
    close(other);
    assert_int_equal(elsewhere(), 0);
    head(1, 1, 2);
    assert_int_equal(elsewhere(), 1);
    assert_string_equal(content("deadbeef-1-1-response.cut"), "abc");
}

static void what_is_on_its_way_at_the_end_is_cut(void **state)
{
    (void)state;
    open_bodies(1 << 20);
    piece(1, 1, 0, "abc");
    bodies_free(bodies);
    bodies = NULL;
    assert_string_equal(content("1-1-response.cut"), "abc");
}

static void put(const char *name, const char *text)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

/* What a crash left is cut, and has no digest; what has not the name of a body stays what it is. */
static void what_is_found(void **state)
{
    (void)state;
    open_bodies(65536);
    put("deadbeef-1-2-request.part", "half");
    put("deadbeef-1-2-request.sha256", "of what was to come");
    put("movie.part", "somebody's");
    put("1-2-response.body", "somebody's");
    put("deadbeef-1-2-reply.part", "somebody's");
    for (uint64_t flow = 1; flow <= 20; flow++) {
        piece(flow, 1, 0, "a body");
        closed(flow, "mitm_http_completed");
    }
    assert_null(content("beef-1-2-request.part"));
    assert_null(content("beef-1-2-request.sha256"));
    assert_string_equal(content("movie.part"), "somebody's");
    assert_string_equal(content("1-2-response.body"), "somebody's");
    assert_string_equal(content("reply.part"), "somebody's");
    assert_string_equal(content("-20-1-response.body"), "a body");
}

static void no_folder(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/proc/version/bodies");
    assert_null(bodies_new(&(struct bodies_options){.dir = dir, .max_bytes = 1 << 20}));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(endings), TEST(who_knows_the_length_does_not_wait), TEST(the_last_piece_ends_a_body), TEST(a_lost_tail_is_missed),
        TEST(between_exchanges_nothing_is_cut), TEST(a_lost_piece_is_no_whole_body),
        TEST(the_oldest_go_first), TEST(many_have_gone), TEST(nothing_decoded_yet), TEST(a_range_is_not_decoded), TEST(a_sample_of_what_is_decoded),
        TEST(a_disk_that_is_full), TEST(a_folder_is_not_shared),
        TEST(a_folder_is_one_process_s), TEST(a_guest_touches_nothing), TEST(a_folder_that_is_left_is_taken), TEST(what_is_on_its_way_at_the_end_is_cut), TEST(what_is_found), TEST(no_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
