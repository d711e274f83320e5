/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Fingerprints of clients (host/tls/hello_print.c), against the numbers that the makers of JA3 (its README) and JA4 (technical_details/JA4.md)
 * publish, and what must not change them: GREASE, how the hello is cut into records, lists that lie about their length.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/tls/hello.h"

#define END 0x10000 /* of a list */

/* ---- a hello from lists ---- */

struct build {
    uint8_t p[16384];
    size_t n;
};

static void put16(struct build *b, unsigned number)
{
    assert_true(b->n + 2 <= sizeof b->p);
    b->p[b->n++] = (uint8_t)(number >> 8);
    b->p[b->n++] = (uint8_t)number;
}

static void put(struct build *b, const void *bytes, size_t n)
{
    assert_true(b->n + n <= sizeof b->p);
    memcpy(b->p + b->n, bytes, n);
    b->n += n;
}

static size_t length_of(const unsigned *list)
{
    size_t n = 0;
    while (list[n] != END)
        n++;
    return n;
}

static void put_list(struct build *b, const unsigned *list)
{
    for (size_t i = 0; list[i] != END; i++)
        put16(b, list[i]);
}

struct parts {
    unsigned version;
    const unsigned *suites, *extensions; /* extensions NULL: none at all */
    const unsigned *groups, *signatures, *versions;
    const char *formats; /* bytes, n of them */
    size_t format_count;
    const char *protocol; /* the first of ALPN */
    size_t protocol_len;
};

static void put_counted(struct build *b, const unsigned *list)
{
    put16(b, (unsigned)(2 * length_of(list)));
    put_list(b, list);
}

static void put_content(struct build *b, const struct parts *parts, unsigned type)
{
    switch (type) {
    case 0:
        put(b, "\0\x07\0\0\x04" "a.de", 9);
        break;
    case 10:
        put_counted(b, parts->groups);
        break;
    case 11:
        b->p[b->n++] = (uint8_t)parts->format_count;
        put(b, parts->formats, parts->format_count);
        break;
    case 13:
        put_counted(b, parts->signatures);
        break;
    case 16:
        put16(b, (unsigned)parts->protocol_len + 1);
        b->p[b->n++] = (uint8_t)parts->protocol_len;
        put(b, parts->protocol, parts->protocol_len);
        break;
    case 43:
        b->p[b->n++] = (uint8_t)(2 * length_of(parts->versions));
        put_list(b, parts->versions);
        break;
    default:
        break;
    }
}

static void build_message(struct build *b, const struct parts *parts)
{
    static const uint8_t random[32] = "random";
    b->n = 0;
    put(b, "\1\0\0\0", 4);
    put16(b, parts->version);
    put(b, random, sizeof random);
    b->p[b->n++] = 0;
    put_counted(b, parts->suites);
    put(b, "\1\0", 2);
    if (parts->extensions) {
        size_t at = b->n;
        put16(b, 0);
        for (size_t i = 0; parts->extensions[i] != END; i++) {
            put16(b, parts->extensions[i]);
            size_t length_at = b->n;
            put16(b, 0);
            put_content(b, parts, parts->extensions[i]);
            b->p[length_at] = (uint8_t)((b->n - length_at - 2) >> 8);
            b->p[length_at + 1] = (uint8_t)(b->n - length_at - 2);
        }
        b->p[at] = (uint8_t)((b->n - at - 2) >> 8);
        b->p[at + 1] = (uint8_t)(b->n - at - 2);
    }
    b->p[2] = (uint8_t)((b->n - 4) >> 8);
    b->p[3] = (uint8_t)(b->n - 4);
}

/* Records of that many bytes, in memory of exactly their size. */
static uint8_t *cut_into_records(const struct build *b, size_t each, size_t *n)
{
    size_t records = (b->n + each - 1) / each;
    uint8_t *p = malloc(b->n + 5 * records), *at = p;
    assert_non_null(p);
    for (size_t from = 0; from < b->n; from += each) {
        size_t part = b->n - from < each ? b->n - from : each;
        const uint8_t head[] = {22, 3, 1, (uint8_t)(part >> 8), (uint8_t)part};
        memcpy(at, head, sizeof head);
        memcpy(at + sizeof head, b->p + from, part);
        at += sizeof head + part;
    }
    *n = (size_t)(at - p);
    return p;
}

static void fingerprint(const struct build *b, size_t each, struct hello *h)
{
    const char *fault;
    size_t n;
    uint8_t *p = cut_into_records(b, each, &n);
    if (hello_parse(p, n, h, &fault) != HELLO_DONE)
        fail_msg("not a hello: %s", fault);
    assert_int_equal(hello_fingerprint(p, n, h), 0);
    free(p);
}

static void check(const struct parts *parts, const char *ja3, const char *ja4)
{
    static const size_t sizes[] = {16384, 1, 7, 100};
    struct build b;
    struct hello h;
    build_message(&b, parts);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        fingerprint(&b, sizes[i], &h);
        if (ja3)
            assert_string_equal(h.ja3, ja3);
        if (ja4)
            assert_string_equal(h.ja4, ja4);
    }
}

/* ---- published ---- */

static const unsigned tls13_suites[] = {0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035, END};
static const unsigned tls13_extensions[] = {0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015, END};
static const unsigned tls13_signatures[] = {0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601, END};
static const unsigned tls13_groups[] = {0x001d, 0x0017, 0x0018, END};
static const unsigned tls13_versions[] = {0x0304, 0x0303, END};
static const struct parts tls13 = {
    .version = 0x0303, .suites = tls13_suites, .extensions = tls13_extensions, .groups = tls13_groups, .signatures = tls13_signatures,
    .versions = tls13_versions, .formats = "\0", .format_count = 1, .protocol = "h2", .protocol_len = 2,
};

/* The example of JA4.md, from its lists. */
static void ja4_example(void **state)
{
    (void)state;
    check(&tls13, NULL, "t13d1516h2_8daaf6152771_e5627efa2ab1");
}

/* "If there are no signature algorithms in the hello packet, then the string ends without an underscore": the same document's 6d807ffa2a79. */
static void ja4_without_signatures(void **state)
{
    static const unsigned none[] = {END};
    struct parts parts = tls13;
    (void)state;
    parts.signatures = none;
    check(&parts, NULL, "t13d1516h2_8daaf6152771_6d807ffa2a79");
}

/* The first and last character of the first protocol, or of its hexadecimal form. */
static void ja4_protocols(void **state)
{
    static const struct {
        const char *protocol;
        size_t n;
        const char *code;
    } rows[] = {
        {"h2", 2, "h2"}, {"http/1.1", 8, "h1"}, {"x", 1, "xx"}, {"\xab", 1, "ab"}, {"\xab\xcd", 2, "ad"}, {"\x30\xab", 2, "3b"},
        {"\x30\x31\xab\xcd", 4, "3d"}, {"\x30\xab\xcd\x31", 4, "01"}, {"-x", 2, "28"}, {"Zz", 2, "Zz"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct parts parts = tls13;
        char wanted[64];
        parts.protocol = rows[i].protocol;
        parts.protocol_len = rows[i].n;
        snprintf(wanted, sizeof wanted, "t13d1516%s_8daaf6152771_e5627efa2ab1", rows[i].code);
        check(&parts, NULL, wanted);
    }
}

/* The table of versions; the record's own is nobody's business. */
static void ja4_versions(void **state)
{
    static const unsigned plain[] = {0x0005, 0x000d, END}, with_versions[] = {0x002b, 0x000d, END};
    static const unsigned tls12[] = {0x0a0a, 0x0303, 0x0302, END}, only_grease[] = {0x5a5a, END}, draft[] = {0x7f1c, 0x0303, END};
    const struct {
        unsigned legacy;
        const unsigned *versions;
        const char *code;
    } rows[] = {
        {0x0303, NULL, "12"}, {0x0302, NULL, "11"}, {0x0301, NULL, "10"}, {0x0300, NULL, "s3"}, {0x0304, NULL, "13"}, {0x0305, NULL, "00"},
        {0x0303, tls13_versions, "13"}, {0x0303, tls12, "12"}, {0x0303, only_grease, "00"}, {0x0303, draft, "00"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct parts parts = tls13;
        struct build b;
        struct hello h;
        parts.version = rows[i].legacy;
        parts.extensions = rows[i].versions ? with_versions : plain;
        parts.versions = rows[i].versions;
        build_message(&b, &parts);
        fingerprint(&b, 16384, &h);
        if (strncmp(h.ja4 + 1, rows[i].code, 2) != 0)
            fail_msg("row %zu: %s, expected %s", i, h.ja4, rows[i].code);
        assert_memory_equal(h.ja4 + 3, "i1502", 5);
    }
}

/* Nothing to hash is told by zeros, and SCSVs count (dd521c41064d begins the SHA-256 of "00ff,5600"). */
static void ja4_empty_lists(void **state)
{
    static const unsigned grease[] = {0x0a0a, 0xfafa, END}, scsv[] = {0x00ff, 0x5600, END}, names[] = {0, 16, 0x1a1a, END};
    struct parts parts = {.version = 0x0303, .suites = grease, .protocol = "h2", .protocol_len = 2};
    (void)state;
    check(&parts, NULL, "t12i000000_000000000000_000000000000");
    parts.extensions = names;
    check(&parts, NULL, "t12d0002h2_000000000000_000000000000");
    parts.suites = scsv;
    check(&parts, NULL, "t12d0202h2_dd521c41064d_000000000000");
}

/* JA3's README. */
static void ja3_examples(void **state)
{
    static const unsigned suites[] = {47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4, END}, extensions[] = {0, 10, 11, END};
    static const unsigned groups[] = {23, 24, 25, END}, old_suites[] = {4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99, END};
    const struct parts first = {.version = 769, .suites = suites, .extensions = extensions, .groups = groups, .formats = "\0", .format_count = 1};
    const struct parts second = {.version = 769, .suites = old_suites};
    (void)state;
    check(&first, "ada70206e40642a3e4461f35503241d5", NULL);
    check(&second, "de350869b8c85de67a350c8d186f11e6", NULL);
}

/* ---- what changes nothing ---- */

static void grease_is_not_there(void **state)
{
    static const unsigned suites[] = {0x4a4a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035, END};
    static const unsigned extensions[] = {0xdada, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015, 0x6a6a, END};
    static const unsigned signatures[] = {0x0403, 0x0804, 0x2a2a, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601, END};
    static const unsigned groups[] = {0xfafa, 0x001d, 0x0017, 0x0018, END}, versions[] = {0xbaba, 0x0304, 0x0303, END};
    struct build b;
    struct hello plain, greased;
    struct parts parts = tls13;
    (void)state;
    parts.suites = suites;
    parts.extensions = extensions;
    parts.signatures = signatures;
    parts.groups = groups;
    parts.versions = versions;
    build_message(&b, &tls13);
    fingerprint(&b, 16384, &plain);
    build_message(&b, &parts);
    fingerprint(&b, 16384, &greased);
    assert_string_equal(greased.ja3, plain.ja3);
    assert_string_equal(greased.ja4, plain.ja4);
}

/* More than 99 of a kind, more than fits on the stack; and 0x0a1a is no GREASE. */
static void many(void **state)
{
    static unsigned suites[2001], extensions[301];
    struct build b;
    struct hello h;
    const struct parts parts = {.version = 0x0303, .suites = suites, .extensions = extensions};
    (void)state;
    for (unsigned i = 0; i < 2000; i++)
        suites[i] = 0xa000 - i;
    suites[2000] = END;
    for (unsigned i = 0; i < 300; i++)
        extensions[i] = 0x0a1a + i;
    extensions[300] = END;
    build_message(&b, &parts);
    fingerprint(&b, 16384, &h);
    assert_memory_equal(h.ja4, "t12i999900_", 11);
    assert_int_equal(strlen(h.ja4), 36);
    assert_int_equal(strlen(h.ja3), 32);
    char before[37];
    memcpy(before, h.ja4, sizeof before);
    fingerprint(&b, 3, &h);
    assert_string_equal(h.ja4, before);
}

/* Lists inside extensions that hello_parse does not look into may say anything. */
static void lists_that_lie(void **state)
{
    static const unsigned groups[] = {10, 13, 11, 0x0017, END};
    static const unsigned none[] = {END};
    const struct parts parts = {.version = 0x0303, .suites = tls13_suites, .extensions = groups, .groups = none, .signatures = tls13_signatures,
                                .formats = "\0", .format_count = 1};
    struct build b;
    struct hello h;
    char good[37];
    (void)state;
    build_message(&b, &parts);
    fingerprint(&b, 16384, &h);
    memcpy(good, h.ja4, sizeof good);
    for (size_t at = 0; at + 6 < b.n; at++) { /* the empty list of groups claims more than its extension has */
        if (memcmp(b.p + at, "\0\x0a\0\2\0\0", 6) != 0)
            continue;
        memcpy(b.p + at + 4, "\xff\xff", 2);
        fingerprint(&b, 16384, &h);
        assert_string_equal(h.ja4, good);
        return;
    }
    fail_msg("there is no such extension");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ja4_example),     cmocka_unit_test(ja4_without_signatures), cmocka_unit_test(ja4_protocols),
        cmocka_unit_test(ja4_versions),    cmocka_unit_test(ja4_empty_lists),        cmocka_unit_test(ja3_examples),
        cmocka_unit_test(grease_is_not_there), cmocka_unit_test(many),               cmocka_unit_test(lists_that_lie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
