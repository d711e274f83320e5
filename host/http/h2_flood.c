/* SPDX-License-Identifier: MPL-2.0 */
/* See h2_flood.def: budgets of a peer's cheap frames. The clock is what h2_take and h2_check were told. */
#include "host/http/h2_state.h"

static const struct kind {
    const char *fault;
    uint32_t burst, rate, earned;
} kinds[] = {
#define H2_FLOOD(NAME, text, burst, rate, earned) {"h2_flood:" text, burst, rate, earned},
#include "host/http/h2_flood.def"
#undef H2_FLOOD
};

#define FRAME 1000u /* thousandths */

const char *h2_flood_name(enum h2_flood kind)
{
    return kinds[kind].fault;
}

void h2_flood_init(struct h2 *h2)
{
    for (int i = 0; i < FLOOD_UNREAD; i++)
        h2->budgets[i].millis = (uint64_t)kinds[i].burst * FRAME;
}

static void add(struct h2_budget *budget, const struct kind *kind, uint64_t millis)
{
    uint64_t most = (uint64_t)kind->burst * FRAME;
    budget->millis = millis >= most - budget->millis ? most : budget->millis + millis;
}

static void refill(struct h2 *h2, struct h2_budget *budget, const struct kind *kind)
{
    const uint64_t hour = 3600ull * 1000000000ull;
    uint64_t passed = h2->now_ns > budget->at_ns ? h2->now_ns - budget->at_ns : 0;
    uint64_t millis = (passed < hour ? passed : hour) / 1000 * kind->rate / 1000;
    if (millis == 0) /* the time is not spent yet */
        return;
    add(budget, kind, millis);
    budget->at_ns = h2->now_ns;
}

int h2_flood_count(struct h2 *h2, enum h2_flood which)
{
    struct h2_budget *budget = &h2->budgets[which];
    refill(h2, budget, &kinds[which]);
    if (budget->millis < FRAME)
        return h2_fail_flood(h2, which);
    budget->millis -= FRAME;
    return 0;
}

void h2_flood_earn(struct h2 *h2)
{
    for (int i = 0; i < FLOOD_UNREAD; i++)
        add(&h2->budgets[i], &kinds[i], (uint64_t)kinds[i].earned * FRAME);
}

void h2_flood_earn_reset(struct h2 *h2)
{
    add(&h2->budgets[FLOOD_RAPID_RESET], &kinds[FLOOD_RAPID_RESET], FRAME);
}

/*
 * Zero-window dwell: does the peer keep back all that is due to it? One stream that it has paused is its own affair, as long as another one is
 * open that waits for no window; what keeps all of them back is the connection's window, or each one's own.
 */
static bool is_shut(const struct h2 *h2)
{
    uint32_t open = h2->stream_count + h2->pages_left, waiting = h2->blocked + h2->page_count;
    return waiting > 0 && (waiting == open || nghttp2_session_get_remote_window_size(h2->session) <= 0);
}

void h2_dwell(struct h2 *h2, bool moved)
{
    if (!is_shut(h2))
        h2->stalled_ns = 0;
    else if (moved || h2->stalled_ns == 0)
        h2->stalled_ns = h2->now_ns;
}

int h2_flood_data(struct h2 *h2, uint8_t flags, size_t bytes)
{
    if (bytes > 0)
        h2_flood_earn(h2);
    else if (!(flags & NGHTTP2_FLAG_END_STREAM))
        return h2_flood_count(h2, FLOOD_EMPTY_DATA);
    return 0;
}

/* Streams that the peer's faults made us reset are counted where they close. */
int h2_flood_frame(struct h2 *h2, uint8_t type, uint8_t flags, uint32_t length)
{
    switch (type) {
    case NGHTTP2_DATA:
        return flags & NGHTTP2_FLAG_PADDED ? 0 : h2_flood_data(h2, flags, length);
    case NGHTTP2_HEADERS:
        h2_flood_earn(h2);
        return 0;
    case NGHTTP2_PRIORITY:
    case NGHTTP2_PRIORITY_UPDATE:
        return h2_flood_count(h2, FLOOD_PRIORITY);
    case NGHTTP2_SETTINGS:
        return flags & NGHTTP2_FLAG_ACK ? 0 : h2_flood_count(h2, FLOOD_SETTINGS);
    case NGHTTP2_PING:
        return h2_flood_count(h2, FLOOD_PING);
    case NGHTTP2_WINDOW_UPDATE:
        return h2_flood_count(h2, FLOOD_WINDOW_UPDATE);
    case NGHTTP2_CONTINUATION:
        return h2_flood_count(h2, FLOOD_CONTINUATION);
    case NGHTTP2_RST_STREAM:
        return h2_flood_count(h2, FLOOD_RAPID_RESET);
    default:
        return h2_flood_count(h2, FLOOD_UNKNOWN);
    }
}
