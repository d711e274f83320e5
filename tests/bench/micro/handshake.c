/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What TLS handshakes cost: a client's and an origin's as the proxy does them, over memory, beside the library's own. Prints nanoseconds of
 * CPU a handshake pair (both ends of a connection: one is our server, the other our client).
 *   handshake PART N CA CA_KEY LEAF LEAF_KEY [HELLO]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/tls/hello.h"
#include "host/tls/session.h"
#include "host/tls/wolf.h"

#define HOST "localhost"

struct files {
    const char *ca, *ca_key, *leaf, *leaf_key, *hello;
};

static void must(int well, const char *what)
{
    if (well)
        return;
    fprintf(stderr, "handshake: %s failed\n", what);
    exit(1);
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- the library alone ---- */

static int bare_recv(WOLFSSL *tls, char *p, int n, void *from)
{
    struct buffer *b = from;
    (void)tls;
    size_t have = buffer_size(b), part = have < (size_t)n ? have : (size_t)n;
    if (part == 0)
        return WOLFSSL_CBIO_ERR_WANT_READ;
    memcpy(p, buffer_data(b), part);
    buffer_consume(b, part);
    return (int)part;
}

static int bare_send(WOLFSSL *tls, char *p, int n, void *to)
{
    (void)tls;
    return buffer_append(to, p, (size_t)n) == 0 ? n : WOLFSSL_CBIO_ERR_GENERAL;
}

static WOLFSSL_CTX *bare_context(WOLFSSL_METHOD *method)
{
    WOLFSSL_CTX *ctx = wolfSSL_CTX_new(method);
    int group = WOLFSSL_ECC_X25519;
    must(ctx && wolfSSL_CTX_set_cipher_list(ctx, "TLS13-AES128-GCM-SHA256") == WOLFSSL_SUCCESS, "a context");
    must(wolfSSL_CTX_set_groups(ctx, &group, 1) == WOLFSSL_SUCCESS, "groups");
    wolfSSL_CTX_SetIORecv(ctx, bare_recv);
    wolfSSL_CTX_SetIOSend(ctx, bare_send);
    return ctx;
}

static void bare_pair(WOLFSSL_CTX *server, WOLFSSL_CTX *client, struct buffer wire[2])
{
    WOLFSSL *s = wolfSSL_new(server), *c = wolfSSL_new(client);
    must(s && c && wolfSSL_check_domain_name(c, HOST) == WOLFSSL_SUCCESS, "sessions");
    wolfSSL_UseSNI(c, WOLFSSL_SNI_HOST_NAME, HOST, (unsigned short)strlen(HOST));
    wolfSSL_SetIOReadCtx(s, &wire[0]);
    wolfSSL_SetIOWriteCtx(s, &wire[1]);
    wolfSSL_SetIOReadCtx(c, &wire[1]);
    wolfSSL_SetIOWriteCtx(c, &wire[0]);
    int a = 0, b = 0;
    for (int i = 0; i < 10 && (a != WOLFSSL_SUCCESS || b != WOLFSSL_SUCCESS); i++) {
        b = wolfSSL_connect(c);
        a = wolfSSL_accept(s);
    }
    must(a == WOLFSSL_SUCCESS && b == WOLFSSL_SUCCESS, "the library's handshake");
    wolfSSL_free(s);
    wolfSSL_free(c);
    buffer_clear(&wire[0]);
    buffer_clear(&wire[1]);
}

static uint64_t bare(uint64_t n, const struct files *f)
{
    struct buffer wire[2] = {{0}, {0}};
    WOLFSSL_CTX *server = bare_context(wolfTLSv1_3_server_method()), *client = bare_context(wolfTLSv1_3_client_method());
    must(wolfSSL_CTX_use_certificate_chain_file(server, f->leaf) == WOLFSSL_SUCCESS &&
             wolfSSL_CTX_use_PrivateKey_file(server, f->leaf_key, WOLFSSL_FILETYPE_PEM) == WOLFSSL_SUCCESS &&
             wolfSSL_CTX_load_verify_locations(client, f->ca, NULL) == WOLFSSL_SUCCESS, "the files");
    wolfSSL_CTX_set_verify(client, WOLFSSL_VERIFY_PEER, NULL);
    bare_pair(server, client, wire);
    uint64_t began = cpu_ns();
    for (uint64_t i = 0; i < n; i++)
        bare_pair(server, client, wire);
    uint64_t spent = cpu_ns() - began;
    wolfSSL_CTX_free(server);
    wolfSSL_CTX_free(client);
    buffer_fini(&wire[0]);
    buffer_fini(&wire[1]);
    return spent;
}

/* ---- as the proxy does it ---- */

struct world {
    struct authority *authority;
    struct trust *trust;
    struct session_tickets *tickets;
    struct buffer to_server, to_client;
    uint64_t resumed;
};

static int move(struct session *s, struct buffer *from)
{
    int r = session_handshake(s);
    while (r == -SOTH_EAGAIN && buffer_size(from) > 0) {
        size_t n = buffer_size(from);
        session_feed(s, buffer_data(from), n);
        r = session_handshake(s);
        size_t used = n - session_unused(s);
        session_feed(s, NULL, 0);
        buffer_consume(from, used);
    }
    return r;
}

/* The first byte of an answer, with the tickets before it: a session is kept when it has proven itself. */
static void take_answer(struct world *w, struct session *server, struct session *client)
{
    uint8_t answer[16];
    must(session_write(server, (const uint8_t *)"!", 1) == 0, "the answer");
    session_feed(client, buffer_data(&w->to_client), buffer_size(&w->to_client));
    must(session_read(client, answer, sizeof answer) == 1, "reading the answer");
    session_feed(client, NULL, 0);
    buffer_clear(&w->to_client);
}

static void pair(struct world *w, const char *host)
{
    struct hello hello;
    struct session_info info;
    const char *fault;
    int hit, c = -SOTH_EAGAIN, s = -SOTH_EAGAIN;
    const struct soth_span name = soth_span(host), none = {"", 0};
    struct session *client = session_client_new(w->trust, name, 443, name, none);
    must(client != NULL, "our client");
    session_output(client, &w->to_server);
    must(session_handshake(client) == -SOTH_EAGAIN, "the hello");
    const uint8_t *first = buffer_data(&w->to_server);
    must(hello_parse(first, buffer_size(&w->to_server), &hello, &fault) == HELLO_DONE, "reading the hello");
    must(hello_fingerprint(first, buffer_size(&w->to_server), &hello) == 0, "the fingerprints");
    struct leaf *leaf = leaf_get(w->authority, name, time(NULL), &hit);
    must(leaf != NULL, "the leaf");
    struct session *server = session_server_new(leaf, w->tickets, soth_span(hello.sni), none, 1);
    must(server != NULL, "our server");
    leaf_put(leaf);
    session_output(server, &w->to_client);
    for (int i = 0; i < 10 && (c != 1 || s != 1); i++) {
        s = move(server, &w->to_server);
        c = move(client, &w->to_client);
    }
    must(c == 1 && s == 1, "our handshake");
    session_describe(server, &info);
    w->resumed += (uint64_t)info.resumed;
    take_answer(w, server, client);
    session_free(client);
    session_free(server);
    buffer_clear(&w->to_server);
}

static uint64_t ours(uint64_t n, const struct files *f, int resume, int fresh)
{
    char err[512], host[64] = HOST;
    struct world w = {.tickets = session_tickets_new()};
    struct authority_config ca = {.cert_path = f->ca, .key_path = f->ca_key, .common_name = "", .organization = "", .leaf_cache_capacity = 1024, .leaf_days = 30};
    struct trust_config trust = {.extra_ca_file = f->ca, .session_cache = resume ? 64 : 0, .profile = 1};
    w.authority = authority_open(&ca, 0, NULL, err, sizeof err);
    must(w.authority != NULL, err);
    w.trust = trust_new(&trust, err, sizeof err);
    must(w.trust && w.tickets, err);
    pair(&w, host);
    w.resumed = 0;
    uint64_t began = cpu_ns();
    for (uint64_t i = 0; i < n; i++) {
        if (fresh)
            snprintf(host, sizeof host, "h%llu.example.com", (unsigned long long)i);
        pair(&w, host);
    }
    uint64_t spent = cpu_ns() - began;
    must(w.resumed == (resume ? n : 0), "resuming, as it was wanted");
    trust_free(w.trust);
    session_tickets_free(w.tickets);
    authority_free(w.authority);
    buffer_fini(&w.to_server);
    buffer_fini(&w.to_client);
    return spent;
}

static uint64_t hellos(uint64_t n, const struct files *f)
{
    static uint8_t bytes[65536];
    FILE *file = fopen(f->hello, "rb");
    must(file != NULL, "opening the hello");
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    struct hello hello;
    const char *fault;
    uint64_t began = cpu_ns();
    for (uint64_t i = 0; i < n; i++)
        must(hello_parse(bytes, size, &hello, &fault) == HELLO_DONE && hello_fingerprint(bytes, size, &hello) == 0, "the hello");
    return cpu_ns() - began;
}

int main(int argc, char **argv)
{
    if (argc < 7) {
        fprintf(stderr, "handshake: expected is: PART N CA CA_KEY LEAF LEAF_KEY [HELLO]\n");
        return 2;
    }
    const char *part = argv[1];
    uint64_t n = strtoull(argv[2], NULL, 10), spent = 0;
    struct files f = {argv[3], argv[4], argv[5], argv[6], argc > 7 ? argv[7] : ""};
    must(n > 0 && tls_library_init() == 0, "the library");
    if (strcmp(part, "bare") == 0)
        spent = bare(n, &f);
    else if (strcmp(part, "full") == 0)
        spent = ours(n, &f, 0, 0);
    else if (strcmp(part, "resumed") == 0)
        spent = ours(n, &f, 1, 0);
    else if (strcmp(part, "fresh") == 0)
        spent = ours(n, &f, 0, 1);
    else if (strcmp(part, "hello") == 0)
        spent = hellos(n, &f);
    else
        must(0, "finding that part");
    printf("%.1f\n", (double)spent / (double)n);
    tls_library_fini();
    return 0;
}
