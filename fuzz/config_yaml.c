/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Any bytes are read as soth-mitm.yaml and as a file of conf.d. What must hold: whatever is wrong is said with file, line and column, what
 * is not wrong fills the settings with values inside their ranges, and saying where a key is never fails.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz/target.h"
#include "host/conf/load.h"

/* Every line begins with `fuzz.yaml:LINE:COLUMN: ` and ends with a newline. */
static void check_messages(const char *text, int count)
{
    int lines = 0;
    for (const char *line = text; *line; lines++) {
        const char *at = line, *end = strchr(line, '\n');
        MUST(end && strncmp(at, "fuzz.yaml:", 10) == 0);
        at += 10;
        for (int number = 0; number < 2; number++) {
            size_t digits = strspn(at, "0123456789");
            MUST(digits > 0 && at[digits] == ':' && *at != '0');
            at += digits + 1;
        }
        MUST(*at == ' ' && memchr(at, ':', (size_t)(end - at)));
        line = end + 1;
    }
    MUST(count == 0 ? lines == 0 : lines >= count);
}

static void check_settings(const struct settings *s)
{
    const struct settings_listen *listen = s->listen.items;
    MUST(s->workers >= 0 && s->workers <= 256 && s->block_response.status >= 400 && s->block_response.status <= 599);
    MUST(s->not_tls <= NOT_TLS_BLOCK && s->authority_mismatch <= MISMATCH_ALLOW && s->strict_header_mode <= 1);
    MUST(s->max_http_head_bytes >= 1024 && s->max_http_head_bytes <= 1024 * 1024);
    for (size_t i = 0; i < s->listen.n; i++)
        MUST(listen[i].addr && listen[i].cert_path && listen[i].port >= 0 && listen[i].port <= 65535 && listen[i].mode <= LISTEN_REVERSE);
    for (size_t i = 0; i < s->resolvers.n; i++)
        MUST(s->resolvers.v[i] && *s->resolvers.v[i]);
    MUST(s->ca.common_name && s->reverse_upstream.host && s->block_response.body && s->conf_d);
}

static int fill(const struct conf_node *document, FILE *errors)
{
    struct settings settings;
    struct conf_module module;
    struct options_owned *owned = NULL;
    memset(&settings, 0, sizeof settings);
    memset(&module, 0, sizeof module);
    int count = options_fill(settings_options, document, &settings, &owned, errors, "");
    check_settings(&settings); /* what is wrong has kept its preset */
    count += options_fill(conf_module_options, document, &module, &owned, errors, "config.");
    MUST(module.module && module.name && module.enabled <= 1 && module.queue.max_events >= 16);
    options_fini(owned);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), *said = NULL;
    size_t said_size = 0;
    FILE *errors = open_memstream(&said, &said_size);
    MUST(text && errors);
    memcpy(text, data, size);
    text[size] = 0; /* a text ends at its first NUL */
    struct conf_file *file = conf_file_from_text("fuzz.yaml", text, errors);
    int count = file ? 0 : 1;
    for (size_t i = 0; file && i < conf_file_documents(file); i++) {
        const struct conf_node *document = conf_file_document(file, i);
        static const char *const keys[] = {"listen[0].addr", "ca", "block_response.status", "resolvers[2]", "", "a.b.c[9][9]", "[", "]"};
        if (!document)
            continue;
        count += fill(document, errors);
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++, count++)
            options_error(document, keys[k], errors, "is asked for");
    }
    conf_file_free(file);
    fclose(errors);
    check_messages(said, count);
    free(said);
    free(text);
    return 0;
}
