/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Exchanges in the four pairings of HTTP/1 and HTTP/2, as a program: two bytes choose the pairing, the cuts of reads, settings and the end; then
 * operations of a byte and its argument - the client or an origin sends a head, body, trailers, a reset, a control frame, a frame of any kind or
 * raw bytes; dials end, bytes move, time passes, sockets are full, somebody goes, a drain. What cannot be done at the moment is passed over.
 * What must hold is checked at each step by tests/unit/flow_driver.h for the connection and every stream; that no window is exceeded and no
 * honest peer gets what its codec refuses, by tests/unit/h2_peer.h; that what is blocked reaches no origin, by both; and every life ends.
 * build: tests/unit/h2_peer.c tests/unit/h2_meter.c tests/unit/flow_driver.c tests/unit/flow_driver_kin.c tests/unit/flow_driver_peer.c tests/unit/flow_driver_policy.c tests/unit/flow_watch.c tests/unit/flow_world.c
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/target.h"
#include "tests/unit/h2_peer.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define BLOCKED "/blocked"
#define MOVES_ITSELF 128u    /* bytes move after each operation */
#define INPUT_MOST 1024u
#define BODIES_MOST 1000000u /* bytes of all bodies of a life */
#define STREAMS_MOST 24u     /* then it goes to its end: the driver has room for some more that come in one read */
#define RAW_READ 400u        /* of a client that may hide many streams in few bytes */

enum pairing { H1_H1, H1_H2, H2_H1, H2_H2 };
enum ending { END_ABORT, END_RESET, END_DRAIN, END_SILENCE };
enum { SET_PATH = 1, SET_HOST = 2, SET_CONNECT = 4, SET_CLIENT_WINDOW = 8, SET_ORIGIN_WINDOW = 16, SET_AWAKE = 32, SET_PAUSE = 64, SET_OTHER_WAY = 128 };

/* The first nine are the client's when even, the origin's when odd. */
enum operation {
    ASK, ANSWER, CLIENT_BODY, ORIGIN_BODY, CLIENT_TRAILERS, ORIGIN_TRAILERS, CLIENT_RESET, ORIGIN_RESET, CLIENT_CONTROL, ORIGIN_CONTROL,
    CLIENT_FRAME, ORIGIN_FRAME, CLIENT_RAW, ORIGIN_RAW, DIALED, DIAL_FAILED, MOVE, READ, TIME, GO, POLICY, BLOCK, SPECIAL, OPERATIONS
};

struct origin { /* whoever is at the other end of the connection `born` */
    struct h2_peer peer; /* h2 == NULL: it speaks HTTP/1 */
    unsigned born;
};

static struct driver d;
static struct h2_peer client;               /* h2 == NULL: it speaks HTTP/1 */
static struct origin origins[DRIVER_KIN + 1]; /* the connection's, then its streams' */
static unsigned settings, focus;            /* focus: the origin that acts */
static int32_t asked;                       /* the client's newest stream */
static size_t bodies;
static char bulk[70000];
static const size_t cuts[8] = {1, 3, 9, 60, 400, 1400, 16384, SIZE_MAX};
static const size_t sizes[8] = {0, 1, 5, 200, 16384, 16385, 40000, 70000};

/* ---- who there is ---- */

static struct driver_end *end_of(unsigned at)
{
    return at ? &d.kin[at - 1].origin : &d.end[SIDE_ORIGIN];
}

static void forget(struct h2_peer *peer)
{
    h2_peer_fini(peer);
    memset(peer, 0, sizeof *peer);
}

/* The peer of HTTP/2 at the other end, if it is one: it learns it from the preface. */
static struct h2_peer *origin_of(unsigned at)
{
    struct origin *o = &origins[at];
    struct driver_end *end = end_of(at);
    if (o->peer.h2 && (!end->open || o->born != end->born))
        forget(&o->peer);
    if (!o->peer.h2 && end->open && buffer_size(&end->got) >= 3 && memcmp(buffer_data(&end->got), "PRI", 3) == 0) {
        if (settings & SET_CONNECT)
            h2_peer_init_connecting(&o->peer, &d, (int)at - 1);
        else
            h2_peer_init(&o->peer, &d, SIDE_ORIGIN, (int)at - 1, settings & SET_ORIGIN_WINDOW ? 70000 : 0);
        o->peer.unwanted = d.policy.blocked_path;
        o->born = end->born;
    }
    return o->peer.h2 ? &o->peer : NULL;
}

static struct h2_peer *peer_of(enum side side)
{
    return side == SIDE_ORIGIN ? origin_of(focus) : client.h2 ? &client : NULL;
}

static void say(enum side side, const void *p, size_t n)
{
    if (side == SIDE_CLIENT || (focus == 0 && d.end[SIDE_ORIGIN].open))
        driver_say(&d, side, p, n);
    else if (focus && end_of(focus)->open)
        buffer_append(&end_of(focus)->inbox, p, n);
}

static void say_text(enum side side, const char *text)
{
    say(side, text, strlen(text));
}

static int32_t stream_of(const struct h2_peer *peer, unsigned which)
{
    if (peer->is_client)
        return asked > 2 * (int32_t)which ? asked - 2 * (int32_t)which : 1;
    return peer->heard_count > which ? peer->heard[peer->heard_count - 1 - which] : 1;
}

/* ---- what peers send ---- */

static const char *const paths[4] = {"/", "/x?y", BLOCKED, "*"};
static const char *const names[4] = {"a.test", "a.test", "b.test", "a.test:81"};

static void ask_h1(unsigned kind, const char *path, const char *name, bool more)
{
    static const char *const rests[8] = {"", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "",
                                         "Expect: 100-continue\r\nContent-Length: 5\r\n", "Content-Length: 16384\r\n",
                                         "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
                                         "Connection: close\r\n"};
    static const char *const methods[8] = {"GET", "POST", "POST", "HEAD", "POST", "PUT", "GET", "GET"};
    char head[600];
    bool absolute = d.listen.mode != LISTEN_REVERSE && settings & SET_OTHER_WAY;
    snprintf(head, sizeof head, "%s %s%s%s HTTP/1.1\r\nHost: %s\r\n%s%s\r\n", methods[kind], absolute ? "http://" : "", absolute ? name : "",
             path, name, rests[kind], more ? "X-A: 1\r\nTE: trailers\r\nCookie: a=b\r\n" : "");
    say_text(SIDE_CLIENT, head);
}

/* Bits 0-2: what, 3-4: path, 5-6: name, 7: more fields. */
static void ask(unsigned argument)
{
    static const char *const methods[6] = {"GET", "POST", "GET", "HEAD", "CONNECT", "POST"};
    unsigned kind = argument & 7;
    const char *path = paths[argument >> 3 & 3], *name = names[argument >> 5 & 3], *fields = argument & 128 ? "x-a: 1\nte: trailers\ncookie: a=b\n" : "";
    if (!client.h2) {
        ask_h1(kind, path, name, argument & 128);
        return;
    }
    int32_t id = kind > 5 ? h2_peer_connect(&client, kind == 6 ? "websocket" : "other", path, name, "sec-websocket-version: 13\n")
                          : h2_peer_ask(&client, methods[kind], path, name, kind == 5 ? "content-length: 200\n" : fields, kind == 0 || kind == 3);
    asked = id > 0 ? id : asked;
}

/* Bits 0-2: what, 3-5: which stream, 6: no body. */
static void answer(unsigned argument)
{
    static const char *const texts[16] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nuntil", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early\r\nLink: a\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 2", "no", "HTTP/1.1 200 OK\r\nContent-Length: 16384\r\n\r\n"};
    static const unsigned statuses[8] = {200, 200, 200, 204, 100, 103, 200, 404};
    static const char *const fields[8] = {"", "content-type: text/plain\n", "content-length: 200\n", "", "", "link: a\n", "sec-websocket-protocol: chat\n", "x: 1\n"};
    struct h2_peer *peer = origin_of(focus);
    unsigned kind = argument & 7;
    if (!peer) {
        say_text(SIDE_ORIGIN, texts[argument & 15]);
        return;
    }
    bool end = argument & 64 && statuses[kind] >= 200;
    h2_peer_respond(peer, stream_of(peer, argument >> 3 & 7), statuses[kind], fields[kind], end);
}

/* Bits 0-2: which stream, 3-5: size, 6: the end, 7: in HTTP/1 as a chunk. */
static void body(enum side side, unsigned argument)
{
    struct h2_peer *peer = peer_of(side);
    size_t n = sizes[argument >> 3 & 7];
    char text[32];
    if ((bodies += n) > BODIES_MOST)
        return;
    if (peer) {
        h2_peer_body(peer, stream_of(peer, argument & 7), bulk, n, argument & 64);
        return;
    }
    snprintf(text, sizeof text, "%zx\r\n", n);
    if (argument & 128 && n)
        say_text(side, text);
    say(side, bulk, n);
    if (argument & 128 && n)
        say_text(side, "\r\n");
    if (argument & 128 && argument & 64)
        say_text(side, "0\r\n\r\n");
}

static void trailers(enum side side, unsigned argument)
{
    struct h2_peer *peer = peer_of(side);
    if (peer)
        h2_peer_trailers(peer, stream_of(peer, argument & 7), argument & 8 ? "grpc-status: 0\nx-t: 1\n" : "");
    else
        say_text(side, argument & 8 ? "0\r\nGrpc-Status: 0\r\nX-T: 1\r\n\r\n" : "0\r\n\r\n");
}

static void reset(enum side side, unsigned argument)
{
    static const enum h2_code codes[8] = {H2_NO_ERROR, H2_CANCEL, H2_REFUSED_STREAM, H2_INTERNAL_ERROR, H2_PROTOCOL_ERROR, H2_ENHANCE_YOUR_CALM, H2_HTTP_1_1_REQUIRED, H2_CONNECT_ERROR};
    struct h2_peer *peer = peer_of(side);
    if (peer)
        h2_reset(peer->h2, stream_of(peer, argument & 7), codes[argument >> 3 & 7]);
}

static void control(enum side side, unsigned argument)
{
    static const enum h2_goaway how[4] = {H2_GOAWAY_SOON, H2_GOAWAY_LAST, H2_GOAWAY_LAST, H2_GOAWAY_NOW};
    struct h2_peer *peer = peer_of(side);
    if (!peer)
        return;
    switch (argument & 7) {
    case 0:
        h2_goaway(peer->h2, how[argument >> 3 & 3], argument & 32 ? H2_INTERNAL_ERROR : H2_NO_ERROR);
        break;
    case 1:
        h2_ping(peer->h2, argument);
        break;
    case 2:
        h2_set_windows(peer->h2, 1000u << (argument >> 3 & 15), 65536u << (argument >> 5 & 7));
        break;
    case 3:
        peer->holds = !peer->holds;
        break;
    case 4:
        h2_peer_consume(peer);
        break;
    case 5:
        peer->mute = !peer->mute;
        break;
    default:
        if (peer->is_client)
            h2_priority(peer->h2, stream_of(peer, argument >> 3 & 7), soth_span(argument & 64 ? "u=1, i" : "u=7"));
    }
}

/* Its payload follows: bits 0-3 the type, 4-6 which stream, 7: a stream that is not there; the first byte is the flags. */
static void frame(enum side side, unsigned argument, const uint8_t *p, size_t n)
{
    struct h2_peer *peer = peer_of(side);
    uint8_t bytes[9 + 64];
    if (!peer || n == 0)
        return;
    uint32_t stream = argument & 128 ? (argument & 16 ? 0 : (uint32_t)asked + (asked ? 2 : 1)) : (uint32_t)stream_of(peer, argument >> 4 & 7);
    const uint8_t head[9] = {0, 0, (uint8_t)(n - 1), argument & 15, p[0], 0, 0, (uint8_t)(stream >> 8), (uint8_t)stream};
    memcpy(bytes, head, sizeof head);
    memcpy(bytes + sizeof head, p + 1, n - 1);
    h2_peer_raw(peer, bytes, sizeof head + n - 1);
}

static void raw(enum side side, const uint8_t *p, size_t n)
{
    struct h2_peer *peer = peer_of(side);
    if (peer)
        h2_peer_raw(peer, p, n);
    else
        say(side, p, n);
}

/* ---- what happens to the flow ---- */

static void dial_ends(unsigned argument)
{
    unsigned skip = argument & 3;
    if (d.dialing && d.listen.mode == LISTEN_REVERSE)
        driver_origin_tls(&d, "a.test", argument & 4 ? "http/1.1" : "h2");
    if (driver_dialed(&d)) {
        focus = 0;
        return;
    }
    for (unsigned i = 0; i < d.kin_count; i++)
        if (d.kin[i].flow && d.kin[i].dialing && skip-- == 0) {
            focus = i + 1;
            driver_kin_dialed(&d, i);
            return;
        }
}

static void dial_fails(unsigned argument)
{
    static const char *const details[] = {"dns:NXDOMAIN", "dns:timeout", "denied_upstream", "loop", "ECONNREFUSED", "EHOSTUNREACH", "ETIMEDOUT", "EMFILE"};
    unsigned which = argument & 7;
    if (driver_dial_failed(&d, (enum dial_failure)which, details[which]))
        return;
    for (unsigned i = 0; i < d.kin_count; i++)
        if (driver_kin_dial_failed(&d, i, (enum dial_failure)which, details[which]))
            return;
}

static bool read_client(size_t most)
{
    if (client.h2 ? client.lies : true)
        most = most < RAW_READ ? most : RAW_READ;
    return d.kin_count < STREAMS_MOST && driver_read(&d, SIDE_CLIENT, most);
}

static bool read_origin(unsigned at, size_t most)
{
    return at ? driver_kin_read(&d, at - 1, most) : driver_read(&d, SIDE_ORIGIN, most);
}

/* All sides in turn, so often. */
static void move(size_t most, unsigned turns)
{
    for (bool moved = true; moved && turns; turns--) {
        moved = client.h2 && h2_peer_turn(&client);
        moved = read_client(most) || moved;
        for (unsigned at = 0; at <= d.kin_count; at++) {
            struct h2_peer *peer = origin_of(at);
            if (peer)
                moved = h2_peer_turn(peer) || moved;
            moved = read_origin(at, most) || moved;
        }
    }
}

static void go(unsigned argument)
{
    struct driver_end *end = end_of(focus);
    int error = argument & 2 ? ECONNRESET : 0;
    if (argument & 1 && focus && end->open) {
        end->ends = true;
        end->error = error;
        return;
    }
    enum side side = argument & 1 ? SIDE_ORIGIN : SIDE_CLIENT;
    if (argument & 4)
        driver_break(&d, side, argument & 2 ? ECONNRESET : EPIPE);
    else if (d.end[side].open)
        driver_hang_up(&d, side, error);
    if (argument & 8)
        driver_hung_up(&d, side);
}

static void special(unsigned argument)
{
    switch (argument & 7) {
    case 0:
        driver_step(&d, (struct input){.type = INPUT_DRAIN});
        break;
    case 1:
    case 2:
        driver_resume(&d, (argument & 7) == 2);
        break;
    case 3:
        driver_deadline(&d);
        break;
    default:
        focus = d.kin_count ? (argument >> 3) % (d.kin_count + 1) : 0;
    }
}

static void operate(unsigned op, unsigned argument, const uint8_t *more, size_t n)
{
    static const uint64_t times[16] = {1, 10, 100, 299, 300, 301, 999, 1000, 1500, 2000, 3000, 5000, 10000, 59000, 60000, 120000};
    enum side side = op % 2 ? SIDE_ORIGIN : SIDE_CLIENT;
    switch ((enum operation)op) {
    case ASK: ask(argument); break;
    case ANSWER: answer(argument); break;
    case CLIENT_BODY: case ORIGIN_BODY: body(side, argument); break;
    case CLIENT_TRAILERS: case ORIGIN_TRAILERS: trailers(side, argument); break;
    case CLIENT_RESET: case ORIGIN_RESET: reset(side, argument); break;
    case CLIENT_CONTROL: case ORIGIN_CONTROL: control(side, argument); break;
    case CLIENT_FRAME: case ORIGIN_FRAME: frame(side, argument, more, n); break;
    case CLIENT_RAW: case ORIGIN_RAW: raw(side, more, n); break;
    case DIALED: dial_ends(argument); break;
    case DIAL_FAILED: dial_fails(argument); break;
    case MOVE: move(cuts[argument & 7], 1 + (argument >> 3)); break;
    case READ: if (argument & 8) read_origin(focus, cuts[argument & 7]); else read_client(cuts[argument & 7]); break;
    case TIME: driver_time(&d, times[argument & 15]); break;
    case GO: go(argument); break;
    case POLICY: d.policy.pauses = argument & 1; d.policy.request.action = argument & 2 ? SOTH_BLOCK : SOTH_ALLOW; break;
    case BLOCK: driver_block(&d, argument & 1 ? SIDE_ORIGIN : SIDE_CLIENT, argument & 2); break;
    case SPECIAL: special(argument); break;
    case OPERATIONS: break;
    }
}

/* ---- a life ---- */

static void choose(enum pairing pairing)
{
    bool other = settings & SET_OTHER_WAY;
    d.settings.http2_enabled = pairing != H1_H1;
    d.settings.upstream_http2 = pairing == H1_H1 || (pairing == H2_H1 && other) ? UPSTREAM_HTTP2_NEVER
                                : pairing == H2_H1 ? UPSTREAM_HTTP2_MIRROR : UPSTREAM_HTTP2_ALWAYS;
    d.settings.reverse_upstream = (struct settings_upstream){.host = "a.test", .port = 443, .tls = true};
    d.listen.mode = pairing == H1_H2 ? LISTEN_REVERSE : LISTEN_EXPLICIT; /* an origin says HTTP/2 to a client of HTTP/1 in its handshake only */
    d.policy.blocked_path = settings & SET_PATH ? BLOCKED : NULL;
    d.policy.blocked = settings & SET_HOST ? "b.test" : NULL;
}

/* Its preface and SETTINGS are read: until then the flow would answer in HTTP/1. */
static void speak_http2(size_t most)
{
    h2_peer_init(&client, &d, SIDE_CLIENT, -1, settings & SET_CLIENT_WINDOW ? 70000 : 0);
    h2_peer_turn(&client);
    while (driver_read(&d, SIDE_CLIENT, most))
        ;
}

static void begin(struct world *world, enum pairing pairing, size_t most)
{
    static const char connect[] = "CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n";
    bool other = settings & SET_OTHER_WAY;
    bool inside = pairing == H2_H1 ? other : pairing == H1_H2 ? false : !other;
    world_reset(world);
    driver_init(&d, world);
    choose(pairing);
    focus = 0;
    asked = 0;
    bodies = 0;
    driver_accept(&d);
    d.env.awake = settings & SET_AWAKE ? 3 : 0;
    if (inside) {
        say(SIDE_CLIENT, connect, sizeof connect - 1);
        driver_read(&d, SIDE_CLIENT, SIZE_MAX);
        buffer_clear(&d.end[SIDE_CLIENT].got);
    }
    if (pairing >= H2_H1)
        speak_http2(most);
    d.policy.pauses = settings & SET_PAUSE;
}

/* Nobody says anything any more. */
static void finish(enum ending ending)
{
    if (ending == END_ABORT)
        driver_step(&d, (struct input){.type = INPUT_ABORT});
    else if (ending == END_RESET)
        driver_break(&d, SIDE_CLIENT, ECONNRESET);
    else if (ending == END_DRAIN)
        driver_step(&d, (struct input){.type = INPUT_DRAIN});
    for (unsigned i = 0; d.flow && !d.fault[0] && i < 60; i++)
        driver_time(&d, 30000);
    if (d.flow && !d.fault[0])
        snprintf(d.fault, sizeof d.fault, "half an hour of silence does not end it (ending %u)", ending);
    forget(&client);
    for (unsigned at = 0; at <= DRIVER_KIN; at++)
        if (origins[at].peer.h2)
            forget(&origins[at].peer);
    driver_fini(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > INPUT_MOST)
        return 0;
    settings = data[1];
    size_t most = cuts[data[0] >> 2 & 7];
    memset(bulk, 'b', sizeof bulk);
    begin(world_once(), (enum pairing)(data[0] & 3), most);
    for (size_t at = 2; at + 1 < size && d.flow && !d.fault[0] && d.kin_count < STREAMS_MOST;) {
        unsigned op = data[at] % OPERATIONS, argument = data[at + 1];
        size_t n = 0;
        at += 2;
        if (op >= CLIENT_FRAME && op <= ORIGIN_RAW && at < size) {
            n = data[at++] & 63;
            n = n < size - at ? n : size - at;
        }
        operate(op, argument, data + at, n);
        at += n;
        if (data[0] & MOVES_ITSELF)
            move(most, 1);
    }
    finish((enum ending)(data[0] >> 5 & 3));
    if (!d.fault[0])
        return 0;
    fprintf(stderr, "%s\n", d.fault);
    abort();
}
