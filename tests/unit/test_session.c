/* SPDX-License-Identifier: MPL-2.0 */
/* host/tls/session.h: a client and a server session talking over memory, when all is well. */
#include <stdarg.h>
#include <setjmp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "host/tls/hello.h"
#include "host/tls/leaf.h"
#include "host/tls/session_state.h"
#include "session_pair.h"

static struct pair_world world;

static const struct pair_terms usual = {.leaf_host = "a.test", .host = "a.test", .sni = "a.test", .offered = "\x02h2\x08http/1.1",
                                        .chosen = "http/1.1"};

static int set_up(void **state)
{
    (void)state;
    pair_world_init(&world);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pair_world_fini(&world);
    return 0;
}

/* One connection that says something either way; 1 when both sides say that it was resumed. */
static int connect_once(const struct pair_terms *terms)
{
    struct pair pair;
    struct session_info client, server;
    pair_connect(&pair, &world, terms);
    pair_say(&pair, 1, "question");
    pair_say(&pair, 0, "answer");
    session_describe(pair.client, &client);
    session_describe(pair.server, &server);
    assert_int_equal(client.resumed, server.resumed);
    assert_string_equal(client.version, terms->tls12 ? "TLSv1.2" : "TLSv1.3");
    assert_string_equal(client.version, server.version);
    assert_string_equal(client.cipher, server.cipher);
    assert_string_equal(client.cipher, terms->tls12 ? "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" : "TLS_AES_128_GCM_SHA256");
    assert_string_equal(client.alpn, terms->offered[0] ? terms->chosen : "");
    assert_string_equal(server.alpn, client.alpn);
    pair_close(&pair);
    return client.resumed;
}

static void resumption(void **state)
{
    (void)state;
    for (int tls12 = 0; tls12 <= 1; tls12++) {
        struct pair_terms terms = usual;
        terms.tls12 = tls12;
        terms.sni = terms.host = terms.leaf_host = tls12 ? "old.test" : "new.test";
        assert_int_equal(connect_once(&terms), 0);
        for (int i = 0; i < 3; i++)
            assert_int_equal(connect_once(&terms), 1);
        terms.offered = "\x08http/1.1"; /* another ALPN, another session */
        assert_int_equal(connect_once(&terms), 0);
        terms.host = terms.leaf_host = "other.test";
        assert_int_equal(connect_once(&terms), 0);
    }
}

static void ticket_of_another_name(void **state)
{
    struct pair_terms terms = usual;
    (void)state;
    assert_int_equal(connect_once(&terms), 0);
    terms.ticket_sni = "b.test";
    assert_int_equal(connect_once(&terms), 0);
    terms.ticket_sni = NULL; /* what that connection got is of no use here */
    assert_int_equal(connect_once(&terms), 0);
    assert_int_equal(connect_once(&terms), 1);
}

static void ticket_of_another_process(void **state)
{
    struct pair_terms terms = usual;
    (void)state;
    assert_int_equal(connect_once(&terms), 0);
    terms.tickets = session_tickets_new();
    assert_int_equal(connect_once(&terms), 0);
    assert_int_equal(connect_once(&terms), 1);
    session_tickets_free(terms.tickets);
}

/* Two keys back is still opened, three is not. */
static void rotated_keys(void **state)
{
    struct pair_terms terms = usual;
    (void)state;
    for (int turns = 1; turns <= 5; turns++) { /* 1 to 3, then 1 and 2 of TLS 1.2: for a ticket that is refused there see below */
        char name[32];
        snprintf(name, sizeof name, "rotated-%d.test", turns);
        terms.tls12 = turns > 3;
        terms.sni = terms.host = terms.leaf_host = name;
        assert_int_equal(connect_once(&terms), 0);
        for (int i = 0; i < (turns - 1) % 3 + 1; i++)
            assert_int_equal(session_tickets_rotate(world.tickets), 0);
        assert_int_equal(connect_once(&terms), turns % 3 != 0);
    }
}

/* What one profile let through is not resumed under another. */
static void ticket_of_another_profile(void **state)
{
    struct pair_terms terms = usual;
    (void)state;
    terms.sni = terms.host = terms.leaf_host = "profiles.test";
    terms.profile = 1 + TLS_PROFILE_COMPAT;
    assert_int_equal(connect_once(&terms), 0);
    assert_int_equal(connect_once(&terms), 1);
    terms.profile = 1 + TLS_PROFILE_STRICT;
    assert_int_equal(connect_once(&terms), 0);
    assert_int_equal(connect_once(&terms), 1);
}

/* A ticket that is refused in TLS 1.2 may cost the connection, but never two. */
static void refused_ticket_tls12(void **state)
{
    struct pair pair;
    struct pair_terms terms = usual;
    int c, s;
    (void)state;
    terms.tls12 = 1;
    assert_int_equal(connect_once(&terms), 0);
    terms.ticket_sni = "b.test";
    pair_open(&pair, &world, &terms);
    pair_handshake(&pair, 0, &c, &s);
    if (c != 1) {
        assert_int_equal(c, -SOTH_ETLS);
        assert_int_equal(session_should_retry(pair.client), 1);
    }
    pair_close(&pair);
    assert_int_equal(connect_once(&terms), 0);
}

static void bounded_cache(void **state)
{
    char err[256], name[32];
    struct pair_terms terms = usual;
    struct trust_config config = {.extra_ca_file = world.files.cert, .session_cache = 2, .profile = TLS_PROFILE_DEFAULT};
    (void)state;
    struct trust *trust = terms.trust = trust_new(&config, err, sizeof err);
    assert_non_null(trust);
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "n%d.test", i);
        terms.leaf_host = terms.host = terms.sni = name;
        assert_int_equal(connect_once(&terms), 0);
    }
    assert_int_equal(connect_once(&terms), 1);
    terms.leaf_host = terms.host = terms.sni = "n0.test";
    assert_int_equal(connect_once(&terms), 0); /* had to go */
    trust_free(trust);
    config.session_cache = 0;
    trust = terms.trust = trust_new(&config, err, sizeof err);
    assert_int_equal(connect_once(&terms), 0);
    assert_int_equal(connect_once(&terms), 0);
    trust_free(trust);
}

static void protocols(void **state)
{
    struct pair_terms terms = usual;
    (void)state;
    terms.chosen = "h2";
    connect_once(&terms);
    terms.offered = "\x03" "a,b" "\x08http/1.1\x02\x0a\x0a"; /* a name with a comma cannot be offered */
    terms.chosen = "http/1.1";
    connect_once(&terms);
    terms.offered = "";
    connect_once(&terms);
    terms.chosen = "";
    connect_once(&terms);
    struct pair pair;
    struct session_info info;
    terms.offered = "\x02h2";
    terms.chosen = "http/1.1"; /* no match is no failure */
    pair_connect(&pair, &world, &terms);
    session_describe(pair.client, &info);
    assert_string_equal(info.alpn, "");
    pair_close(&pair);
}

static void byte_by_byte(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) { /* TLS 1.3 and 1.2, full and resumed */
        struct pair pair;
        struct pair_terms terms = usual;
        int c, s;
        terms.tls12 = i / 2;
        terms.sni = terms.host = terms.leaf_host = i / 2 ? "slow.test" : "slower.test";
        pair_open(&pair, &world, &terms);
        pair_handshake(&pair, 1, &c, &s);
        assert_int_equal(c, 1);
        assert_int_equal(s, 1);
        assert_int_equal(session_write(pair.server, (const uint8_t *)"hello", 5), 0);
        uint8_t got[16];
        ssize_t n = -SOTH_EAGAIN;
        const uint8_t *wire = buffer_data(&pair.to_client);
        for (size_t at = 0; at < buffer_size(&pair.to_client); at++) {
            assert_int_equal(n, -SOTH_EAGAIN);
            session_feed(pair.client, wire + at, 1);
            n = session_read(pair.client, got, sizeof got);
        }
        assert_int_equal(n, 5);
        assert_memory_equal(got, "hello", 5);
        pair_close(&pair);
    }
}

/* The hello as some evasive clients send it: wolfSSL alone cannot read this. */
static void hello_in_tiny_records(void **state)
{
    struct pair pair;
    struct buffer tiny = {0}, one = {0};
    struct hello hello;
    const char *fault;
    int c, s;
    (void)state;
    pair_open(&pair, &world, &usual);
    assert_int_equal(session_handshake(pair.client), -SOTH_EAGAIN);
    const uint8_t *p = buffer_data(&pair.to_server);
    for (size_t i = 5; i < buffer_size(&pair.to_server); i++) {
        const uint8_t record[6] = {22, 3, 1, 0, 1, p[i]};
        buffer_append(&tiny, record, sizeof record);
    }
    assert_int_equal(hello_parse(buffer_data(&tiny), buffer_size(&tiny), &hello, &fault), HELLO_DONE);
    assert_string_equal(hello.sni, "a.test");
    assert_string_equal(hello.alpn_text, "h2,http/1.1");
    assert_int_equal(hello.max_version, 0x0304);
    assert_int_equal(hello_rerecord(buffer_data(&tiny), hello.bytes, &one), 0);
    buffer_clear(&pair.to_server);
    buffer_append(&pair.to_server, buffer_data(&one), buffer_size(&one));
    pair_handshake(&pair, 0, &c, &s);
    assert_int_equal(c, 1);
    assert_int_equal(s, 1);
    buffer_fini(&tiny);
    buffer_fini(&one);
    pair_close(&pair);
}

static void much_data(void **state)
{
    struct pair pair;
    size_t size = 256 * 1024 + 5, records = 0, have = 0;
    uint8_t *out = malloc(size), *in = malloc(size);
    (void)state;
    assert_non_null(out);
    assert_non_null(in);
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)(i * 7 + i / 251);
    pair_connect(&pair, &world, &usual);
    pair_say(&pair, 0, "tickets come with this");
    assert_int_equal(session_write(pair.server, out, size), 0);
    assert_int_equal(session_write(pair.server, out, 0), 0);
    const uint8_t *wire = buffer_data(&pair.to_client);
    size_t wire_size = buffer_size(&pair.to_client);
    for (size_t at = 0; at < wire_size; at += 5u + (size_t)(wire[at + 3] << 8 | wire[at + 4]))
        records++;
    assert_int_equal(records, 17);
    for (size_t at = 0; at < wire_size; at += 40000) { /* pieces that end within records */
        session_feed(pair.client, wire + at, wire_size - at < 40000 ? wire_size - at : 40000);
        for (ssize_t n; (n = session_read(pair.client, in + have, size - have)) > 0;)
            have += (size_t)n;
        session_feed(pair.client, NULL, 0);
    }
    assert_int_equal(have, size);
    assert_memory_equal(in, out, size);
    free(out);
    free(in);
    pair_close(&pair);
}

static void half_close(void **state)
{
    (void)state;
    for (int tls12 = 0; tls12 <= 1; tls12++) {
        struct pair pair;
        struct pair_terms terms = usual;
        uint8_t got[8];
        terms.tls12 = tls12;
        terms.sni = tls12 ? "h12.test" : "h13.test";
        pair_connect(&pair, &world, &terms);
        pair_say(&pair, 0, "tickets come with this");
        session_shutdown(pair.client);
        size_t once = buffer_size(&pair.to_server);
        assert_true(once > 0);
        session_shutdown(pair.client);
        assert_int_equal(buffer_size(&pair.to_server), once);
        session_feed(pair.server, buffer_data(&pair.to_server), once);
        assert_int_equal(session_read(pair.server, got, sizeof got), 0);
        assert_int_equal(session_read(pair.server, got, sizeof got), 0);
        session_feed(pair.server, NULL, 0);
        buffer_clear(&pair.to_server);
        pair_say(&pair, 0, "still here");
        session_shutdown(pair.server);
        session_feed(pair.client, buffer_data(&pair.to_client), buffer_size(&pair.to_client));
        assert_int_equal(session_read(pair.client, got, sizeof got), 0);
        pair_close(&pair);
    }
}

static void addresses_and_wildcards(void **state)
{
    static const char *const rows[][2] = {
        {"192.0.2.7", "192.0.2.7"}, {"2001:db8::7", "2001:db8::7"}, {"*.x.test", "any.x.test"}, {"localhost", "localhost"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pair_terms terms = usual;
        terms.leaf_host = rows[i][0];
        terms.host = rows[i][1];
        terms.sni = "";
        connect_once(&terms);
    }
}

static void rekeyed(void **state)
{
    struct pair pair;
    (void)state;
    pair_connect(&pair, &world, &usual);
    assert_int_equal(wolfSSL_update_keys(pair.client->tls), WOLFSSL_SUCCESS);
    pair_say(&pair, 1, "after the client's update");
    pair_say(&pair, 0, "answer");
    pair_close(&pair);
}

/* Data may come before the ticket: what has no ticket yet is not kept, and the next read looks again. */
static void ticket_after_data(void **state)
{
    struct pair pair;
    struct pair_terms terms = usual;
    int hit;
    (void)state;
#ifdef wolfSSL_SessionIsSetup
    print_message("skipped: this version of wolfSSL does not tell whether a ticket has come\n");
    skip();
#endif
    terms.leaf_host = terms.host = terms.sni = "late.test";
    struct leaf *leaf = leaf_get(world.authority, soth_span("late.test"), time(NULL), &hit);
    assert_int_equal(wolfSSL_CTX_set_num_tickets(leaf_context(leaf), 0), WOLFSSL_SUCCESS);
    leaf_put(leaf);
    pair_connect(&pair, &world, &terms);
    pair_say(&pair, 0, "no ticket so far");
    assert_int_equal(wolfSSL_send_SessionTicket(pair.server->tls), WOLFSSL_SUCCESS);
    pair_say(&pair, 0, "a ticket came before this");
    pair_close(&pair);
    assert_int_equal(connect_once(&terms), 1);
}

/* Workers share authority, tickets and trust. */
static void *worker(void *number)
{
    char name[32];
    for (int i = 0; i < 12; i++) {
        struct pair_terms terms = usual;
        snprintf(name, sizeof name, "w%d.test", (i + *(int *)number) % 3);
        terms.leaf_host = terms.host = terms.sni = name;
        connect_once(&terms);
    }
    return NULL;
}

static void threads(void **state)
{
    pthread_t thread[4];
    int number[4];
    (void)state;
    for (int i = 0; i < 4; i++) {
        number[i] = i;
        assert_int_equal(pthread_create(&thread[i], NULL, worker, &number[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
}

static void about_the_library(void **state)
{
    (void)state;
    assert_true(tls_library_version()[0] >= '5');
    assert_in_range(tls_library_accelerated(), 0, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(resumption, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ticket_of_another_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ticket_of_another_process, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rotated_keys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ticket_of_another_profile, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused_ticket_tls12, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bounded_cache, set_up, tear_down),
        cmocka_unit_test_setup_teardown(protocols, set_up, tear_down),
        cmocka_unit_test_setup_teardown(byte_by_byte, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hello_in_tiny_records, set_up, tear_down),
        cmocka_unit_test_setup_teardown(much_data, set_up, tear_down),
        cmocka_unit_test_setup_teardown(half_close, set_up, tear_down),
        cmocka_unit_test_setup_teardown(addresses_and_wildcards, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rekeyed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ticket_after_data, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads, set_up, tear_down),
        cmocka_unit_test(about_the_library),
    };
    if (tls_library_init() < 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tls_library_fini();
    return failed;
}
