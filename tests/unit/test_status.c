/* SPDX-License-Identifier: MPL-2.0 */
/* host/status.c: exit codes, the JSON of a stage, the line and the file; host/log.c: one line, one write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf_text.h"
#include "host/log.h"
#include "host/status.h"

static void test_codes(void **state)
{
    (void)state;
    static const struct {
        enum exit_class class;
        int code;
        const char *name;
    } wanted[] = { /* the contract's, section 1 */
        {EXIT_CLASS_OK, 0, "ok"},
        {EXIT_CLASS_CONFIG_INVALID, 20, "config_invalid"},
        {EXIT_CLASS_EVENT_SINK_INIT_FAILED, 21, "event_sink_init_failed"},
        {EXIT_CLASS_HOST_INIT_FAILED, 22, "host_init_failed"},
        {EXIT_CLASS_RUNTIME_FAILED, 23, "runtime_failed"},
        {EXIT_CLASS_MODULE_LOAD_FAILED, 24, "module_load_failed"},
        {EXIT_CLASS_PREFLIGHT_FAILED, 25, "preflight_failed"},
        {EXIT_CLASS_DRAIN_TIMEOUT, 26, "drain_timeout"},
    };
    assert_int_equal(EXIT_CLASS_COUNT, sizeof wanted / sizeof *wanted);
    for (size_t i = 0; i < EXIT_CLASS_COUNT; i++) {
        assert_int_equal(exit_code(wanted[i].class), wanted[i].code);
        assert_string_equal(exit_class_name(wanted[i].class), wanted[i].name);
    }
}

static void json(const char *detail, const char *wanted)
{
    char line[1024], all[1200];
    size_t n = status_json(line, sizeof line, "exit", "error", EXIT_CLASS_HOST_INIT_FAILED, 1700000000123, detail);
    snprintf(all, sizeof all,
             "{\"schema\":\"soth-mitm-automation-status-v1\",\"stage\":\"exit\",\"outcome\":\"error\",\"exit_code\":22,"
             "\"exit_class\":\"host_init_failed\",\"unix_ms\":1700000000123,\"detail\":\"%s\"}",
             wanted);
    assert_string_equal(line, all);
    assert_int_equal(n, strlen(line));
}

static void test_json(void **state)
{
    (void)state;
    json("", "");
    json("plain", "plain");
    json("a \"b\" \\c/", "a \\\"b\\\" \\\\c/");
    json("\b\f\n\r\t", "\\b\\f\\n\\r\\t");
    json("\x01\x1f\x7f", "\\u0001\\u001f\\u007f");
    json("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80", "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
    json("\xff", "\xef\xbf\xbd");
    json("\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd");                         /* overlong */
    json("\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");         /* a surrogate */
    json("\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"); /* behind the last character */
    json("x\xe2\x82", "x\xef\xbf\xbd\xef\xbf\xbd");                       /* cut off */
    json("\xe2\x82\"", "\xef\xbf\xbd\xef\xbf\xbd\\\"");
}

static void test_json_is_cut_at_a_character(void **state)
{
    (void)state;
    char long_text[2000], line[512];
    size_t longest = 0;
    for (size_t start = 0; start < 6; start++) {
        memset(long_text, 'x', start);
        for (size_t i = start; i + 3 < sizeof long_text; i += 3)
            memcpy(long_text + i, "\xe2\x82\xac\0", 4);
        size_t n = status_json(line, sizeof line, "running", "ready", EXIT_CLASS_OK, 1, long_text);
        assert_int_equal(n, strlen(line));
        assert_true(n < sizeof line && n > sizeof line - 8);
        assert_memory_equal(line + n - 5, "\xe2\x82\xac\"}", 5);
        longest = n > longest ? n : longest;
    }
    assert_int_equal(longest, sizeof line - 1);
}

/* What is written to stderr while `act` runs; malloc'd. */
static char *captured(void (*act)(void))
{
    int pipe_ends[2], saved = dup(STDERR_FILENO);
    static char text[8192];
    assert_int_equal(pipe(pipe_ends), 0);
    dup2(pipe_ends[1], STDERR_FILENO);
    act();
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(pipe_ends[1]);
    ssize_t n = read(pipe_ends[0], text, sizeof text - 1);
    close(pipe_ends[0]);
    assert_true(n >= 0);
    text[n] = 0;
    return text;
}

static void say_two_stages(void)
{
    status_print("startup", "in_progress", EXIT_CLASS_OK, "first");
    status_print("exit", "ok", EXIT_CLASS_OK, NULL);
}

static void test_line_and_file(void **state)
{
    (void)state;
    char *directory = scratch_new(), *path = scratch_file(directory, "status", "earlier\n", 0644), file[4096];
    setenv("SOTH_MITM_AUTOMATION_STATUS_PATH", path, 1);
    char *text = captured(say_two_stages), *second = strchr(text, '\n') + 1;
    unsetenv("SOTH_MITM_AUTOMATION_STATUS_PATH");
    static const char prefix[] = "SOTH_MITM_STATUS\t{\"schema\":\"soth-mitm-automation-status-v1\",\"stage\":\"";
    assert_memory_equal(text, prefix, sizeof prefix - 1);
    assert_memory_equal(second, prefix, sizeof prefix - 1);
    assert_non_null(strstr(text, "\"detail\":\"first\"}\nSOTH"));
    assert_non_null(strstr(second, "\"stage\":\"exit\",\"outcome\":\"ok\",\"exit_code\":0,\"exit_class\":\"ok\",\"unix_ms\":1"));
    assert_non_null(strstr(second, "\"detail\":\"\"}\n"));
    FILE *in = fopen(path, "r");
    assert_non_null(fgets(file, sizeof file, in));
    assert_string_equal(file, "earlier\n"); /* appended, not replaced */
    assert_non_null(fgets(file, sizeof file, in));
    assert_memory_equal(file, text + strlen("SOTH_MITM_STATUS\t"), strlen(file));
    assert_non_null(fgets(file, sizeof file, in));
    assert_string_equal(file, second + strlen("SOTH_MITM_STATUS\t"));
    assert_null(fgets(file, sizeof file, in));
    fclose(in);
    free(path);
    scratch_free(directory);
}

static void test_file_that_cannot_be_written_is_said_once(void **state)
{
    (void)state;
    setenv("SOTH_MITM_AUTOMATION_STATUS_PATH", "/nonexistent/status", 1);
    char *text = captured(say_two_stages), *said = strstr(text, "soth-mitm: warn: ");
    unsetenv("SOTH_MITM_AUTOMATION_STATUS_PATH");
    assert_non_null(said);
    assert_non_null(strstr(said, "/nonexistent/status"));
    assert_null(strstr(said + 1, "soth-mitm: warn: "));
    assert_non_null(strstr(text, "\"stage\":\"exit\""));
}

static void say_levels(void)
{
    log_at(SOTH_LOG_ERROR, "one %d", 1);
    log_at(SOTH_LOG_WARN, "two");
    log_at(SOTH_LOG_INFO, "three");
    log_at(SOTH_LOG_DEBUG, "four");
}

static void say_rubbish(void)
{
    char line[3000];
    memset(line, 'y', sizeof line - 1);
    line[sizeof line - 1] = 0;
    log_at(SOTH_LOG_ERROR, "a\nb\x1b[31mc\td");
    log_at(SOTH_LOG_ERROR, "%s", line);
}

static void test_log(void **state)
{
    (void)state;
    static const char *const all[] = {"soth-mitm: error: one 1\n", "soth-mitm: warn: two\n", "soth-mitm: info: three\n",
                                      "soth-mitm: debug: four\n"};
    char wanted[200] = "";
    for (int level = SOTH_LOG_ERROR; level <= SOTH_LOG_DEBUG; level++) {
        strcat(wanted, all[level]);
        log_level(level);
        assert_string_equal(captured(say_levels), wanted);
        assert_true(log_on(level));
        assert_int_equal(log_on(SOTH_LOG_DEBUG), level == SOTH_LOG_DEBUG);
    }
    log_level(SOTH_LOG_INFO);
    char *text = captured(say_rubbish);
    static const char first[] = "soth-mitm: error: a?b?[31mc?d\n";
    assert_memory_equal(text, first, sizeof first - 1);
    assert_true(strlen(text) < sizeof first + 2048);
    assert_string_equal(text + strlen(text) - 5, "y...\n");
    assert_int_equal(log_level_by_name("error"), SOTH_LOG_ERROR);
    assert_int_equal(log_level_by_name("debug"), SOTH_LOG_DEBUG);
    assert_true(log_level_by_name("loud") < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_is_cut_at_a_character),
        cmocka_unit_test(test_line_and_file),
        cmocka_unit_test(test_file_that_cannot_be_written_is_said_once),
        cmocka_unit_test(test_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
