/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/sink_file/uncached.c */
/* Long pieces of a log are written so that the system does not keep them in memory; where that cannot be, or takes long, they are written all the same. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "modules/sink_file/uncached.h"

/* ---- a system that is asked for it ---- */

static struct {
    unsigned calls;
    int flags, error; /* 0 = it works */
    size_t asked, most; /* most: it writes no more of it */
    uint64_t takes_ns, now_ns;
} sys;

ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
    assert_int_equal(n, 1);
    assert_int_equal(offset, -1);
    sys.calls++;
    sys.flags = flags;
    sys.asked = iov->iov_len;
    sys.now_ns += sys.takes_ns;
    errno = sys.error;
    return sys.error ? -1 : write(fd, iov->iov_base, iov->iov_len < sys.most ? iov->iov_len : sys.most);
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
    (void)clock;
    *t = (struct timespec){(time_t)(sys.now_ns / 1000000000u), (long)(sys.now_ns % 1000000000u)};
    return 0;
}

/* ---- a file ---- */

static char name[] = "/tmp/soth-uncached-XXXXXX", text[300000];
static int file = -1;
static struct uncached how;

static int begin(void **state)
{
    (void)state;
    memset(&sys, 0, sizeof sys);
    sys.most = SIZE_MAX;
    sys.now_ns = 7000000000u;
    how = (struct uncached){0};
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i % 23);
    strcpy(name + sizeof name - 7, "XXXXXX");
    file = mkostemp(name, O_APPEND);
    return file < 0 ? -1 : 0;
}

static int end(void **state)
{
    (void)state;
    close(file);
    return unlink(name);
}

static uint64_t size(void)
{
    struct stat st;
    assert_int_equal(fstat(file, &st), 0);
    return (uint64_t)st.st_size;
}

/* All of it, as a caller does; then the file has it. */
static void append(size_t n)
{
    const uint64_t from = size();
    char *there = malloc(n);
    for (size_t done = 0; done < n;) {
        const ssize_t w = uncached_append(&how, file, from + done, text + done, n - done);
        assert_in_range(w, 1, n - done);
        done += (size_t)w;
    }
    assert_int_equal(size(), from + n);
    assert_int_equal(pread(file, there, n, (off_t)from), n);
    assert_memory_equal(there, text, n);
    free(there);
}

static void long_pieces_leave_memory(void **state)
{
    (void)state;
    append(UNCACHED_LEAST);
    assert_int_equal(sys.calls, 1);
    assert_int_equal(sys.flags, 0x80);
    assert_int_equal(sys.asked, UNCACHED_LEAST);
    append(UNCACHED_LEAST - 1);
    assert_int_equal(sys.calls, 1);
}

/* The page that the next one begins in. */
static void the_last_page_stays(void **state)
{
    (void)state;
    append(100);
    append(200000);
    assert_int_equal(sys.calls, 1);
    assert_int_equal((100 + sys.asked) % 4096, 0);
    assert_in_range(sys.asked, 200000 - 4095, 200000);
}

static void what_it_leaves_is_written(void **state)
{
    (void)state;
    sys.most = 1000;
    append(100000);
    assert_in_range(sys.calls, 30, 100);
}

static void a_system_without_it_is_asked_once(void **state)
{
    static const int errors[] = {EOPNOTSUPP, ENOSYS, EINVAL, EPERM};
    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        how = (struct uncached){0};
        sys.calls = 0;
        sys.error = errors[i];
        append(100000);
        sys.now_ns += UINT64_C(1000000000000);
        append(100000);
        assert_int_equal(sys.calls, 1);
    }
}

static void what_is_wrong_is_said(void **state)
{
    static const int errors[] = {ENOSPC, EIO, EFBIG, EINTR, EDQUOT};
    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        sys.error = errors[i];
        assert_int_equal(uncached_append(&how, file, 0, text, 100000), -1);
        assert_int_equal(errno, errors[i]);
        assert_int_equal(sys.calls, i + 1); /* asked again: it may be over */
    }
    assert_int_equal(size(), 0);
}

static void a_slow_disk_is_not_waited_for(void **state)
{
    (void)state;
    sys.takes_ns = 20000000;
    append(100000); /* that long may be */
    append(100000);
    assert_int_equal(sys.calls, 2);
    sys.takes_ns++;
    append(100000);
    assert_int_equal(sys.calls, 3);
    for (unsigned i = 0; i < 4; i++) {
        sys.now_ns += 1249000000;
        append(100000);
    }
    assert_int_equal(sys.calls, 3);
    sys.now_ns += 5000000;
    append(100000);
    assert_int_equal(sys.calls, 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(long_pieces_leave_memory),
        TEST(the_last_page_stays),
        TEST(what_it_leaves_is_written),
        TEST(a_system_without_it_is_asked_once),
        TEST(what_is_wrong_is_said),
        TEST(a_slow_disk_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
