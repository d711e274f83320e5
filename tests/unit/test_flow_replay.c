/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A recorded sequence of flow_step inputs with an injected clock gives a byte-identical event log (contract section 5): the lives of
 * fuzz/corpus/flow_step are lived once and recorded, then their inputs are played to a new flow on a new bus. Both logs are what sink_file's
 * line writer makes of the events that a sink of the bus gets.
 * build: modules/sink_file/line.c modules/sink_file/form.c modules/sink_file/json.c
 */
#include <stdarg.h>
#include <setjmp.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "flow_program.h"
#include "modules/sink_file/form.h"
#include "modules/sink_file/line.h"

/* ---- a log ---- */

struct log {
    struct text text;
    struct forms forms;
};

static int write_lines(void *instance, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    struct log *log = instance;
    *retry_ms = 0;
    for (*done = 0; *done < batch->count; ++*done) {
        char key[SOTH_STREAM_KEY_MAX];
        struct line line;
        size_t n = event_stream_key(batch->events[*done], key);
        assert_int_equal(line_event(&log->text, &log->forms, batch->events[*done], (struct soth_span){key, n}, &line), 0);
    }
    return SOTH_OK;
}

static void begin_log(struct world *world, struct log *log)
{
    static const struct bus_sink_ops ops = {.write = write_lines};
    static const struct bus_queue_config queue = {.max_events = 65536, .max_bytes = 1 << 26};
    char err[512];
    *log = (struct log){.text.n = 0};
    if (!world_init(world, err, sizeof err))
        fail_msg("%s", err);
    assert_int_equal(bus_add_sink(world->bus, "log", log, &ops, UINT64_MAX, &queue), 0);
    assert_int_equal(bus_start(world->bus), 0);
}

static void end_text(struct log *log)
{
    free(log->text.p);
    forms_fini(&log->forms);
}

static void end_log(struct world *world)
{
    assert_int_equal(bus_stop(world->bus, 10000), 0);
    world_fini(world);
}

/* ---- a recording ---- */

struct record {
    uint64_t monotonic_ns, unix_ms;
    struct driver_policy policy; /* what it said just then */
    struct input input;          /* its data follows */
};

static void record(void *arg, const struct driver *d, const struct input *input)
{
    struct buffer *recording = arg;
    struct record r = {d->world->port->monotonic_ns, d->world->port->unix_ms, d->policy, *input};
    assert_int_equal(buffer_append(recording, &r, sizeof r), 0);
    if (input->size)
        assert_int_equal(buffer_append(recording, input->data, input->size), 0);
}

static void live(const uint8_t *program, size_t n, struct buffer *recording, struct log *log)
{
    struct world world;
    struct driver d;
    begin_log(&world, log);
    program_begin(&d, &world, program, n);
    d.on_input = record;
    d.on_input_arg = recording;
    driver_accept(&d);
    program_go_on(&d, program, n, false);
    driver_fini(&d);
    assert_string_equal(d.fault, "");
    end_log(&world);
}

/* Nobody answers here: the inputs are what they were, whatever the flow asks for. */
static void replay(const uint8_t *program, size_t n, const struct buffer *recording, struct log *log)
{
    struct world world;
    struct driver d;
    begin_log(&world, log);
    program_begin(&d, &world, program, n);
    driver_open(&d);
    for (size_t at = 0; at < buffer_size(recording);) {
        struct record r;
        memcpy(&r, buffer_data(recording) + at, sizeof r);
        at += sizeof r;
        r.input.data = buffer_data(recording) + at;
        at += r.input.size;
        world.port->monotonic_ns = r.monotonic_ns;
        world.port->unix_ms = r.unix_ms;
        d.policy = r.policy;
        driver_step(&d, r.input);
    }
    driver_fini(&d);
    end_log(&world);
}

static void check(const char *name, const uint8_t *program, size_t n)
{
    struct buffer recording = {0};
    struct log first, second;
    live(program, n, &recording, &first);
    replay(program, n, &recording, &second);
    const struct text *x = &first.text, *y = &second.text;
    assert_true(x->n > 0);
    if (x->n != y->n || memcmp(x->p, y->p, x->n) != 0)
        fail_msg("%s\n%.*s---\n%.*s", name, (int)x->n, x->p, (int)y->n, y->p);
    buffer_fini(&recording);
    end_text(&first);
    end_text(&second);
}

static void a_replay_gives_the_same_log(void **state)
{
    char path[4096];
    uint8_t program[4096];
    const char *top = getenv("srcdir");
    unsigned lives = 0;
    (void)state;
    snprintf(path, sizeof path, "%s/fuzz/corpus/flow_step", top ? top : ".");
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        snprintf(path, sizeof path, "%s/fuzz/corpus/flow_step/%s", top ? top : ".", entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "rb");
        if (!file)
            continue;
        size_t n = fread(program, 1, sizeof program, file);
        fclose(file);
        check(entry->d_name, program, n);
        lives++;
    }
    closedir(dir);
    assert_true(lives > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_replay_gives_the_same_log)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
