/* SPDX-License-Identifier: MPL-2.0 */
/* Files to settings: soth-mitm.yaml and the module documents of conf.d. */
#ifndef HOST_CONF_LOAD_H
#define HOST_CONF_LOAD_H

#include <stdio.h>

#include "host/conf/options.h"
#include "host/conf/settings.h"

struct settings_file; /* owner of a struct settings and the YAML behind it */

/* NULL with messages on errors; cross-field rules are checked here too. path NULL = the default place (contract section 1). */
struct settings_file *settings_load(const char *path, FILE *errors);
/* For `check`: a file with errors is returned too, with their number in *count and defaults in place of what is wrong. NULL only when it
 * cannot be read or is not YAML. */
struct settings_file *settings_read(const char *path, FILE *errors, int *count);
const struct settings *settings_get(const struct settings_file *file);
const char *settings_path(const struct settings_file *file);
void settings_free(struct settings_file *file);
extern const struct soth_opt settings_options[]; /* for `config doc` */
extern const struct soth_opt conf_module_options[]; /* the same of a document in conf.d */
extern const char *const settings_absent[]; /* keys of later versions, ended by NULL */
void settings_doc(FILE *out); /* Markdown: the text of docs/configuration.md */
/* Where the CA is when `ca` names no files (contract section 1). malloc'd. */
char *settings_default_ca(const char *file_name);

/* One document of conf.d. */
struct conf_module {
    const char *module;      /* "sink_file" */
    const char *name;        /* instance name, unique */
    uint8_t enabled;
    int64_t order;
    uint32_t on_error;       /* 0 open, 1 closed, 2 not given (the kind's default) */
    struct {
        uint64_t max_events, max_bytes;
        uint32_t on_full;    /* QUEUE_... of event/bus.h */
    } queue;
    struct soth_strings events;        /* empty = the module's own */
    const char *payload;               /* as written */
    uint64_t payload_bytes;            /* of each message; 0 = none, UINT64_MAX = full */
    const struct conf_node *config;    /* the `config:` value; an empty mapping at the document's place when there is none */
    const struct conf_node *document;  /* for messages */
};
struct conf_modules {
    struct conf_module *v;
    size_t n;
    struct conf_modules_private *private;
};
/* Every *.yaml of the directory in name order. `given` is the mapping whose key conf_d names the directory; NULL: it is the default, and
 * when it is missing there are no modules. 0 or -SOTH_ECONFIG with messages. */
int conf_modules_load(const char *directory, const struct conf_node *given, struct conf_modules *out, FILE *errors);
/* The same out of one file, which it takes: conf_file_open, or conf_file_from_text; NULL is an error. */
int conf_modules_read(struct conf_file *file, struct conf_modules *out, FILE *errors);
void conf_modules_fini(struct conf_modules *modules);

#endif
