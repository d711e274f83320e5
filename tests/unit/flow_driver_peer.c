/* SPDX-License-Identifier: MPL-2.0 */
/* See flow_driver.h: the two peers, with TLS of their own or without. */
#include "flow_driver_private.h"

#define PLAIN_SIZE 16384

/* What the peer's TLS wants to send goes to the inbox. */
static void peer_flush(struct driver_end *end)
{
    buffer_append(&end->inbox, buffer_data(&end->from_tls), buffer_size(&end->from_tls));
    buffer_clear(&end->from_tls);
}

/* The peer's TLS reads what it was sent. */
void driver_peer_turn(struct driver *d, enum side side)
{
    struct driver_end *end = &d->end[side];
    uint8_t plain[PLAIN_SIZE];
    ssize_t n;
    if (!end->tls || buffer_size(&end->to_tls) == 0)
        return;
    session_output(end->tls, &end->from_tls);
    session_feed(end->tls, buffer_data(&end->to_tls), buffer_size(&end->to_tls));
    if (session_handshake(end->tls) == 1)
        while ((n = session_read(end->tls, plain, sizeof plain)) > 0)
            buffer_append(&end->got, plain, (size_t)n);
    session_feed(end->tls, NULL, 0);
    buffer_clear(&end->to_tls);
    peer_flush(end);
}

void driver_say(struct driver *d, enum side side, const void *p, size_t n)
{
    struct driver_end *end = &d->end[side];
    if (!end->tls) {
        buffer_append(&end->inbox, p, n);
        return;
    }
    if (session_handshake(end->tls) != 1)
        return; /* it failed, or is not done: a peer would wait */
    session_output(end->tls, &end->from_tls);
    session_write(end->tls, p, n);
    peer_flush(end);
}

void driver_hang_up(struct driver *d, enum side side, int error)
{
    d->end[side].ends = true;
    d->end[side].error = error;
}

void driver_close_notify(struct driver *d, enum side side)
{
    struct driver_end *end = &d->end[side];
    if (!end->tls)
        return;
    session_output(end->tls, &end->from_tls);
    session_shutdown(end->tls);
    peer_flush(end);
}

void driver_client_tls(struct driver *d, const char *sni, const char *alpn)
{
    struct driver_end *end = &d->end[SIDE_CLIENT];
    const char *host = *sni ? sni : "no.name";
    if (end->tls)
        return;
    buffer_clear(&end->got); /* the 200 was for the cleartext connection */
    end->tls = session_client_new(d->world->trust, soth_span(host), 443, soth_span(sni), soth_span(alpn));
    if (!end->tls)
        return;
    session_output(end->tls, &end->from_tls);
    session_handshake(end->tls);
    peer_flush(end);
}

void driver_origin_tls(struct driver *d, const char *host, const char *alpn)
{
    struct driver_end *end = &d->end[SIDE_ORIGIN];
    int hit;
    if (end->tls)
        return;
    struct leaf *leaf = leaf_get(d->world->authority, soth_span(host), (int64_t)(d->world->port->unix_ms / 1000), &hit);
    if (!leaf)
        return;
    end->tls = session_server_new(leaf, d->world->tickets, soth_span(""), soth_span(alpn), TLS_PROFILE_DEFAULT);
    leaf_put(leaf);
}
