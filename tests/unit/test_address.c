/* SPDX-License-Identifier: MPL-2.0 */
/* host/net/address.c: socket addresses as text and back, and what an address leads to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#include "host/net/address.h"

static const struct {
    const char *text, *with_port, *target;
} cases[] = {
    {"192.0.2.1", "192.0.2.1:8080", "192.0.2.1:8080"},       {"2001:db8::1", "[2001:db8::1]:8080", "[2001:db8::1]:8080"},
    {"[::1]", "[::1]:8080", "[::1]:8080"},                   {"::ffff:192.0.2.7", "192.0.2.7:8080", "192.0.2.7:8080"},
    {"0.0.0.0", "0.0.0.0:8080", "127.0.0.1:8080"},           {"::", "[::]:8080", "[::1]:8080"},
    {"::ffff:0.0.0.0", "0.0.0.0:8080", "127.0.0.1:8080"},    {"0.0.0.1", "0.0.0.1:8080", "0.0.0.1:8080"},
};

static void test_there_and_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct soth_addr addr;
        struct sockaddr_storage sa;
        char text[ADDRESS_TEXT_MAX];
        assert_true(address_parse(cases[i].text, &addr));
        assert_int_equal(address_make(&addr, 8080, &sa), addr.family == 4 ? 16 : 28);
        assert_int_equal(address_port(&sa), 8080);
        address_text(&sa, text);
        assert_string_equal(text, cases[i].with_port);
        address_target(&addr);
        address_make(&addr, 8080, &sa);
        address_text(&sa, text);
        assert_string_equal(text, cases[i].target);
    }
}

static void test_no_address(void **state)
{
    static const char *const texts[] = {"", "[", "[]", "127.1", "1.2.3.4.5", "localhost", "::g", "[::1", "::1]", "1.2.3.4:80", " ::1",
                                        "[11111111111111111111111111111111111111111111111111111111111111111111]"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct soth_addr addr;
        if (address_parse(texts[i], &addr))
            fail_msg("'%s' was taken for an address", texts[i]);
        assert_int_equal(addr.family, 0);
    }
}

static void test_unix(void **state)
{
    struct sockaddr_storage sa = {.ss_family = AF_UNIX};
    struct soth_addr addr;
    char text[ADDRESS_TEXT_MAX];
    (void)state;
    strcpy(((struct sockaddr_un *)(void *)&sa)->sun_path, "/run/x");
    address_text(&sa, text);
    address_plain(&sa, &addr);
    assert_string_equal(text, "unix:/run/x");
    assert_int_equal(addr.family, 0);
    assert_int_equal(address_port(&sa), 0);
}

static void test_this_machine(void **state)
{
    static const struct {
        const char *text;
        bool local;
    } known[] = {{"127.0.0.1", true}, {"127.9.8.7", true}, {"::1", true}, {"0.0.0.0", true}, {"::", true}, {"192.0.2.1", false}, {"2001:db8::1", false}};
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct soth_addr addr;
        assert_true(address_parse(known[i].text, &addr));
        assert_int_equal(address_is_local(&addr), known[i].local);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_no_address),
        cmocka_unit_test(test_unix),
        cmocka_unit_test(test_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
