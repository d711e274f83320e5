/* SPDX-License-Identifier: MPL-2.0 */
/* host/conf/load.c and settings.c: soth-mitm.yaml into settings, its defaults, the rules across keys, the places of files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf_text.h"
#include "host/conf/load.h"
#include "host/conf/place.h"

static char *directory;

static int set_up(void **state)
{
    (void)state;
    directory = scratch_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_free(directory);
    return 0;
}

/* Loads text as soth-mitm.yaml. The messages, with the directory left out, are in *messages. */
static struct settings_file *load(const char *text, char **messages, int *count)
{
    struct said said;
    char *path = scratch_file(directory, "soth-mitm.yaml", text, 0644);
    said_begin(&said);
    struct settings_file *file = count ? settings_read(path, said.out, count) : settings_load(path, said.out);
    char *all = said_end(&said), *out = calloc(1, strlen(all) + 1);
    size_t n = strlen(directory) + 1, to = 0;
    for (const char *line = all; *line;) {
        size_t size = strcspn(line, "\n") + 1, skip = strncmp(line, path, n) == 0 ? n : 0;
        memcpy(out + to, line + skip, size - skip);
        to += size - skip;
        line += size;
    }
    free(all);
    free(path);
    *messages = out;
    return file;
}

static struct settings_file *good(const char *text)
{
    char *messages;
    struct settings_file *file = load(text, &messages, NULL);
    assert_string_equal(messages, "");
    assert_non_null(file);
    free(messages);
    return file;
}

static bool is_below(const char *path, const char *name)
{
    size_t n = strlen(directory);
    return strncmp(path, directory, n) == 0 && path[n] == '/' && strcmp(path + n + 1, name) == 0;
}

/* Section 3 of the contract, line by line. */
static void test_defaults(void **state)
{
    (void)state;
    struct settings_file *file = good("");
    const struct settings *s = settings_get(file);
    const struct settings_listen *listen = s->listen.items;
    assert_int_equal(s->listen.n, 1);
    assert_string_equal(listen->addr, "127.0.0.1");
    assert_int_equal(listen->port, 8080);
    assert_int_equal(listen->mode, LISTEN_EXPLICIT);
    assert_int_equal(listen->tls, 0);
    assert_string_equal(listen->cert_path, "");
    assert_string_equal(listen->key_path, "");
    assert_int_equal(listen->host_header, HOST_HEADER_KEEP);
    assert_int_equal(s->workers, 0);
    assert_int_equal(s->modules_dir.n, 1);
    assert_true(is_below(s->conf_d, "conf.d"));
    assert_string_equal(s->ca.cert_path, "");
    assert_string_equal(s->ca.key_path, "");
    assert_string_not_equal(s->ca.common_name, "");
    assert_int_equal(s->ca.leaf_cache_capacity, 1024);
    assert_int_equal(s->ca.leaf_days, 30);
    assert_int_equal(s->connect_parse_mode, PARSE_STRICT);
    assert_int_equal(s->strict_header_mode, 1);
    assert_int_equal(s->max_http_head_bytes, 65536);
    assert_int_equal(s->downstream_cert_profile, CERT_MODERN);
    assert_string_equal(s->upstream_ca_file, "");
    assert_int_equal(s->upstream_tls_insecure_skip_verify, 0);
    assert_string_equal(s->reverse_upstream.host, "");
    assert_int_equal(s->authority_mismatch, MISMATCH_BLOCK);
    assert_int_equal(s->not_tls, NOT_TLS_TUNNEL);
    assert_int_equal(s->resolvers.n, 0);
    assert_int_equal(s->resolver_timeout, 5000);
    assert_int_equal(s->resolver_cache_ttl, 60000);
    assert_int_equal(s->block_response.status, 403);
    assert_string_equal(s->block_response.body, "blocked by policy\n");
    assert_string_equal(s->block_response.content_type, "text/plain");
    assert_int_equal(s->allow_count, 2);
    assert_int_equal(s->deny_count, 2);
    assert_int_equal(s->max_concurrent_flows, 16384);
    assert_int_equal(s->upstream_connect_timeout, 10000);
    assert_int_equal(s->tls_handshake_timeout, 10000);
    assert_int_equal(s->idle_timeout, 600000);
    assert_int_equal(s->hook_hang_timeout, 10000);
    assert_int_equal(s->stream_stage_timeout, 30000);
    assert_int_equal(s->response_header_timeout, 600000);
    assert_int_equal(s->drain_timeout, 30000);
    settings_free(file);
}

static void test_default_networks(void **state)
{
    (void)state;
    static const struct {
        struct soth_addr addr;
        int allowed, denied;
    } cases[] = {
        {{4, {0}, {127, 0, 0, 1}}, 1, 0},
        {{6, {0}, {[15] = 1}}, 1, 0},
        {{4, {0}, {192, 0, 2, 1}}, 0, 0},
        {{4, {0}, {169, 254, 169, 254}}, 0, 1},
        {{6, {0}, {0xfe, 0x80, [15] = 1}}, 0, 1},
    };
    struct settings_file *file = good("# only defaults\n");
    const struct settings *s = settings_get(file);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(settings_cidr_match(s->allow, s->allow_count, &cases[i].addr), cases[i].allowed);
        assert_int_equal(settings_cidr_match(s->deny, s->deny_count, &cases[i].addr), cases[i].denied);
    }
    settings_free(file);
}

static void test_places(void **state)
{
    (void)state;
    struct settings_file *file = good("conf_d: more.d\nmodules_dir: [mods, /opt/mods, ../x]\nca: {cert_path: ca/c.pem, key_path: /k.pem}\n"
                                      "upstream_ca_file: roots.pem\n");
    const struct settings *s = settings_get(file);
    assert_true(is_below(s->conf_d, "more.d"));
    assert_int_equal(s->modules_dir.n, 3);
    assert_true(is_below(s->modules_dir.v[0], "mods"));
    assert_string_equal(s->modules_dir.v[1], "/opt/mods");
    assert_true(is_below(s->modules_dir.v[2], "../x"));
    assert_true(is_below(s->ca.cert_path, "ca/c.pem"));
    assert_string_equal(s->ca.key_path, "/k.pem");
    assert_true(is_below(s->upstream_ca_file, "roots.pem"));
    assert_true(is_below(settings_path(file), "soth-mitm.yaml"));
    settings_free(file);
}

static void test_good(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "listen: []",
        "listen: [{addr: \"::\"}, {addr: \"[::1]\", port: 0}, {addr: 0.0.0.0}, {addr: unix:/run/x.sock}]",
        "listen: [{mode: reverse, host_header: upstream}]\nreverse_upstream: {host: a.test, port: 80, tls: false}",
        "listen: [{mode: reverse, tls: true}]\nreverse_upstream: {host: 2001:db8::1}",
        "listen: [{mode: reverse, tls: true, cert_path: c, key_path: k}]\nreverse_upstream: {host: 192.0.2.1}",
        "resolvers: 192.0.2.53",
        "resolvers: [192.0.2.53, 192.0.2.53:5353, \"2001:db8::53\", \"[2001:db8::53]:53\"]",
        "allow_clients: []\ndeny_upstreams: []",
        "allow_clients: 10.1.2.3",
        "block_response: {status: 451, body: '', content_type: text/html; charset=utf-8}",
        "workers: 256",
        "ca: {leaf_cache_capacity: 0, leaf_days: 3}",
        "drain_timeout: 0\nresolver_cache_ttl: 0s",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct settings_file *file = good(texts[i]);
        assert_true(settings_get(file)->listen.n > 0);
        settings_free(file);
    }
}

#define AT(place, text) "soth-mitm.yaml:" place ": " text "\n"
#define NO_NETWORK "expected is ADDRESS or ADDRESS/BITS, as 10.0.0.0/8"
#define NO_RESOLVER "expected is ADDRESS or ADDRESS:PORT, as 192.0.2.53 or [2001:db8::53]:53"
#define TOGETHER "cert_path and key_path go together"

static const struct {
    const char *text, *wanted;
} wrong[] = {
    {"listen: [{addr: localhost}]", AT("1:17", "listen[0].addr: 'localhost' is not an address, expected is IPv4, IPv6 or unix:/path")},
    {"listen: [{addr: 127.0.0.1:80}]", AT("1:17", "listen[0].addr: '127.0.0.1:80' is not an address, expected is IPv4, IPv6 or unix:/path")},
    {"listen: [{}, {addr: '[127.0.0.1]'}]", AT("1:21", "listen[1].addr: '[127.0.0.1]' is not an address, expected is IPv4, IPv6 or unix:/path")},
    {"listen: [{addr: unix:run}]", AT("1:17", "listen[0].addr: 'unix:run' is not an address, expected is IPv4, IPv6 or unix:/path")},
    {"listen: [{port: 65536}]", AT("1:17", "listen[0].port: 65536 is out of range, allowed is 0 to 65535")},
    {"listen: [{mode: transparent}]", AT("1:17", "listen[0].mode: 'transparent' is not allowed, allowed is one of: explicit, reverse")},
    {"listen: [{client_ca_file: x}]", AT("1:11", "listen[0].client_ca_file: not available in this version, remove it")},
    {"listen:\n  - mode: reverse",
     AT("2:11", "listen[0].mode: mode reverse needs to know where to: reverse_upstream: {host: NAME, port: NUMBER, tls: true|false}")},
    {"listen: [{tls: true}]",
     AT("1:16", "listen[0].tls: an https:// proxy is not available in this version; tls: true goes with mode: reverse")},
    {"listen: [{mode: reverse, tls: true, cert_path: c}]\nreverse_upstream: {host: a}", AT("1:48", "listen[0].cert_path: " TOGETHER)},
    {"listen: [{mode: reverse, tls: true, key_path: c}]\nreverse_upstream: {host: a}", AT("1:47", "listen[0].key_path: " TOGETHER)},
    {"listen: [{cert_path: c, key_path: k}]", AT("1:22", "listen[0].cert_path: a certificate goes with tls: true")},
    {"listen: [{host_header: upstream}]", AT("1:24", "listen[0].host_header: 'upstream' goes with mode: reverse")},
    {"ca: {cert_path: x}", AT("1:17", "ca.cert_path: " TOGETHER)},
    {"ca: {key_path: x}", AT("1:16", "ca.key_path: " TOGETHER)},
    {"ca: {leaf_days: 31}", AT("1:17", "ca.leaf_days: 31 is out of range, allowed is 3 to 30")},
    {"reverse_upstream: {host: https://a.test}",
     AT("1:26", "reverse_upstream.host: 'https://a.test' is not a host, expected is a name (xn-- for other scripts) or an address alone")},
    {"reverse_upstream: {port: 0}", AT("1:26", "reverse_upstream.port: 0 is out of range, allowed is 1 to 65535")},
    {"resolvers: [192.0.2.53, nowhere]", AT("1:25", "resolvers[1]: 'nowhere' is not a name server, " NO_RESOLVER)},
    {"resolvers: 192.0.2.53:0", AT("1:12", "resolvers[0]: '192.0.2.53:0' is not a name server, " NO_RESOLVER)},
    {"resolvers: 192.0.2.53:65536", AT("1:12", "resolvers[0]: '192.0.2.53:65536' is not a name server, " NO_RESOLVER)},
    {"resolvers: \"[192.0.2.53]:53\"", AT("1:12", "resolvers[0]: '[192.0.2.53]:53' is not a name server, " NO_RESOLVER)},
    {"allow_clients: [10.0.0.0/8, 10.0.0.0/33]", AT("1:29", "allow_clients[1]: '10.0.0.0/33' is not a network, " NO_NETWORK)},
    {"redact_headers: [X-Ok, \"X Key\"]", AT("1:24", "redact_headers[1]: 'X Key' is not the name of a field, as X-Internal-Key")},
    {"redact_keys: [ok, 'a\"b']", AT("1:19", "redact_keys[1]: 'a\"b' is no key, expected are 1 to 64 bytes without quotes and line ends, as api_key")},
    {"redact_keys: \"\"", AT("1:14", "redact_keys[0]: '' is no key, expected are 1 to 64 bytes without quotes and line ends, as api_key")},
    {"redact_headers: \"\"", AT("1:17", "redact_headers[0]: '' is not the name of a field, as X-Internal-Key")},
    {"deny_upstreams: all", AT("1:17", "deny_upstreams[0]: 'all' is not a network, " NO_NETWORK)},
    {"block_response: {status: 200}", AT("1:26", "block_response.status: 200 is out of range, allowed is 400 to 599")},
    {"block_response: {content_type: \"a\\r\\nSet-Cookie: b\"}",
     AT("1:32", "block_response.content_type: a media type has printable ASCII characters only, as text/html")},
    {"workers: 257", AT("1:10", "workers: 257 is out of range, allowed is 0 to 256")},
    {"idle_timeout: 10", AT("1:15", "idle_timeout: '10' is not a duration: a whole number with ms, s, m or h")},
    {"http3_passthrough: true", AT("1:1", "http3_passthrough: not available in this version, remove it")},
    {"ca: {rotate_after: 23h}", AT("1:20", "ca.rotate_after: is less than a day, expected is 0 (never) or 24h and more, as 2160h")},
    {"a: 1\n---\nb: 1", AT("1:1", "file: has 2 documents, one is allowed") AT("1:1", "a: unknown key, allowed here: listen, workers, "
     "modules_dir, conf_d, ca, http2_enabled, http2_max_header_list_size, connect_parse_mode, strict_header_mode, max_http_head_bytes, "
     "upstream_http2, downstream_cert_profile, ...")},
    {"workers: [", AT("2:1", "yaml: did not find expected node content")},
    {"workers: x\nidle_timeout: y",
     AT("1:10", "workers: 'x' is not a whole number") AT("2:15", "idle_timeout: 'y' is not a duration: a whole number with ms, s, m or h")},
};

static void test_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char *messages;
        assert_null(load(wrong[i].text, &messages, NULL));
        assert_string_equal(messages, wrong[i].wanted);
        free(messages);
    }
}

/* `check` goes on with a file that has errors, to tell about modules too. */
static void test_read_goes_on(void **state)
{
    (void)state;
    char *messages;
    int count = 0;
    struct settings_file *file = load("workers: x\nnope: 1\nconf_d: other\n", &messages, &count);
    assert_non_null(file);
    assert_int_equal(count, 2);
    assert_int_equal(settings_get(file)->workers, 0);
    assert_true(is_below(settings_get(file)->conf_d, "other"));
    settings_free(file);
    free(messages);
    assert_null(load("- [", &messages, &count));
    assert_true(count > 0);
    free(messages);
}

/* No key of the contract is both there and announced for later. */
static void test_absent_keys_are_absent(void **state)
{
    (void)state;
    for (const char *const *key = settings_absent; *key; key++)
        for (const struct soth_opt *opt = settings_options; opt->key; opt++)
            assert_string_not_equal(*key, opt->key);
}

static void test_tables_are_sound(void **state)
{
    (void)state;
    char err[256] = "";
    options_check(settings_options, sizeof(struct settings), err, sizeof err);
    assert_string_equal(err, "");
    for (const struct soth_opt *opt = settings_options; opt->key; opt++)
        assert_true(opt->doc && strlen(opt->doc) > 8);
}

static void test_default_file(void **state)
{
    (void)state;
    char *path = scratch_file(directory, "soth-mitm/soth-mitm.yaml", "", 0600), *found, *ca;
    setenv("XDG_CONFIG_HOME", directory, 1);
    found = place_settings();
    assert_string_equal(found, path);
    free(found);
    unlink(path);
    found = place_settings();
    assert_string_not_equal(found, path);
    assert_non_null(strstr(found, "/soth-mitm/soth-mitm.yaml"));
    free(found);
    free(path);
    setenv("XDG_DATA_HOME", directory, 1);
    ca = settings_default_ca("ca.pem");
    assert_non_null(strstr(ca, "soth-mitm/ca/ca.pem"));
    assert_int_equal(strncmp(ca, directory, strlen(directory)) == 0, geteuid() != 0);
    free(ca);
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("XDG_DATA_HOME");
}

/* docs/configuration.md is what `soth-mitm config doc` prints. */
static void test_document_is_up_to_date(void **state)
{
    (void)state;
    const char *source = getenv("srcdir");
    char path[1024];
    snprintf(path, sizeof path, "%s/docs/configuration.md", source ? source : ".");
    FILE *in = fopen(path, "r");
    if (!in)
        fail_msg("%s: cannot be read", path);
    char *kept = calloc(1, 65536);
    assert_true(fread(kept, 1, 65535, in) > 0);
    fclose(in);
    struct said said;
    said_begin(&said);
    settings_doc(said.out);
    char *printed = said_end(&said);
    if (strcmp(kept, printed) != 0)
        fail_msg("docs/configuration.md is old: soth-mitm config doc > docs/configuration.md");
    free(printed);
    free(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_default_networks),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_read_goes_on),
        cmocka_unit_test(test_absent_keys_are_absent),
        cmocka_unit_test(test_tables_are_sound),
        cmocka_unit_test(test_default_file),
        cmocka_unit_test(test_document_is_up_to_date),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
