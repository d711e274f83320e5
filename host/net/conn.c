/* SPDX-License-Identifier: MPL-2.0 */
/* See conn.h: what happens to a connection, and how it begins. A step of its flow is in conn_step.c. */
#include "host/net/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/module/registry.h"
#include "host/net/conn_step.h"
#include "host/net/generation.h"
#include "host/net/worker_env.h"

/* ---- what happens to a connection ---- */

static void readable(struct conn *conn, enum side side)
{
    struct worker_io *io = conn->io;
    struct link *link = &conn->link[side];
    worker_clock(io);
    if (!conn->flow) {
        conn_drop_input(conn);
        return;
    }
    if (io->stopped_reading) { /* since this turn began */
        conn_reconcile(conn);
        return;
    }
    ssize_t n = recv(link->fd, io->slab, WORKER_SLAB, 0);
    if (n > 0) {
        conn_step(conn, (struct input){.type = INPUT_DATA, .side = side, .data = io->slab, .size = (size_t)n});
        return;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    link->ended = true;
    conn_step(conn, (struct input){.type = INPUT_EOF, .side = side, .error = n < 0 ? errno : link->error});
}

static void writable(struct conn *conn, enum side side)
{
    struct link *link = &conn->link[side];
    worker_clock(conn->io);
    int error = link_flush(link);
    if (!conn->flow) {
        conn_drained(conn, side, error);
        return;
    }
    if (error && side == SIDE_ORIGIN && flow_wants(conn->flow, SIDE_ORIGIN)) {
        link_deafen(link, error);
        conn_reconcile(conn);
        return;
    }
    if (error) {
        link->ended = true;
        conn_step(conn, (struct input){.type = INPUT_EOF, .side = side, .error = error});
        return;
    }
    struct input room;
    if (conn_wants_room(conn, &room))
        conn_step(conn, room);
    else if (!link_blocked(link))
        conn_reconcile(conn);
}

static void client_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    readable(arg, SIDE_CLIENT);
}

static void client_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    writable(arg, SIDE_CLIENT);
}

void conn_origin_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    readable(arg, SIDE_ORIGIN);
}

void conn_origin_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    writable(arg, SIDE_ORIGIN);
}

/* Bytes that were sent long ago may still be on their way to a peer that takes them slowly: that is no silence. */
static void note_movement(struct conn *conn)
{
    bool client = link_moved(&conn->link[SIDE_CLIENT]), origin = link_moved(&conn->link[SIDE_ORIGIN]);
    if (client || origin)
        conn->moved_ns = conn->io->bus->monotonic_ns;
}

void conn_timer_fired(evutil_socket_t fd, short what, void *arg)
{
    struct conn *conn = arg;
    (void)fd;
    (void)what;
    worker_clock(conn->io);
    conn->armed_ns = 0;
    note_movement(conn);
    if (!conn->flow) {
        conn_end_late(conn);
        return;
    }
    bool due = flow_deadline(conn->flow) && flow_deadline(conn->flow) <= conn->io->bus->monotonic_ns;
    if (due && !flow_moved(conn->flow, conn->moved_ns))
        conn_step(conn, (struct input){.type = INPUT_TIMER});
    else
        conn_timer_adjust(conn);
}

void conn_dialed(void *arg, const struct dial_result *result)
{
    static const enum dial_failure failures[] = {
        [DIAL_DNS_ERROR] = DIAL_FAILURE_DNS,       [DIAL_DNS_TIMEOUT] = DIAL_FAILURE_DNS_TIMEOUT,
        [DIAL_DENIED] = DIAL_FAILURE_DENIED,       [DIAL_LOOP] = DIAL_FAILURE_LOOP,
        [DIAL_REFUSED] = DIAL_FAILURE_REFUSED,     [DIAL_UNREACHABLE] = DIAL_FAILURE_UNREACHABLE,
        [DIAL_TIMEOUT] = DIAL_FAILURE_TIMEOUT,     [DIAL_FAILED] = DIAL_FAILURE_OTHER,
    };
    struct conn *conn = arg;
    conn->dial = NULL;
    worker_clock(conn->io);
    if (result->status == DIAL_OK) {
        worker_reserve(conn->io, result->fd);
        link_open(&conn->link[SIDE_ORIGIN], conn->io->base, result->fd, conn_origin_readable, conn_origin_writable, conn);
        conn_step(conn, (struct input){.type = INPUT_DIALED});
    } else {
        conn_step(conn, (struct input){.type = INPUT_DIAL_FAILED, .failure = failures[result->status], .detail = result->detail});
    }
}

/* ---- all connections ---- */

static const char *refused_because(struct worker_io *io)
{
    if (!governor_take_flow(&io->shared->governor))
        return "max_concurrent_flows";
    return registry_flows_held(&io->shared->modules) ? "audit_required" : NULL;
}

static struct leaf *fixed_leaf(const struct worker_io *io, const struct settings_listen *listen)
{
    const struct settings_listen *first = io->env->generation->settings->listen.items;
    return io->env->generation->fixed_leaves[listen - first];
}

void conn_open(struct worker_io *io, int fd, const struct settings_listen *listen, const char *client, const struct soth_addr *addr)
{
    worker_clock(io);
    struct conn *conn = calloc(1, sizeof *conn);
    struct flow_origin_of what = {
        .flow_id = conn_next_id(io),
        .owner = conn,
        .client = client,
        .client_addr = *addr,
        .listen = listen,
        .fixed_leaf = fixed_leaf(io, listen),
        .refused_because = refused_because(io),
    };
    if (!conn || !(conn->flow = flow_new(&io->env->flow, &what))) {
        governor_put_flow(&io->shared->governor);
        free(conn);
        close(fd);
        return;
    }
    conn_begin(io, io->env, conn);
    conn->holds_slot = true;
    worker_reserve(io, fd);
    link_open(&conn->link[SIDE_CLIENT], io->base, fd, client_readable, client_writable, conn);
    conn_step(conn, (struct input){.type = INPUT_ACCEPTED});
}

void conn_resumed(void *owner, uint64_t pause, uint64_t arg)
{
    struct conn *conn = owner;
    conn_step(conn, (struct input){.type = INPUT_RESUMED, .pause = pause, .arg = arg});
}

/* What it sent before may still be an answer. */
static bool has_unread(const struct link *link)
{
    int n = 0;
    return ioctl(link->fd, FIONREAD, &n) == 0 && n > 0;
}

void conn_hung_up(void *owner, unsigned side, bool broken)
{
    struct conn *conn = owner;
    struct link *link = &conn->link[side];
    if (!conn->flow || !link->watched || !flow_waits(conn->flow) || (side == SIDE_ORIGIN && has_unread(link)))
        return;
    worker_clock(conn->io);
    link->ended = link->ended || (broken && side == SIDE_CLIENT);
    conn_step(conn, (struct input){.type = INPUT_HUNG_UP, .side = (enum side)side, .error = broken ? ECONNRESET : 0});
}

void conn_drain_all(struct worker_io *io)
{
    conn_step_all(io, INPUT_DRAIN);
}

unsigned conn_abort_all(struct worker_io *io)
{
    unsigned cut = conn_step_all(io, INPUT_ABORT);
    for (struct conn *conn = io->conns, *next; conn; conn = next) {
        next = conn->next;
        if (!conn->flow)
            cut += conn_end_now(conn); /* frees no other one */
    }
    return cut;
}

void conn_free_all(struct worker_io *io)
{
    while (io->conns)
        conn_free(io->conns);
}

void conn_resume_all(struct worker_io *io)
{
    for (struct conn *conn = io->conns; conn; conn = conn->next)
        if (conn->flow)
            conn_reconcile(conn);
}
