/* SPDX-License-Identifier: MPL-2.0 */
/* soth-mitm.yaml into settings: the tables fill them, here are the rules that look at more than one key. */
#include "host/conf/load.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/conf/document.h"

#ifndef SOTH_SYSCONFDIR
#define SOTH_SYSCONFDIR "/usr/local/etc"
#endif
#ifndef SOTH_LOCALSTATEDIR
#define SOTH_LOCALSTATEDIR "/usr/local/var"
#endif

struct settings_file {
    struct settings settings;
    struct conf_file *file;
    struct options_owned *owned;
    char *path, *conf_d;
    struct settings_listen default_listen;
    const struct conf_node *root;
    FILE *errors;
    int count;
};

static char *concat(const char *a, const char *b, const char *c)
{
    char *out = malloc(strlen(a) + strlen(b) + strlen(c) + 1);
    if (out)
        strcat(strcat(strcpy(out, a), b), c);
    return out;
}

static char *xdg(const char *variable, const char *below_home, const char *rest)
{
    const char *base = getenv(variable), *home = getenv("HOME");
    if (base && base[0] == '/')
        return concat(base, "/soth-mitm", rest);
    char *dir = concat(home && *home ? home : "/", below_home, "/soth-mitm");
    char *out = dir ? concat(dir, rest, "") : NULL;
    free(dir);
    return out;
}

static char *default_path(void)
{
    char *own = xdg("XDG_CONFIG_HOME", "/.config", "/soth-mitm.yaml");
    if (own && access(own, F_OK) == 0)
        return own;
    free(own);
    return strdup(SOTH_SYSCONFDIR "/soth-mitm/soth-mitm.yaml");
}

char *settings_default_ca(const char *file_name)
{
    if (geteuid() == 0)
        return concat(SOTH_LOCALSTATEDIR "/lib/soth-mitm/ca", "/", file_name);
    char *dir = xdg("XDG_DATA_HOME", "/.local/share", "/ca/");
    char *out = dir ? concat(dir, file_name, "") : NULL;
    free(dir);
    return out;
}

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

static bool parse_addr(const char *text, struct soth_addr *out)
{
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, text, out->bytes) == 1)
        out->family = 4;
    else if (inet_pton(AF_INET6, text, out->bytes) == 1)
        out->family = 6;
    return out->family != 0;
}

static bool parse_cidr(const char *text, struct settings_cidr *out)
{
    char copy[64];
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : strlen(text);
    if (n >= sizeof copy)
        return false;
    memcpy(copy, text, n);
    copy[n] = 0;
    if (!parse_addr(copy, &out->addr))
        return false;
    unsigned most = out->addr.family == 4 ? 32 : 128;
    out->bits = most;
    if (!slash)
        return true;
    char *end;
    unsigned long bits = strtoul(slash + 1, &end, 10);
    if (slash[1] < '0' || slash[1] > '9' || *end || bits > most)
        return false;
    out->bits = (uint32_t)bits;
    return true;
}

static struct settings_cidr *cidr_list(struct settings_file *f, const char *key, const struct soth_strings *texts, size_t *count)
{
    struct settings_cidr *list = calloc(texts->n ? texts->n : 1, sizeof *list);
    for (size_t i = 0; list && i < texts->n; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s[%zu]", key, i);
        if (!parse_cidr(texts->v[i], &list[i]))
            wrong(f, path, "'%s' is not a network, expected is ADDRESS or ADDRESS/BITS, as 10.0.0.0/8", texts->v[i]);
    }
    *count = texts->n;
    return list;
}

static bool is_resolver(const char *text)
{
    struct soth_addr addr;
    char copy[80];
    if (parse_addr(text, &addr))
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
        return parse_addr(copy + 1, &addr) && addr.family == 6;
    }
    return parse_addr(copy, &addr) && addr.family == 4;
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
        return parse_addr(copy, &addr) && addr.family == 6;
    }
    return parse_addr(text, &addr);
}

static void check_listener(struct settings_file *f, const struct settings_listen *l, size_t i)
{
    const struct settings *s = &f->settings;
    char key[64];
#define KEY(name) (snprintf(key, sizeof key, "listen[%zu]." name, i), key)
    if (!is_listen_addr(l->addr))
        wrong(f, KEY("addr"), "'%s' is not an address, expected is IPv4, IPv6 or unix:/path", l->addr);
    if (l->mode == LISTEN_REVERSE && !*s->reverse_upstream.host)
        wrong(f, KEY("mode"), "reverse needs reverse_upstream: {host, port, tls}");
    if (l->mode == LISTEN_EXPLICIT && l->tls)
        wrong(f, KEY("tls"), "a proxy port that speaks TLS itself is not available in this version, tls goes with mode: reverse");
    if (!*l->cert_path != !*l->key_path)
        wrong(f, KEY("cert_path"), "cert_path and key_path go together");
    if (*l->cert_path && !l->tls)
        wrong(f, KEY("cert_path"), "a certificate needs tls: true");
    if (l->host_header == HOST_HEADER_UPSTREAM && l->mode != LISTEN_REVERSE)
        wrong(f, KEY("host_header"), "upstream goes with mode: reverse");
#undef KEY
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
        wrong(f, "ca", "cert_path and key_path go together");
    for (size_t i = 0; i < s->resolvers.n; i++)
        if (!is_resolver(s->resolvers.v[i]))
            wrong(f, "resolvers", "'%s' is not a name server, expected is ADDRESS or ADDRESS:PORT", s->resolvers.v[i]);
    for (const char *c = s->block_response.content_type; *c; c++)
        if ((unsigned char)*c < 32 || (unsigned char)*c > 126)
            wrong(f, "block_response.content_type", "a media type has printable ASCII characters only");
    s->allow = cidr_list(f, "allow_clients", &s->allow_clients, &s->allow_count);
    s->deny = cidr_list(f, "deny_upstreams", &s->deny_upstreams, &s->deny_count);
}

static void default_conf_d(struct settings_file *f)
{
    const char *slash = strrchr(f->path, '/');
    if (*f->settings.conf_d)
        return;
    f->conf_d = slash ? malloc((size_t)(slash - f->path) + sizeof "/conf.d") : strdup("conf.d");
    if (f->conf_d && slash) {
        memcpy(f->conf_d, f->path, (size_t)(slash - f->path));
        strcpy(f->conf_d + (slash - f->path), "/conf.d");
    }
    f->settings.conf_d = f->conf_d;
}

struct settings_file *settings_load(const char *path, FILE *errors)
{
    struct settings_file *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->errors = errors;
    f->path = path ? strdup(path) : default_path();
    f->file = f->path ? conf_file_open(f->path, true, errors) : NULL;
    if (!f->file) {
        settings_free(f);
        return NULL;
    }
    f->root = conf_file_document(f->file, 0);
    if (conf_file_documents(f->file) > 1) {
        fprintf(errors, "%s:1:1: one document is expected, here are %zu\n", f->path, conf_file_documents(f->file));
        f->count++;
    }
    f->count += options_fill(settings_options, f->root, &f->settings, &f->owned, errors, "");
    if (f->count == 0)
        check_rules(f);
    default_conf_d(f);
    if (f->count > 0 || !f->settings.conf_d) {
        settings_free(f);
        return NULL;
    }
    return f;
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
    free(file->settings.allow);
    free(file->settings.deny);
    options_fini(file->owned);
    conf_file_free(file->file);
    free(file->path);
    free(file->conf_d);
    free(file);
}
