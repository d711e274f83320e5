/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The addresses of one name, looked up by the system's resolver on a thread of its own, which may block as long as it likes: closing does
 * not wait for it. Used by one thread.
 */
#ifndef POLICY_WEBHOOK_RESOLVER_H
#define POLICY_WEBHOOK_RESOLVER_H

#include <stdint.h>
#include <sys/socket.h>

#define RESOLVER_MOST 16

struct addresses {
    unsigned n;
    struct {
        struct sockaddr_storage addr;
        socklen_t len;
    } v[RESOLVER_MOST];
};

struct resolver;

/* `wake`, an eventfd, is written to when a look-up is over. NULL without memory. */
struct resolver *resolver_new(const char *host, uint32_t port, int wake);
void resolver_free(struct resolver *resolver);
/* An address needs no look-up. 1: *out is filled. */
int resolver_literal(const char *host, uint32_t port, struct addresses *out);
/* Begins a look-up unless one runs. 0, or -SOTH_ENOMEM. */
int resolver_start(struct resolver *resolver);
/* What a look-up has found: 1, once each; 0: it runs, or none was begun; -SOTH_ENOENT with the reason, once: the name has no addresses. */
int resolver_take(struct resolver *resolver, struct addresses *out, const char **why);

#endif
