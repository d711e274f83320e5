/* SPDX-License-Identifier: MPL-2.0 */
/* See spare.h. */
#include "host/net/spare.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#define SPARES_MOST 32u /* of one client */

struct spare {
    struct link link;
    struct flow_spare *origin;
    struct conn *keeper;
    struct spare *next;
};

static struct spare **place_of(struct conn *keeper, const struct spare *spare)
{
    struct spare **place = &keeper->spares;
    while (*place != spare)
        place = &(*place)->next;
    return place;
}

static void forget(struct spare *spare)
{
    struct conn *keeper = spare->keeper;
    *place_of(keeper, spare) = spare->next;
    keeper->spare_count--;
    link_close(&spare->link);
    flow_spare_free(spare->origin);
    free(spare);
}

/* It has ended, or speaks without being asked; or these are the tickets of its handshake. */
static void stirs(evutil_socket_t fd, short what, void *arg)
{
    struct spare *spare = arg;
    uint8_t *slab = spare->keeper->io->slab;
    (void)what;
    ssize_t n = recv(fd, slab, WORKER_SLAB, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || !flow_spare_hears(spare->origin, slab, (size_t)n))
        forget(spare);
}

void spare_keep(struct conn *keeper, struct conn *from)
{
    struct link *link = &from->link[SIDE_ORIGIN];
    struct flow_spare *origin = flow_give_origin(from->flow);
    bool wanted = origin && keeper->flow && keeper->spare_count < SPARES_MOST && link->fd >= 0 && !link_blocked(link) && !link->ended && !link->deaf;
    struct spare *spare = wanted ? calloc(1, sizeof *spare) : NULL;
    if (!spare) {
        link_close(link);
        flow_spare_free(origin);
        return;
    }
    link_move(&spare->link, link, keeper->io->base, stirs, stirs, spare);
    spare->origin = origin;
    spare->keeper = keeper;
    spare->next = keeper->spares;
    keeper->spares = spare;
    keeper->spare_count++;
    link_read(&spare->link, true);
}

bool spare_take(struct conn *keeper, struct conn *conn, event_callback_fn on_read, event_callback_fn on_write)
{
    struct spare *spare = keeper->spares;
    while (spare && !flow_can_take(conn->flow, spare->origin))
        spare = spare->next;
    if (!spare)
        return false;
    *place_of(keeper, spare) = spare->next;
    keeper->spare_count--;
    link_move(&conn->link[SIDE_ORIGIN], &spare->link, conn->io->base, on_read, on_write, conn);
    flow_take_origin(conn->flow, spare->origin);
    free(spare);
    return true;
}

void spare_free_all(struct conn *keeper)
{
    while (keeper->spares)
        forget(keeper->spares);
}
