/* SPDX-License-Identifier: MPL-2.0 */
/* host/conf/options.c and value.c: structs out of YAML by a table, and every way in which that can fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conf_text.h"
#include "host/conf/options_later.h"

struct item {
    const char *name;
    int64_t weight;
    const char *file;
};
struct inner {
    uint8_t on;
    const char *text;
};
struct thing {
    uint8_t flag;
    int64_t number, free_number;
    uint64_t size, time;
    const char *text, *word, *path;
    uint32_t choice;
    struct soth_strings texts, preset_texts;
    struct soth_list items;
    struct inner inner;
};

static const struct soth_opt item_options[] = {
    SOTH_OPT_STRING(struct item, name, SOTH_REQUIRED, "its name"),
    SOTH_OPT_INT(struct item, weight, "7", 1, 9, "its weight"),
    SOTH_OPT_PATH(struct item, file, 0, "its file"),
    SOTH_OPT_END,
};
static const struct soth_opt inner_options[] = {
    SOTH_OPT_BOOL(struct inner, on, "true", "on or off"),
    SOTH_OPT_STRING_DEF(struct inner, text, "\"two\\nlines\"", "some text"),
    SOTH_OPT_END,
};
static const struct soth_opt options[] = {
    SOTH_OPT_BOOL(struct thing, flag, "false", "a flag"),
    SOTH_OPT_INT(struct thing, number, "5", 1, 10, "a number"),
    SOTH_OPT_INT(struct thing, free_number, "", 0, 0, "any number"),
    SOTH_OPT_SIZE(struct thing, size, "64k", 1024, 1024 * 1024, "a size"),
    SOTH_OPT_DURATION(struct thing, time, "10s", 10, 3600000, "a time"),
    SOTH_OPT_STRING(struct thing, text, 0, "a text"),
    {"word", SOTH_OPT_T_STRING, 0, offsetof(struct thing, word), "ab", 2, 4, NULL, NULL, 0, "two to four bytes"},
    {"path", SOTH_OPT_T_PATH, 0, offsetof(struct thing, path), "beside", 0, 0, NULL, NULL, 0, "a path"},
    SOTH_OPT_ENUM(struct thing, choice, "red|green|blue", "green", "a choice"),
    SOTH_OPT_STRINGS(struct thing, texts, "[]", "some texts"),
    SOTH_OPT_STRINGS(struct thing, preset_texts, "[a, \"b c\"]", "texts with a default"),
    SOTH_OPT_LIST(struct thing, items, item_options, struct item, "things"),
    SOTH_OPT_MAP(struct thing, inner, inner_options, "a thing inside"),
    SOTH_OPT_END,
};
static const char *const absent[] = {"tomorrow", "items[].later", "inner.later", NULL};

/* A filled thing and what it took. */
struct filled {
    struct thing thing;
    struct conf_file *file;
    struct options_owned *owned;
    char *messages;
    int count;
};

static void fill(struct filled *f, const char *text, const char *prefix)
{
    struct said said;
    memset(f, 0, sizeof *f);
    memset(&f->thing, 0xee, sizeof f->thing); /* whoever needs a field must have given it a preset */
    f->thing.free_number = 0;
    f->thing.texts = (struct soth_strings){NULL, 0};
    f->thing.items = (struct soth_list){NULL, 0};
    said_begin(&said);
    f->file = conf_file_from_text("dir/t.yaml", text, said.out);
    assert_non_null(f->file);
    f->count = options_fill_later(options, conf_file_document(f->file, 0), &f->thing, &f->owned, said.out, prefix, absent);
    f->messages = said_end(&said);
}

static void done(struct filled *f)
{
    options_fini(f->owned);
    conf_file_free(f->file);
    free(f->messages);
}

static void are_presets(const struct thing *t)
{
    assert_int_equal(t->flag, 0);
    assert_int_equal(t->number, 5);
    assert_int_equal(t->size, 65536);
    assert_int_equal(t->time, 10000);
    assert_string_equal(t->text, "");
    assert_string_equal(t->word, "ab");
    assert_int_equal(t->choice, 1);
    assert_int_equal(t->texts.n, 0);
    assert_int_equal(t->preset_texts.n, 2);
    assert_string_equal(t->preset_texts.v[1], "b c");
    assert_int_equal(t->items.n, 0);
    assert_int_equal(t->inner.on, 1);
    assert_string_equal(t->inner.text, "two\nlines");
}

static void test_presets(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "{}", "inner:\n", "inner: null\n", "inner: {}\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct filled f;
        fill(&f, texts[i], "");
        assert_string_equal(f.messages, "");
        assert_int_equal(f.count, 0);
        are_presets(&f.thing);
        assert_string_equal(f.thing.path, i ? "dir/beside" : "beside"); /* an empty document has no place */
        done(&f);
    }
}

static void test_values(void **state)
{
    (void)state;
    struct filled f;
    fill(&f,
         "flag: true\nnumber: 10\nfree_number: -9223372036854775807\nsize: 1M\ntime: 1h\ntext: ''\nword: 'abcd'\npath: /whole\nchoice: \"blue\"\n"
         "texts: one\npreset_texts: []\nitems:\n- name: x\n- {weight: 9, name: 443, file: sub/f}\ninner:\n  on: false\n  text: \"false\"\n",
         "");
    assert_string_equal(f.messages, "");
    assert_int_equal(f.thing.flag, 1);
    assert_int_equal(f.thing.number, 10);
    assert_int_equal(f.thing.free_number, -INT64_MAX);
    assert_int_equal(f.thing.size, 1024 * 1024);
    assert_int_equal(f.thing.time, 3600000);
    assert_string_equal(f.thing.text, "");
    assert_string_equal(f.thing.word, "abcd");
    assert_string_equal(f.thing.path, "/whole");
    assert_int_equal(f.thing.choice, 2);
    assert_int_equal(f.thing.texts.n, 1);
    assert_string_equal(f.thing.texts.v[0], "one");
    assert_int_equal(f.thing.preset_texts.n, 0);
    const struct item *items = f.thing.items.items;
    assert_int_equal(f.thing.items.n, 2);
    assert_string_equal(items[0].name, "x");
    assert_int_equal(items[0].weight, 7);
    assert_string_equal(items[0].file, "");
    assert_string_equal(items[1].name, "443");
    assert_int_equal(items[1].weight, 9);
    assert_string_equal(items[1].file, "dir/sub/f");
    assert_int_equal(f.thing.inner.on, 0);
    assert_string_equal(f.thing.inner.text, "false");
    done(&f);
}

/* ---- mappings with any keys ---- */

struct tagged {
    struct soth_strings tags;
};
static const struct soth_opt tagged_options[] = {
    SOTH_OPT_PAIRS(struct tagged, tags, "any tags"),
    SOTH_OPT_END,
};

/* Fills `tags` and prints it as "key=value " ... behind the messages. */
static char *tags_of(const char *text)
{
    struct said said;
    struct tagged tagged = {{NULL, 0}};
    struct options_owned *owned = NULL;
    said_begin(&said);
    struct conf_file *file = conf_file_from_text("t.yaml", text, said.out);
    int count = options_fill(tagged_options, conf_file_document(file, 0), &tagged, &owned, said.out, "");
    assert_int_equal(tagged.tags.n % 2, 0);
    for (size_t i = 0; i < tagged.tags.n; i += 2)
        fprintf(said.out, "%s=%s ", tagged.tags.v[i], tagged.tags.v[i + 1]);
    assert_true(count == 0 || tagged.tags.n == 0);
    options_fini(owned);
    conf_file_free(file);
    return said_end(&said);
}

static void test_pairs(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{}", ""},
        {"tags: {}", ""},
        {"tags: {b: one, A-c: 2, \"x y\": ''}", "b=one A-c=2 x y= "},
        {"tags: {b: [one, two], c: [], d: true}", "b=one b=two d=true "},
        {"tags: {b: 1, c: 2, b: 3}", "t.yaml:1:20: tags.b: this key is here twice, give it a list of values\n"},
        {"tags: {b: }", "t.yaml:1:11: tags.b: expected is text or a list of texts\n"},
        {"tags: {b: {c: d}}", "t.yaml:1:11: tags.b: expected is text or a list of texts\n"},
        {"tags: {b: [a, [c]]}", "t.yaml:1:15: tags.b[1]: expected is text\n"},
        {"tags: [a]", "t.yaml:1:7: tags: a list is not allowed here, expected is a mapping (key: value)\n"},
        {"tags: a", "t.yaml:1:7: tags: text is not allowed here, expected is a mapping (key: value)\n"},
        {"tags:", "t.yaml:1:6: tags: has no value, expected is a mapping (key: value), or no such key at all\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *said = tags_of(cases[i][0]);
        assert_string_equal(said, cases[i][1]);
        free(said);
    }
}

static void test_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t size, time;
    } cases[] = {
        {"size: 1024", 1024, 10000}, {"size: 1k", 1024, 10000},   {"size: 1023k", 1023 * 1024, 10000}, {"size: \"2k\"", 2048, 10000},
        {"time: 10ms", 65536, 10},   {"time: 59s", 65536, 59000}, {"time: 3m", 65536, 180000},         {"time: 3600000ms", 65536, 3600000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct filled f;
        fill(&f, cases[i].text, "");
        assert_string_equal(f.messages, "");
        assert_int_equal(f.thing.size, cases[i].size);
        assert_int_equal(f.thing.time, cases[i].time);
        done(&f);
    }
}

#define AT(place, text) "dir/t.yaml:" place ": " text "\n"
#define A_NUMBER "a whole number"
#define A_SIZE "a size: a whole number of bytes, or with k, M or G"
#define A_TIME "a duration: a whole number with ms, s, m or h"

static const struct {
    const char *text, *wanted;
} wrong[] = {
    {"- 1", AT("1:1", "yaml: expected is a mapping (key: value)")},
    {"nothing", AT("1:1", "yaml: expected is a mapping (key: value)")},
    /* keys */
    {"numbr: 1", AT("1:1", "numbr: unknown key, did you mean number?")},
    {"nubmer: 1", AT("1:1", "nubmer: unknown key, did you mean number?")},
    {"Number: 1", AT("1:1", "Number: unknown key, did you mean number?")},
    {"completely_else: 1",
     AT("1:1", "completely_else: unknown key, allowed here: flag, number, free_number, size, time, text, word, path, choice, texts, "
               "preset_texts, items, inner")},
    {"tomorrow: 1", AT("1:1", "tomorrow: not available in this version, remove it")},
    {"inner: {later: 1}", AT("1:9", "inner.later: not available in this version, remove it")},
    {"items:\n- {name: a}\n- {name: b, later: 1}", AT("3:13", "items[1].later: not available in this version, remove it")},
    {"later: 1", AT("1:1", "later: unknown key, allowed here: flag, number, free_number, size, time, text, word, path, choice, texts, "
                           "preset_texts, items, inner")},
    {"number: 1\nflag: true\nnumber: 2", AT("3:1", "number: this key is here twice, remove one")},
    {"inner:\n  on: true\n  \"on\": false", AT("3:3", "inner.on: this key is here twice, remove one")},
    {"inner: {no: true}", AT("1:9", "inner.no: unknown key, did you mean on?")},
    {"inner: {onn: true}", AT("1:9", "inner.onn: unknown key, did you mean on?")},
    {"zz: 1\nzz: 2", AT("1:1", "zz: unknown key, allowed here: flag, number, free_number, size, time, text, word, path, choice, texts, "
                               "preset_texts, items, inner") AT("2:1", "zz: this key is here twice, remove one")},
    /* types */
    {"flag: yes", AT("1:7", "flag: 'yes' is neither true nor false")},
    {"flag: True", AT("1:7", "flag: 'True' is neither true nor false")},
    {"flag: 'true'", AT("1:7", "flag: 'true' is neither true nor false")},
    {"flag: [true]", AT("1:7", "flag: a list is not allowed here, expected is true or false")},
    {"number: {}", AT("1:9", "number: a mapping is not allowed here, expected is " A_NUMBER)},
    {"text: [a]", AT("1:7", "text: a list is not allowed here, expected is text")},
    {"path: {a: b}", AT("1:7", "path: a mapping is not allowed here, expected is a path")},
    {"choice: [red]", AT("1:9", "choice: a list is not allowed here, expected is one word")},
    {"texts: {a: b}", AT("1:8", "texts: a mapping is not allowed here, expected is text or a list of texts")},
    {"texts: [a, [b], {c: d}]", AT("1:12", "texts[1]: expected is text") AT("1:17", "texts[2]: expected is text")},
    {"texts: [a, ]\ninner: []", AT("2:8", "inner: expected is a mapping (key: value)")},
    {"texts: [a, ~]", AT("1:12", "texts[1]: expected is text")},
    {"inner: 1", AT("1:8", "inner: expected is a mapping (key: value)")},
    {"items: {name: a}", AT("1:8", "items: expected is a list of mappings ([] for none)")},
    {"items: a", AT("1:8", "items: expected is a list of mappings ([] for none)")},
    {"items: [a]", AT("1:9", "items[0]: expected is a mapping (key: value)")},
    {"items: [~]", AT("1:9", "items[0].name: is required: its name")},
    /* nothing there */
    {"number:", AT("1:8", "number: has no value, expected is " A_NUMBER ", or no such key at all")},
    {"flag: ~", AT("1:7", "flag: has no value, expected is true or false, or no such key at all")},
    {"text: null", AT("1:7", "text: has no value, expected is text, or no such key at all")},
    {"texts:", AT("1:7", "texts: has no value, expected is text or a list of texts ([] for none)")},
    /* numbers */
    {"number: ten", AT("1:9", "number: 'ten' is not " A_NUMBER)},
    {"number: 0x5", AT("1:9", "number: '0x5' is not " A_NUMBER)},
    {"number: 05", AT("1:9", "number: '05' is not " A_NUMBER)},
    {"number: +5", AT("1:9", "number: '+5' is not " A_NUMBER)},
    {"number: 5.0", AT("1:9", "number: '5.0' is not " A_NUMBER)},
    {"number: 5k", AT("1:9", "number: '5k' is not " A_NUMBER)},
    {"number: '5'", AT("1:9", "number: '5' is text, expected is " A_NUMBER " without quotes")},
    {"number: 0", AT("1:9", "number: 0 is out of range, allowed is 1 to 10")},
    {"number: -5", AT("1:9", "number: -5 is out of range, allowed is 1 to 10")},
    {"number: 11", AT("1:9", "number: 11 is out of range, allowed is 1 to 10")},
    {"free_number: 9223372036854775808", AT("1:14", "free_number: '9223372036854775808' is not " A_NUMBER)},
    {"size: 1023", AT("1:7", "size: 1023 is out of range, allowed is 1k to 1M")},
    {"size: 0", AT("1:7", "size: 0 is out of range, allowed is 1k to 1M")},
    {"size: 2M", AT("1:7", "size: 2M is out of range, allowed is 1k to 1M")},
    {"size: 1K", AT("1:7", "size: '1K' is not " A_SIZE)},
    {"size: 1 k", AT("1:7", "size: '1 k' is not " A_SIZE)},
    {"size: -1k", AT("1:7", "size: '-1k' is not " A_SIZE)},
    {"size: k", AT("1:7", "size: 'k' is not " A_SIZE)},
    {"size: 1.5k", AT("1:7", "size: '1.5k' is not " A_SIZE)},
    {"size: 18014398509481984k", AT("1:7", "size: '18014398509481984k' is not " A_SIZE)},
    {"size: 9007199254740992k", AT("1:7", "size: '9007199254740992k' is not " A_SIZE)},
    {"time: 10", AT("1:7", "time: '10' is not " A_TIME)},
    {"time: 10d", AT("1:7", "time: '10d' is not " A_TIME)},
    {"time: 1m30s", AT("1:7", "time: '1m30s' is not " A_TIME)},
    {"time: 9ms", AT("1:7", "time: 9ms is out of range, allowed is 10ms to 1h")},
    {"time: 61m", AT("1:7", "time: 61m is out of range, allowed is 10ms to 1h")},
    /* words */
    {"word: a", AT("1:7", "word: the text has 1 bytes, allowed is 2 to 4")},
    {"word: abcde", AT("1:7", "word: the text has 5 bytes, allowed is 2 to 4")},
    {"choice: Red", AT("1:9", "choice: 'Red' is not allowed, allowed is one of: red, green, blue")},
    {"choice: red|green", AT("1:9", "choice: 'red|green' is not allowed, allowed is one of: red, green, blue")},
    {"choice: gre", AT("1:9", "choice: 'gre' is not allowed, allowed is one of: red, green, blue")},
    /* lists */
    {"items:\n  - weight: 3", AT("2:5", "items[0].name: is required: its name")},
    {"items:\n  - {name: a}\n  - {name: '', weight: 0}",
     AT("3:12", "items[1].name: must not be empty") AT("3:24", "items[1].weight: 0 is out of range, allowed is 1 to 9")},
    {"items: [{nam: a}]", AT("1:10", "items[0].nam: unknown key, did you mean name?") AT("1:9", "items[0].name: is required: its name")},
    /* all at once */
    {"flag: 1\nnumber: x\nchoice: x",
     AT("1:7", "flag: '1' is neither true nor false") AT("2:9", "number: 'x' is not " A_NUMBER)
         AT("3:9", "choice: 'x' is not allowed, allowed is one of: red, green, blue")},
};

static int lines_in(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void test_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct filled f;
        fill(&f, wrong[i].text, "");
        assert_string_equal(f.messages, wrong[i].wanted);
        assert_int_equal(f.count, lines_in(wrong[i].wanted));
        done(&f);
    }
}

static void test_wrong_values_leave_presets(void **state)
{
    (void)state;
    struct filled f;
    fill(&f, "flag: 1\nnumber: 99\nsize: x\ntime: x\ntext: []\nword: abcde\nchoice: x\ntexts: [a, []]\npreset_texts: {}\nitems: 1\ninner: 1", "");
    assert_int_equal(f.count, 11);
    are_presets(&f.thing);
    done(&f);
}

static void test_prefix(void **state)
{
    (void)state;
    struct filled f;
    fill(&f, "flag: 1\nitems: [1]\nzz: 1\n", "config.");
    assert_string_equal(f.messages,
                        AT("1:7", "config.flag: '1' is neither true nor false") AT("2:9", "config.items[0]: expected is a mapping (key: value)")
                            AT("3:1", "config.zz: unknown key, allowed here: flag, number, free_number, size, time, text, word, path, "
                                      "choice, texts, preset_texts, items, inner"));
    done(&f);
    fill(&f, "- 1", "config.");
    assert_string_equal(f.messages, AT("1:1", "config: expected is a mapping (key: value)"));
    done(&f);
}

/* A mapping that is not there at all still misses its required keys. */
static void test_required_without_a_mapping(void **state)
{
    (void)state;
    struct item item;
    struct options_owned *owned = NULL;
    struct said said;
    said_begin(&said);
    assert_int_equal(options_fill(item_options, NULL, &item, &owned, said.out, "config."), 1);
    char *messages = said_end(&said);
    assert_string_equal(messages, "config.name: is required: its name\n");
    free(messages);
    options_fini(owned);
}

static void test_options_error(void **state)
{
    (void)state;
    static const struct {
        const char *key, *place;
    } cases[] = {
        {"a", "1:4"},           {"rules", "3:3"},         {"rules[0]", "3:5"},    {"rules[0].id", "3:9"}, {"rules[1].host[1]", "4:23"},
        {"rules[1].host", "4:19"}, {"rules[0].hosts", "3:5"}, {"rules[7].id", "3:3"}, {"nothing", "1:1"},     {"a[0]", "1:4"},
        {"a[1]", "1:4"},        {"", "1:1"},              {"rules[0].id.x", "3:9"}, {"rules[", "3:5"},
    };
    struct said said;
    struct conf_file *file = conf_file_from_text("t.yaml", "a: b\nrules:\n  - id: 1\n  - {id: 2, host: [x, y]}\n", stderr);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char wanted[100];
        said_begin(&said);
        options_error(conf_file_document(file, 0), cases[i].key, said.out, "is odd");
        char *messages = said_end(&said);
        snprintf(wanted, sizeof wanted, "t.yaml:%s: %s: is odd\n", cases[i].place, cases[i].key);
        assert_string_equal(messages, wanted);
        free(messages);
    }
    said_begin(&said);
    options_error(NULL, "key", said.out, "is odd");
    char *messages = said_end(&said);
    assert_string_equal(messages, "key: is odd\n");
    free(messages);
    conf_file_free(file);
}

static void test_doc(void **state)
{
    (void)state;
    struct said said;
    said_begin(&said);
    options_doc(options, "config.", said.out);
    char *text = said_end(&said);
    assert_string_equal(text, "| key | type | default | allowed | meaning |\n"
                              "|---|---|---|---|---|\n"
                              "| `config.flag` | true or false | `false` |  | a flag |\n"
                              "| `config.number` | number | `5` | 1 to 10 | a number |\n"
                              "| `config.free_number` | number |  |  | any number |\n"
                              "| `config.size` | size | `64k` | 1k to 1M | a size |\n"
                              "| `config.time` | duration | `10s` | 10ms to 1h | a time |\n"
                              "| `config.text` | text |  |  | a text |\n"
                              "| `config.word` | text | `ab` | 2 to 4 bytes | two to four bytes |\n"
                              "| `config.path` | path | `beside` |  | a path |\n"
                              "| `config.choice` | word | `green` | red, green, blue | a choice |\n"
                              "| `config.texts` | text or list | `[]` |  | some texts |\n"
                              "| `config.preset_texts` | text or list | `[a, \"b c\"]` |  | texts with a default |\n"
                              "| `config.items` | list of mappings | `[]` |  | things |\n"
                              "| `config.items[].name` | text | required |  | its name |\n"
                              "| `config.items[].weight` | number | `7` | 1 to 9 | its weight |\n"
                              "| `config.items[].file` | path |  |  | its file |\n"
                              "| `config.inner` | mapping |  |  | a thing inside |\n"
                              "| `config.inner.on` | true or false | `true` |  | on or off |\n"
                              "| `config.inner.text` | text | `\"two\\nlines\"` |  | some text |\n");
    free(text);
}

static void check_says(struct soth_opt first, size_t self_size, const char *wanted)
{
    const struct soth_opt table[] = {first, SOTH_OPT_END};
    char err[256] = "";
    int r = options_check(table, self_size, err, sizeof err);
    assert_string_equal(err, wanted);
    assert_int_equal(r, *wanted ? -SOTH_EABI : 0);
}

static void test_check(void **state)
{
    (void)state;
    char err[256] = "";
    static const struct soth_opt no_size[] = {SOTH_OPT_END};
    struct soth_opt loop[2] = {{"again", SOTH_OPT_T_MAP, 0, 0, "", 0, 0, NULL, NULL, 0, "itself"}, SOTH_OPT_END};
    loop[0].sub = loop;
    assert_int_equal(options_check(options, sizeof(struct thing), err, sizeof err), 0);
    assert_int_equal(options_check(NULL, 0, err, sizeof err), 0);
    assert_int_equal(options_check(no_size, 0, err, sizeof err), 0);
    assert_true(options_check(options, sizeof(struct thing) - 1, err, sizeof err) < 0); /* the inner table's last field sticks out */
    assert_true(options_check(loop, 100, err, sizeof err) < 0);
    check_says((struct soth_opt){"a", 0, 0, 0, "", 0, 0, NULL, NULL, 0, "d"}, 8, "option a has an unknown type");
    check_says((struct soth_opt){"a", SOTH_OPT_T_PAIRS, 0, 0, "", 0, 0, NULL, NULL, 0, "d"}, 15, "option a lies outside the module's struct");
    check_says((struct soth_opt){"a", SOTH_OPT_T_PAIRS, 0, 0, "{x: 1}", 0, 0, NULL, NULL, 0, "d"}, 16, "");
    check_says((struct soth_opt){"a", SOTH_OPT_T_PAIRS, 0, 0, "x", 0, 0, NULL, NULL, 0, "d"}, 16,
               "a default does not parse: a: text is not allowed here, expected is a mapping (key: value)");
    check_says((struct soth_opt){"a", 12, 0, 0, "", 0, 0, NULL, NULL, 0, "d"}, 8, "option a has an unknown type");
    check_says((struct soth_opt){"a", SOTH_OPT_T_INT, 0, 1, "1", 0, 0, NULL, NULL, 0, "d"}, 8, "option a lies outside the module's struct");
    check_says((struct soth_opt){"a", SOTH_OPT_T_INT, 0, SIZE_MAX, "1", 0, 0, NULL, NULL, 0, "d"}, 8, "option a lies outside the module's struct");
    check_says((struct soth_opt){"a", SOTH_OPT_T_INT, 0, 0, "1", 0, 0, NULL, NULL, 0, "d"}, 8, "");
    check_says((struct soth_opt){"a", SOTH_OPT_T_BOOL, 0, 7, "true", 0, 0, NULL, NULL, 0, "d"}, 8, "");
    check_says((struct soth_opt){"a", SOTH_OPT_T_INT, 0, 0, "x", 0, 0, NULL, NULL, 0, "d"}, 8,
               "a default does not parse: a: 'x' is not a whole number");
    check_says((struct soth_opt){"a", SOTH_OPT_T_INT, 0, 0, "1", 2, 3, NULL, NULL, 0, "d"}, 8,
               "a default does not parse: a: 1 is out of range, allowed is 2 to 3");
    check_says((struct soth_opt){"a", SOTH_OPT_T_INT, 0, 0, "1", 3, 2, NULL, NULL, 0, "d"}, 8,
               "option a has a range that ends before it begins");
    check_says((struct soth_opt){"a", SOTH_OPT_T_ENUM, 0, 0, "x", 0, 0, NULL, NULL, 0, "d"}, 8, "option a has no choices");
    check_says((struct soth_opt){"a", SOTH_OPT_T_LIST, 0, 0, "[]", 0, 0, NULL, item_options, 0, "d"}, 16, "option a has items of size 0");
    check_says((struct soth_opt){"a", SOTH_OPT_T_LIST, 0, 0, "[]", 0, 0, NULL, item_options, 8, "d"}, 16,
               "option weight lies outside the module's struct");
    check_says((struct soth_opt){"a", SOTH_OPT_T_MAP, 0, 0, "", 0, 0, NULL, NULL, 0, "d"}, 8,
               "option a has no table of its own, or is nested too deeply");
    check_says((struct soth_opt){"a", SOTH_OPT_T_STRING, 0, 0, "[", 0, 0, NULL, NULL, 0, "d"}, 8,
               "a default does not parse: preset of a:2:1: yaml: did not find expected node content");
    check_says((struct soth_opt){"a", SOTH_OPT_T_INT, 0, 4, "1", 0, 0, NULL, NULL, 0, "d"}, 16,
               "option a is not aligned as its type must be: take its place with offsetof");
    check_says((struct soth_opt){"a", SOTH_OPT_T_STRING, SOTH_EXCLUSIVE, 0, "", 0, 0, NULL, NULL, 0, "d"}, 8,
               "option a has SOTH_EXCLUSIVE, which is for paths of the module's own table");
    static const struct soth_opt bad_item[] = {{"b", SOTH_OPT_T_INT, 0, 0, "x", 0, 0, NULL, NULL, 0, "d"}, SOTH_OPT_END};
    check_says((struct soth_opt){"a", SOTH_OPT_T_LIST, 0, 0, "[]", 0, 0, NULL, bad_item, 8, "d"}, 16,
               "a default does not parse: b: 'x' is not a whole number");
    static const struct soth_opt twice[] = {{"a", SOTH_OPT_T_BOOL, 0, 0, "true", 0, 0, NULL, NULL, 0, "d"},
                                            {"a", SOTH_OPT_T_BOOL, 0, 1, "true", 0, 0, NULL, NULL, 0, "d"}, SOTH_OPT_END};
    assert_int_equal(options_check(twice, 8, err, sizeof err), -SOTH_EABI);
    assert_string_equal(err, "option a is in the table twice");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_presets),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_wrong_values_leave_presets),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_required_without_a_mapping),
        cmocka_unit_test(test_options_error),
        cmocka_unit_test(test_doc),
        cmocka_unit_test(test_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
