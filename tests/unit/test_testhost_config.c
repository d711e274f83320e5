/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The host for tests of modules fills a module's struct by its option table.
 * build: sdk/testhost/
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "testhost_rig.h"

struct settings {
    uint8_t yes, no;
    int64_t number;
    uint64_t size, duration;
    const char *text;
    uint32_t choice, written;
    struct soth_strings list, pairs;
    struct {
        const char *word;
    } deep;
};

static const struct soth_opt deep[] = {{"word", SOTH_OPT_T_STRING, 0, 0, "preset", 0, 0, NULL, NULL, 0, "a word"}, SOTH_OPT_END};
static const struct soth_opt options[] = {
    SOTH_OPT_BOOL(struct settings, yes, "true", ""),
    SOTH_OPT_BOOL(struct settings, no, "false", ""),
    SOTH_OPT_INT(struct settings, number, "-3", -10, 10, ""),
    SOTH_OPT_SIZE(struct settings, size, "64k", 1, 1 << 30, ""),
    SOTH_OPT_DURATION(struct settings, duration, "5s", 0, 0, ""),
    SOTH_OPT_STRING(struct settings, text, SOTH_REQUIRED, ""),
    SOTH_OPT_ENUM(struct settings, choice, "red|green|blue", "green", ""),
    SOTH_OPT_STRINGS(struct settings, list, "[a, b c]", ""),
    SOTH_OPT_PAIRS(struct settings, pairs, ""),
    SOTH_OPT_MAP(struct settings, deep, deep, ""),
    SOTH_OPT_END,
};

static void writes(void *self)
{
    ((struct settings *)self)->written = 42;
}

static const struct soth_module configured = {SOTH_PREFIX(SOTH_KIND_DECODER), .name = "configured", .version = "1", .license = "MIT",
                                              .options = options, .self_size = sizeof(struct settings), .data = rig_takes_nothing};

static void options_are_filled(void **state)
{
    (void)state;
    struct testhost *host = testhost_new(&configured, (const char *[]){"text=hello there", "number=7", "deep.word=x", "list=[one,two, three]", NULL}, writes);
    assert_non_null(host);
    const struct settings *s = testhost_self(host);
    assert_int_equal(s->yes, 1);
    assert_int_equal(s->no, 0);
    assert_int_equal(s->number, 7);
    assert_int_equal(s->size, 65536);
    assert_int_equal(s->duration, 5000);
    assert_string_equal(s->text, "hello there");
    assert_int_equal(s->choice, 1);
    assert_int_equal(s->written, 42);
    assert_int_equal(s->list.n, 3);
    assert_string_equal(s->list.v[2], "three");
    assert_string_equal(s->deep.word, "x");
    assert_int_equal(testhost_free(host), 0);
    host = testhost_new(&configured, (const char *[]){"text=", NULL}, NULL);
    s = testhost_self(host);
    assert_int_equal(s->list.n, 2);
    assert_string_equal(s->list.v[1], "b c");
    assert_string_equal(s->deep.word, "preset");
    assert_int_equal(s->pairs.n, 0);
    assert_int_equal(testhost_free(host), 0);
}

static void pairs_are(const char *text, const char *expected)
{
    char got[256] = "";
    struct testhost *host = testhost_new(&configured, (const char *[]){"text=", text, NULL}, NULL);
    assert_non_null(host);
    const struct settings *s = testhost_self(host);
    for (size_t i = 0; i < s->pairs.n; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", s->pairs.v[i], i % 2 ? "|" : ">");
    assert_string_equal(got, expected);
    assert_int_equal(testhost_free(host), 0);
}

static void pairs_are_filled(void **state)
{
    (void)state;
    pairs_are("pairs={}", "");
    pairs_are("pairs={X-A: one}", "X-A>one|");
    pairs_are("pairs={ X-A: one two ,X-B:, \"X, C\" : [1, \"2, and: 3\",4], X-A: last }", "X-A>one two|X-B>|X, C>1|X, C>2, and: 3|X, C>4|X-A>last|");
}

static void wrong_options_are_refused(void **state)
{
    static const char *const wrong[] = {"number=11", "number=x", "size=5x", "choice=black", "yes=1", "nothing=5", "duration=5",
                                        "pairs=x", "pairs={x}", "pairs={x: 1", "pairs={: 1}", "pairs=[a, b]"};
    (void)state;
    rig_hush(true);
    assert_null(testhost_new(&configured, NULL, NULL)); /* text is required */
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (testhost_new(&configured, (const char *[]){"text=", wrong[i], NULL}, NULL))
            fail_msg("%s", wrong[i]);
    rig_hush(false);
    assert_int_equal(testhost_free(NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_filled),
        cmocka_unit_test(pairs_are_filled),
        cmocka_unit_test(wrong_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
