/* SPDX-License-Identifier: MPL-2.0 */
/* See dns_server.h. */
#include "dns_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define HEADER 12
#define TYPE_A 1
#define TYPE_AAAA 28

/* The question's name as text; returns where the name ends. */
static size_t read_name(const uint8_t *packet, size_t size, char *out)
{
    size_t at = HEADER, n = 0;
    while (at < size && packet[at]) {
        if (n)
            out[n++] = '.';
        assert_true(at + 1u + packet[at] < size && n + packet[at] < 250);
        memcpy(out + n, packet + at + 1, packet[at]);
        n += packet[at];
        at += 1u + packet[at];
    }
    out[n] = 0;
    return at + 1;
}

static size_t add_answers(uint8_t *packet, size_t at, const struct dns_record *record, unsigned type)
{
    char texts[200], *rest = texts;
    const char *list = type == TYPE_A ? record->v4 : type == TYPE_AAAA ? record->v6 : NULL;
    size_t size = type == TYPE_A ? 4 : 16;
    if (!list)
        return at;
    snprintf(texts, sizeof texts, "%s", list);
    for (char *text; (text = strsep(&rest, " "));) {
        uint8_t head[12] = {0xc0, HEADER, 0, (uint8_t)type, 0, 1};
        uint32_t ttl = htonl(record->ttl);
        memcpy(head + 6, &ttl, 4);
        head[11] = (uint8_t)size;
        memcpy(packet + at, head, sizeof head);
        assert_int_equal(inet_pton(type == TYPE_A ? AF_INET : AF_INET6, text, packet + at + sizeof head), 1);
        at += sizeof head + size;
        packet[7]++;
    }
    return at;
}

static void asked(evutil_socket_t fd, short what, void *arg)
{
    static const struct dns_record nobody = {.way = DNS_NXDOMAIN};
    static const uint8_t codes[] = {[DNS_ANSWER] = 0, [DNS_NXDOMAIN] = 3, [DNS_SERVFAIL] = 2, [DNS_REFUSED] = 5, [DNS_SILENT_SIX] = 0};
    struct dns_server *server = arg;
    struct sockaddr_in from;
    socklen_t from_size = sizeof from;
    uint8_t packet[1024];
    char name[256];
    (void)what;
    ssize_t n = recvfrom(fd, packet, 512, 0, (struct sockaddr *)&from, &from_size);
    if (n < HEADER + 5)
        return;
    size_t at = read_name(packet, (size_t)n, name);
    unsigned type = (unsigned)packet[at] << 8 | packet[at + 1];
    const struct dns_record *record = server->records;
    server->queries++;
    while (record->name && strcasecmp(record->name, name) != 0)
        record++;
    if (!record->name)
        record = &nobody;
    if (record->way == DNS_SILENT || (record->way == DNS_SILENT_SIX && type == TYPE_AAAA))
        return;
    packet[2] = 0x85;
    packet[3] = (uint8_t)(0x80 | codes[record->way]);
    memset(packet + 6, 0, 6);
    at += 4;
    if (codes[record->way] == 0)
        at = add_answers(packet, at, record, type);
    assert_int_equal(sendto(fd, packet, at, 0, (struct sockaddr *)&from, from_size), (ssize_t)at);
}

void dns_server_start(struct dns_server *server, struct event_base *base, const struct dns_record *records)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof sa;
    server->records = records;
    server->queries = 0;
    server->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(server->fd >= 0);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&sa, size), 0);
    assert_int_equal(getsockname(server->fd, (struct sockaddr *)&sa, &size), 0);
    snprintf(server->address, sizeof server->address, "127.0.0.1:%u", ntohs(sa.sin_port));
    server->event = event_new(base, server->fd, EV_READ | EV_PERSIST, asked, server);
    assert_non_null(server->event);
    assert_int_equal(event_add(server->event, NULL), 0);
}

void dns_server_free(struct dns_server *server)
{
    event_free(server->event);
    close(server->fd);
}
