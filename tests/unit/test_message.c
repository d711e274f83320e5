/* SPDX-License-Identifier: MPL-2.0 */
/* host/http/message.h: names to numbers, look-ups, comma-separated lists. */
#include <stdarg.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

#include "host/http/message.h"

static void names_have_numbers_in_any_case(void **state)
{
    static const struct {
        const char *text;
        enum field_id id;
    } known[] = {
#define FIELD(NAME, text) {text, FIELD_##NAME},
#include "host/http/field.def"
#undef FIELD
    };
    char upper[64];
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t n = strlen(known[i].text);
        for (size_t k = 0; k <= n; k++)
            upper[k] = (char)(known[i].text[k] >= 'a' && known[i].text[k] <= 'z' ? known[i].text[k] - 32 : known[i].text[k]);
        assert_int_equal(message_field_id(soth_span(known[i].text)), known[i].id);
        assert_int_equal(message_field_id(soth_span(upper)), known[i].id);
        assert_int_equal(message_field_id((struct soth_span){known[i].text, n - 1}), FIELD_OTHER);
        upper[0] = 'z';
        assert_int_equal(message_field_id(soth_span(upper)), FIELD_OTHER);
    }
}

static void other_names_have_none(void **state)
{
    static const char *const names[] = {"", "x", "hosT2", "hos", "content_length", "user-agent", "cookie", "te2", "connectiom",
                                        "a-name-that-is-longer-than-thirty-one-bytes"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(message_field_id(soth_span(names[i])), FIELD_OTHER);
}

static void the_nth_field_of_a_name(void **state)
{
    static const struct soth_field fields[] = {
        {{"Set-Cookie", 10}, {"a", 1}}, {{"X", 1}, {"x", 1}}, {{"SET-cookie", 10}, {"b", 1}}, {{"Y", 1}, {"", 0}}};
    struct message msg = {.fields = fields, .field_count = 4};
    (void)state;
    assert_true(soth_span_is(message_field(&msg, "set-cookie", 0), "a"));
    assert_true(soth_span_is(message_field(&msg, "set-cookie", 1), "b"));
    assert_null(message_field(&msg, "set-cookie", 2).p);
    assert_non_null(message_field(&msg, "y", 0).p);
    assert_null(message_field(&msg, "z", 0).p);
}

static void lists(void **state)
{
    static const struct {
        const char *value, *items; /* items joined by | */
    } cases[] = {
        {"a", "a"}, {"a,b", "a|b"},          {" a ,\tb ", "a|b"}, {",,a,, ,b,", "a|b"}, {"", ""}, {",", ""}, {" ", ""},
        {"a b", "a b"}, {"gzip;q=1, x", "gzip;q=1|x"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct soth_span rest = soth_span(cases[i].value), item;
        char got[64] = "";
        while (message_list_next(&rest, &item)) {
            if (got[0])
                strcat(got, "|");
            strncat(got, item.p, item.n);
        }
        assert_string_equal(got, cases[i].items);
    }
}

static void a_token_in_a_list(void **state)
{
    (void)state;
    assert_true(message_list_has(soth_span("keep-alive, Upgrade"), "upgrade"));
    assert_true(message_list_has(soth_span("UPGRADE"), "upgrade"));
    assert_false(message_list_has(soth_span("upgrades"), "upgrade"));
    assert_false(message_list_has(soth_span("up, grade"), "upgrade"));
    assert_false(message_list_has(soth_span(""), "upgrade"));
    assert_false(message_list_has((struct soth_span){NULL, 0}, "upgrade"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_have_numbers_in_any_case),
        cmocka_unit_test(other_names_have_none),
        cmocka_unit_test(the_nth_field_of_a_name),
        cmocka_unit_test(lists),
        cmocka_unit_test(a_token_in_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
