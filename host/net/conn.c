/* SPDX-License-Identifier: MPL-2.0 */
/* See conn.h. A step is never re-entered: errors that its effects meet become the next input. */
#include "host/net/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/module/registry.h"
#include "host/net/conn_end.h"
#include "host/net/dial.h"
#include "host/net/generation.h"
#include "host/net/hangup.h"
#include "host/net/spare.h"
#include "host/net/worker_env.h"

/* Answers of our own that wait for their client: who asks on and does not read them is not read either. What comes from an origin never
 * gets there, the origin waits before. */
#define UNREAD_MOST (1u << 20)

static void step(struct conn *conn, struct input input);
static void timer_fired(evutil_socket_t fd, short what, void *arg);

static enum side other_side(enum side side)
{
    return side == SIDE_CLIENT ? SIDE_ORIGIN : SIDE_CLIENT;
}

/* ---- timer ---- */

/* Deadlines mostly move later: the timer stays where it is and looks again when it fires. */
static void timer_adjust(struct conn *conn)
{
    uint64_t deadline = flow_deadline(conn->flow), now = conn->io->bus->monotonic_ns;
    if (deadline == 0 || (conn->armed_ns && conn->armed_ns <= deadline))
        return;
    conn->armed_ns = deadline;
    conn_timer(conn, deadline > now ? (deadline - now) / 1000000u + 1 : 0);
}

/* ---- effects ---- */

static void dialed(void *arg, const struct dial_result *result);

/* Nobody reads while a module keeps the flow waiting: who leaves meanwhile is seen by other means. */
static void watch(struct conn *conn, enum side side)
{
    struct link *link = &conn->link[side];
    bool on = flow_waits(conn->flow) && link->fd >= 0 && !link->ended;
    if (on && !link->watched)
        hangup_watch(conn->io->hangup, link->fd, conn, side);
    link->watched = on;
}

static void reconcile(struct conn *conn)
{
    for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN; side++) {
        struct link *link = &conn->link[side];
        bool on = !link->ended && flow_wants(conn->flow, side) &&
                  (flow_reads_alone(conn->flow) || !link_blocked(&conn->link[other_side(side)])) && buffer_size(&link->pending) < UNREAD_MOST && !conn->io->stopped_reading;
        link_read(link, on);
        watch(conn, side);
    }
}

static int transmit(struct conn *conn, enum side side, const struct effects *fx)
{
    const struct buffer *out = fx->out[side];
    if (buffer_size(out) + fx->direct_size[side] == 0)
        return 0;
    return link_send(&conn->link[side], buffer_data(out), buffer_size(out), fx->direct[side], fx->direct_size[side]);
}

static void origin_readable(evutil_socket_t fd, short what, void *arg);
static void origin_writable(evutil_socket_t fd, short what, void *arg);

/* Who keeps connections for this one's flow: the connection that it is a stream of. */
static struct conn *keeper_of(struct conn *conn)
{
    struct conn *parent = flow_parent_owner(conn->flow);
    return parent ? parent : conn;
}

static void dial(struct conn *conn)
{
    struct dial_target target;
    struct conn *keeper = keeper_of(conn);
    conn->reused = keeper != conn && spare_take(keeper, conn, origin_readable, origin_writable);
    if (conn->reused)
        return;
    flow_dial_target(conn->flow, &target);
    conn->dial = dial_open(conn->env->dialer, target.host, target.addr, target.port, dialed, conn);
}

/* A stream that only waits for its origin: its connection keeps a note of it, and its time. */
static bool put_to_rest(struct conn *conn)
{
    struct conn *parent = flow_parent_owner(conn->flow);
    if (!parent || conn->dial || conn->link[SIDE_ORIGIN].fd >= 0 || !flow_rest(conn->flow))
        return false;
    struct worker_io *io = conn->io;
    conn->flow = NULL;
    conn_forget(conn);
    worker_conn_gone(io);
    timer_adjust(parent);
    return true;
}

/* Runs what a step asked for. Returns false when the connection has closed; *broken is set to the input that an effect met. */
static bool run(struct conn *conn, struct effects *fx, struct input *broken)
{
    broken->error = 0;
    if (fx->close_origin) {
        link_close(&conn->link[SIDE_ORIGIN]);
        if (conn->dial) {
            dial_cancel(conn->dial);
            conn->dial = NULL;
        }
    }
    for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN; side++) {
        int error = transmit(conn, side, fx);
        if (error)
            *broken = (struct input){.type = INPUT_EOF, .side = side, .error = error};
    }
    if (fx->spare_origin)
        spare_keep(keeper_of(conn), conn);
    if (fx->close) {
        conn_close(conn, fx);
        return false;
    }
    if (fx->dial) {
        dial(conn);
        if (!conn->dial && !conn->reused)
            *broken = (struct input){.type = INPUT_DIAL_FAILED, .failure = DIAL_FAILURE_OTHER, .detail = "ENOMEM", .error = ENOMEM};
    }
    for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN; side++)
        if (fx->shut[side])
            link_shut(&conn->link[side]);
    return true;
}

/* A decoder that waits for room gets it at once when the socket has taken everything. */
static bool wants_room(const struct conn *conn, struct input *input)
{
    for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN; side++)
        if (flow_wants_room(conn->flow, side) && !link_blocked(&conn->link[side])) {
            flow_congested(conn->flow, side, false);
            *input = (struct input){.type = INPUT_WRITABLE, .side = side};
            return true;
        }
    return false;
}

static void step_one(struct conn *conn, struct input input)
{
    struct worker_io *io = conn->io;
    for (;;) {
        struct effects fx = {.out = {&io->out[0], &io->out[1]}};
        struct input broken;
        buffer_clear(&io->out[0]);
        buffer_clear(&io->out[1]);
        flow_step(conn->flow, &input, &fx);
        if (io->bus->congested)
            io->stopped_reading = true;
        if (!run(conn, &fx, &broken))
            return;
        for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN; side++)
            flow_congested(conn->flow, side, link_blocked(&conn->link[side]));
        if (broken.error == 0 && conn->reused) {
            conn->reused = false;
            input = (struct input){.type = INPUT_REUSED};
            continue;
        }
        if (broken.error == 0 && wants_room(conn, &input))
            continue;
        if (broken.error == 0 && put_to_rest(conn))
            return;
        if (broken.error == 0)
            break;
        if (broken.type == INPUT_EOF && broken.side == SIDE_ORIGIN && flow_wants(conn->flow, SIDE_ORIGIN)) {
            link_deafen(&conn->link[SIDE_ORIGIN], broken.error); /* an answer may be waiting in front of the end */
            break;
        }
        if (broken.type == INPUT_EOF)
            conn->link[broken.side].ended = true;
        input = broken;
    }
    reconcile(conn);
    timer_adjust(conn);
}

/* ---- streams: connections of their own, which have no client's socket ---- */

static void conn_begin(struct worker_io *io, struct worker_env *env, struct conn *conn)
{
    conn->io = io;
    conn->env = env;
    conn->env->conns++;
    link_init(&conn->link[SIDE_CLIENT]);
    link_init(&conn->link[SIDE_ORIGIN]);
    event_assign(&conn->timer, io->base, -1, 0, timer_fired, conn);
    conn->next = io->conns;
    if (conn->next)
        conn->next->previous = conn;
    io->conns = conn;
    io->conn_count++;
}

static uint64_t next_id(struct worker_io *io)
{
    return atomic_fetch_add_explicit(&io->shared->next_flow_id, 1, memory_order_relaxed);
}

static struct conn *adopt(struct worker_io *io, struct worker_env *env, struct flow *flow)
{
    struct conn *conn = calloc(1, sizeof *conn);
    flow_adopt(flow, flow_id(flow) ? 0 : next_id(io), conn);
    if (!conn) {
        flow_free(flow);
        return NULL;
    }
    conn_begin(io, env, conn);
    conn->flow = flow;
    conn->link[SIDE_CLIENT].ended = true;
    return conn;
}

/* Those whom a step has called. Nothing of them is left when this returns. */
static void step_due(struct worker_io *io, struct worker_env *env)
{
    struct flow *flow;
    env->conns++; /* it must outlive them */
    while ((flow = flow_take_due(&env->flow))) {
        struct conn *conn = flow_owner(flow);
        if (conn || (conn = adopt(io, env, flow)))
            step_one(conn, (struct input){.type = INPUT_CALLED});
    }
    env->conns--;
}

static void step(struct conn *conn, struct input input)
{
    struct worker_io *io = conn->io;
    struct worker_env *env = conn->env;
    step_one(conn, input);
    if (env->flow.due_first)
        step_due(io, env);
}

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
        reconcile(conn);
        return;
    }
    ssize_t n = recv(link->fd, io->slab, WORKER_SLAB, 0);
    if (n > 0) {
        step(conn, (struct input){.type = INPUT_DATA, .side = side, .data = io->slab, .size = (size_t)n});
        return;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    link->ended = true;
    step(conn, (struct input){.type = INPUT_EOF, .side = side, .error = n < 0 ? errno : link->error});
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
        reconcile(conn);
        return;
    }
    if (error) {
        link->ended = true;
        step(conn, (struct input){.type = INPUT_EOF, .side = side, .error = error});
        return;
    }
    struct input room;
    if (wants_room(conn, &room))
        step(conn, room);
    else if (!link_blocked(link))
        reconcile(conn);
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

static void origin_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    readable(arg, SIDE_ORIGIN);
}

static void origin_writable(evutil_socket_t fd, short what, void *arg)
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

static void timer_fired(evutil_socket_t fd, short what, void *arg)
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
        step(conn, (struct input){.type = INPUT_TIMER});
    else
        timer_adjust(conn);
}

static void dialed(void *arg, const struct dial_result *result)
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
        link_open(&conn->link[SIDE_ORIGIN], conn->io->base, result->fd, origin_readable, origin_writable, conn);
        step(conn, (struct input){.type = INPUT_DIALED});
    } else {
        step(conn, (struct input){.type = INPUT_DIAL_FAILED, .failure = failures[result->status], .detail = result->detail});
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
        .flow_id = next_id(io),
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
    step(conn, (struct input){.type = INPUT_ACCEPTED});
}

void conn_resumed(void *owner, uint64_t pause, uint64_t arg)
{
    struct conn *conn = owner;
    step(conn, (struct input){.type = INPUT_RESUMED, .pause = pause, .arg = arg});
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
    step(conn, (struct input){.type = INPUT_HUNG_UP, .side = (enum side)side, .error = broken ? ECONNRESET : 0});
}

static struct worker_env *has_due(struct worker_io *io)
{
    for (struct conn *conn = io->conns; conn; conn = conn->next)
        if (conn->env->flow.due_first)
            return conn->env;
    return NULL;
}

static unsigned step_all(struct worker_io *io, enum input_type type)
{
    unsigned flows = 0;
    struct worker_env *env;
    for (struct conn *conn = io->conns, *next; conn; conn = next) {
        next = conn->next;
        if (conn->flow) {
            flows++;
            step_one(conn, (struct input){.type = type}); /* frees no other one */
        }
    }
    while ((env = has_due(io)))
        step_due(io, env);
    return flows;
}

void conn_drain_all(struct worker_io *io)
{
    step_all(io, INPUT_DRAIN);
}

unsigned conn_abort_all(struct worker_io *io)
{
    return step_all(io, INPUT_ABORT);
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
            reconcile(conn);
}
