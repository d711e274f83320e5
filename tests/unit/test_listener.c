/* SPDX-License-Identifier: MPL-2.0 */
/* host/net/listener.c with real sockets: what is bound, who is accepted, what a shortage of descriptors and a drain do. */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/net/address.h"
#include "host/net/listener.h"

struct rig {
    struct event_base *base;
    struct settings_listen listen[2];
    const struct settings_listen *expected; /* of who is accepted; NULL = the first */
    struct settings settings;
    struct listener_set *set;
    unsigned accepted;
    int fds[256];
    char client[ADDRESS_TEXT_MAX];
    struct soth_addr addr;
    char err[300];
};

static void setting(struct rig *rig, const char *addr, int64_t port)
{
    memset(rig, 0, sizeof *rig);
    rig->base = event_base_new();
    rig->listen[0] = (struct settings_listen){.addr = addr, .port = port};
    rig->settings.listen = (struct soth_list){rig->listen, 1};
}

static void rig_open(struct rig *rig, const char *addr, int64_t port, unsigned workers)
{
    setting(rig, addr, port);
    rig->set = listener_set_open(&rig->settings, workers, NULL, rig->err, sizeof rig->err);
    if (!rig->set)
        fail_msg("%s", rig->err);
}

static void drop(struct rig *rig)
{
    while (rig->accepted)
        close(rig->fds[--rig->accepted]);
}

static void rig_close(struct rig *rig)
{
    drop(rig);
    listener_set_free(rig->set);
    event_base_free(rig->base);
}

static void accepted(void *arg, int fd, const struct settings_listen *listen, const char *client, const struct soth_addr *addr)
{
    struct rig *rig = arg;
    assert_ptr_equal(listen, rig->expected ? rig->expected : &rig->listen[0]);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(rig->accepted < 256);
    rig->fds[rig->accepted++] = fd;
    snprintf(rig->client, sizeof rig->client, "%s", client);
    rig->addr = *addr;
}

static struct listener *start(struct rig *rig, unsigned worker)
{
    struct listener *listener = listener_new(worker, rig->base, accepted, rig);
    assert_non_null(listener);
    assert_int_equal(listener_prepare(listener, rig->set), 0);
    listener_commit(listener, rig->set);
    return listener;
}

static void turns(struct rig *rig, unsigned count)
{
    while (rig->accepted < count)
        assert_int_equal(event_base_loop(rig->base, EVLOOP_ONCE), 0);
}

static uint16_t bound_port(const struct rig *rig)
{
    size_t n;
    return (uint16_t)address_port(&listener_set_own(rig->set, &n)[0].addr);
}

/* A connected client, or -errno. */
static int client_to(const char *to, uint16_t port)
{
    struct sockaddr_storage sa = {0};
    struct sockaddr_un *un = (struct sockaddr_un *)(void *)&sa;
    struct soth_addr addr;
    socklen_t size = sizeof *un;
    if (address_parse(to, &addr)) {
        size = address_make(&addr, port, &sa);
    } else {
        un->sun_family = AF_UNIX;
        strcpy(un->sun_path, to);
    }
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&sa, size) == 0)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}

/* Until the other side has the connection, too: connect() may return before the last packet of the handshake is dealt with. */
static void wait_until_come(int client)
{
    int unacknowledged = 1;
    assert_int_equal(write(client, "x", 1), 1);
    for (unsigned i = 0; i < 10000 && unacknowledged; i++, usleep(1000))
        assert_int_equal(ioctl(client, SIOCOUTQ, &unacknowledged), 0);
    assert_int_equal(unacknowledged, 0);
}

static void test_workers_share_a_port(void **state)
{
    struct rig rig;
    struct listener *listeners[3];
    int clients[60], on = 0;
    socklen_t size = sizeof on;
    char expected[64];
    (void)state;
    rig_open(&rig, "127.0.0.1", 0, 3);
    uint16_t port = bound_port(&rig);
    assert_true(port > 0);
    char *text = listener_set_text(rig.set);
    snprintf(expected, sizeof expected, "127.0.0.1:%u", port);
    assert_string_equal(text, expected);
    free(text);
    for (unsigned i = 0; i < 3; i++)
        assert_non_null(listeners[i] = start(&rig, i));
    for (unsigned i = 0; i < 60; i++)
        assert_true((clients[i] = client_to("127.0.0.1", port)) >= 0);
    turns(&rig, 60);
    assert_memory_equal(rig.client, "127.0.0.1:", 10);
    assert_int_equal(rig.addr.family, 4);
    assert_int_equal(getsockopt(rig.fds[0], IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
    assert_true(on);
    for (unsigned i = 0; i < 60; i++)
        close(clients[i]);
    for (unsigned i = 0; i < 3; i++)
        listener_stop(listeners[i]);
    assert_int_equal(client_to("127.0.0.1", port), -ECONNREFUSED);
    for (unsigned i = 0; i < 3; i++)
        listener_free(listeners[i]);
    rig_close(&rig);
}

static void test_both_families(void **state)
{
    struct rig rig;
    (void)state;
    int probe = socket(AF_INET6, SOCK_STREAM, 0);
    if (probe < 0)
        skip();
    close(probe);
    rig_open(&rig, "[::]", 0, 1);
    struct listener *listener = start(&rig, 0);
    int six = client_to("::1", bound_port(&rig));
    assert_true(six >= 0);
    turns(&rig, 1);
    assert_memory_equal(rig.client, "[::1]:", 6);
    assert_int_equal(rig.addr.family, 6);
    int four = client_to("127.0.0.1", bound_port(&rig));
    assert_true(four >= 0);
    turns(&rig, 2);
    assert_memory_equal(rig.client, "127.0.0.1:", 10);
    assert_int_equal(rig.addr.family, 4);
    close(six);
    close(four);
    listener_free(listener);
    rig_close(&rig);
}

static void expect_refused(const char *addr, int64_t port, const char *sentence)
{
    struct rig rig;
    setting(&rig, addr, port);
    assert_null(listener_set_open(&rig.settings, 2, NULL, rig.err, sizeof rig.err));
    if (!strstr(rig.err, sentence))
        fail_msg("'%s' does not say '%s'", rig.err, sentence);
    event_base_free(rig.base);
}

static void test_taken(void **state)
{
    struct rig rig, twice;
    char longer[200] = "unix:/";
    (void)state;
    rig_open(&rig, "127.0.0.1", 0, 2);
    expect_refused("127.0.0.1", bound_port(&rig), "something else listens there");
    expect_refused("192.0.2.1", 0, "this machine does not have that address");
    expect_refused("nowhere", 0, "no address");
    memset(longer + 6, 'x', 150);
    expect_refused(longer, 0, "too long a path");
    setting(&twice, "127.0.0.1", bound_port(&rig)); /* the second of two fails: the first is given back */
    twice.listen[1] = twice.listen[0];
    twice.settings.listen.n = 2;
    rig_close(&rig);
    assert_null(listener_set_open(&twice.settings, 1, NULL, twice.err, sizeof twice.err));
    twice.settings.listen.n = 1;
    assert_non_null(twice.set = listener_set_open(&twice.settings, 1, NULL, twice.err, sizeof twice.err));
    rig_close(&twice);
}

/* A socket file that nobody serves. */
static void leave_stale(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(un.sun_path, path);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    close(fd);
}

static void test_unix_socket(void **state)
{
    struct rig rig, second;
    char dir[] = "/tmp/soth-listener-XXXXXX", path[64], addr[80];
    struct stat st;
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    snprintf(addr, sizeof addr, "unix:%s", path);
    mode_t old = umask(002);
    rig_open(&rig, addr, 8080, 2);
    umask(old);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    expect_refused(addr, 8080, "another process serves this socket");
    struct listener *a = start(&rig, 0), *b = start(&rig, 1);
    int client = client_to(path, 0);
    assert_true(client >= 0);
    turns(&rig, 1);
    assert_string_equal(rig.client, addr);
    assert_int_equal(rig.addr.family, 0);
    close(client);
    listener_stop(a);
    assert_true((client = client_to(path, 0)) >= 0); /* the other worker still serves */
    turns(&rig, 2);
    close(client);
    listener_stop(b); /* the drain: nobody waits in a queue that is not served */
    assert_int_equal(client_to(path, 0), -ENOENT);
    leave_stale(path);
    rig_open(&second, addr, 8080, 1); /* the next one replaces what a crash left */
    listener_free(a);
    listener_free(b);
    rig_close(&rig);
    assert_int_equal(stat(path, &st), 0); /* and keeps it */
    rig_close(&second);
    assert_int_equal(stat(path, &st), -1);
    FILE *file = fopen(path, "w"); /* what is no socket is left alone */
    fclose(file);
    expect_refused(addr, 8080, "File exists");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

static int next_fd(void)
{
    int fd = dup(0);
    close(fd);
    return fd;
}

static void test_no_descriptors(void **state)
{
    struct rig rig;
    struct rlimit limit, tight;
    int clients[8], said[2], saved = dup(STDERR_FILENO);
    char text[1000];
    (void)state;
    rig_open(&rig, "127.0.0.1", 0, 1);
    struct listener *listener = start(&rig, 0);
    assert_int_equal(pipe(said), 0);
    for (unsigned i = 0; i < 8; i++)
        assert_true((clients[i] = client_to("127.0.0.1", bound_port(&rig))) >= 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    tight = limit;
    tight.rlim_cur = (rlim_t)next_fd() + 1; /* room for one */
    dup2(said[1], STDERR_FILENO);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    turns(&rig, 1);
    for (unsigned i = 0; i < 3; i++) /* pauses, wakes, fails again */
        event_base_loop(rig.base, EVLOOP_ONCE);
    unsigned during = rig.accepted;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(said[1]);
    assert_int_equal(during, 1);
    turns(&rig, 8);
    ssize_t n = read(said[0], text, sizeof text - 1), lines = 0;
    assert_true(n > 0);
    for (ssize_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    text[n] = 0;
    assert_int_equal(lines, 1); /* once an episode */
    assert_non_null(strstr(text, "cannot accept: Too many open files"));
    close(said[0]);
    for (unsigned i = 0; i < 8; i++)
        close(clients[i]);
    listener_free(listener);
    rig_close(&rig);
}

/* ---- sets that follow each other ---- */

static struct listener_set *follow(const struct listener_set *previous, struct settings *settings, unsigned workers)
{
    char err[300] = "";
    struct listener_set *set = listener_set_open(settings, workers, previous, err, sizeof err);
    if (!set)
        fail_msg("%s", err);
    return set;
}

static void test_an_address_that_stays_is_the_same_socket(void **state)
{
    struct rig rig;
    struct settings_listen next[2] = {{.addr = "127.0.0.1", .port = 0}, {.addr = "127.0.0.1", .port = 0}};
    struct settings settings = {.listen = {next, 2}};
    (void)state;
    rig_open(&rig, "127.0.0.1", 0, 1);
    struct listener *listener = start(&rig, 0);
    uint16_t port = bound_port(&rig);
    int before = client_to("127.0.0.1", port); /* waits to be accepted */
    struct listener_set *set = follow(rig.set, &settings, 1);
    size_t n;
    const struct dialer_own *own = listener_set_own(set, &n);
    assert_int_equal(n, 2);
    assert_int_equal(address_port(&own[0].addr), port); /* 0 is what it became */
    assert_int_not_equal(address_port(&own[1].addr), port); /* and a second one is another */
    assert_int_equal(listener_prepare(listener, set), 0);
    listener_commit(listener, set);
    rig.expected = &next[0];
    turns(&rig, 1);
    rig.expected = &next[1];
    int second = client_to("127.0.0.1", (uint16_t)address_port(&own[1].addr));
    assert_true(second >= 0);
    turns(&rig, 2);
    listener_set_free(rig.set); /* the set before goes, the socket stays */
    rig.set = set;
    rig.expected = &next[0];
    int third = client_to("127.0.0.1", port);
    assert_true(third >= 0);
    turns(&rig, 3);
    close(before);
    close(second);
    close(third);
    listener_free(listener);
    rig_close(&rig);
}

static void test_which_addresses_are_the_same(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, "[::1]", 0, 1);
    const struct {
        const char *addr;
        int64_t port;
        bool same;
    } cases[] = {{"::1", 0, true}, {"[::1]", bound_port(&rig), true}, {"::1", 1, false}, {"127.0.0.1", 0, false}, {"unix:/tmp/x", 0, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n;
        struct settings_listen next = {.addr = cases[i].addr, .port = cases[i].port};
        struct settings settings = {.listen = {&next, 1}};
        struct listener_set *set = listener_set_open(&settings, 1, rig.set, rig.err, sizeof rig.err);
        bool same = set && memcmp(&listener_set_own(set, &n)->addr, &listener_set_own(rig.set, &n)->addr, sizeof(struct sockaddr_storage)) == 0;
        assert_int_equal(same, cases[i].same);
        listener_set_free(set);
    }
    rig_close(&rig);
}

static void test_an_address_that_goes_serves_who_has_come(void **state)
{
    struct rig rig;
    struct settings_listen next = {.addr = "127.0.0.1", .port = 0};
    struct settings settings = {.listen = {&next, 1}};
    (void)state;
    rig_open(&rig, "127.0.0.1", 0, 1);
    rig.listen[1] = (struct settings_listen){.addr = "::1", .port = 0};
    struct settings two = {.listen = {rig.listen, 2}};
    struct listener *listener = start(&rig, 0);
    struct listener_set *both = follow(rig.set, &two, 1);
    assert_int_equal(listener_prepare(listener, both), 0);
    listener_commit(listener, both);
    size_t n;
    uint16_t port = (uint16_t)address_port(&listener_set_own(both, &n)[1].addr);
    int client = client_to("::1", port);
    assert_true(client >= 0);
    wait_until_come(client);
    struct listener_set *one = follow(both, &settings, 1);
    assert_int_equal(listener_prepare(listener, one), 0);
    rig.expected = &rig.listen[1];
    listener_accept_last(listener);
    assert_int_equal(rig.accepted, 1); /* as of the set that it came to */
    listener_commit(listener, one);
    assert_int_equal(client_to("::1", port), -ECONNREFUSED);
    close(client);
    listener_free(listener);
    listener_set_free(both);
    listener_set_free(one);
    rig_close(&rig);
}

static void test_a_set_that_is_not_taken(void **state)
{
    struct rig rig;
    char dir[] = "/tmp/soth-listener-XXXXXX", path[64], addr[80];
    struct stat st;
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    snprintf(addr, sizeof addr, "unix:%s", path);
    rig_open(&rig, "127.0.0.1", 0, 2);
    struct listener *a = start(&rig, 0), *b = start(&rig, 1);
    struct settings_listen next[2] = {{.addr = addr}, {.addr = "127.0.0.1", .port = 0}};
    struct settings settings = {.listen = {next, 2}};
    struct listener_set *set = follow(rig.set, &settings, 2);
    assert_int_equal(listener_prepare(a, set), 0);
    listener_discard(a);
    listener_discard(b);
    listener_set_free(set);
    assert_int_equal(stat(path, &st), -1);
    int client = client_to("127.0.0.1", bound_port(&rig));
    assert_true(client >= 0);
    turns(&rig, 1); /* what there was goes on */
    close(client);
    listener_free(a);
    listener_free(b);
    rig_close(&rig);
    assert_int_equal(rmdir(dir), 0);
}

static void test_overlapping_addresses(void **state)
{
    struct rig rig;
    struct settings_listen next = {.addr = "0.0.0.0"};
    struct settings settings = {.listen = {&next, 1}};
    (void)state;
    rig_open(&rig, "127.0.0.1", 0, 1);
    next.port = bound_port(&rig);
    assert_null(listener_set_open(&settings, 1, rig.set, rig.err, sizeof rig.err));
    assert_non_null(strstr(rig.err, "soth-mitm itself has this port"));
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workers_share_a_port), cmocka_unit_test(test_both_families), cmocka_unit_test(test_taken),
        cmocka_unit_test(test_unix_socket),          cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_an_address_that_stays_is_the_same_socket),
        cmocka_unit_test(test_which_addresses_are_the_same),
        cmocka_unit_test(test_an_address_that_goes_serves_who_has_come),
        cmocka_unit_test(test_a_set_that_is_not_taken),
        cmocka_unit_test(test_overlapping_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
