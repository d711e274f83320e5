/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A client and a server of the codec, a pipe of random cuts between them, streams that send both ways in random order while their receivers
 * consume when they like. The model beside them is simple accounting: each byte arrives once and in order, no receiver ever holds more than
 * it promised (of a stream, of the connection), all that was sent arrives in the end, each stream closes once. PROP_CASES (default 300) and
 * PROP_SEED are read from the environment; the seed of a failing case is printed, and the smallest number of streams that still fails.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "draw.h"
#include "host/http/h2.h"

#define MOST_STREAMS 12
#define STEPS_MOST 200000

enum { CLIENT, SERVER };

/* One direction of one stream, from who sends it to who gets it. */
struct way {
    uint64_t size, sent, got, consumed;
    bool begun, end_sent, end_got;
};

struct stream {
    int32_t id;
    struct way way[2]; /* by who sends */
    bool closed[2], reset;
};

struct end {
    struct h2 *h2;
    struct buffer out; /* to the other */
    uint32_t stream_window, connection_window;
    uint64_t held;     /* body bytes got and not consumed */
};

struct world {
    struct end end[2];
    struct stream streams[MOST_STREAMS];
    unsigned count;
    char wrong[200];
};

#define WRONG(w, ...) \
    do { \
        if (!(w)->wrong[0]) \
            snprintf((w)->wrong, sizeof(w)->wrong, __VA_ARGS__); \
    } while (0)

static char byte_at(int32_t id, int who, uint64_t at)
{
    return (char)(at * 31 + (uint64_t)id * 7 + (uint64_t)who);
}

static struct stream *stream_of(struct world *w, int32_t id)
{
    for (unsigned i = 0; i < w->count; i++)
        if (w->streams[i].id == id)
            return &w->streams[i];
    return NULL;
}

/* ---- what arrives ---- */

static void got_body(struct world *w, int who, struct stream *s, struct soth_span data)
{
    struct way *way = &s->way[!who];
    struct end *end = &w->end[who];
    for (size_t i = 0; i < data.n; i++)
        if (data.p[i] != byte_at(s->id, !who, way->got + i))
            WRONG(w, "stream %d: byte %llu is another one", s->id, (unsigned long long)(way->got + i));
    way->got += data.n;
    end->held += data.n;
    if (way->got > way->sent)
        WRONG(w, "stream %d: %llu bytes came, %llu were sent", s->id, (unsigned long long)way->got, (unsigned long long)way->sent);
    if (way->got - way->consumed > end->stream_window)
        WRONG(w, "stream %d: more than its window is held", s->id);
    if (end->held > end->connection_window)
        WRONG(w, "more than the connection's window is held");
    if (end->held != h2_unconsumed(end->h2))
        WRONG(w, "the codec counts %llu bytes as held, there are %llu", (unsigned long long)h2_unconsumed(end->h2), (unsigned long long)end->held);
}

static void got(struct world *w, int who, const struct h2_event *event)
{
    struct stream *s = stream_of(w, event->stream);
    if (event->type == H2_SETTINGS)
        return;
    if (!s) {
        WRONG(w, "event %d of a stream that there is not", event->type);
        return;
    }
    if (s->closed[who])
        WRONG(w, "stream %d: event %d after its end", s->id, event->type);
    if (event->type != H2_HEAD && event->user != s)
        WRONG(w, "stream %d: the owner's pointer is lost", s->id);
    switch (event->type) {
    case H2_HEAD:
        h2_set_user(w->end[who].h2, s->id, s);
        break;
    case H2_BODY:
        got_body(w, who, s, event->data);
        break;
    case H2_END:
        s->way[!who].end_got = true;
        if (s->way[!who].got != s->way[!who].size)
            WRONG(w, "stream %d: ended after %llu of %llu bytes", s->id, (unsigned long long)s->way[!who].got, (unsigned long long)s->way[!who].size);
        break;
    case H2_CLOSED:
        s->closed[who] = true;
        if (!s->reset && event->cause != H2_BY_END)
            WRONG(w, "stream %d: closed by cause %d, %s", s->id, event->cause, event->fault ? event->fault : "");
        break;
    default:
        break;
    }
}

/* Some of the bytes that are due to that end. */
static bool deliver(struct world *w, int who)
{
    struct buffer *in = &w->end[!who].out;
    size_t n = (size_t)(1 + draw_below(draw_below(2) ? 20 : 40000)), at = 0;
    struct h2_event event = {.type = H2_HEAD};
    if (buffer_size(in) == 0 && !h2_has_event(w->end[who].h2))
        return false;
    n = n < buffer_size(in) ? n : buffer_size(in);
    uint8_t *exact = malloc(n + 1);
    if (n > 0)
        memcpy(exact, buffer_data(in), n);
    buffer_consume(in, n);
    while (event.type != H2_NONE && !w->wrong[0]) {
        ssize_t r = h2_take(w->end[who].h2, exact + at, n - at, 1, &event);
        if (r < 0) {
            WRONG(w, "the connection ended: %s", h2_fault(w->end[who].h2));
            break;
        }
        at += (size_t)r;
        if (event.type != H2_NONE)
            got(w, who, &event);
    }
    free(exact);
    h2_output(w->end[who].h2, &w->end[who].out);
    return true;
}

/* ---- what is done ---- */

static void begin(struct world *w, int who, struct stream *s)
{
    struct way *way = &s->way[who];
    bool end = way->size == 0 && draw_below(2);
    if (who == CLIENT) {
        struct message msg = {.is_request = true, .method = {"POST", 4}, .target = {"/", 1}};
        struct h2_request how = {.scheme = {"https", 5}, .authority = {"a", 1}, .end = end};
        s->id = h2_request(w->end[who].h2, &msg, &how, s);
        if (s->id < 0)
            WRONG(w, "no stream could be opened: %d", s->id);
    } else {
        struct message msg = {.status = 200};
        if (h2_response(w->end[who].h2, s->id, &msg, &(struct h2_response){.end = end}) < 0)
            WRONG(w, "stream %d: no response could be sent", s->id);
    }
    way->begun = true;
    way->end_sent = end;
}

static bool send(struct world *w, int who, struct stream *s)
{
    struct way *way = &s->way[who];
    struct h2 *h2 = w->end[who].h2;
    char data[50000];
    size_t n = (size_t)draw_below(draw_below(4) ? 5000 : sizeof data), room = h2_room(h2, s->id);
    n = n < way->size - way->sent ? n : (size_t)(way->size - way->sent);
    for (size_t i = 0; i < n; i++)
        data[i] = byte_at(s->id, who, way->sent + i);
    bool end = way->sent + n == way->size && draw_below(4);
    ssize_t r = h2_body(h2, s->id, (struct soth_span){data, n}, end, &w->end[who].out);
    if (r < 0 || (size_t)r > n) {
        WRONG(w, "stream %d: h2_body of %zu: %zd", s->id, n, r);
        return false;
    }
    if ((size_t)r != (n < room ? n : room))
        WRONG(w, "stream %d: %zd of %zu bytes were taken, there was room for %zu", s->id, r, n, room);
    way->sent += (uint64_t)r;
    way->end_sent = end && (size_t)r == n;
    return r > 0 || way->end_sent;
}

static bool consume(struct world *w, int who, struct stream *s)
{
    struct way *way = &s->way[!who];
    uint64_t n = way->got - way->consumed;
    if (n == 0)
        return false;
    n = draw_below(3) ? n : 1 + draw_below(n);
    h2_consume(w->end[who].h2, s->id, (size_t)n);
    way->consumed += n;
    w->end[who].held -= n;
    h2_output(w->end[who].h2, &w->end[who].out);
    return true;
}

static bool may_send(const struct stream *s, int who)
{
    return s->way[who].begun && !s->way[who].end_sent && !s->closed[who] && !s->reset;
}

static void reset(struct world *w, int who, struct stream *s)
{
    h2_reset(w->end[who].h2, s->id, H2_CANCEL);
    s->reset = true;
    s->closed[who] = true;
    h2_output(w->end[who].h2, &w->end[who].out);
}

static bool step(struct world *w, struct stream *s, int who)
{
    switch (draw_below(5)) {
    case 0:
        return deliver(w, who);
    case 1:
        return consume(w, who, s);
    case 2:
        if (who == SERVER && s->id > 0 && !s->way[SERVER].begun && h2_user(w->end[SERVER].h2, s->id) == s) {
            begin(w, SERVER, s);
            return true;
        }
        return false;
    case 3:
        if (draw_below(400) == 0 && s->id > 0 && !s->reset && !s->closed[who] && h2_user(w->end[who].h2, s->id)) {
            reset(w, who, s);
            return true;
        }
        return false;
    default:
        return may_send(s, who) && send(w, who, s);
    }
}

/* ---- a case ---- */

static void open_end(struct world *w, int who)
{
    struct end *end = &w->end[who];
    end->stream_window = (uint32_t)(1 + draw_below(draw_below(2) ? 100 : 200000));
    end->connection_window = 65535 + (uint32_t)draw_below(200000);
    struct h2_limits limits = {.max_header_list = 65536, .max_concurrent_streams = MOST_STREAMS, .stream_window = end->stream_window};
    limits.connection_window = end->connection_window;
    end->h2 = who == CLIENT ? h2_new_client(&limits) : h2_new_server(&limits);
    h2_output(end->h2, &end->out);
}

static bool all_done(const struct world *w)
{
    for (unsigned i = 0; i < w->count; i++)
        for (int who = 0; who < 2; who++)
            if (!w->streams[i].closed[who] || w->streams[i].way[!who].consumed != w->streams[i].way[!who].got)
                return false;
    return true;
}

/* Both have read the other's settings: before that a window is what the protocol says, not what was promised. */
static void shake_hands(struct world *w)
{
    while (deliver(w, CLIENT) || deliver(w, SERVER))
        ;
}

/* A small window takes many steps for each byte. */
static uint64_t a_size(const struct end *receiver)
{
    uint64_t most = (uint64_t)receiver->stream_window * 30;
    return draw_below(3) ? draw_below(most < 90000 ? most : 90000) : 0;
}

static bool play(uint64_t seed, unsigned most, char *wrong, size_t size)
{
    struct world w = {.count = 0};
    unsigned steps = 0;
    draw_begin(seed);
    open_end(&w, CLIENT);
    open_end(&w, SERVER);
    shake_hands(&w);
    unsigned count = 1 + (unsigned)draw_below(most);
    for (; w.count < count; ) {
        struct stream *s = &w.streams[w.count];
        s->way[CLIENT].size = a_size(&w.end[SERVER]);
        s->way[SERVER].size = a_size(&w.end[CLIENT]);
        begin(&w, CLIENT, s);
        w.count++;
    }
    for (; !w.wrong[0] && !all_done(&w) && steps < STEPS_MOST; steps++)
        step(&w, &w.streams[draw_below(w.count)], (int)draw_below(2));
    if (!w.wrong[0] && steps == STEPS_MOST)
        WRONG(&w, "it stands still");
    for (int who = 0; who < 2; who++) {
        if (!w.wrong[0] && (h2_stream_count(w.end[who].h2) || h2_unconsumed(w.end[who].h2)))
            WRONG(&w, "something is left");
        h2_free(w.end[who].h2);
        buffer_fini(&w.end[who].out);
    }
    snprintf(wrong, size, "%s", w.wrong);
    return !w.wrong[0];
}

static void no_byte_is_lost_or_invented(void **state)
{
    unsigned long count = 300;
    const uint64_t seed = draw_seed(&count);
    char wrong[200];
    (void)state;
    for (unsigned i = 0; i < count; i++) {
        unsigned most = MOST_STREAMS;
        if (play(seed + i, most, wrong, sizeof wrong))
            continue;
        while (most > 1 && !play(seed + i, most - 1, wrong, sizeof wrong))
            most--;
        play(seed + i, most, wrong, sizeof wrong);
        fail_msg("PROP_SEED=%llu, up to %u streams: %s", (unsigned long long)(seed + i), most, wrong);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_byte_is_lost_or_invented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
