/* SPDX-License-Identifier: MPL-2.0 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "h2_server.h"

void h2s_send_due(struct h2_server *w)
{
    assert_int_equal(h2_output(w->h2, &w->out), 0);
    buffer_clear(&w->out);
}

void h2s_play(struct h2_server *w)
{
    struct h2_event event = {.type = H2_HEAD};
    size_t at = 0;
    while (event.type != H2_NONE && w->error == 0) {
        ssize_t r = h2_take(w->h2, buffer_data(&w->in) + at, buffer_size(&w->in) - at, w->now, &event);
        if (r < 0) {
            w->error = (int)r;
            break;
        }
        at += (size_t)r;
        w->heads += event.type == H2_HEAD;
        w->closed += event.type == H2_CLOSED;
        w->writable += event.type == H2_WRITABLE;
        if (event.type == H2_CLOSED)
            w->cause = event.cause;
        if (event.type == H2_BODY) {
            w->bodies++;
            h2_consume(w->h2, event.stream, event.data.n);
        }
    }
    buffer_clear(&w->in);
    if (!w->deaf)
        h2s_send_due(w);
}

void h2s_say(struct h2_server *w, const char *lines)
{
    h2_wire_write_all(&w->wire, lines, &w->in);
}

void h2s_begin_with(struct h2_server *w, const struct h2_limits *limits, const char *settings)
{
    memset(w, 0, sizeof *w);
    w->now = 5 * SECOND;
    w->h2 = h2_new_server(limits);
    assert_non_null(w->h2);
    h2_wire_init(&w->wire);
    h2s_say(w, "PREFACE");
    h2s_say(w, settings);
    h2s_play(w);
}

void h2s_begin(struct h2_server *w)
{
    static const struct h2_limits limits = {.max_header_list = 65536, .max_concurrent_streams = 100};
    h2s_begin_with(w, &limits, "SETTINGS");
}

void h2s_end(struct h2_server *w)
{
    h2_free(w->h2);
    h2_wire_fini(&w->wire);
    buffer_fini(&w->in);
    buffer_fini(&w->out);
}

void h2s_request(struct h2_server *w, int32_t id, const char *method, const char *flags)
{
    char text[160];
    snprintf(text, sizeof text, "HEADERS %d %s\n  :method: %s\n  :scheme: https\n  :authority: a\n  :path: /", id, flags, method);
    h2s_say(w, text);
}

void h2s_respond(struct h2_server *w, int32_t id, bool whole)
{
    static const struct message ok = {.status = 200};
    assert_int_equal(h2_response(w->h2, id, &ok, &(struct h2_response){.end = whole}), 0);
}

void h2s_ends_as(struct h2_server *w, const char *fault)
{
    h2s_play(w);
    assert_string_equal(h2_fault(w->h2), fault);
    assert_int_equal(w->error, -SOTH_ELIMIT);
    assert_int_equal(h2_stream_count(w->h2), 0);
    h2s_end(w);
}
