/* SPDX-License-Identifier: MPL-2.0 */
/* The files of conf.d: each document enables one module instance (load.h). */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/conf/load.h"
#include "host/conf/options_later.h"
#include "host/conf/value.h"

#define M struct conf_module

static const struct soth_opt queue_options[] = {
    {"max_events", SOTH_OPT_T_INT, 0, 0, "65536", 16, 100000000, NULL, NULL, 0, "events that may wait for this sink"},
    {"max_bytes", SOTH_OPT_T_SIZE, 0, sizeof(uint64_t), "64M", 65536, INT64_C(1) << 40, NULL, NULL, 0, "bytes that may wait for this sink"},
    {"on_full", SOTH_OPT_T_ENUM, 0, 2 * sizeof(uint64_t), "drop_newest", 0, 0, "drop_newest|drop_oldest|pause_flow", NULL, 0,
     "what happens when the queue is full"},
    SOTH_OPT_END,
};

#define SAMPLE_MOST (INT64_C(1) << 30)

const struct soth_opt conf_module_options[] = {
    SOTH_OPT_STRING(M, module, SOTH_REQUIRED, "the module: NAME.so in modules_dir"),
    SOTH_OPT_STRING(M, name, 0, "the instance's name; default is the module's"),
    SOTH_OPT_BOOL(M, enabled, "true", "false: the document is checked and not used"),
    SOTH_OPT_INT(M, order, "50", 0, 1000000, "position inside its phase, small first"),
    SOTH_OPT_ENUM(M, on_error, "open|closed", "",
                  "when the module fails: open goes on without it, closed refuses; default is closed for policies and open for the rest"),
    SOTH_OPT_MAP(M, queue, queue_options, "sinks: the queue in front of it"),
    SOTH_OPT_STRINGS(M, events, "[]", "sinks: event kinds or groups (all, connect, tls, http, body, stream, grpc, decoder, system)"),
    SOTH_OPT_STRING_DEF(M, payload, "none",
                        "sinks: content of messages in events: none, sample:N (first N bytes of each body, a size) or full; secrets are redacted"),
    {"config", OPT_T_NODE, 0, offsetof(M, config), "", 0, 0, NULL, NULL, 0, "what the module itself takes, by its own table"},
    SOTH_OPT_END,
};

struct conf_modules_private {
    struct conf_file **files;
    size_t file_count;
    struct options_owned *owned;
    struct conf_node **empty; /* stand-ins for `config:` */
    size_t empty_count;
};

static int is_yaml(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name);
    return entry->d_name[0] != '.' && n > 5 && strcmp(entry->d_name + n - 5, ".yaml") == 0;
}

static int check_names(const struct conf_modules *out, const struct conf_module *module, FILE *errors)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    const char *name_key = node_get(module->document, "name") ? "name" : "module";
    int count = 0;
    if (module->module[strspn(module->module, allowed)]) {
        options_error(module->document, "module", errors, "a module's name has letters, digits, _ and - only");
        count++;
    } else if (module->name[strspn(module->name, allowed)]) {
        options_error(module->document, "name", errors, "an instance's name has letters, digits, _ and - only");
        count++;
    }
    for (size_t i = 0; i < out->n; i++)
        if (strcmp(out->v[i].name, module->name) == 0) {
            options_error(module->document, name_key, errors, "another instance has this name, give one of them a name: of its own");
            return count + 1;
        }
    return count;
}

static int check_payload(struct conf_module *module, FILE *errors)
{
    static const char sample[] = "sample:";
    int64_t bytes = 0;
    if (strcmp(module->payload, "none") == 0)
        return 0;
    if (strcmp(module->payload, "full") == 0) {
        module->payload_bytes = UINT64_MAX;
        return 0;
    }
    if (strncmp(module->payload, sample, sizeof sample - 1) == 0 && value_parse_size(module->payload + sizeof sample - 1, &bytes) &&
        bytes >= 1 && bytes <= SAMPLE_MOST) {
        module->payload_bytes = (uint64_t)bytes;
        return 0;
    }
    options_error(module->document, "payload", errors, "allowed is none, full, or sample:N with a size of 1 to 1G, as sample:4k");
    return 1;
}

/* The `config:` of a document that has none. */
static const struct conf_node *no_config(struct conf_modules_private *p, const struct conf_node *document)
{
    struct conf_node *node = calloc(1, sizeof *node);
    struct conf_node **bigger = node ? realloc(p->empty, (p->empty_count + 1) * sizeof *bigger) : NULL;
    if (!bigger) {
        free(node);
        return NULL;
    }
    p->empty = bigger;
    *node = (struct conf_node){.type = NODE_MAP, .line = document->line, .column = document->column, .file = document->file};
    return p->empty[p->empty_count++] = node;
}

static int read_document(struct conf_modules *out, const struct conf_node *document, FILE *errors)
{
    struct conf_module *bigger = realloc(out->v, (out->n + 1) * sizeof *bigger);
    if (!bigger)
        return 1;
    out->v = bigger;
    struct conf_module *module = memset(&bigger[out->n], 0, sizeof *module);
    if (document->type != NODE_MAP) {
        options_error(document, "module", errors, "expected is a mapping with module: NAME");
        return 1;
    }
    module->on_error = 2;
    int count = options_fill(conf_module_options, document, module, &out->private->owned, errors, "");
    if (count)
        return count;
    if (!*module->name)
        module->name = module->module;
    module->document = document;
    if (!module->config)
        module->config = no_config(out->private, document);
    count = check_names(out, module, errors) + check_payload(module, errors);
    out->n += count == 0;
    return count;
}

static int take_file(struct conf_modules *out, struct conf_file *file, FILE *errors)
{
    struct conf_modules_private *p = out->private;
    struct conf_file **bigger = file ? realloc(p->files, (p->file_count + 1) * sizeof *bigger) : NULL;
    int count = 0;
    if (!bigger) {
        conf_file_free(file);
        return 1;
    }
    p->files = bigger;
    bigger[p->file_count++] = file;
    for (size_t i = 0; i < conf_file_documents(file); i++)
        if (conf_file_document(file, i))
            count += read_document(out, conf_file_document(file, i), errors);
    return count;
}

static void unreadable(const char *directory, const struct conf_node *given, FILE *errors)
{
    char text[512];
    int error = errno;
    if (given) {
        snprintf(text, sizeof text, "cannot read the directory %s: %s", directory, strerror(error));
        options_error(given, "conf_d", errors, text);
    } else {
        fprintf(errors, "%s:1:1: conf_d: cannot be read: %s\n", directory, strerror(error));
    }
}

static int read_file(struct conf_modules *out, const char *path, FILE *errors)
{
    return take_file(out, conf_file_open(path, true, errors), errors);
}

int conf_modules_read(struct conf_file *file, struct conf_modules *out, FILE *errors)
{
    *out = (struct conf_modules){.private = calloc(1, sizeof *out->private)};
    if (!out->private) {
        conf_file_free(file);
        return -SOTH_ENOMEM;
    }
    return take_file(out, file, errors) ? -SOTH_ECONFIG : SOTH_OK;
}

int conf_modules_load(const char *directory, const struct conf_node *given, struct conf_modules *out, FILE *errors)
{
    struct dirent **names = NULL;
    *out = (struct conf_modules){.private = calloc(1, sizeof *out->private)};
    int count = 0, n = scandir(directory, &names, is_yaml, alphasort);
    if (n < 0 && errno == ENOENT && !given)
        n = 0;
    if (n < 0)
        unreadable(directory, given, errors);
    if (n < 0 || !out->private)
        return -SOTH_ECONFIG;
    for (int i = 0; i < n; i++) {
        size_t size = strlen(directory) + strlen(names[i]->d_name) + 2;
        char *path = malloc(size);
        if (path) {
            snprintf(path, size, "%s/%s", directory, names[i]->d_name);
            count += read_file(out, path, errors);
        }
        free(path);
        free(names[i]);
    }
    free(names);
    return count ? -SOTH_ECONFIG : SOTH_OK;
}

void conf_modules_fini(struct conf_modules *modules)
{
    struct conf_modules_private *p = modules->private;
    for (size_t i = 0; p && i < p->file_count; i++)
        conf_file_free(p->files[i]);
    if (p) {
        for (size_t i = 0; i < p->empty_count; i++)
            free(p->empty[i]);
        free(p->empty);
        options_fini(p->owned);
        free(p->files);
    }
    free(p);
    free(modules->v);
    *modules = (struct conf_modules){0};
}
