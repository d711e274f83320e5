/* SPDX-License-Identifier: MPL-2.0 */
/* soth-mitm.yaml into settings: the tables fill them, here are the rules that look at more than one key. */
#include "host/conf/load.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "host/conf/cidr.h"
#include "host/conf/options_later.h"
#include "host/conf/place.h"
#include "host/http/mask.h"

#define DAY_MS (24u * 3600 * 1000)

struct settings_file {
    struct settings settings;
    struct conf_file *file;
    struct options_owned *owned;
    char *path, *conf_d, **module_dirs, **crl_files;
    struct settings_listen default_listen;
    const struct conf_node *root;
    FILE *errors;
    int count;
};

static void wrong(struct settings_file *f, const char *key, const char *format, ...) SOTH_PRINTF(3, 4);

static void wrong(struct settings_file *f, const char *key, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    options_error(f->root, key, f->errors, text);
    f->count++;
}

/* ---- addresses ---- */

static struct settings_cidr *cidr_list(struct settings_file *f, const char *key, const struct soth_strings *texts, size_t *count)
{
    struct settings_cidr *list = calloc(texts->n ? texts->n : 1, sizeof *list);
    if (!list)
        wrong(f, key, "out of memory");
    for (size_t i = 0; list && i < texts->n; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s[%zu]", key, i);
        if (!cidr_parse(texts->v[i], &list[i]))
            wrong(f, path, "'%s' is not a network, expected is ADDRESS or ADDRESS/BITS, as 10.0.0.0/8", texts->v[i]);
    }
    *count = list ? texts->n : 0;
    return list;
}

static bool is_resolver(const char *text)
{
    struct soth_addr addr;
    char copy[80];
    if (cidr_parse_addr(text, &addr))
        return true;
    const char *colon = strrchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof copy)
        return false;
    memcpy(copy, text, (size_t)(colon - text));
    copy[colon - text] = 0;
    char *end;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (colon[1] < '0' || colon[1] > '9' || *end || port == 0 || port > 65535)
        return false;
    size_t n = strlen(copy);
    if (n > 2 && copy[0] == '[' && copy[n - 1] == ']') {
        copy[n - 1] = 0;
        return cidr_parse_addr(copy + 1, &addr) && addr.family == 6;
    }
    return cidr_parse_addr(copy, &addr) && addr.family == 4;
}

/* ---- rules ---- */

static bool is_listen_addr(const char *text)
{
    struct soth_addr addr;
    char copy[64];
    size_t n = strlen(text);
    if (strncmp(text, "unix:/", 6) == 0)
        return n > 6 && n - 5 < 108;
    if (n >= 2 && n < sizeof copy && text[0] == '[' && text[n - 1] == ']') {
        memcpy(copy, text + 1, n - 2);
        copy[n - 2] = 0;
        return cidr_parse_addr(copy, &addr) && addr.family == 6;
    }
    return cidr_parse_addr(text, &addr);
}

static void check_listener(struct settings_file *f, const struct settings_listen *l, size_t i)
{
    const struct settings *s = &f->settings;
    char key[64];
#define KEY(name) (snprintf(key, sizeof key, "listen[%zu]." name, i), key)
    if (!is_listen_addr(l->addr))
        wrong(f, KEY("addr"), "'%s' is not an address, expected is IPv4, IPv6 or unix:/path", l->addr);
    if (l->mode == LISTEN_REVERSE && !*s->reverse_upstream.host)
        wrong(f, KEY("mode"), "mode reverse needs to know where to: reverse_upstream: {host: NAME, port: NUMBER, tls: true|false}");
    if (l->mode == LISTEN_EXPLICIT && l->tls)
        wrong(f, KEY("tls"), "an https:// proxy is not available in this version; tls: true goes with mode: reverse");
    if (!*l->cert_path != !*l->key_path)
        wrong(f, *l->key_path ? KEY("key_path") : KEY("cert_path"), "cert_path and key_path go together");
    else if (*l->cert_path && !l->tls)
        wrong(f, KEY("cert_path"), "a certificate goes with tls: true");
    if (l->host_header == HOST_HEADER_UPSTREAM && l->mode != LISTEN_REVERSE)
        wrong(f, KEY("host_header"), "'upstream' goes with mode: reverse");
#undef KEY
}

/* A name as look-ups take it (A-labels, as clients ask for it) or an address; IPv6 with brackets or without. */
static bool is_host(const char *text)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    struct soth_addr addr;
    char copy[64];
    size_t n = strlen(text), label = 0;
    bool bracketed = n > 2 && n < sizeof copy && text[0] == '[' && text[n - 1] == ']';
    snprintf(copy, sizeof copy, "%.*s", bracketed ? (int)n - 2 : (int)n, text + bracketed);
    if (n < sizeof copy && cidr_parse_addr(copy, &addr))
        return !bracketed || addr.family == 6;
    if (n == 0 || n > 253)
        return false;
    const char *last = text;
    for (const char *at = text; *at; at += label + (at[label] == '.')) {
        label = strspn(at, allowed);
        if (label == 0 || label > 63 || (at[label] && at[label] != '.'))
            return false;
        last = at;
    }
    return last[strspn(last, "0123456789.")] && strncasecmp(last, "0x", 2) != 0; /* or it means to be an IPv4 address */
}

/* The names of a new CA stand in certificates and on screens. */
static void check_name(struct settings_file *f, const char *key, const char *text)
{
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < 32 || *c == 127) {
            wrong(f, key, "has a control character, a name is text");
            return;
        }
}

/* RFC 9110 5.6.2 */
static bool is_token(const char *text)
{
    static const char allowed[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    return *text && text[strspn(text, allowed)] == 0;
}

static void check_texts(struct settings_file *f)
{
    const struct settings *s = &f->settings;
    const char *type = s->block_response.content_type;
    check_name(f, "ca.common_name", s->ca.common_name);
    check_name(f, "ca.organization", s->ca.organization);
    if (!*type)
        wrong(f, "block_response.content_type", "must not be empty, expected is a media type, as text/html");
    for (size_t i = 0; i < s->resolvers.n; i++) {
        char key[32];
        snprintf(key, sizeof key, "resolvers[%zu]", i);
        if (!is_resolver(s->resolvers.v[i]))
            wrong(f, key, "'%s' is not a name server, expected is ADDRESS or ADDRESS:PORT, as 192.0.2.53 or [2001:db8::53]:53",
                  s->resolvers.v[i]);
    }
    for (size_t i = 0; i < s->redact_headers.n; i++) {
        char key[32];
        snprintf(key, sizeof key, "redact_headers[%zu]", i);
        if (!is_token(s->redact_headers.v[i]))
            wrong(f, key, "'%s' is not the name of a field, as X-Internal-Key", s->redact_headers.v[i]);
    }
    for (size_t i = 0; i < s->redact_keys.n; i++) {
        char key[32];
        size_t n = strlen(s->redact_keys.v[i]);
        snprintf(key, sizeof key, "redact_keys[%zu]", i);
        if (n == 0 || n > MASK_KEY_MOST || strpbrk(s->redact_keys.v[i], "\"\n\r"))
            wrong(f, key, "'%s' is no key, expected are 1 to %u bytes without quotes and line ends, as api_key", s->redact_keys.v[i], MASK_KEY_MOST);
    }
    if (*s->reverse_upstream.host && !is_host(s->reverse_upstream.host))
        wrong(f, "reverse_upstream.host", "'%s' is not a host, expected is a name (xn-- for other scripts) or an address alone", s->reverse_upstream.host);
    for (const char *c = type; *c; c++)
        if ((unsigned char)*c < 32 || (unsigned char)*c > 126) {
            wrong(f, "block_response.content_type", "a media type has printable ASCII characters only, as text/html");
            break;
        }
}

static void check_rules(struct settings_file *f)
{
    struct settings *s = &f->settings;
    if (s->listen.n == 0) {
        f->default_listen = (struct settings_listen){.addr = "127.0.0.1", .port = 8080, .cert_path = "", .key_path = ""};
        s->listen = (struct soth_list){&f->default_listen, 1};
    }
    const struct settings_listen *listen = s->listen.items;
    for (size_t i = 0; i < s->listen.n; i++)
        check_listener(f, &listen[i], i);
    if (!*s->ca.cert_path != !*s->ca.key_path)
        wrong(f, *s->ca.key_path ? "ca.key_path" : "ca.cert_path", "cert_path and key_path go together");
    if (s->ca.rotate_after && s->ca.rotate_after < DAY_MS)
        wrong(f, "ca.rotate_after", "is less than a day, expected is 0 (never) or 24h and more, as 2160h");
    if (s->upstream_client_auth_mode && !s->upstream_client_certs.n)
        wrong(f, "upstream_client_auth_mode", "needs certificates: upstream_client_certs: [{host_pattern: NAME, cert_path: FILE, key_path: FILE}]");
    if (!s->upstream_client_auth_mode && s->upstream_client_certs.n)
        wrong(f, "upstream_client_certs", "are shown to nobody: set upstream_client_auth_mode to if_requested or required");
    check_texts(f);
    s->allow = cidr_list(f, "allow_clients", &s->allow_clients, &s->allow_count);
    s->deny = cidr_list(f, "deny_upstreams", &s->deny_upstreams, &s->deny_count);
}

static void place_list_free(char **list)
{
    for (size_t i = 0; list && list[i]; i++)
        free(list[i]);
    free(list);
}

/* The same names as whole paths, ended by NULL, with room for one more; NULL when out of memory. */
static char **place_list(const struct settings_file *f, const struct soth_strings *names)
{
    char **list = calloc(names->n + 2, sizeof *list);
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < names->n; i++)
        ok = (list[i] = place_beside(f->path, names->v[i])) != NULL;
    if (ok)
        return list;
    place_list_free(list);
    return NULL;
}

/* Where other files are, when it is not said with a whole path. */
static void place_files(struct settings_file *f)
{
    struct settings *s = &f->settings;
    size_t n = s->modules_dir.n;
    s->document = f->root;
    if (*s->conf_d)
        s->conf_d_given = f->root;
    else
        s->conf_d = f->conf_d = place_beside(f->path, "conf.d");
    f->module_dirs = place_list(f, &s->modules_dir);
    f->crl_files = place_list(f, &s->crl_files);
    bool ok = s->conf_d && f->module_dirs && f->crl_files;
    if (ok)
        s->crl_files.v = (const char *const *)f->crl_files;
    if (ok && n == 0)
        ok = (f->module_dirs[n++] = place_modules()) != NULL;
    if (ok)
        s->modules_dir = (struct soth_strings){(const char *const *)f->module_dirs, n};
    else
        wrong(f, "conf_d", "out of memory");
}

struct settings_file *settings_read(const char *path, FILE *errors, int *count)
{
    struct settings_file *f = calloc(1, sizeof *f);
    *count = 1;
    if (!f)
        return NULL;
    f->errors = errors;
    f->path = path ? strdup(path) : place_settings();
    f->file = f->path ? conf_file_open(f->path, true, errors) : NULL;
    if (!f->file) {
        settings_free(f);
        return NULL;
    }
    f->root = conf_file_document(f->file, 0);
    if (conf_file_documents(f->file) > 1) {
        fprintf(errors, "%s:1:1: file: has %zu documents, one is allowed\n", f->path, conf_file_documents(f->file));
        f->count++;
    }
    f->count += options_fill_later(settings_options, f->root, &f->settings, &f->owned, errors, "", settings_absent);
    if (f->count == 0)
        check_rules(f);
    place_files(f);
    *count = f->count;
    return f;
}

struct settings_file *settings_load(const char *path, FILE *errors)
{
    int count;
    struct settings_file *f = settings_read(path, errors, &count);
    if (!f || count == 0)
        return f;
    settings_free(f);
    return NULL;
}

const struct settings *settings_get(const struct settings_file *file)
{
    return &file->settings;
}

const char *settings_path(const struct settings_file *file)
{
    return file->path;
}

void settings_free(struct settings_file *file)
{
    if (!file)
        return;
    place_list_free(file->module_dirs);
    place_list_free(file->crl_files);
    free(file->settings.allow);
    free(file->settings.deny);
    options_fini(file->owned);
    conf_file_free(file->file);
    free(file->path);
    free(file->conf_d);
    free(file);
}
