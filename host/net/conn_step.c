/* SPDX-License-Identifier: MPL-2.0 */
/* See conn_step.h. A step is never re-entered: errors that its effects meet become the next input. */
#include "host/net/conn_step.h"

#include <errno.h>
#include <stdlib.h>

#include "host/net/generation.h"
#include "host/net/hangup.h"
#include "host/net/spare.h"
#include "host/net/worker_env.h"

/* Answers of our own that wait for their client: who asks on and does not read them is not read either. What comes from an origin never
 * gets there, the origin waits before. */
#define UNREAD_MOST (1u << 20)

/* ---- timer and reads ---- */

static enum side other_side(enum side side)
{
    return side == SIDE_CLIENT ? SIDE_ORIGIN : SIDE_CLIENT;
}

/* Deadlines mostly move later: the timer stays where it is and looks again when it fires. */
void conn_timer_adjust(struct conn *conn)
{
    uint64_t deadline = flow_deadline(conn->flow), now = conn->io->bus->monotonic_ns;
    if (deadline == 0 || (conn->armed_ns && conn->armed_ns <= deadline))
        return;
    conn->armed_ns = deadline;
    conn_timer(conn, deadline > now ? (deadline - now) / 1000000u + 1 : 0);
}

/* Nobody reads while a module keeps the flow waiting: who leaves meanwhile is seen by other means. */
static void watch(struct conn *conn, enum side side)
{
    struct link *link = &conn->link[side];
    bool on = flow_waits(conn->flow) && link->fd >= 0 && !link->ended;
    if (on && !link->watched)
        hangup_watch(conn->io->hangup, link->fd, conn, side);
    link->watched = on;
}

void conn_reconcile(struct conn *conn)
{
    for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN; side++) {
        struct link *link = &conn->link[side];
        bool on = !link->ended && flow_wants(conn->flow, side) && !conn->io->stopped_reading && buffer_size(&link->pending) < UNREAD_MOST &&
                  (flow_reads_alone(conn->flow) || !link_blocked(&conn->link[other_side(side)]));
        link_read(link, on);
        watch(conn, side);
    }
}

/* ---- effects ---- */

static int transmit(struct conn *conn, enum side side, const struct effects *fx)
{
    const struct buffer *out = fx->out[side];
    if (buffer_size(out) + fx->direct_size[side] == 0)
        return 0;
    return link_send(&conn->link[side], buffer_data(out), buffer_size(out), fx->direct[side], fx->direct_size[side]);
}

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
    conn->reused = keeper != conn && spare_take(keeper, conn, conn_origin_readable, conn_origin_writable);
    if (conn->reused)
        return;
    flow_dial_target(conn->flow, &target);
    conn->dial = dial_open(conn->env->dialer, target.host, target.addr, target.port, conn_dialed, conn);
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
    conn_timer_adjust(parent);
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
bool conn_wants_room(const struct conn *conn, struct input *input)
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
        if (broken.error == 0 && conn_wants_room(conn, &input))
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
    conn_reconcile(conn);
    conn_timer_adjust(conn);
}

/* ---- streams: connections of their own, which have no client's socket ---- */

void conn_begin(struct worker_io *io, struct worker_env *env, struct conn *conn)
{
    conn->io = io;
    conn->env = env;
    conn->env->conns++;
    link_init(&conn->link[SIDE_CLIENT]);
    link_init(&conn->link[SIDE_ORIGIN]);
    event_assign(&conn->timer, io->base, -1, 0, conn_timer_fired, conn);
    conn->next = io->conns;
    if (conn->next)
        conn->next->previous = conn;
    io->conns = conn;
    io->conn_count++;
}

uint64_t conn_next_id(struct worker_io *io)
{
    return atomic_fetch_add_explicit(&io->shared->next_flow_id, 1, memory_order_relaxed);
}

static struct conn *adopt(struct worker_io *io, struct worker_env *env, struct flow *flow)
{
    struct conn *conn = calloc(1, sizeof *conn);
    flow_adopt(flow, flow_id(flow) ? 0 : conn_next_id(io), conn);
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

void conn_step(struct conn *conn, struct input input)
{
    struct worker_io *io = conn->io;
    struct worker_env *env = conn->env;
    step_one(conn, input);
    if (env->flow.due_first)
        step_due(io, env);
}

static struct worker_env *has_due(struct worker_io *io)
{
    for (struct conn *conn = io->conns; conn; conn = conn->next)
        if (conn->env->flow.due_first)
            return conn->env;
    return NULL;
}

unsigned conn_step_all(struct worker_io *io, enum input_type type)
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
