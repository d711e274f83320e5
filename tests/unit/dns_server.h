/* SPDX-License-Identifier: MPL-2.0 */
/* A name server for tests on a loop of the test's own: UDP on loopback, a table of answers in, counted queries out. Keeps no socket
 * after dns_server_free. */
#ifndef TESTS_DNS_SERVER_H
#define TESTS_DNS_SERVER_H

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>

enum dns_way { DNS_ANSWER, DNS_NXDOMAIN, DNS_SERVFAIL, DNS_REFUSED, DNS_SILENT, DNS_SILENT_SIX /* no answer to AAAA */ };

struct dns_record {
    const char *name;
    enum dns_way way;
    uint32_t ttl;
    const char *v4, *v6; /* addresses with spaces between; NULL: no answer of that family (NODATA) */
};

struct dns_server {
    int fd;
    struct event *event;
    const struct dns_record *records; /* ends with a NULL name; names that are not in it do not exist */
    unsigned queries;
    char address[32]; /* "127.0.0.1:PORT" */
};

void dns_server_start(struct dns_server *server, struct event_base *base, const struct dns_record *records);
void dns_server_free(struct dns_server *server);

#endif
