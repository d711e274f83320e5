/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Golden tests: Markdown documents that are specification and test in one. A case is a `## title` and the fenced blocks below it; the
 * block `in` holds input bytes (escapes \n \r \t \0 \\ \xHH; line breaks of the document do not count), the block `events` the text
 * that must come out, line by line. Whatever else stands in the document is for people.
 */
#ifndef TESTS_UNIT_GOLDEN_H
#define TESTS_UNIT_GOLDEN_H

#include <stddef.h>
#include <stdint.h>

#include "host/mem/buffer.h"

#define GOLDEN_BLOCKS 8

struct golden_block {
    char name[32]; /* what stands behind the opening fence */
    char *text;    /* as in the document, NUL-terminated, without the last line break */
};

struct golden_case {
    char *title;
    struct golden_block blocks[GOLDEN_BLOCKS];
    size_t block_count;
};

struct golden {
    struct golden_case *cases;
    size_t count;
};

/* Fails the running test when the document cannot be read or has no case. Paths are relative to $srcdir where that is set. */
void golden_open(struct golden *golden, const char *path);
void golden_close(struct golden *golden);

/* The text of a block, or NULL. */
const char *golden_text(const struct golden_case *c, const char *name);
/* The bytes that a block stands for, appended to out; 0, or -1 when there is no such block. */
int golden_bytes(const struct golden_case *c, const char *name, struct buffer *out);

/* The bytes that text of a document stands for. */
void golden_unescape(const struct golden_case *c, const char *text, size_t n, struct buffer *out);

/* How an input is cut: pieces of `every` bytes, or one of `first` bytes and the rest, or (both 0) whole. */
struct golden_cut {
    size_t every, first;
};
/* Length of the piece that begins at `at`. */
static inline size_t golden_piece(const struct golden_cut *cut, size_t at, size_t n)
{
    size_t piece = cut->every ? cut->every : at < cut->first ? cut->first - at : n - at;
    return piece < n - at ? piece : n - at;
}

/* Feeds p in pieces as cut says and appends what comes out, a line an event. */
typedef void golden_play(const struct golden_case *c, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out);

/* Plays the case whole, byte by byte and cut in two at every place; fails the test where the outcome is not the block `events`. */
void golden_check(const struct golden_case *c, golden_play *play);
/* The same with bytes that are not in the document as they are. */
void golden_check_input(const struct golden_case *c, const struct buffer *in, golden_play *play);
/* For each case of a document: whatever comes out of `play` with the input whole, `other` gives the same for every cut. */
void golden_same_all(const char *path, golden_play *play, golden_play *other);
/* All cases of a document. */
void golden_check_all(const char *path, golden_play *play);

#endif
