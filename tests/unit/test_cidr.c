/* SPDX-License-Identifier: MPL-2.0 */
/* host/conf/cidr.c: networks out of text, and which address is in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "host/conf/cidr.h"

static void test_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/08", "10.0.0.0/8 ", " 10.0.0.0/8", "10.0.0.0/8/8",
        "10.0.0/8", "10/8", "0x7f.0.0.1", "2130706433", "127.1", "010.0.0.1", "256.0.0.1", "localhost", "::1/129", "::1/", "[::1]", "fe80::1%lo",
        ":::1", "1::2::3", "10.0.0.0/4294967304", "10.0.0.0/999999999999999999999", "everything",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee/64",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct settings_cidr net;
        if (cidr_parse(texts[i], &net))
            fail_msg("'%s' was taken for a network", texts[i]);
    }
}

static void test_membership(void **state)
{
    (void)state;
    static const struct {
        const char *net, *inside, *outside; /* several with spaces between */
    } cases[] = {
        {"0.0.0.0/0", "0.0.0.0 255.255.255.255 ::ffff:1.2.3.4", "::1 ::1.2.3.4 2001:db8::1"},
        {"10.0.0.0/8", "10.0.0.0 10.255.255.255 ::ffff:10.1.2.3", "9.255.255.255 11.0.0.0 ::10.0.0.1"},
        {"10.9.8.7/8", "10.1.1.1", "11.9.8.7"},
        {"192.0.2.128/25", "192.0.2.128 192.0.2.255", "192.0.2.127 192.0.3.128"},
        {"192.0.2.16/29", "192.0.2.16 192.0.2.23", "192.0.2.15 192.0.2.24"},
        {"192.0.2.1", "192.0.2.1", "192.0.2.0 192.0.2.2"},
        {"192.0.2.1/32", "192.0.2.1", "192.0.2.0 192.0.2.2"},
        {"192.0.2.1/31", "192.0.2.0 192.0.2.1", "192.0.2.2"},
        {"::/0", "::1 2001:db8::1 ::ffff:1.2.3.4", "1.2.3.4"},
        {"::1", "::1", "::2 0.0.0.1 127.0.0.1"},
        {"fe80::/10", "fe80::1 febf:ffff::1", "fec0::1 fe7f::1"},
        {"2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"},
        {"::ffff:10.0.0.0/104", "10.1.2.3 ::ffff:10.1.2.3", "11.0.0.1"},
        {"::ffff:10.0.0.1", "10.0.0.1 ::ffff:10.0.0.1", "10.0.0.2"},
        {"::ffff:0:0/96", "1.2.3.4 ::ffff:1.2.3.4", "::1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct settings_cidr net;
        assert_true(cidr_parse(cases[i].net, &net));
        for (int inside = 0; inside < 2; inside++) {
            char texts[200], *rest = texts;
            strcpy(texts, inside ? cases[i].inside : cases[i].outside);
            for (char *text; (text = strsep(&rest, " "));) {
                struct soth_addr addr;
                assert_true(cidr_parse_addr(text, &addr));
                if (settings_cidr_match(&net, 1, &addr) != inside)
                    fail_msg("%s in %s: expected %d", text, cases[i].net, inside);
            }
        }
    }
}

static void test_lists(void **state)
{
    (void)state;
    struct settings_cidr list[3];
    struct soth_addr addr, nobody = {0};
    assert_true(cidr_parse("127.0.0.0/8", &list[0]));
    assert_true(cidr_parse("::1", &list[1]));
    assert_true(cidr_parse("0.0.0.0/0", &list[2]));
    assert_true(cidr_parse_addr("::1", &addr));
    assert_int_equal(settings_cidr_match(list, 1, &addr), 0);
    assert_int_equal(settings_cidr_match(list, 2, &addr), 1);
    assert_int_equal(settings_cidr_match(list, 0, &addr), 0);
    assert_int_equal(settings_cidr_match(NULL, 0, &addr), 0);
    assert_int_equal(settings_cidr_match(list, 3, &nobody), 0); /* a unix socket's peer has no address */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused), cmocka_unit_test(test_membership), cmocka_unit_test(test_lists)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
