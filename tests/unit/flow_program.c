/* SPDX-License-Identifier: MPL-2.0 */
/* See flow_program.h. */
#include "flow_program.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const char *const client_texts[32] = {
    "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
    "CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n",
    "CONNECT a.test:80 HTTP/1.1\r\nHost: b.test:80\r\n\r\n",
    "CONNECT 127.0.0.1:8080 HTTP/1.1\r\n\r\n",
    "CONNECT 169.254.1.1:80 HTTP/1.1\r\n\r\n",
    "CONNECT a.test HTTP/1.1\r\n\r\n",
    "GET http://a.test/x?y HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET http://b.test HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello",
    "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
    "GET http://a.test/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.test\r\nno colon\r\n\r\n",
    "HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "\x01\x02\x03\xff",
    "SSH-2.0-x\r\n",
    "\r\n",
    "5\r\nhello\r\n",
    "0\r\n\r\n",
    "zz\r\n",
    "hello",
    "GET / HT",
    "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n",
    "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    "CONNECT ",
    "CON",
};

static const char *const origin_texts[16] = {
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\nbody",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    "HTTP/1.1 200 O",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
    "hi",
    "220 mail\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    "\x15\x03\x03\x00\x02\x02\x2f",
    "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n",
};

static const size_t sizes[16] = {1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 1400, 4000, 16384, SIZE_MAX};
static const uint64_t times[16] = {1, 10, 100, 299, 300, 301, 999, 1000, 1500, 2000, 3000, 5000, 10000, 59000, 60000, 120000};

static const char *const op_names[16] = {
    "client says", "client says", "origin says", "client says raw", "origin says raw", "read client", "read origin", "read all",
    "dialed", "dial failed", "time", "deadline", "hang up", "break", "policy", "special",
};

/* ---- the head ---- */

static void choose_policy(struct driver *d, unsigned bits)
{
    static const struct verdict verdicts[4] = {
        {.action = SOTH_INTERCEPT, .reason = "rule", .policy_module = "test", .rule_id = {"i", 1}},
        {.action = SOTH_TUNNEL, .reason = "ignored_host", .policy_module = "test"},
        {.action = SOTH_BLOCK, .reason = "rule", .policy_module = "test", .rule_id = {"b", 1}},
        {.action = SOTH_INTERCEPT, .is_default = true, .reason = "default_intercept", .policy_module = ""},
    };
    d->policy.target = verdicts[bits & 3];
    d->policy.target.needs_hello = (bits & 4) != 0 && d->policy.target.action != SOTH_BLOCK;
    d->policy.request.action = bits & 8 ? SOTH_BLOCK : SOTH_ALLOW;
    d->policy.request.policy_module = bits & 8 ? "test" : "";
    d->policy.request.reason = "rule";
}

static void choose_settings(struct driver *d, uint8_t first, uint8_t second)
{
    static const uint32_t mismatches[4] = {MISMATCH_BLOCK, MISMATCH_AUDIT, MISMATCH_ALLOW, MISMATCH_BLOCK};
    d->listen.mode = first & 2 ? LISTEN_REVERSE : LISTEN_EXPLICIT;
    d->listen.tls = (first & 3) == 3;
    d->settings.reverse_upstream = (struct settings_upstream){.host = "a.test", .port = 80, .tls = (first & 4) != 0};
    driver_capture(d, first % 3 ? 0 : first & 16 ? BUS_PAYLOAD_FULL : first >> 5); /* and somebody may want the bodies */
    d->settings.not_tls = first & 8 ? NOT_TLS_BLOCK : NOT_TLS_TUNNEL;
    d->settings.authority_mismatch = mismatches[first >> 4 & 3];
    d->settings.connect_parse_mode = first & 64 ? PARSE_LENIENT : PARSE_STRICT;
    d->settings.strict_header_mode = (first & 128) == 0;
    choose_policy(d, second & 15);
    d->policy.blocked = second & 16 ? "b.test" : NULL;
    d->refused_because = second & 64 ? "max_concurrent_flows" : NULL;
    if (second & 128)
        d->loopback.addr.bytes[0] = 10; /* the client is from elsewhere */
}

/* ---- operations ---- */

static void hello(struct driver *d, const char *sni)
{
    struct buffer wire = {0};
    struct session *client = session_client_new(d->world->trust, soth_span(sni), 443, soth_span(sni), soth_span("\x08http/1.1"));
    if (client) {
        session_output(client, &wire);
        session_handshake(client);
        driver_say(d, SIDE_CLIENT, buffer_data(&wire), buffer_size(&wire));
    }
    session_free(client);
    buffer_fini(&wire);
}

static void special(struct driver *d, unsigned what, bool tls)
{
    if (what >= SPECIAL_CLIENT_TLS && what <= SPECIAL_ORIGIN_NOTIFY && !tls)
        return;
    switch (what) {
    case SPECIAL_DRAIN:
        driver_step(d, (struct input){.type = INPUT_DRAIN});
        break;
    case SPECIAL_ABORT:
        driver_step(d, (struct input){.type = INPUT_ABORT});
        break;
    case SPECIAL_HELLO:
    case SPECIAL_OTHER_HELLO:
        hello(d, what == SPECIAL_HELLO ? "a.test" : "b.test");
        break;
    case SPECIAL_CLIENT_TLS:
    case SPECIAL_CLIENT_TLS_B:
        driver_client_tls(d, what == SPECIAL_CLIENT_TLS ? "a.test" : "b.test", "\x08http/1.1");
        break;
    case SPECIAL_ORIGIN_TLS:
    case SPECIAL_ORIGIN_TLS_B:
        if (!d->end[SIDE_ORIGIN].open)
            driver_origin_tls(d, what == SPECIAL_ORIGIN_TLS ? "a.test" : "c.test", "http/1.1");
        break;
    case SPECIAL_CLIENT_NOTIFY:
    case SPECIAL_ORIGIN_NOTIFY:
        driver_close_notify(d, what == SPECIAL_CLIENT_NOTIFY ? SIDE_CLIENT : SIDE_ORIGIN);
        break;
    case SPECIAL_PAUSE:
    case SPECIAL_NO_PAUSE:
        d->policy.pauses = what == SPECIAL_PAUSE;
        break;
    case SPECIAL_RESUME:
    case SPECIAL_STALE:
        driver_resume(d, what == SPECIAL_STALE);
        break;
    default:
        break;
    }
}

static void say_text(struct driver *d, enum side side, const char *text)
{
    if (side == SIDE_CLIENT || d->end[SIDE_ORIGIN].open)
        driver_say(d, side, text, strlen(text));
}

static void dial_fails(struct driver *d, unsigned argument)
{
    static const char *const details[] = {"dns:NXDOMAIN", "dns:timeout", "denied_upstream", "loop", "ECONNREFUSED", "EHOSTUNREACH",
                                          "ETIMEDOUT", "EMFILE"};
    driver_dial_failed(d, (enum dial_failure)(argument % COUNT(details)), details[argument % COUNT(details)]);
}

static void operate(struct driver *d, uint8_t byte, const uint8_t *operand, size_t n, bool tls)
{
    unsigned argument = byte >> 4;
    enum side side = argument & 1 ? SIDE_ORIGIN : SIDE_CLIENT;
    switch ((enum program_op)(byte & 15)) {
    case OP_CLIENT_SAYS:
    case OP_CLIENT_SAYS2:
        say_text(d, SIDE_CLIENT, client_texts[(byte & 15) * 16 + argument]);
        break;
    case OP_ORIGIN_SAYS:
        say_text(d, SIDE_ORIGIN, origin_texts[argument]);
        break;
    case OP_CLIENT_RAW:
        driver_say(d, SIDE_CLIENT, operand, n);
        break;
    case OP_ORIGIN_RAW:
        if (d->end[SIDE_ORIGIN].open)
            driver_say(d, SIDE_ORIGIN, operand, n);
        break;
    case OP_READ_CLIENT:
        driver_read(d, SIDE_CLIENT, sizes[argument]);
        break;
    case OP_READ_ORIGIN:
        driver_read(d, SIDE_ORIGIN, sizes[argument]);
        break;
    case OP_READ_ALL:
        while (driver_read(d, SIDE_CLIENT, sizes[argument]) || driver_read(d, SIDE_ORIGIN, sizes[argument]))
            ;
        break;
    case OP_DIALED:
        driver_dialed(d);
        break;
    case OP_DIAL_FAILED:
        dial_fails(d, argument);
        break;
    case OP_TIME:
        driver_time(d, times[argument]);
        break;
    case OP_DEADLINE:
        driver_deadline(d);
        break;
    case OP_HANG_UP:
        if (d->end[side].open)
            driver_hang_up(d, side, argument & 2 ? ECONNRESET : 0);
        if (argument & 4)
            driver_hung_up(d, side);
        break;
    case OP_BREAK:
        driver_break(d, side, argument & 2 ? ECONNRESET : EPIPE);
        break;
    case OP_POLICY:
        choose_policy(d, argument);
        break;
    case OP_SPECIAL:
        special(d, argument, tls);
        break;
    }
}

size_t program_next(const uint8_t *p, size_t n, size_t at)
{
    unsigned op = p[at] & 15;
    size_t end = at + 1;
    if (op == OP_CLIENT_RAW || op == OP_ORIGIN_RAW)
        end += (size_t)(p[at] >> 4) + 1;
    return end < n ? end : n;
}

void program_begin(struct driver *d, struct world *world, const uint8_t *p, size_t n)
{
    world_reset(world);
    driver_init(d, world);
    if (n >= PROGRAM_HEAD)
        choose_settings(d, p[0], p[1]);
}

bool program_go_on(struct driver *d, const uint8_t *p, size_t n, bool tls)
{
    for (size_t at = PROGRAM_HEAD, next; at < n && d->flow && !d->fault[0]; at = next) {
        next = program_next(p, n, at);
        operate(d, p[at], p + at + 1, next - at - 1, tls);
    }
    driver_step(d, (struct input){.type = INPUT_ABORT});
    if (!d->closed && !d->fault[0])
        snprintf(d->fault, sizeof d->fault, "an abort does not end it");
    return !d->fault[0];
}

bool program_run(struct driver *d, struct world *world, const uint8_t *p, size_t n, bool tls)
{
    program_begin(d, world, p, n);
    driver_accept(d);
    return program_go_on(d, p, n, tls);
}

/* ---- for people ---- */

static void print_text(struct buffer *out, const char *text, size_t n)
{
    char piece[8];
    buffer_append(out, " ", 1);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        snprintf(piece, sizeof piece, c == '\r' ? "\\r" : c == '\n' ? "\\n" : c < 32 || c > 126 ? "\\x%02x" : "%c", c);
        buffer_append_text(out, piece);
    }
}

void program_print(const uint8_t *p, size_t n, struct buffer *out)
{
    char line[64];
    for (size_t at = 0, next; at < n; at = next) {
        next = at < PROGRAM_HEAD ? at + 1 : program_next(p, n, at);
        unsigned op = p[at] & 15, argument = p[at] >> 4;
        const char *text = op <= OP_CLIENT_SAYS2 ? client_texts[op * 16 + argument] : op == OP_ORIGIN_SAYS ? origin_texts[argument] : NULL;
        if (at < PROGRAM_HEAD)
            snprintf(line, sizeof line, "head %02x", p[at]);
        else
            snprintf(line, sizeof line, "%s %u", op_names[op], argument);
        buffer_append_text(out, line);
        if (at >= PROGRAM_HEAD && text)
            print_text(out, text, strlen(text));
        else if (at >= PROGRAM_HEAD)
            print_text(out, (const char *)p + at + 1, next - at - 1);
        buffer_append(out, "\n", 1);
    }
}
