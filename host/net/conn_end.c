/* SPDX-License-Identifier: MPL-2.0 */
/* See conn_end.h. */
#include "host/net/conn_end.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "host/net/dial.h"
#include "host/net/spare.h"
#include "host/net/worker_env.h"

#define LINGER_MS 2000           /* a closed flow's client has this long to notice the end, while what it still sends is dropped */
#define LINGER_BYTES (32u << 20) /* but not more of it than this: many send all of their request before they look at the answer */

static void release_slot(struct conn *conn)
{
    if (conn->holds_slot)
        governor_put_flow(&conn->io->shared->governor);
    conn->holds_slot = false;
}

void conn_forget(struct conn *conn)
{
    struct worker_io *io = conn->io;
    event_del(&conn->timer);
    if (conn->previous)
        conn->previous->next = conn->next;
    else
        io->conns = conn->next;
    if (conn->next)
        conn->next->previous = conn->previous;
    conn->env->conns--;
    free(conn);
    io->conn_count--;
}

void conn_free(struct conn *conn)
{
    struct worker_io *io = conn->io;
    if (conn->dial)
        dial_cancel(conn->dial);
    spare_free_all(conn);
    flow_free(conn->flow);
    release_slot(conn);
    link_close(&conn->link[SIDE_CLIENT]);
    link_close(&conn->link[SIDE_ORIGIN]);
    conn_forget(conn);
    worker_conn_gone(io);
}

void conn_timer(struct conn *conn, uint64_t ms)
{
    struct timeval in = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
    event_add(&conn->timer, &in);
}

static void finish(struct conn *conn)
{
    struct link *client = &conn->link[SIDE_CLIENT];
    release_slot(conn);
    if (conn->abort) {
        link_close_hard(client);
        conn_free(conn);
        return;
    }
    if (!conn->linger || client->ended) {
        conn_free(conn);
        return;
    }
    link_shut(client);
    link_read(client, true);
    conn_timer(conn, LINGER_MS);
}

/* What a peer has not taken yet is held for it as long as it would be in a flow that goes on, and counts as one. */
static bool last_bytes_wait(const struct conn *conn)
{
    return link_blocked(&conn->link[SIDE_CLIENT]) || link_blocked(&conn->link[SIDE_ORIGIN]);
}

void conn_close(struct conn *conn, const struct effects *fx)
{
    struct link *client = &conn->link[SIDE_CLIENT], *origin = &conn->link[SIDE_ORIGIN];
    spare_free_all(conn);
    conn->linger = fx->linger;
    conn->abort = fx->abort;
    if (conn->dial) {
        dial_cancel(conn->dial);
        conn->dial = NULL;
    }
    if (conn->abort)
        link_close_hard(origin);
    else if (!fx->flush_origin || !link_blocked(origin))
        link_close(origin);
    flow_free(conn->flow);
    conn->flow = NULL;
    link_read(client, false);
    link_read(origin, false);
    event_del(&conn->timer);
    if (last_bytes_wait(conn))
        conn_timer(conn, conn->env->flow.settings->idle_timeout);
    else
        finish(conn);
}

/* After its flow closed: what a lingering client sends is dropped. */
void conn_drop_input(struct conn *conn)
{
    ssize_t n = recv(conn->link[SIDE_CLIENT].fd, conn->io->slab, WORKER_SLAB, 0);
    if (n > 0)
        conn->dropped += (uint32_t)n;
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) || conn->dropped > LINGER_BYTES)
        conn_free(conn);
}

void conn_drained(struct conn *conn, enum side side, int error)
{
    struct link *link = &conn->link[side];
    if (error && side == SIDE_CLIENT) {
        conn_free(conn);
        return;
    }
    if (side == SIDE_ORIGIN && (error || !link_blocked(link)))
        link_close(link);
    if (!last_bytes_wait(conn))
        finish(conn);
}

static void end(struct conn *conn)
{
    for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN; side++)
        if (link_blocked(&conn->link[side]))
            link_close_hard(&conn->link[side]); /* a plain end would make what it got look whole */
    conn_free(conn);
}

/* A closed flow's time is over, unless somebody is still taking its last bytes. */
void conn_end_late(struct conn *conn)
{
    if (last_bytes_wait(conn) && conn->moved_ns == conn->io->bus->monotonic_ns)
        conn_timer(conn, conn->env->flow.settings->idle_timeout);
    else
        end(conn);
}

bool conn_end_now(struct conn *conn)
{
    bool cut = last_bytes_wait(conn);
    /* what the client sent and nobody read would make the end a reset, which takes the last bytes with it */
    while (!cut && conn->link[SIDE_CLIENT].fd >= 0 && conn->dropped < LINGER_BYTES) {
        ssize_t n = recv(conn->link[SIDE_CLIENT].fd, conn->io->slab, WORKER_SLAB, 0);
        if (n <= 0)
            break;
        conn->dropped += (uint32_t)n;
    }
    end(conn);
    return cut;
}
