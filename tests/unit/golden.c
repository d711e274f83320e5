/* SPDX-License-Identifier: MPL-2.0 */
/* See golden.h. Reads documents and compares; what is tested is the caller's. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "golden.h"

static char *copy(const char *p, size_t n)
{
    char *text = malloc(n + 1);
    assert_non_null(text);
    memcpy(text, p, n);
    text[n] = '\0';
    return text;
}

static char *read_document(const char *path)
{
    char full[4096];
    const char *dir = getenv("srcdir");
    struct buffer text = {0};
    snprintf(full, sizeof full, "%s%s%s", dir && path[0] != '/' ? dir : "", dir && path[0] != '/' ? "/" : "", path);
    FILE *file = fopen(full, "rb");
    if (!file)
        fail_msg("%s cannot be opened", full);
    size_t n;
    do {
        assert_int_equal(buffer_reserve(&text, 65536), 0);
        n = fread(text.p + text.len, 1, 65535, file);
        buffer_commit(&text, n);
    } while (n > 0);
    fclose(file);
    text.p[text.len] = '\0';
    return (char *)text.p;
}

static struct golden_case *add_case(struct golden *golden, const char *line, size_t n)
{
    golden->cases = realloc(golden->cases, (golden->count + 1) * sizeof *golden->cases);
    assert_non_null(golden->cases);
    struct golden_case *c = &golden->cases[golden->count++];
    memset(c, 0, sizeof *c);
    c->title = copy(line, n);
    return c;
}

/* Reads the block whose opening fence is [line, end); returns the line after its closing fence. */
static const char *add_block(struct golden_case *c, const char *line, const char *end)
{
    assert_true(c->block_count < GOLDEN_BLOCKS);
    struct golden_block *block = &c->blocks[c->block_count++];
    snprintf(block->name, sizeof block->name, "%.*s", (int)(end - line - 3), line + 3);
    const char *body = *end ? end + 1 : end;
    const char *close = strncmp(body, "```", 3) == 0 ? body - 1 : strstr(body, "\n```");
    if (!close)
        fail_msg("%s: a block without end", c->title);
    block->text = copy(body, close > body ? (size_t)(close - body) : 0);
    const char *next = strchr(close + 1, '\n');
    return next ? next + 1 : close + strlen(close);
}

void golden_open(struct golden *golden, const char *path)
{
    char *document = read_document(path);
    struct golden_case *c = NULL;
    memset(golden, 0, sizeof *golden);
    for (const char *line = document; *line;) {
        const char *end = line + strcspn(line, "\n");
        if (strncmp(line, "## ", 3) == 0)
            c = add_case(golden, line + 3, (size_t)(end - line) - 3);
        if (c && strncmp(line, "```", 3) == 0)
            line = add_block(c, line, end);
        else
            line = *end ? end + 1 : end;
    }
    free(document);
    if (golden->count == 0)
        fail_msg("%s has no case", path);
}

void golden_close(struct golden *golden)
{
    for (size_t i = 0; i < golden->count; i++) {
        for (size_t b = 0; b < golden->cases[i].block_count; b++)
            free(golden->cases[i].blocks[b].text);
        free(golden->cases[i].title);
    }
    free(golden->cases);
}

const char *golden_text(const struct golden_case *c, const char *name)
{
    for (size_t i = 0; i < c->block_count; i++)
        if (strcmp(c->blocks[i].name, name) == 0)
            return c->blocks[i].text;
    return NULL;
}

/* The byte of the escape at p[0] == '\\'; *used is its length. */
static uint8_t escape(const struct golden_case *c, const char *p, size_t *used)
{
    *used = 2;
    switch (p[1]) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case '0':
        return 0;
    case '\\':
        return '\\';
    case 'x': {
        char digits[3] = {0};
        if (p[2])
            memcpy(digits, p + 2, 2);
        if (strspn(digits, "0123456789abcdefABCDEF") == 2) {
            *used = 4;
            return (uint8_t)strtoul(digits, NULL, 16);
        }
        break;
    }
    default:
        break;
    }
    fail_msg("%s: unknown escape \\%c", c->title, p[1]);
    return 0;
}

void golden_unescape(const struct golden_case *c, const char *text, size_t n, struct buffer *out)
{
    for (const char *end = text + n; text < end;) {
        size_t used = 1;
        uint8_t byte = *text == '\\' ? escape(c, text, &used) : (uint8_t)*text;
        if (*text != '\n')
            assert_int_equal(buffer_append(out, &byte, 1), 0);
        text += used;
    }
}

int golden_bytes(const struct golden_case *c, const char *name, struct buffer *out)
{
    const char *text = golden_text(c, name);
    if (!text)
        return -1;
    golden_unescape(c, text, strlen(text), out);
    return 0;
}

static void differs(const struct golden_case *c, const struct golden_cut *cut, const char *expected, const char *got)
{
    /* cmocka cuts long messages off */
    fprintf(stderr, "%s (pieces of %zu, first %zu):\n--- expected\n%s\n--- got\n%s\n---\n", c->title, cut->every, cut->first, expected, got);
    fail_msg("%s is not as it should be", c->title);
}

/* What comes out, as text without the last line break. */
static const char *played(const struct golden_case *c, golden_play *play, const struct buffer *in, const struct golden_cut *cut, struct buffer *out)
{
    static const uint8_t nothing[1];
    play(c, in->p ? buffer_data(in) : nothing, buffer_size(in), cut, out);
    while (buffer_size(out) > 0 && out->p[out->len - 1] == '\n')
        out->len--;
    assert_int_equal(buffer_append(out, "", 1), 0);
    return (const char *)buffer_data(out);
}

static void compare(const struct golden_case *c, golden_play *play, const struct buffer *in, const char *expected, const struct golden_cut *cut)
{
    struct buffer out = {0};
    const char *got = played(c, play, in, cut, &out);
    if (!expected)
        fail_msg("%s: has no block of events", c->title);
    else if (strcmp(got, expected) != 0)
        differs(c, cut, expected, got);
    buffer_fini(&out);
}

static void compare_all(const struct golden_case *c, golden_play *play, const struct buffer *in, const char *expected)
{
    compare(c, play, in, expected, &(struct golden_cut){0, 0});
    compare(c, play, in, expected, &(struct golden_cut){1, 0});
    for (size_t first = 1; first < buffer_size(in); first++)
        compare(c, play, in, expected, &(struct golden_cut){0, first});
}

void golden_check_input(const struct golden_case *c, const struct buffer *in, golden_play *play)
{
    compare_all(c, play, in, golden_text(c, "events"));
}

static void same(const struct golden_case *c, golden_play *play, golden_play *other)
{
    struct buffer in = {0}, out = {0};
    if (golden_bytes(c, "in", &in) < 0)
        fail_msg("%s: has no block of input", c->title);
    compare_all(c, other, &in, played(c, play, &in, &(struct golden_cut){0, 0}, &out));
    buffer_fini(&in);
    buffer_fini(&out);
}

void golden_same_all(const char *path, golden_play *play, golden_play *other)
{
    struct golden golden;
    golden_open(&golden, path);
    for (size_t i = 0; i < golden.count; i++)
        same(&golden.cases[i], play, other);
    golden_close(&golden);
}

void golden_check(const struct golden_case *c, golden_play *play)
{
    struct buffer in = {0};
    if (golden_bytes(c, "in", &in) < 0)
        fail_msg("%s: has no block of input", c->title);
    golden_check_input(c, &in, play);
    buffer_fini(&in);
}

void golden_check_all(const char *path, golden_play *play)
{
    struct golden golden;
    golden_open(&golden, path);
    for (size_t i = 0; i < golden.count; i++)
        golden_check(&golden.cases[i], play);
    golden_close(&golden);
}
