/* SPDX-License-Identifier: MPL-2.0 */
/* Lines for the operator: each is one write, as is a text of many lines. Standard error is a socket here that keeps writes apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/log.h"

static int saved = -1, ends[2];
static char got[65536];

static int begin(void **state)
{
    (void)state;
    saved = dup(STDERR_FILENO);
    if (saved < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) < 0)
        return -1;
    return dup2(ends[1], STDERR_FILENO) < 0;
}

static int end(void **state)
{
    (void)state;
    int r = dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[0]);
    close(ends[1]);
    return r < 0;
}

/* What the next write was. */
static const char *heard(void)
{
    ssize_t n = recv(ends[0], got, sizeof got - 1, MSG_DONTWAIT);
    got[n > 0 ? n : 0] = '\0';
    return got;
}

static void a_line_is_one_write(void **state)
{
    (void)state;
    log_at(SOTH_LOG_WARN, "one\n%s", "two");
    log_at(SOTH_LOG_DEBUG, "not at this level");
    log_at(SOTH_LOG_INFO, "next");
    assert_string_equal(heard(), "soth-mitm: warn: one?two\n");
    assert_string_equal(heard(), "soth-mitm: info: next\n");
    assert_string_equal(heard(), "");
}

static void a_text_is_one_write(void **state)
{
    char text[30000];
    (void)state;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 40 == 39 ? '\n' : 'x';
    log_verbatim(text, sizeof text);
    log_verbatim("end\n", 4);
    log_verbatim("", 0);
    assert_int_equal(strlen(heard()), sizeof text);
    assert_memory_equal(got, text, sizeof text);
    assert_string_equal(heard(), "end\n");
    assert_string_equal(heard(), "");
}

static void a_closed_end_is_survived(void **state)
{
    (void)state;
    close(STDERR_FILENO);
    log_verbatim("nobody hears\n", 13);
    log_at(SOTH_LOG_ERROR, "this");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_is_one_write, begin, end),
        cmocka_unit_test_setup_teardown(a_text_is_one_write, begin, end),
        cmocka_unit_test_setup_teardown(a_closed_end_is_survived, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
