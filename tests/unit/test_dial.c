/* SPDX-License-Identifier: MPL-2.0 */
/* host/net/dial.c with real sockets on loopback: which address is taken, which is refused, what a failure is called, and what stays open. */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "dns_server.h"
#include "host/conf/cidr.h"
#include "host/net/address.h"
#include "host/net/dial.h"

static const struct dns_record records[] = {
    {"one.test", DNS_ANSWER, 60, "127.0.0.1", NULL},
    {"two.test", DNS_ANSWER, 60, "127.0.0.2 127.0.0.1", NULL},
    {"hang.test", DNS_ANSWER, 60, "127.0.0.2 127.0.0.3", NULL},
    {"both.test", DNS_ANSWER, 60, "127.0.0.1", "2001:db8::1"},
    {"mapped.test", DNS_ANSWER, 60, NULL, "::ffff:127.0.0.1"},
    {"silent.test", DNS_SILENT, 0, NULL, NULL},
    {NULL, DNS_ANSWER, 0, NULL, NULL},
};

struct rig {
    struct event_base *base;
    struct dns_server dns;
    const char *servers[1];
    struct settings settings;
    struct settings_cidr deny;
    struct dialer *dialer;
    int files;
    unsigned told;
    struct dial_result last;
};

static int open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* A bound socket: backlog < 0 does not listen, its port refuses. */
static int serve(const char *addr, uint16_t *port, int backlog)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(*port)};
    socklen_t size = sizeof sa;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    assert_int_equal(inet_pton(AF_INET, addr, &sa.sin_addr), 1);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, size), 0);
    if (backlog >= 0)
        assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &size), 0);
    *port = ntohs(sa.sin_port);
    return fd;
}

static bool can_have(const char *addr, uint16_t port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    inet_pton(AF_INET, addr, &sa.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    bool had = bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0;
    close(fd);
    return had;
}

/* A port that each of the addresses can have: below those that the kernel gives to connections, which may be in use at one of them. */
static uint16_t of_several_addresses(void)
{
    for (unsigned i = 0; i < 100; i++) {
        uint16_t port = (uint16_t)(10000 + ((unsigned)getpid() + i) % 20000);
        if (can_have("127.0.0.1", port) && can_have("127.0.0.2", port) && can_have("127.0.0.3", port))
            return port;
    }
    fail_msg("a hundred ports of loopback are taken");
    return 0;
}

/* A listener whose queue is full lets further connections hang. */
struct hanging {
    int fds[4];
};

static struct hanging hang(const char *addr, uint16_t *port)
{
    struct hanging h = {.fds = {serve(addr, port, 0)}};
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(*port)};
    inet_pton(AF_INET, addr, &sa.sin_addr);
    for (int i = 1; i < 4; i++) {
        h.fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(h.fds[i], (struct sockaddr *)&sa, sizeof sa), -1);
    }
    return h;
}

static void hang_end(const struct hanging *h)
{
    for (int i = 0; i < 4; i++)
        close(h->fds[i]);
}

static void rig_open(struct rig *rig, const char *deny, const char *own, uint16_t own_port)
{
    struct dialer_own mine;
    struct soth_addr addr;
    memset(rig, 0, sizeof *rig);
    rig->base = event_base_new();
    dns_server_start(&rig->dns, rig->base, records);
    rig->servers[0] = rig->dns.address;
    rig->settings.resolvers = (struct soth_strings){rig->servers, 1};
    rig->settings.resolver_timeout = 1500; /* of a process that has to wait for its turn, too */
    rig->settings.resolver_cache_ttl = 60000;
    rig->settings.upstream_connect_timeout = 1500;
    if (deny) {
        assert_true(cidr_parse(deny, &rig->deny));
        rig->settings.deny = &rig->deny;
        rig->settings.deny_count = 1;
    }
    if (own) {
        assert_true(address_parse(own, &addr));
        mine.addr_len = address_make(&addr, own_port, &mine.addr);
    }
    rig->dialer = dialer_new(rig->base, &rig->settings, &mine, own ? 1 : 0);
    assert_non_null(rig->dialer);
}

static void rig_close(struct rig *rig)
{
    dialer_free(rig->dialer);
    dns_server_free(&rig->dns);
    event_base_free(rig->base);
}

static void told(void *arg, const struct dial_result *result)
{
    struct rig *rig = arg;
    rig->told++;
    rig->last = *result;
}

static struct dial *open_to(struct rig *rig, const char *host, uint16_t port)
{
    struct soth_addr addr;
    unsigned before = rig->told;
    address_parse(host, &addr);
    struct dial *dial = dial_open(rig->dialer, host, &addr, port, told, rig);
    assert_non_null(dial);
    assert_int_equal(rig->told, before); /* never from inside */
    return dial;
}

static void dial_to(struct rig *rig, const char *host, uint16_t port)
{
    unsigned before = rig->told;
    open_to(rig, host, port);
    while (rig->told == before)
        assert_int_equal(event_base_loop(rig->base, EVLOOP_ONCE), 0);
}

static void expect(const struct rig *rig, enum dial_status status, const char *detail)
{
    if (detail)
        assert_string_equal(rig->last.detail, detail);
    assert_int_equal(rig->last.status, status);
    assert_int_equal(rig->last.fd, -1);
}

static void expect_peer(const struct rig *rig, const char *text)
{
    struct sockaddr_storage sa;
    socklen_t size = sizeof sa;
    char peer[ADDRESS_TEXT_MAX];
    assert_int_equal(rig->last.status, DIAL_OK);
    assert_int_equal(getpeername(rig->last.fd, (struct sockaddr *)&sa, &size), 0);
    address_text(&sa, peer);
    assert_memory_equal(peer, text, strlen(text));
    close(rig->last.fd);
}

static void test_connected(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "one.test", "two.test", "both.test", "mapped.test", "::ffff:127.0.0.1", "0.0.0.0", "localhost"};
    (void)state;
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        struct rig rig;
        uint16_t port = 0;
        int server = serve("127.0.0.1", &port, 8), on = 0;
        socklen_t size = sizeof on;
        rig_open(&rig, NULL, NULL, 0);
        dial_to(&rig, hosts[i], port);
        assert_int_equal(rig.last.status, DIAL_OK);
        assert_true(fcntl(rig.last.fd, F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(rig.last.fd, F_GETFD) & FD_CLOEXEC);
        assert_int_equal(getsockopt(rig.last.fd, IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
        assert_true(on);
        expect_peer(&rig, "127.0.0.1:");
        rig_close(&rig);
        close(server);
    }
}

static void test_failures(void **state)
{
    struct rig rig;
    uint16_t port = 0;
    int closed = serve("127.0.0.1", &port, -1);
    (void)state;
    rig_open(&rig, NULL, NULL, 0);
    dial_to(&rig, "127.0.0.1", port);
    expect(&rig, DIAL_REFUSED, "ECONNREFUSED");
    dial_to(&rig, "two.test", port);
    expect(&rig, DIAL_REFUSED, "ECONNREFUSED");
    dial_to(&rig, "nobody.test", port);
    expect(&rig, DIAL_DNS_ERROR, "dns:NXDOMAIN");
    dial_to(&rig, "silent.test", port);
    expect(&rig, DIAL_DNS_TIMEOUT, "dns:timeout");
    rig_close(&rig);
    close(closed);
}

static void test_denied(void **state)
{
    struct rig rig;
    uint16_t port = 0;
    int server = serve("0.0.0.0", &port, 8);
    (void)state;
    rig_open(&rig, "127.0.0.0/8", NULL, 0);
    static const char *const hosts[] = {"127.0.0.1", "two.test", "0.0.0.0", "mapped.test", "::ffff:127.0.0.1"};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        dial_to(&rig, hosts[i], port);
        expect(&rig, DIAL_DENIED, "denied_upstream");
    }
    rig_close(&rig);
    rig_open(&rig, "127.0.0.2/32", NULL, 0); /* the other one is left */
    dial_to(&rig, "two.test", port);
    expect_peer(&rig, "127.0.0.1:");
    rig_close(&rig);
    assert_int_equal(accept(server, NULL, NULL) >= 0, 1); /* and the only connection there ever was */
    assert_int_equal(accept(server, NULL, NULL), -1);
    close(server);
}

static void test_loop(void **state)
{
    static const struct {
        const char *own, *host;
        bool loop;
    } cases[] = {
        {"127.0.0.1", "127.0.0.1", true}, {"127.0.0.1", "one.test", true},  {"127.0.0.1", "mapped.test", true},
        {"127.0.0.1", "0.0.0.0", true},   {"127.0.0.1", "two.test", true},  {"127.0.0.1", "127.0.0.2", false},
        {"0.0.0.0", "127.0.0.2", true},   {"0.0.0.0", "one.test", true},    {"::", "127.0.0.1", true},
        {"::", "::1", true},              {"127.0.0.1", "localhost", true}, {"::1", "127.0.0.1", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig rig;
        uint16_t port = 0;
        int closed = serve("127.0.0.9", &port, -1);
        rig_open(&rig, NULL, cases[i].own, port);
        dial_to(&rig, cases[i].host, port);
        if ((rig.last.status == DIAL_LOOP) != cases[i].loop)
            fail_msg("%s behind a listener on %s: status %d", cases[i].host, cases[i].own, (int)rig.last.status);
        if (cases[i].loop)
            expect(&rig, DIAL_LOOP, "loop");
        dial_to(&rig, cases[i].host, 1); /* another port is somebody else */
        assert_int_not_equal(rig.last.status, DIAL_LOOP);
        rig_close(&rig);
        close(closed);
    }
}

static void test_silent_address_is_overtaken(void **state)
{
    struct rig rig;
    uint16_t port = of_several_addresses();
    struct hanging h = hang("127.0.0.2", &port);
    int server = serve("127.0.0.1", &port, 8);
    (void)state;
    int before = open_files();
    rig_open(&rig, NULL, NULL, 0);
    dial_to(&rig, "two.test", port);
    expect_peer(&rig, "127.0.0.1:");
    rig_close(&rig);
    assert_int_equal(open_files(), before); /* the loser is closed */
    close(server);
    server = serve("127.0.0.1", &port, -1);
    rig_open(&rig, NULL, NULL, 0);
    dial_to(&rig, "two.test", port); /* an answer says more than silence */
    expect(&rig, DIAL_REFUSED, "ECONNREFUSED");
    dial_to(&rig, "127.0.0.2", port);
    expect(&rig, DIAL_TIMEOUT, "ETIMEDOUT");
    rig_close(&rig);
    assert_int_equal(open_files(), before);
    close(server);
    hang_end(&h);
}

static void test_cancelled(void **state)
{
    struct rig rig;
    uint16_t port = of_several_addresses();
    struct hanging h = hang("127.0.0.2", &port), more = hang("127.0.0.3", &port);
    int server = serve("127.0.0.1", &port, 8), before = open_files();
    (void)state;
    rig_open(&rig, "192.0.2.0/24", NULL, 0);
    dial_cancel(open_to(&rig, "192.0.2.1", port)); /* its failure is already on the way */
    dial_cancel(open_to(&rig, "silent.test", port));
    dial_cancel(open_to(&rig, "one.test", port));
    dial_cancel(open_to(&rig, "127.0.0.2", port));
    dial_cancel(open_to(&rig, "127.0.0.1", port));
    struct dial *waiting = open_to(&rig, "hang.test", port), *hanging = open_to(&rig, "127.0.0.2", port);
    dial_to(&rig, "one.test", port); /* turns of the loop in which the others go on */
    expect_peer(&rig, "127.0.0.1:");
    dial_cancel(waiting);
    dial_cancel(hanging);
    dial_to(&rig, "silent.test", port);
    assert_int_equal(rig.told, 2);
    rig_close(&rig);
    assert_int_equal(open_files(), before);
    close(server);
    hang_end(&h);
    hang_end(&more);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connected), cmocka_unit_test(test_failures),
        cmocka_unit_test(test_denied),    cmocka_unit_test(test_loop),
        cmocka_unit_test(test_cancelled), cmocka_unit_test(test_silent_address_is_overtaken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
