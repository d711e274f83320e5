/* SPDX-License-Identifier: MPL-2.0 */
/* Values of keys that nobody is to see, by document (tests/golden/http/mask.md). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "draw.h"
#include "golden.h"
#include "host/http/mask.h"
#include "http_play.h"

static void play(const struct golden_case *c, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out)
{
    static const char *const keys[] = {"password", "api_key", "Token"};
    struct mask mask = {.where = 0};
    (void)c;
    for (size_t at = 0; at < n;) {
        size_t piece = golden_piece(cut, at, n);
        char *exact = malloc(piece);
        memcpy(exact, p + at, piece);
        mask_values(&mask, &(struct soth_strings){keys, 3}, exact, piece);
        for (size_t i = 0; i < piece; i++) {
            unsigned char b = (unsigned char)exact[i];
            const char *short_form = b == '\n' ? "\\n" : b == '\r' ? "\\r" : b == '\t' ? "\\t" : b == '\\' ? "\\\\" : NULL;
            if (short_form)
                http_say(out, "%s", short_form);
            else
                http_say(out, b < ' ' || b > '~' ? "\\x%02x" : "%c", b);
        }
        free(exact);
        at += piece;
    }
    http_say(out, "\n");
}

static void by_document(void **state)
{
    (void)state;
    golden_check_all("tests/golden/http/mask.md", play);
}

/* A text that is cut - in a key, in a value, behind a backslash - is hidden as far as it goes as the whole text is: who wants the first N bytes of a
 * message needs to keep no more than those. */
static void cut_anywhere(const char *text, size_t n)
{
    static const char *const names[] = {"password", "api_key", "Token"};
    const struct soth_strings keys = {names, 3};
    struct mask mask = {.where = 0};
    char whole[512];
    assert_true(n <= sizeof whole);
    memcpy(whole, text, n);
    mask_values(&mask, &keys, whole, n);
    for (size_t cut = 0; cut < n; cut++) {
        char *part = malloc(cut + 1);
        memcpy(part, text, cut);
        mask = (struct mask){.where = 0};
        mask_values(&mask, &keys, part, cut);
        if (memcmp(part, whole, cut) != 0)
            fail_msg("\"%.*s\" cut at %zu: \"%.*s\"", (int)n, text, cut, (int)cut, part);
        free(part);
    }
}

static void a_cut_text_is_hidden_as_the_whole_is(void **state)
{
    static const char *const words[] = {"\"password\"", "password=", "\"tok", "en\":", " : ", "\"", "\\", "\\\"", "secret", "{", "}", "[", "]", ",", "&", "\n",
                                        "\"Token\":\"", "12", "\xc3\xa4", "api_key", "\\u0022", "?", "#", "\\n", "\\u", "=",
                                        "\"api_key\": {\"a\": \""};
    (void)state;
    static const char one[] = "{\"password\": \"a\\\"b\", \"n\": 1, \"api_key\" : [1, \"]\"], \"Token\":17}";
    cut_anywhere(one, sizeof one - 1);
    draw_begin(7);
    for (unsigned i = 0; i < 20000; i++) {
        char text[512];
        size_t n = 0;
        for (unsigned k = 1 + draw_below(20); k > 0; k--) {
            const char *word = words[draw_below(sizeof words / sizeof *words)];
            memcpy(text + n, word, strlen(word));
            n += strlen(word);
        }
        cut_anywhere(text, n);
    }
}

static void no_keys_hide_nothing(void **state)
{
    struct mask mask = {.where = 0};
    char text[] = "{\"\":\"a\"} =b&=c {\"password\":1}";
    (void)state;
    mask_values(&mask, &(struct soth_strings){NULL, 0}, text, strlen(text));
    assert_string_equal(text, "{\"\":\"a\"} =b&=c {\"password\":1}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_document),
        cmocka_unit_test(a_cut_text_is_hidden_as_the_whole_is),
        cmocka_unit_test(no_keys_hide_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
