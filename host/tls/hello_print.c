/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The fingerprints of a client: the lists of its hello come in, JA3 (version, suites, extensions, groups and point formats in the order
 * sent, decimal, MD5) and JA4 (counts, then sorted suites and sorted extensions with the signature algorithms, hexadecimal, SHA-256) go
 * out. The hello has been found well-formed; what hello_parse does not look into (groups, formats, algorithms) is read as far as it goes.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/tls/hello.h"
#include "host/tls/hello_read.h"
#include "host/tls/wolf.h"

#include <wolfssl/wolfcrypt/hash.h>

#define SMALL 1024u  /* bytes of a message whose lists fit on the stack */
#define TEXT_EACH 6u /* characters of a number and what parts it from the next */

struct list {
    uint16_t *v;
    size_t n;
};

/* All but GREASE. */
struct lists {
    struct list suites, extensions, groups, formats, signatures;
    uint16_t legacy_version, version; /* version: the highest of supported_versions, 0 = none */
    bool has_versions, has_name;
    uint16_t *room; /* for the next list */
};

static bool is_grease(size_t number)
{
    return (number & 0x0f0f) == 0x0a0a && number >> 8 == (number & 0xff);
}

static void add(struct list *list, size_t number)
{
    list->v[list->n++] = (uint16_t)number;
}

/* A vector of numbers of that many bytes, with its length in front. */
static void read_list(struct hello_reader *r, struct lists *all, struct list *list, size_t length_bytes, size_t each)
{
    size_t outer = hello_enter(r, length_bytes);
    r->fault = NULL; /* a length that lies: what there is */
    list->v = all->room;
    while (r->left >= each && !r->fault) {
        size_t number = hello_read_number(r, each);
        if (each == 1 || !is_grease(number))
            add(list, number);
    }
    all->room += list->n;
    hello_leave(r, outer, "");
}

static void read_versions(struct hello_reader *r, struct lists *all)
{
    struct list versions = {0};
    read_list(r, all, &versions, 1, 2);
    all->has_versions = true;
    for (size_t i = 0; i < versions.n; i++)
        if (versions.v[i] > all->version)
            all->version = versions.v[i];
}

static void read_extension(struct hello_reader *r, size_t type, struct lists *all)
{
    switch (type) {
    case HELLO_EXT_SERVER_NAME:
        all->has_name = true;
        break;
    case HELLO_EXT_GROUPS:
        read_list(r, all, &all->groups, 2, 2);
        break;
    case HELLO_EXT_POINT_FORMATS:
        read_list(r, all, &all->formats, 1, 1);
        break;
    case HELLO_EXT_SIGNATURES:
        read_list(r, all, &all->signatures, 2, 2);
        break;
    case HELLO_EXT_SUPPORTED_VERSIONS:
        read_versions(r, all);
        break;
    default:
        break;
    }
    r->fault = NULL; /* nobody has looked into it before */
    hello_read_bytes(r, NULL, r->left);
}

static void read_lists(struct hello_reader *r, struct lists *all)
{
    hello_read_bytes(r, NULL, HELLO_MESSAGE_HEADER);
    all->legacy_version = (uint16_t)hello_read_number(r, 2);
    hello_read_bytes(r, NULL, 32);
    hello_read_bytes(r, NULL, hello_read_number(r, 1)); /* session id */
    read_list(r, all, &all->suites, 2, 2);
    hello_read_bytes(r, NULL, hello_read_number(r, 1)); /* compression methods */
    hello_enter(r, 2);
    while (r->left > 0 && !r->fault) {
        size_t type = hello_read_number(r, 2);
        size_t outer = hello_enter(r, 2);
        if (!is_grease(type))
            add(&all->extensions, type);
        read_extension(r, type, all);
        hello_leave(r, outer, "");
    }
}

/* ---- text and digests ---- */

static const char digits[] = "0123456789abcdef";

static char *put_decimal(char *at, unsigned number)
{
    char backwards[5];
    size_t n = 0;
    do
        backwards[n++] = digits[number % 10];
    while ((number /= 10) > 0);
    while (n > 0)
        *at++ = backwards[--n];
    return at;
}

static char *put_decimals(char *at, const struct list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        if (i > 0)
            *at++ = '-';
        at = put_decimal(at, list->v[i]);
    }
    return at;
}

static size_t put_hex(char *at, const struct list *list)
{
    char *start = at;
    for (size_t i = 0; i < list->n; i++) {
        if (i > 0)
            *at++ = ',';
        for (int shift = 12; shift >= 0; shift -= 4)
            *at++ = digits[list->v[i] >> shift & 15];
    }
    return (size_t)(at - start);
}

static void hex_of(const uint8_t *digest, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++) {
        *out++ = digits[digest[i] >> 4];
        *out++ = digits[digest[i] & 15];
    }
    *out = '\0';
}

static void make_ja3(const struct lists *all, char *text, char out[33])
{
    const struct list *fields[] = {&all->suites, &all->extensions, &all->groups, &all->formats};
    uint8_t digest[16];
    char *at = put_decimal(text, all->legacy_version);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        *at++ = ',';
        at = put_decimals(at, fields[i]);
    }
    if (wc_Md5Hash((const uint8_t *)text, (word32)(at - text), digest) == 0)
        hex_of(digest, sizeof digest, out);
}

/* The first 12 characters of the text's SHA-256; of no text zeros. */
static void put_digest(const char *text, size_t n, char *out)
{
    uint8_t digest[32];
    if (n == 0 || wc_Sha256Hash((const uint8_t *)text, (word32)n, digest) != 0)
        memcpy(out, "000000000000", 13);
    else
        hex_of(digest, 6, out);
}

static const char *version_code(const struct lists *all)
{
    switch (all->has_versions ? all->version : all->legacy_version) {
    case 0x0304:
        return "13";
    case 0x0303:
        return "12";
    case 0x0302:
        return "11";
    case 0x0301:
        return "10";
    case 0x0300:
        return "s3";
    default:
        return "00";
    }
}

/* The first and the last character of the first protocol; of its hexadecimal form when one of them is no letter or digit. */
static void put_protocol(const struct hello *hello, char *out)
{
    out[0] = out[1] = '0';
    if (hello->alpn_len < 2)
        return;
    unsigned first = hello->alpn[1], last = hello->alpn[hello->alpn[0]];
    if (first < 0x80 && last < 0x80 && isalnum((int)first) && isalnum((int)last)) {
        out[0] = (char)first;
        out[1] = (char)last;
    } else {
        out[0] = digits[first >> 4];
        out[1] = digits[last & 15];
    }
}

static int by_number(const void *a, const void *b)
{
    return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

static void sort(struct list *list)
{
    if (list->n > 1)
        qsort(list->v, list->n, sizeof *list->v, by_number);
}

/* Sorts the lists; nothing needs their order after this. */
static void make_ja4(struct lists *all, const struct hello *hello, char *text, char out[37])
{
    unsigned suites = all->suites.n < 99 ? (unsigned)all->suites.n : 99, extensions = all->extensions.n < 99 ? (unsigned)all->extensions.n : 99;
    size_t kept = 0, n;
    snprintf(out, 37, "t%s%c%02u%02u", version_code(all), all->has_name ? 'd' : 'i', suites % 100, extensions % 100);
    put_protocol(hello, out + 8);
    sort(&all->suites);
    n = put_hex(text, &all->suites);
    out[10] = '_';
    put_digest(text, n, out + 11);
    for (size_t i = 0; i < all->extensions.n; i++)
        if (all->extensions.v[i] != HELLO_EXT_SERVER_NAME && all->extensions.v[i] != HELLO_EXT_ALPN)
            all->extensions.v[kept++] = all->extensions.v[i];
    all->extensions.n = kept;
    sort(&all->extensions);
    n = put_hex(text, &all->extensions);
    if (n > 0 && all->signatures.n > 0) {
        text[n++] = '_';
        n += put_hex(text + n, &all->signatures);
    }
    out[23] = '_';
    put_digest(text, n, out + 24);
}

int hello_fingerprint(const uint8_t *p, size_t n, struct hello *hello)
{
    uint16_t small_lists[SMALL + SMALL / 4];
    char small_text[SMALL * TEXT_EACH];
    struct hello_reader reader = {.p = p, .left = hello_message_size(p, n)};
    size_t size = reader.left;
    /* a number takes a byte of the message at least, an extension four */
    uint16_t *numbers = size <= SMALL ? small_lists : malloc((size + size / 4) * sizeof *numbers);
    char *text = size <= SMALL ? small_text : malloc(size * TEXT_EACH);
    if (numbers && text) {
        struct lists all = {.room = numbers, .extensions = {.v = numbers + size}};
        read_lists(&reader, &all);
        make_ja3(&all, text, hello->ja3);
        make_ja4(&all, hello, text, hello->ja4);
    }
    int r = numbers && text ? SOTH_OK : -SOTH_ENOMEM;
    if (size > SMALL) {
        free(numbers);
        free(text);
    }
    return r;
}
