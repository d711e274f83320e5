/* SPDX-License-Identifier: MPL-2.0 */
/*
 * `soth-mitm ca env`: variables for clients that do not look into the system's CA store, as shell text or JSON. Bundles (the system's roots
 * and our CA) are written beside the CA. Nothing else of the system changes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/cli/ca.h"
#include "host/log.h"
#include "host/status.h"

enum source { PROXY, DIRECT, BUNDLE, CERTIFICATE, JAVA, WGET, ONE };
static const struct {
    const char *name;
    enum source source;
} variables[] = {
    {"HTTPS_PROXY", PROXY}, {"https_proxy", PROXY}, {"HTTP_PROXY", PROXY}, {"http_proxy", PROXY}, {"NO_PROXY", DIRECT}, {"no_proxy", DIRECT},
    {"SSL_CERT_FILE", BUNDLE},       /* OpenSSL, Go, Ruby, Rust (native roots), PHP */
    {"REQUESTS_CA_BUNDLE", BUNDLE},  /* Python requests */
    {"CURL_CA_BUNDLE", BUNDLE},      /* curl, httpx of old */
    {"GIT_SSL_CAINFO", BUNDLE},      /* git over https */
    {"CARGO_HTTP_CAINFO", BUNDLE},   /* cargo */
    {"PIP_CERT", BUNDLE},            /* pip */
    {"AWS_CA_BUNDLE", BUNDLE},       /* boto3, AWS CLI */
    {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", BUNDLE},
    {"NODE_EXTRA_CA_CERTS", CERTIFICATE}, /* Node adds it to its own roots */
    {"npm_config_cafile", BUNDLE},        /* npm, where an npmrc has a cafile and so Node's roots count for nothing */
    {"DENO_CERT", CERTIFICATE},
    {"NODE_USE_ENV_PROXY", ONE}, /* fetch of Node 24 and later reads the proxy variables with this alone */
    {"JAVA_TOOL_OPTIONS", JAVA},
    {"WGETRC", WGET}, /* wget knows no variable for certificates, but one for its configuration */
};

struct environment {
    const char *proxy, *bundle, *certificate, *java, *wget;
};

/* http://HOST:PORT into its parts; 0 or negative. */
static int split_proxy(const char *url, char *host, size_t size, const char **port)
{
    const char *at = strstr(url, "://");
    at = at ? at + 3 : url;
    const char *colon = strrchr(at, ':');
    if (!colon || colon == at || (size_t)(colon - at) >= size)
        return -SOTH_EINVALID;
    memcpy(host, at, (size_t)(colon - at));
    host[colon - at] = 0;
    *port = colon + 1;
    return 0;
}

/* What Java understands: the proxy by properties, and a trust store that takes the place of its own. malloc'd, or NULL. */
static char *java_options(const char *proxy, const char *store)
{
    char host[256], *out = NULL;
    const char *port;
    if (split_proxy(proxy, host, sizeof host, &port) < 0)
        return NULL;
    int digits = (int)strspn(port, "0123456789");
    const char *quote = strpbrk(store, " \t") ? "\"" : ""; /* the JVM splits the variable at blanks outside of quotes */
    if (asprintf(&out,
                 "-Dhttp.proxyHost=%s -Dhttp.proxyPort=%.*s -Dhttps.proxyHost=%s -Dhttps.proxyPort=%.*s %s-Djavax.net.ssl.trustStore=%s%s "
                 "-Djavax.net.ssl.trustStoreType=PKCS12 -Djavax.net.ssl.trustStorePassword=" CA_JAVA_PASSWORD,
                 host, digits, port, host, digits, port, quote, store, quote) < 0)
        return NULL;
    return out;
}

/* The user's own configuration of wget. */
static FILE *open_wgetrc(const char *ours)
{
    const char *own = getenv("WGETRC"), *home = getenv("HOME");
    char path[4096];
    if (own && *own && strcmp(own, ours) != 0)
        return fopen(own, "re");
    if (!home || (size_t)snprintf(path, sizeof path, "%s/.wgetrc", home) >= sizeof path)
        return NULL;
    return fopen(path, "re");
}

/* That, and our bundle, beside the bundle; malloc'd, or NULL. */
static char *write_wgetrc(const char *bundle)
{
    char *path = NULL, *text = NULL, part[4096];
    size_t size, n;
    const char *slash = strrchr(bundle, '/');
    if (asprintf(&path, "%.*swgetrc", slash ? (int)(slash + 1 - bundle) : 0, bundle) < 0)
        return NULL;
    FILE *in = open_wgetrc(path), *out = open_memstream(&text, &size);
    while (in && out && (n = fread(part, 1, sizeof part, in)) > 0)
        fwrite(part, 1, n, out);
    if (in)
        fclose(in);
    bool made = out && fprintf(out, "\nca_certificate = %s\n", bundle) > 0;
    made = out && fclose(out) == 0 && made;
    if (!made || ca_write_file(path, 0600, text, size) != 0) { /* it may hold passwords */
        free(path);
        path = NULL;
    }
    free(text);
    return path;
}

static const char *value_of(const struct environment *e, enum source source)
{
    switch (source) {
    case PROXY:
        return e->proxy;
    case DIRECT:
        return "localhost,127.0.0.1,::1";
    case BUNDLE:
        return e->bundle;
    case CERTIFICATE:
        return e->certificate;
    case JAVA:
        return e->java;
    case WGET:
        return e->wget;
    default:
        return "1";
    }
}

/* Text in single quotes; a character of `special` gets `before` and `after` around it. */
static void put_quoted(const char *text, const char *special, const char *before, const char *after)
{
    putchar('\'');
    for (; *text; text++) {
        bool is_special = strchr(special, *text) != NULL;
        printf("%s%c%s", is_special ? before : "", *text, is_special ? after : "");
    }
    putchar('\'');
}

static void put_json(const char *text)
{
    putchar('"');
    for (; *text; text++)
        if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            printf("\\u%04x", (unsigned)*text);
        else
            putchar(*text);
    putchar('"');
}

static void print_environment(const struct environment *e, const char *shell)
{
    size_t n = sizeof variables / sizeof *variables;
    bool json = strcmp(shell, "json") == 0, fish = strcmp(shell, "fish") == 0;
    for (size_t i = 0; i < n; i++) {
        const char *value = value_of(e, variables[i].source);
        if (json) {
            printf("%s  \"%s\": ", i ? ",\n" : "{\n", variables[i].name);
            put_json(value);
        } else if (fish) {
            printf("set -gx %s ", variables[i].name);
            put_quoted(value, "'\\", "\\", "");
            putchar('\n');
        } else {
            printf("export %s=", variables[i].name);
            put_quoted(value, "'", "'\\", "'");
            putchar('\n');
        }
    }
    if (json)
        fputs("\n}\n", stdout);
}

/* The first explicit listener on TCP as a URL that a client on this machine can use; malloc'd. */
static char *proxy_of(const struct settings *s)
{
    const struct settings_listen *listen = s->listen.items;
    char *url = NULL;
    for (size_t i = 0; i < s->listen.n; i++) {
        const char *addr = listen[i].addr;
        if (listen[i].mode != LISTEN_EXPLICIT || strncmp(addr, "unix:", 5) == 0)
            continue;
        size_t n = strlen(addr);
        bool any = strcmp(addr, "0.0.0.0") == 0 || strcmp(addr, "::") == 0 || strcmp(addr, "[::]") == 0;
        bool bare6 = !any && strchr(addr, ':') && addr[0] != '[';
        int64_t port = listen[i].port;
        if (port == 0) {
            port = 8080;
            log_at(SOTH_LOG_WARN, "the listener takes any free port; 8080 stands in for it, --proxy URL says the real one");
        }
        if (asprintf(&url, "http://%s%.*s%s:%lld", bare6 ? "[" : "", any ? 9 : (int)n, any ? "127.0.0.1" : addr, bare6 ? "]" : "",
                     (long long)port) < 0)
            url = NULL;
        return url;
    }
    log_at(SOTH_LOG_ERROR, "the configuration has no explicit listener on TCP; say where the proxy is with --proxy URL");
    return NULL;
}

static bool usable_url(const char *url)
{
    char host[256];
    const char *port;
    if (strncmp(url, "http://", 7) != 0 || split_proxy(url, host, sizeof host, &port) < 0)
        return false;
    size_t digits = strspn(port, "0123456789");
    return digits > 0 && digits < 6 && (port[digits] == 0 || strcmp(port + digits, "/") == 0) && !strpbrk(host, " /@'\"");
}

static int print_for(const struct ca *ca, const char *proxy, const char *shell)
{
    char err[512];
    struct ca_bundle files;
    if (ca_bundle_write(&ca->config.authority, time(NULL), &files, err, sizeof err) < 0)
        return ca_failed(err);
    if (!files.has_roots)
        log_at(SOTH_LOG_WARN, "the system's CA certificates are not where they usually are; the bundle holds our CA alone");
    char *java = java_options(proxy, files.java), *wget = write_wgetrc(files.bundle);
    struct environment e = {proxy, files.bundle, files.trust, java, wget};
    int r = java && wget ? 0 : ca_failed("the environment cannot be made: out of memory, or no room beside the CA");
    if (r == 0)
        print_environment(&e, shell);
    free(java);
    free(wget);
    ca_bundle_free(&files);
    return r;
}

int ca_env(const struct cli *cli)
{
    const char *shell = "sh", *url = NULL;
    const struct cli_option options[] = {{"--shell", &shell, NULL}, {"--proxy", &url, NULL}, {NULL, NULL, NULL}};
    if (cli_words(cli, 1, options, NULL, 0) < 0)
        return EXIT_USAGE;
    if (strcmp(shell, "sh") != 0 && strcmp(shell, "fish") != 0 && strcmp(shell, "json") != 0)
        return cli_wrong(cli, "--shell %s: expected is sh, fish or json", shell);
    if (url && !usable_url(url))
        return cli_wrong(cli, "--proxy %s: expected is http://HOST:PORT", url);
    struct ca ca;
    int r = ca_look(&ca, cli);
    char *own = r == 0 && !url ? proxy_of(settings_get(ca.file)) : NULL;
    if (r == 0)
        r = url || own ? print_for(&ca, url ? url : own, shell) : exit_code(EXIT_CLASS_CONFIG_INVALID);
    free(own);
    ca_close(&ca);
    return r;
}
