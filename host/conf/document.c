/* SPDX-License-Identifier: MPL-2.0 */
/*
 * YAML files into trees of nodes that know their line and column. Only what configuration needs: anchors, aliases, tags and merge keys
 * are refused, depth and size are bounded. libyaml is used here and nowhere else.
 */
#include "host/conf/document.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <yaml.h>

#define MAX_DEPTH 16
#define MAX_NODES 1000000u
#define MAX_KEYS 1000u /* of one mapping */
#define MAX_BYTES (8 * 1024 * 1024)

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

struct conf_file {
    char *path;
    struct conf_node **documents; /* NULL entries are empty documents */
    size_t count;
};

struct reader {
    yaml_parser_t parser;
    struct conf_file *file;
    FILE *errors;
    size_t nodes;
};

static void node_fini(struct conf_node *node)
{
    for (size_t i = 0; i < node->count; i++) {
        if (node->keys)
            node_fini(&node->keys[i]);
        node_fini(&node->items[i]);
    }
    free(node->text);
    free(node->keys);
    free(node->items);
}

void conf_file_free(struct conf_file *file)
{
    if (!file)
        return;
    for (size_t i = 0; i < file->count; i++) {
        if (file->documents[i])
            node_fini(file->documents[i]);
        free(file->documents[i]);
    }
    free(file->documents);
    free(file->path);
    free(file);
}

static bool complain(struct reader *r, const yaml_mark_t *mark, const char *what)
{
    fprintf(r->errors, "%s:%zu:%zu: yaml: %s\n", r->file->path, mark->line + 1, mark->column + 1, what);
    return false;
}

static bool no_memory(struct reader *r)
{
    yaml_mark_t mark = r->parser.mark;
    return complain(r, &mark, "out of memory");
}

static bool next(struct reader *r, yaml_event_t *event)
{
    if (yaml_parser_parse(&r->parser, event))
        return true;
    yaml_mark_t mark = r->parser.problem_mark;
    if (r->parser.error == YAML_READER_ERROR)
        fprintf(r->errors, "%s:1:1: yaml: not valid UTF-8 text: %s at byte %zu\n", r->file->path, r->parser.problem, r->parser.problem_offset);
    else
        complain(r, &mark, r->parser.problem ? r->parser.problem : "not valid YAML");
    return false;
}

static bool read_node(struct reader *r, const yaml_event_t *event, struct conf_node *node, unsigned depth);

static struct conf_node *grow(struct conf_node **array, size_t count)
{
    if ((count & (count - 1)) == 0) { /* a power of two is full */
        struct conf_node *bigger = realloc(*array, (count ? count * 2 : 1) * sizeof **array);
        if (!bigger)
            return NULL;
        *array = bigger;
    }
    memset(&(*array)[count], 0, sizeof **array);
    return &(*array)[count];
}

static bool read_list(struct reader *r, struct conf_node *node, unsigned depth)
{
    for (;;) {
        yaml_event_t event;
        if (!next(r, &event))
            return false;
        if (event.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&event);
            return true;
        }
        struct conf_node *item = grow(&node->items, node->count);
        bool ok = item != NULL;
        if (ok) {
            node->count++;
            ok = read_node(r, &event, item, depth + 1);
        } else {
            no_memory(r);
        }
        yaml_event_delete(&event);
        if (!ok)
            return false;
    }
}

static bool read_pair(struct reader *r, const yaml_event_t *key_event, struct conf_node *node, unsigned depth)
{
    if (key_event->type != YAML_SCALAR_EVENT)
        return complain(r, &key_event->start_mark, "a key must be plain text");
    if (node->count == MAX_KEYS)
        return complain(r, &key_event->start_mark, "this mapping has too many keys");
    struct conf_node *key = grow(&node->keys, node->count), *item = grow(&node->items, node->count);
    if (!key || !item)
        return no_memory(r);
    node->count++;
    if (!read_node(r, key_event, key, depth + 1))
        return false;
    if (strcmp(key->text, "<<") == 0)
        return complain(r, &key_event->start_mark, "merge keys are not supported, write the keys out");
    yaml_event_t value;
    if (!next(r, &value))
        return false;
    bool ok = read_node(r, &value, item, depth + 1);
    yaml_event_delete(&value);
    return ok;
}

static bool read_map(struct reader *r, struct conf_node *node, unsigned depth)
{
    for (;;) {
        yaml_event_t event;
        if (!next(r, &event))
            return false;
        bool end = event.type == YAML_MAPPING_END_EVENT;
        bool ok = end || read_pair(r, &event, node, depth);
        yaml_event_delete(&event);
        if (!ok)
            return false;
        if (end)
            return true;
    }
}

static bool plain(struct reader *r, const yaml_event_t *event, const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor)
        return complain(r, &event->start_mark, "anchors are not supported, write the value out");
    if (tag)
        return complain(r, &event->start_mark, "tags are not supported, the type follows from the key");
    return true;
}

static bool read_node(struct reader *r, const yaml_event_t *event, struct conf_node *node, unsigned depth)
{
    if (depth > MAX_DEPTH)
        return complain(r, &event->start_mark, "nested too deeply, at most " TEXT(MAX_DEPTH) " levels are allowed");
    if (++r->nodes > MAX_NODES)
        return complain(r, &event->start_mark, "the file is too large");
    node->line = (unsigned)event->start_mark.line + 1;
    node->column = (unsigned)event->start_mark.column + 1;
    node->file = r->file;
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        if (!plain(r, event, event->data.scalar.anchor, event->data.scalar.tag))
            return false;
        if (memchr(event->data.scalar.value, 0, event->data.scalar.length))
            return complain(r, &event->start_mark, "a NUL has no place here");
        node->type = NODE_SCALAR;
        node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        node->text = strdup((const char *)event->data.scalar.value);
        return node->text || no_memory(r);
    case YAML_SEQUENCE_START_EVENT:
        node->type = NODE_LIST;
        return plain(r, event, event->data.sequence_start.anchor, event->data.sequence_start.tag) && read_list(r, node, depth);
    case YAML_MAPPING_START_EVENT:
        node->type = NODE_MAP;
        return plain(r, event, event->data.mapping_start.anchor, event->data.mapping_start.tag) && read_map(r, node, depth);
    default:
        return complain(r, &event->start_mark, "aliases are not supported, write the value out");
    }
}

static bool add_document(struct reader *r, const yaml_event_t *event)
{
    struct conf_node **bigger = realloc(r->file->documents, (r->file->count + 1) * sizeof *bigger);
    if (!bigger)
        return no_memory(r);
    r->file->documents = bigger;
    struct conf_node *root = bigger[r->file->count++] = calloc(1, sizeof *root);
    return root ? read_node(r, event, root, 0) : no_memory(r);
}

static void drop_if_empty(struct conf_file *file)
{
    struct conf_node **last = &file->documents[file->count - 1];
    if (*last && (*last)->type == NODE_SCALAR && !(*last)->quoted && ((*last)->text[0] == 0 || strcmp((*last)->text, "null") == 0)) {
        node_fini(*last);
        free(*last);
        *last = NULL;
    }
}

static bool read_documents(struct reader *r)
{
    for (;;) {
        yaml_event_t event;
        if (!next(r, &event))
            return false;
        bool ok = true, end = event.type == YAML_STREAM_END_EVENT;
        switch (event.type) {
        case YAML_SCALAR_EVENT:
        case YAML_SEQUENCE_START_EVENT:
        case YAML_MAPPING_START_EVENT:
        case YAML_ALIAS_EVENT:
            ok = add_document(r, &event);
            if (ok)
                drop_if_empty(r->file);
            break;
        default:
            break;
        }
        yaml_event_delete(&event);
        if (!ok || end)
            return ok;
    }
}

static struct conf_file *parse(const char *path, FILE *in, const char *text, FILE *errors)
{
    struct reader r = {.errors = errors, .file = calloc(1, sizeof *r.file)};
    if (!r.file || !(r.file->path = strdup(path)) || !yaml_parser_initialize(&r.parser)) {
        fprintf(errors, "%s:1:1: yaml: out of memory\n", path);
        conf_file_free(r.file);
        return NULL;
    }
    if (in)
        yaml_parser_set_input_file(&r.parser, in);
    else
        yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, strlen(text));
    bool ok = read_documents(&r);
    yaml_parser_delete(&r.parser);
    if (ok)
        return r.file;
    conf_file_free(r.file);
    return NULL;
}

/* What speaks against reading it, or NULL. */
static const char *unfit(const struct stat *st, bool check_mode, char *text, size_t size)
{
    if (!S_ISREG(st->st_mode))
        return "not a regular file";
    if (st->st_size > MAX_BYTES)
        return "larger than 8 MiB";
    if (!check_mode || !(st->st_mode & (S_IWGRP | S_IWOTH)))
        return NULL;
    snprintf(text, size, "its mode is %04o, but group and others must not be able to write it: chmod go-w", (unsigned)st->st_mode & 07777);
    return text;
}

struct conf_file *conf_file_open(const char *path, bool check_mode, FILE *errors)
{
    struct stat st;
    char text[128];
    FILE *in = fopen(path, "re");
    const char *why = !in || fstat(fileno(in), &st) < 0 ? strerror(errno) : unfit(&st, check_mode, text, sizeof text);
    struct conf_file *file = NULL;
    if (why)
        fprintf(errors, "%s:1:1: file: %s\n", path, why);
    else
        file = parse(path, in, NULL, errors);
    if (in)
        fclose(in);
    return file;
}

struct conf_file *conf_file_from_text(const char *name, const char *text, FILE *errors)
{
    return parse(name, NULL, text, errors);
}

size_t conf_file_documents(const struct conf_file *file)
{
    return file->count;
}

const struct conf_node *conf_file_document(const struct conf_file *file, size_t i)
{
    return i < file->count ? file->documents[i] : NULL;
}

const char *conf_file_path(const struct conf_file *file)
{
    return file->path;
}

const struct conf_node *node_get(const struct conf_node *map, const char *key)
{
    if (!map || map->type != NODE_MAP)
        return NULL;
    for (size_t i = 0; i < map->count; i++)
        if (strcmp(map->keys[i].text, key) == 0)
            return &map->items[i];
    return NULL;
}

static bool same_value(const struct conf_node *a, const struct conf_node *b)
{
    if (a->type != b->type || a->quoted != b->quoted || a->count != b->count)
        return false;
    if (a->type == NODE_SCALAR)
        return strcmp(a->text, b->text) == 0;
    for (size_t i = 0; i < a->count; i++)
        if (!same_value(&a->items[i], &b->items[i]) || (a->type == NODE_MAP && strcmp(a->keys[i].text, b->keys[i].text) != 0))
            return false;
    return true;
}

bool conf_same_document(const struct conf_node *a, const struct conf_node *b)
{
    return strcmp(a->file->path, b->file->path) == 0 && same_value(a, b);
}
