/* SPDX-License-Identifier: MPL-2.0 */
/* See flow_rig.h. */
#include "flow_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct world rig_world;

int rig_set_up(void **state)
{
    char err[512];
    (void)state;
    if (world_init(&rig_world, err, sizeof err))
        return 0;
    print_error("%s\n", err);
    return 1;
}

int rig_tear_down(void **state)
{
    (void)state;
    world_fini(&rig_world);
    return 0;
}

static void check(struct driver *d)
{
    if (d->fault[0])
        fail_msg("%s, after\n%s", d->fault, driver_log(d));
}

void rig_init(struct driver *d)
{
    assert_true(world_reset(&rig_world));
    driver_init(d, &rig_world);
}

void rig_fini(struct driver *d)
{
    driver_fini(d);
    check(d);
}

/* ---- acts ---- */

void rig_run(struct driver *d)
{
    check(d);
    while (driver_read(d, SIDE_CLIENT, SIZE_MAX) || driver_read(d, SIDE_ORIGIN, SIZE_MAX))
        check(d);
}

void rig_say_bytes(struct driver *d, enum side side, const void *p, size_t n)
{
    driver_say(d, side, p, n);
    rig_run(d);
}

void rig_say(struct driver *d, enum side side, const char *text)
{
    rig_say_bytes(d, side, text, strlen(text));
}

void rig_hang_up(struct driver *d, enum side side, int error)
{
    driver_hang_up(d, side, error);
    rig_run(d);
}

void rig_hung_up(struct driver *d, enum side side, int error)
{
    driver_hang_up(d, side, error);
    assert_true(driver_hung_up(d, side));
    rig_run(d);
}

void rig_dialed(struct driver *d)
{
    if (!driver_dialed(d))
        fail_msg("nothing is dialled, after\n%s", driver_log(d));
    rig_run(d);
}

void rig_dial_failed(struct driver *d, enum dial_failure failure, const char *detail)
{
    assert_true(driver_dial_failed(d, failure, detail));
    rig_run(d);
}

void rig_time(struct driver *d, uint64_t ms)
{
    driver_time(d, ms);
    rig_run(d);
}

void rig_deadline(struct driver *d, uint64_t ms)
{
    assert_non_null(d->flow);
    uint64_t deadline = flow_deadline(d->flow), now = rig_world.port->monotonic_ns;
    if (deadline != now + ms * 1000000)
        fail_msg("the deadline is in %lld ms, not in %llu", (long long)(deadline - now) / 1000000, (unsigned long long)ms);
    assert_true(driver_deadline(d));
    rig_run(d);
}

void rig_step(struct driver *d, enum input_type type)
{
    assert_true(driver_step(d, (struct input){.type = type}));
    rig_run(d);
}

void rig_intercepted(struct driver *d, const char *host)
{
    char head[512];
    snprintf(head, sizeof head, "CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\n\r\n", host, host);
    rig_say(d, SIDE_CLIENT, head);
    driver_client_tls(d, host, HTTP11);
    rig_run(d);
    driver_origin_tls(d, host, "http/1.1");
    rig_dialed(d);
    assert_int_equal(session_handshake(d->end[SIDE_CLIENT].tls), 1);
}

/* ---- what came of it ---- */

const char *rig_take(struct driver *d, enum side side)
{
    static char text[2][65536];
    struct buffer *got = &d->end[side].got;
    snprintf(text[side], sizeof text[side], "%.*s", (int)buffer_size(got), buffer_size(got) ? (const char *)buffer_data(got) : "");
    buffer_clear(got);
    return text[side];
}

static const char *line_of(const char *line, const char *kind)
{
    size_t n = strlen(kind);
    while (*line && !(strncmp(line, kind, n) == 0 && (line[n] == ' ' || line[n] == '\n')))
        line = strchr(line, '\n') + 1;
    return line;
}

const char *rig_attr(struct driver *d, const char *kind, const char *name)
{
    static char value[512];
    char wanted[128];
    const char *found = NULL;
    for (const char *line = line_of(driver_log(d), kind); *line; line = line_of(strchr(line, '\n') + 1, kind))
        found = line;
    value[0] = 0;
    snprintf(wanted, sizeof wanted, " %s=", name);
    const char *at = found ? strstr(found, wanted) : NULL;
    if (at && at < strchr(found, '\n')) {
        at += strlen(wanted);
        snprintf(value, sizeof value, "%.*s", (int)strcspn(at, " \n"), at);
    }
    return value;
}

unsigned rig_count(struct driver *d, const char *kind)
{
    unsigned count = 0;
    for (const char *line = line_of(driver_log(d), kind); *line; line = line_of(strchr(line, '\n') + 1, kind))
        count++;
    return count;
}

void rig_expect_sent(struct driver *d, enum side side, const char *text)
{
    const char *got = rig_take(d, side);
    if (strcmp(got, text) != 0)
        fail_msg("the %s got\n%s\nnot\n%s\nafter\n%s", side == SIDE_CLIENT ? "client" : "origin", got, text, driver_log(d));
}

void rig_expect_nothing_sent(struct driver *d)
{
    rig_expect_sent(d, SIDE_CLIENT, "");
    rig_expect_sent(d, SIDE_ORIGIN, "");
}

void rig_expect_reply(struct driver *d, int status, const char *error, const char *part)
{
    char line[64], field[128];
    const char *got = rig_take(d, SIDE_CLIENT);
    snprintf(line, sizeof line, "HTTP/1.1 %d ", status);
    snprintf(field, sizeof field, "\r\nProxy-Status: soth-mitm; error=%s\r\n", error);
    const char *second = strstr(got + 1, "HTTP/1.1 ");
    if (strncmp(got, line, strlen(line)) != 0 || !strstr(got, field) || !strstr(got, part) || second)
        fail_msg("the client got\n%s\nnot one reply %d %s %s, after\n%s", got, status, error, part, driver_log(d));
}

void rig_expect_closed(struct driver *d, const char *code, const char *detail)
{
    char got[300];
    if (!d->closed)
        fail_msg("it is not closed, after\n%s", driver_log(d));
    assert_int_equal(rig_count(d, "stream_closed"), 1);
    assert_string_equal(rig_attr(d, "stream_closed", "reason_code"), code);
    const char *log = driver_log(d), *at = strstr(log, " reason_detail=");
    snprintf(got, sizeof got, "%.*s", at ? (int)strcspn(at + 15, "\n") : 0, at ? at + 15 : "");
    assert_string_equal(got, detail ? detail : "");
}

void rig_expect_open(struct driver *d)
{
    if (d->closed)
        fail_msg("it is closed, after\n%s", driver_log(d));
}
