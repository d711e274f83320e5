/* SPDX-License-Identifier: MPL-2.0 */
/*
 * YAML through option tables (soth_opt): the only way configuration is read, the host's and every module's. Strict: unknown and
 * doubled keys, wrong types, values out of range, anchors/tags that change meaning, and files that group or others may write are errors
 * that say `file:line:col: key: what is wrong, what is allowed`.
 */
#ifndef HOST_CONF_OPTIONS_H
#define HOST_CONF_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <soth/sdk.h>

struct conf_node; /* one YAML value with its place: file, line, column */
struct conf_file; /* a parsed file, owner of its nodes */

/* Parses every document of a file; NULL with a message on errors. check_mode: refuse a file that group or others may write. */
struct conf_file *conf_file_open(const char *path, bool check_mode, FILE *errors);
struct conf_file *conf_file_from_text(const char *name, const char *text, FILE *errors); /* for tests and presets */
void conf_file_free(struct conf_file *file);
size_t conf_file_documents(const struct conf_file *file);
const struct conf_node *conf_file_document(const struct conf_file *file, size_t i); /* NULL = empty document */
const char *conf_file_path(const struct conf_file *file);

/* Fills base by the table: presets first, then the mapping (NULL = all presets). What it allocates is kept by *owned and freed by
 * options_fini. Returns the number of errors, each printed to `errors`. Prefix is the key path in front ("config."). */
struct options_owned;
int options_fill(const struct soth_opt *table, const struct conf_node *mapping, void *base, struct options_owned **owned, FILE *errors,
                 const char *prefix);
void options_fini(struct options_owned *owned);
/* The same file, and the same values in the same order? Where they stand in the file does not matter. */
bool conf_same_document(const struct conf_node *a, const struct conf_node *b);
/* Prints "file:line:col: key: text" for a key path ("rules[2].host") below a mapping, the mapping's own place when the key is not there. */
void options_error(const struct conf_node *mapping, const char *key, FILE *errors, const char *text);
/* Markdown table of a table: key, type, default, range, meaning; nested tables follow. */
void options_doc(const struct soth_opt *table, const char *prefix, FILE *out);
/* A sanity check of a module's table: known types, fields inside self_size, presets that parse. 0, or negative with a sentence. */
int options_check(const struct soth_opt *table, size_t self_size, char *err, size_t err_size);

#endif
