/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The host for tests of modules: right modules pass, and each thing that a module may do wrong is found.
 * build: sdk/testhost/config.c sdk/testhost/cursor.c sdk/testhost/decode.c sdk/testhost/decoder.c sdk/testhost/event.c sdk/testhost/exchange.c sdk/testhost/fields.c sdk/testhost/guard.c sdk/testhost/head.c sdk/testhost/host.c sdk/testhost/policy.c sdk/testhost/sink.c sdk/testhost/text.c sdk/testhost/tokens.c
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf_text.h"
#include "module_build.h"
#include "sdk/testhost/testhost.h"

static char *folder;
static int quiet, loud;

static const struct soth_module *fixture(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.so", folder, name);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(handle);
    return dlsym(handle, "soth_mitm_module");
}

static int build(void **state)
{
    (void)state;
    folder = scratch_new();
    quiet = open("/dev/null", O_WRONLY);
    loud = dup(STDERR_FILENO);
    return module_build("tests/fixtures/lines.c", folder, "lines", "") || module_build("tests/fixtures/transform.c", folder, "transform", "");
}

static int drop(void **state)
{
    (void)state;
    scratch_free(folder);
    return 0;
}

static void hush(bool on)
{
    dup2(on ? quiet : loud, STDERR_FILENO);
}

#define SAYS(text_) ((const struct testhost_step[]){{SOTH_TO_CLIENT, TESTHOST_TEXT(text_)}})
#define PLAIN "HTTP/1.1 200 OK\nContent-Type: text/plain"

/* ---- right ones ---- */

static void a_right_decoder_passes(void **state)
{
    (void)state;
    struct testhost *host = testhost_new(fixture("lines"), NULL, NULL);
    assert_non_null(host);
    struct testhost_case c = {.name = "lines", .response = PLAIN, .steps = SAYS("one\ntwo\n#note\n\nthree"), .step_count = 1, .events = "",
                              .out[SOTH_TO_CLIENT] = TESTHOST_TEXT("one\ntwo\n\nthree")};
    assert_int_equal(testhost_decoder(host, &c), 0);
    assert_true(testhost_count(host, "lines") > 100);
    c.response = "HTTP/1.1 200 OK\nContent-Type: text/html"; /* not watched: all of it passes */
    c.out[SOTH_TO_CLIENT] = (struct testhost_bytes)TESTHOST_TEXT("one\ntwo\n#note\n\nthree");
    assert_int_equal(testhost_decoder(host, &c), 0);
    assert_int_equal(testhost_free(host), 0);
}

static void a_failure_is_a_line(void **state)
{
    (void)state;
    struct testhost *host = testhost_new(fixture("lines"), (const char *[]){"max_line=3", NULL}, NULL);
    struct testhost_case c = {.response = PLAIN, .steps = SAYS("one\nthree\nfour\n"), .step_count = 1, .events = "failed limit\n"};
    c.out[SOTH_TO_CLIENT] = (struct testhost_bytes)TESTHOST_TEXT("one\nthree\nfour\n");
    assert_int_equal(testhost_decoder(host, &c), 0);
    assert_string_equal(testhost_events(host), "failed limit\n");
    assert_int_equal(testhost_out(host, SOTH_TO_CLIENT).n, 15);
    assert_int_equal(testhost_free(host), 0);
}

static void a_right_transform_passes(void **state)
{
    (void)state;
    struct testhost *host = testhost_new(fixture("transform"), (const char *[]){"to=elephant", "busy_every=7", NULL}, NULL);
    const struct testhost_step steps[] = {{SOTH_TO_SERVER, TESTHOST_TEXT("a cat, a ca")},
                                          {SOTH_TO_SERVER, TESTHOST_TEXT("tca")},
                                          {SOTH_TO_CLIENT, TESTHOST_TEXT("catcat")}};
    struct testhost_case c = {.request = "POST /a HTTP/1.1\nHost: a.test", .response = PLAIN, .steps = steps, .step_count = 3};
    c.out[SOTH_TO_SERVER] = (struct testhost_bytes)TESTHOST_TEXT("a elephant, a elephantca");
    c.out[SOTH_TO_CLIENT] = (struct testhost_bytes)TESTHOST_TEXT("elephantelephant");
    assert_int_equal(testhost_decoder(host, &c), 0);
    assert_int_equal(testhost_free(host), 0);
}

static void pauses_are_waited_for(void **state)
{
    (void)state;
    struct testhost *host = testhost_new(fixture("transform"), (const char *[]){"pause_every=3", "deadline=5ms", "on_timeout=closed", NULL}, NULL);
    struct testhost_case c = {.response = PLAIN, .steps = SAYS("abc"), .step_count = 1, .leave_out = ~TESTHOST_RESUME & ~TESTHOST_CLOSE};
    assert_int_equal(testhost_decoder(host, &c), 0);
    assert_int_equal(testhost_free(host), 0);
}

/* ---- wrong decoders ---- */

#define DECODER(mode_, stage_, ...)                                                                                                  \
    {                                                                                                                                \
        SOTH_PREFIX(SOTH_KIND_DECODER), .name = "wrong", .version = "1", .license = "MIT", .mode = (mode_), .stage = (stage_), __VA_ARGS__ \
    }

static const struct soth_host *api;

static int keeps_host(const struct soth_host *host, void *self)
{
    (void)self;
    api = host;
    return SOTH_OK;
}

static unsigned found(const struct soth_module *module, const char *text, unsigned leave_out)
{
    struct testhost_step step = {SOTH_TO_CLIENT, {text, strlen(text)}};
    hush(true);
    struct testhost *host = testhost_new(module, NULL, NULL);
    assert_non_null(host);
    struct testhost_case c = {.response = PLAIN, .steps = &step, .step_count = 1, .leave_out = leave_out};
    unsigned faults = testhost_decoder(host, &c);
    assert_int_equal(testhost_free(host), faults);
    hush(false);
    return faults;
}

static bool crashes_in(const struct soth_module *module, const char *text, unsigned leave_out)
{
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        found(module, text, leave_out);
        _exit(0);
    }
    int status = 0;
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status);
}

static bool crashes(const struct soth_module *module, const char *text)
{
    return crashes_in(module, text, 0);
}

static int by_piece(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)self;
    if (cur->in.n == 0)
        return SOTH_CONTINUE;
    return api->emit(self, flow, SOTH_EV_RESPONSE_BODY_CHUNK, SOTH_ATTRS({"bytes", SOTH_U64(cur->in.n)}));
}

static void events_that_depend_on_pieces(void **state)
{
    static const struct soth_module module = DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = keeps_host, .data = by_piece);
    (void)state;
    assert_int_not_equal(found(&module, "abc", ~TESTHOST_SPLITS), 0);
    assert_int_equal(found(&module, "abc", TESTHOST_SPLITS | TESTHOST_ROOM | TESTHOST_TWO | TESTHOST_FRAMES), 0);
}

static struct soth_span kept;
static const char *kept_word;

static int keeps_a_pointer(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    volatile char byte = 0;
    (void)self;
    (void)flow;
    if (kept.n)
        byte = kept.p[0];
    (void)byte;
    kept = cur->in;
    return SOTH_CONTINUE;
}

static int reads_too_far(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    volatile char byte = 0;
    (void)self;
    (void)flow;
    for (size_t i = 0; i <= cur->in.n; i++)
        byte = cur->in.p[i];
    (void)byte;
    return SOTH_CONTINUE;
}

static struct soth_flow *kept_flow;

static int keeps_its_flow(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)self;
    (void)cur;
    if (kept_flow)
        api->flow_id(kept_flow);
    kept_flow = flow;
    return SOTH_CONTINUE;
}

static int keeps_a_field(void *self, struct soth_flow *flow, const struct soth_message *message)
{
    (void)self;
    (void)flow;
    kept_word = message->fields[0].value.p;
    return SOTH_WATCH_BODY;
}

static int reads_a_field(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    volatile char byte = *kept_word;
    (void)self;
    (void)flow;
    (void)cur;
    (void)byte;
    return SOTH_CONTINUE;
}

static void borrowed_memory_is_gone(void **state)
{
    static const struct soth_module modules[] = {
        DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .data = keeps_a_pointer),
        DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .data = reads_too_far),
        DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = keeps_host, .data = keeps_its_flow),
        DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .match = keeps_a_field, .data = reads_a_field),
    };
    (void)state;
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++)
        if (!crashes(&modules[i], "abcdef"))
            fail_msg("module %zu goes on", i);
}

/* State in the instance where it should be in the flow. */
static int shared_count;

static int counts_for_all(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    for (size_t i = 0; i < cur->in.n; i++)
        if (cur->in.p[i] == '\n')
            api->emit(self, flow, SOTH_EV_RESPONSE_BODY_CHUNK, SOTH_ATTRS({"offset", SOTH_U64(shared_count++)}));
    return SOTH_CONTINUE;
}

static int begins_at_zero(void *self, struct soth_flow *flow)
{
    (void)self;
    (void)flow;
    shared_count = 0;
    return SOTH_OK;
}

static void state_that_is_shared(void **state)
{
    static const struct soth_module module = DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = keeps_host, .open = begins_at_zero, .data = counts_for_all);
    (void)state;
    assert_int_equal(found(&module, "a\nb\nc\nd\n", TESTHOST_TWO), 0);
    assert_int_not_equal(found(&module, "a\nb\nc\nd\n", ~TESTHOST_TWO), 0);
}

static int wants_to_wait(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)self;
    (void)flow;
    return cur->in.n ? SOTH_BUSY : SOTH_CONTINUE;
}

static int pauses_without_token(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)self;
    (void)flow;
    (void)cur;
    return SOTH_PAUSE;
}

static int takes_nothing(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)self;
    (void)flow;
    (void)cur;
    return SOTH_CONTINUE;
}

static int makes_for_ever(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)self;
    (void)flow;
    api->put(cur, soth_span("x"));
    return SOTH_CONTINUE;
}

static int busy_for_ever(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)self;
    (void)flow;
    (void)cur;
    return SOTH_BUSY;
}

static int ignores_frame(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct soth_frame frame = {.size = sizeof frame, .kind = SOTH_EV_RESPONSE_BODY_CHUNK, .payload = {cur->in.p, 1}};
    if (cur->in.n == 0)
        return SOTH_CONTINUE;
    api->pass(cur, 1);
    api->frame(self, flow, &frame);
    return SOTH_CONTINUE;
}

static int frames_of_nothing(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct soth_frame frame = {.size = sizeof frame, .kind = SOTH_EV_RESPONSE_BODY_CHUNK};
    int r = api->frame(self, flow, &frame);
    return cur->in.n ? r : SOTH_CONTINUE;
}

static int emits_what_is_not_there(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)cur;
    return api->emit(self, flow, SOTH_EV_RESPONSE_BODY_CHUNK, SOTH_ATTRS({"colour", SOTH_U64(1)}));
}

static int emits_an_unknown_kind(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)cur;
    api->emit(self, flow, SOTH_EV_COUNT, NULL, 0);
    return SOTH_CONTINUE;
}

static int counts_what_is_not_there(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)flow;
    (void)cur;
    api->count(self, 5, 1);
    return SOTH_CONTINUE;
}

static int matches_oddly(void *self, struct soth_flow *flow, const struct soth_message *message)
{
    (void)self;
    (void)flow;
    (void)message;
    return 17;
}

/* Thinks that everything it puts has room. */
static int does_not_look(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)self;
    (void)flow;
    for (size_t i = 0, n = cur->in.n; i < n; i++) {
        char two[2] = {cur->in.p[0], cur->in.p[0]};
        api->put(cur, (struct soth_span){two, 2});
        api->drop(cur, 1);
    }
    return SOTH_CONTINUE;
}

#ifndef __SANITIZE_ADDRESS__ /* its allocator does not tell how much is in use */
static int leaks(void *self, struct soth_flow *flow)
{
    (void)self;
    (void)flow;
    static void *volatile last;
    void *block = malloc(500);
    assert_non_null(block);
    *(void *volatile *)block = last; /* reachable: no leak to a checker, and yet */
    last = block;
    return SOTH_OK;
}
#endif

static int frames_all(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct soth_frame frame = {.size = sizeof frame, .kind = SOTH_EV_RESPONSE_BODY_CHUNK};
    return cur->in.n > 0 && api->pass(cur, cur->in.n) > 0 ? api->frame(self, flow, &frame) : SOTH_CONTINUE;
}

static int composes_too_much(void *self, struct soth_flow *flow, const struct soth_frame *frame, char *out, size_t room)
{
    (void)self, (void)flow, (void)frame, (void)out;
    return (int)room + 1;
}

static int composes_beyond(void *self, struct soth_flow *flow, const struct soth_frame *frame, char *out, size_t room)
{
    (void)self, (void)flow, (void)frame;
    out[room] = 'x';
    return 1;
}

static int composes_well(void *self, struct soth_flow *flow, const struct soth_frame *frame, char *out, size_t room)
{
    (void)self, (void)flow;
    assert_true(frame->kind == SOTH_EV_FRAME_DECISION && room >= 256);
    memset(out, 'x', room);
    return (int)room;
}

static void last_words_are_looked_at(void **state)
{
    static const struct soth_module well =
        DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = keeps_host, .data = frames_all, .compose = composes_well);
    static const struct soth_module beyond =
        DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = keeps_host, .data = frames_all, .compose = composes_beyond);
    static const struct soth_module much =
        DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = keeps_host, .data = frames_all, .compose = composes_too_much);
    (void)state;
    assert_int_equal(found(&well, "abc", ~TESTHOST_BLOCK), 0);
    assert_true(found(&much, "abc", ~TESTHOST_BLOCK) > 0);
    assert_true(crashes_in(&beyond, "abc", ~TESTHOST_BLOCK));
}

static void each_mistake_is_found(void **state)
{
    static const struct {
        const char *name;
        struct soth_module module;
        unsigned only; /* the way that finds it, or 0: the plain run */
    } wrong[] = {
        {"a TAP that waits", DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .data = wants_to_wait), 0},
        {"PAUSE without a token", DECODER(SOTH_TRANSFORM, SOTH_STAGE_FRAME, .data = pauses_without_token), 0},
        {"a TRANSFORM that takes nothing", DECODER(SOTH_TRANSFORM, SOTH_STAGE_FRAME, .data = takes_nothing), 0},
        {"output without end", DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = keeps_host, .data = makes_for_ever), 0},
        {"output without end of a TRANSFORM", DECODER(SOTH_TRANSFORM, SOTH_STAGE_FRAME, .create = keeps_host, .data = makes_for_ever), 0},
        {"busy for ever", DECODER(SOTH_TRANSFORM, SOTH_STAGE_FRAME, .data = busy_for_ever), 0},
        {"frame is ignored", DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = keeps_host, .data = ignores_frame), TESTHOST_FRAMES},
        {"a blocked frame is ignored", DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = keeps_host, .data = frames_of_nothing), TESTHOST_FRAMES},
        {"an unknown attribute", DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = keeps_host, .data = emits_what_is_not_there), 0},
        {"an unknown kind", DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = keeps_host, .data = emits_an_unknown_kind), 0},
        {"an unknown metric", DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = keeps_host, .data = counts_what_is_not_there), 0},
        {"match says something odd", DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .match = matches_oddly, .data = takes_nothing), 0},
        {"room is not looked at", DECODER(SOTH_TRANSFORM, SOTH_STAGE_FRAME, .create = keeps_host, .data = does_not_look), TESTHOST_ROOM},
#ifndef __SANITIZE_ADDRESS__
        {"memory is left behind", DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .open = leaks, .data = takes_nothing), TESTHOST_LEAKS},
#endif
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (found(&wrong[i].module, "abc\ndef\n", ~wrong[i].only) == 0)
            fail_msg("not found: %s", wrong[i].name);
}

/* ---- what a decoder gets ---- */

static struct {
    unsigned opened, closed, complete, trailers, timers;
    uint32_t flags;
    char heads[256];
} seen;

static int notes_match(void *self, struct soth_flow *flow, const struct soth_message *message)
{
    (void)self;
    struct soth_span host = api->hdr_get(flow, "host", 0), none = api->hdr_get(flow, "none", 0);
    snprintf(seen.heads + strlen(seen.heads), sizeof seen.heads - strlen(seen.heads), "%u %.*s %.*s %u %.*s%s;", (unsigned)message->direction,
             SOTH_SPAN(message->method), SOTH_SPAN(message->target), (unsigned)message->status, SOTH_SPAN(host), none.p ? "?" : "");
    return SOTH_WATCH_BOTH;
}

static int notes_open(void *self, struct soth_flow *flow)
{
    (void)self;
    seen.opened++;
    return api->timer(self, flow, 100);
}

static int notes_data(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)self;
    (void)flow;
    seen.flags |= cur->flags;
    return SOTH_CONTINUE;
}

static int notes_trailers(void *self, struct soth_flow *flow, const struct soth_message *trailers)
{
    (void)self;
    (void)flow;
    assert_int_equal(trailers->field_count, 2);
    assert_true(soth_span_is(trailers->fields[1].value, "two"));
    assert_false(seen.flags & SOTH_CUR_END); /* they come before the end */
    seen.trailers++;
    return SOTH_CONTINUE;
}

static int notes_timer(void *self, struct soth_flow *flow)
{
    (void)self;
    (void)flow;
    seen.timers++;
    return SOTH_CONTINUE;
}

static void notes_close(void *self, struct soth_flow *flow, uint32_t complete)
{
    (void)self;
    seen.closed++;
    seen.complete += complete;
    api->emit(self, flow, SOTH_EV_RESPONSE_BODY_CHUNK, SOTH_ATTRS({"offset", SOTH_U64(7)}, {"bytes", SOTH_U64(complete)}));
}

static void a_decoder_gets_everything(void **state)
{
    static const struct soth_module module = DECODER(SOTH_TAP, SOTH_STAGE_SANITIZE, .create = keeps_host, .match = notes_match, .open = notes_open,
                                                     .data = notes_data, .trailers = notes_trailers, .on_timer = notes_timer, .close = notes_close,
                                                     .state_size = 8);
    const struct testhost_step steps[] = {{SOTH_TO_CLIENT, TESTHOST_TEXT("abc")}, {TESTHOST_LATER, {NULL, 101}}, {SOTH_TO_CLIENT, TESTHOST_TEXT("d")}};
    struct testhost_case c = {.request = "POST /x?y HTTP/1.1\nHost: b.test", .response = PLAIN, .steps = steps, .step_count = 3,
                              .trailers[SOTH_TO_CLIENT] = "A: one\nB: two", .events = "response_body_chunk bytes=1 offset=7\n", .leave_out = ~0u};
    (void)state;
    struct testhost *host = testhost_new(&module, NULL, NULL);
    assert_int_equal(testhost_decoder(host, &c), 0);
    assert_string_equal(seen.heads, "0 POST /x?y 0 b.test;1 POST /x?y 200 ;");
    assert_int_equal(seen.opened, 1);
    assert_int_equal(seen.closed, 1);
    assert_int_equal(seen.complete, 1);
    assert_int_equal(seen.trailers, 1);
    assert_int_equal(seen.timers, 1);
    assert_int_equal(seen.flags, SOTH_CUR_END);
    assert_int_equal(testhost_free(host), 0);
}

static void after_a_101(void **state)
{
    const struct testhost_step steps[] = {{SOTH_TO_SERVER, TESTHOST_TEXT("up\n")}, {SOTH_TO_CLIENT, TESTHOST_TEXT("down\n")},
                                          {SOTH_TO_SERVER, TESTHOST_TEXT("#\nup\n")}};
    struct testhost_case c = {.response = "HTTP/1.1 101 Switching Protocols\nContent-Type: text/plain\nUpgrade: x", .steps = steps, .step_count = 3};
    (void)state;
    c.out[SOTH_TO_SERVER] = (struct testhost_bytes)TESTHOST_TEXT("up\nup\n");
    c.out[SOTH_TO_CLIENT] = (struct testhost_bytes)TESTHOST_TEXT("down\n");
    struct testhost *host = testhost_new(fixture("lines"), NULL, NULL);
    assert_int_equal(testhost_decoder(host, &c), 0);
    assert_int_equal(testhost_free(host), 0);
}

/* ---- configuration ---- */

struct settings {
    uint8_t yes, no;
    int64_t number;
    uint64_t size, duration;
    const char *text;
    uint32_t choice, written;
    struct soth_strings list;
    struct {
        const char *word;
    } deep;
};

static const struct soth_opt deep[] = {{"word", SOTH_OPT_T_STRING, 0, 0, "preset", 0, 0, NULL, NULL, 0, "a word"}, SOTH_OPT_END};
static const struct soth_opt options[] = {
    SOTH_OPT_BOOL(struct settings, yes, "true", ""),
    SOTH_OPT_BOOL(struct settings, no, "false", ""),
    SOTH_OPT_INT(struct settings, number, "-3", -10, 10, ""),
    SOTH_OPT_SIZE(struct settings, size, "64k", 1, 1 << 30, ""),
    SOTH_OPT_DURATION(struct settings, duration, "5s", 0, 0, ""),
    SOTH_OPT_STRING(struct settings, text, SOTH_REQUIRED, ""),
    SOTH_OPT_ENUM(struct settings, choice, "red|green|blue", "green", ""),
    SOTH_OPT_STRINGS(struct settings, list, "[a, b c]", ""),
    SOTH_OPT_MAP(struct settings, deep, deep, ""),
    SOTH_OPT_END,
};

static void writes(void *self)
{
    ((struct settings *)self)->written = 42;
}

static const struct soth_module configured = {SOTH_PREFIX(SOTH_KIND_DECODER), .name = "configured", .version = "1", .license = "MIT",
                                              .options = options, .self_size = sizeof(struct settings), .data = takes_nothing};

static void options_are_filled(void **state)
{
    (void)state;
    struct testhost *host = testhost_new(&configured, (const char *[]){"text=hello there", "number=7", "deep.word=x", "list=[one,two, three]", NULL}, writes);
    assert_non_null(host);
    const struct settings *s = testhost_self(host);
    assert_int_equal(s->yes, 1);
    assert_int_equal(s->no, 0);
    assert_int_equal(s->number, 7);
    assert_int_equal(s->size, 65536);
    assert_int_equal(s->duration, 5000);
    assert_string_equal(s->text, "hello there");
    assert_int_equal(s->choice, 1);
    assert_int_equal(s->written, 42);
    assert_int_equal(s->list.n, 3);
    assert_string_equal(s->list.v[2], "three");
    assert_string_equal(s->deep.word, "x");
    assert_int_equal(testhost_free(host), 0);
    host = testhost_new(&configured, (const char *[]){"text=", NULL}, NULL);
    s = testhost_self(host);
    assert_int_equal(s->list.n, 2);
    assert_string_equal(s->list.v[1], "b c");
    assert_string_equal(s->deep.word, "preset");
    assert_int_equal(testhost_free(host), 0);
}

static void wrong_options_are_refused(void **state)
{
    static const char *const wrong[] = {"number=11", "number=x", "size=5x", "choice=black", "yes=1", "nothing=5", "duration=5"};
    (void)state;
    hush(true);
    assert_null(testhost_new(&configured, NULL, NULL)); /* text is required */
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (testhost_new(&configured, (const char *[]){"text=", wrong[i], NULL}, NULL))
            fail_msg("%s", wrong[i]);
    hush(false);
    assert_int_equal(testhost_free(NULL), 1);
}

/* ---- policies ---- */

/* Asks a thread of its own, which resumes; what it keeps for that it forgets when it hears of a cancel. */
struct asker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct soth_token tokens[64];
    unsigned count;
    bool stop;
    atomic_uint resumed, cancelled, stale;
};
static struct asker asker;
static atomic_uint answer_action;

static void *resumes(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&asker.lock);
    while (!asker.stop) {
        if (asker.count == 0) {
            pthread_cond_wait(&asker.work, &asker.lock);
            continue;
        }
        struct soth_token token = asker.tokens[--asker.count];
        pthread_mutex_unlock(&asker.lock);
        if (api->resume(token, 77) == SOTH_OK)
            asker.resumed++;
        else
            asker.stale++;
        assert_int_equal(api->resume(token, 78), -SOTH_ESTALE); /* doubled */
        pthread_mutex_lock(&asker.lock);
    }
    pthread_mutex_unlock(&asker.lock);
    return NULL;
}

static int starts(const struct soth_host *host, void *self)
{
    keeps_host(host, self);
    memset(&asker, 0, sizeof asker);
    pthread_mutex_init(&asker.lock, NULL);
    pthread_cond_init(&asker.work, NULL);
    return pthread_create(&asker.thread, NULL, resumes, NULL) ? -SOTH_EIO : SOTH_OK;
}

static void stops(void *self)
{
    (void)self;
    pthread_mutex_lock(&asker.lock);
    asker.stop = true;
    pthread_cond_signal(&asker.work);
    pthread_mutex_unlock(&asker.lock);
    pthread_join(asker.thread, NULL);
}

static int asks(void *self, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out)
{
    uint64_t arg;
    (void)request;
    if (api->resumed(flow, &arg)) {
        assert_int_equal(arg, 77);
        out->action = answer_action;
        out->reason = "rule";
        out->rule_id = soth_span("r1");
        return SOTH_DECIDED;
    }
    struct soth_token token = api->token(self, flow, 1000, 0);
    assert_int_equal(api->token(self, flow, 1000, 0).pause, 0); /* there is one a hook */
    pthread_mutex_lock(&asker.lock);
    if (asker.count == 64) {
        pthread_mutex_unlock(&asker.lock);
        return SOTH_BUSY;
    }
    asker.tokens[asker.count++] = token;
    pthread_cond_signal(&asker.work);
    pthread_mutex_unlock(&asker.lock);
    return SOTH_PAUSE;
}

static void is_cancelled(void *self, struct soth_token token)
{
    (void)self;
    pthread_mutex_lock(&asker.lock);
    for (unsigned i = 0; i < asker.count; i++)
        if (asker.tokens[i].pause == token.pause)
            asker.tokens[i--] = asker.tokens[--asker.count];
    asker.cancelled++;
    pthread_mutex_unlock(&asker.lock);
}

#define POLICY(...) {SOTH_PREFIX(SOTH_KIND_POLICY), .name = "judge", .version = "1", .license = "MIT", __VA_ARGS__}

static void a_policy_that_asks_elsewhere(void **state)
{
    static const struct soth_module module = POLICY(.create = starts, .destroy = stops, .request = asks, .cancel = is_cancelled);
    struct testhost_question q = {.hook = SOTH_HOOK_REQUEST, .request = "GET /a HTTP/1.1\nHost: a.test"};
    struct soth_decision d;
    (void)state;
    answer_action = SOTH_BLOCK;
    struct testhost *host = testhost_new(&module, NULL, NULL);
    assert_int_equal(testhost_ask(host, &q, &d, NULL), SOTH_DECIDED);
    assert_int_equal(d.action, SOTH_BLOCK);
    assert_true(soth_span_is(d.rule_id, "r1"));
    assert_int_equal(testhost_policy(host, &q, SOTH_BLOCK), 0);
    assert_true(asker.resumed > 100);
    assert_true(asker.cancelled > 0);
    hush(true);
    assert_int_not_equal(testhost_policy(host, &q, SOTH_ALLOW), 0);
    hush(false);
    testhost_free(host);
}

static int nobody_answers(void *self, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out)
{
    (void)request;
    (void)out;
    return api->token(self, flow, 3, 1).generation ? SOTH_PAUSE : SOTH_FAIL;
}

static unsigned cancels;

static void counts_cancels(void *self, struct soth_token token)
{
    (void)self;
    (void)token;
    cancels++;
}

static void a_deadline_passes(void **state)
{
    static const struct soth_module module = POLICY(.create = keeps_host, .request = nobody_answers, .cancel = counts_cancels);
    struct testhost_question q = {.hook = SOTH_HOOK_REQUEST};
    uint32_t late = 7;
    (void)state;
    struct testhost *host = testhost_new(&module, NULL, NULL);
    assert_int_equal(testhost_ask(host, &q, NULL, &late), -SOTH_ESTALE);
    assert_int_equal(late, 1);
    assert_int_equal(cancels, 1);
    assert_int_equal(testhost_free(host), 0);
}

static int peeks(void *self, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out)
{
    (void)self;
    (void)flow;
    if (request->body.n < 4 && !request->body_complete) {
        out->need_bytes = 4;
        return SOTH_PEEK;
    }
    out->action = request->body.n >= 4 && memcmp(request->body.p, "evil", 4) == 0 ? SOTH_BLOCK : SOTH_ALLOW;
    return SOTH_DECIDED;
}

static int wants_hello(void *self, struct soth_flow *flow, const struct soth_connect *connect, struct soth_decision *out)
{
    (void)self;
    (void)flow;
    if (!connect->has_hello)
        return SOTH_PEEK;
    out->action = soth_span_is(connect->sni, "bad.test") && connect->client_addr.bytes[3] == 9 ? SOTH_BLOCK : SOTH_TUNNEL;
    return SOTH_DECIDED;
}

static void peeks_are_answered(void **state)
{
    static const struct soth_module module = POLICY(.request = peeks, .connect = wants_hello);
    struct testhost_question evil = {.hook = SOTH_HOOK_REQUEST, .body = TESTHOST_TEXT("evil twin")};
    struct testhost_question good = {.hook = SOTH_HOOK_REQUEST, .body = TESTHOST_TEXT("ok")};
    struct testhost_question bad = {.hook = SOTH_HOOK_CONNECT, .sni = "bad.test", .client = "192.0.2.9:1", .no_hello = 1};
    struct testhost_question fine = {.hook = SOTH_HOOK_CONNECT, .sni = "fine.test", .no_hello = 1};
    (void)state;
    struct testhost *host = testhost_new(&module, NULL, NULL);
    assert_int_equal(testhost_policy(host, &evil, SOTH_BLOCK), 0);
    assert_int_equal(testhost_policy(host, &good, SOTH_ALLOW), 0);
    assert_int_equal(testhost_policy(host, &bad, SOTH_BLOCK), 0);
    assert_int_equal(testhost_policy(host, &fine, SOTH_TUNNEL), 0);
    assert_int_equal(testhost_free(host), 0);
}

static int on_rewrite(void *self, struct soth_flow *flow, const struct soth_message *message)
{
    (void)self;
    (void)message;
    if (!soth_span_is(api->hdr_get(flow, "x-key", 0), "old"))
        return SOTH_FAIL;
    api->hdr_set(flow, "X-Key", soth_span("new"));
    api->hdr_add(flow, "X-More", soth_span("1"));
    if (api->hdr_del(flow, "cookie") != 2 || api->hdr_set(flow, "Host", soth_span("x")) != -SOTH_EPERM ||
        api->hdr_add(flow, "Bad Name", soth_span("x")) != -SOTH_EINVALID || api->hdr_add(flow, "A", soth_span("x\ny")) != -SOTH_EINVALID)
        return SOTH_FAIL;
    return api->set_target(flow, soth_span("b.test"), 8443, soth_span("/new"));
}

static void heads_are_changed(void **state)
{
    static const struct soth_module module = POLICY(.create = keeps_host, .rewrite = on_rewrite);
    struct testhost_question q = {.hook = SOTH_HOOK_REWRITE, .request = "GET /a HTTP/1.1\nHost: a.test\nX-Key: old\nCookie: a\nAccept: */*\ncookie: b"};
    (void)state;
    struct testhost *host = testhost_new(&module, NULL, NULL);
    assert_int_equal(testhost_ask(host, &q, NULL, NULL), SOTH_CONTINUE);
    assert_string_equal(testhost_head(host), "Host: a.test\nAccept: */*\nX-Key: new\nX-More: 1\n");
    assert_string_equal(testhost_target(host), "b.test:8443 /new");
    assert_int_equal(testhost_free(host), 0);
}

static int judges_frames(void *self, struct soth_flow *flow, const struct soth_frame *frame, struct soth_decision *out)
{
    (void)self;
    (void)flow;
    out->action = frame->payload.n && frame->payload.p[0] == 'X' ? SOTH_BLOCK : SOTH_ALLOW;
    return SOTH_DECIDED;
}

static int injected_result;
static int adds_a_message(void *self, struct soth_flow *flow, const struct soth_frame *frame, struct soth_decision *out)
{
    struct soth_frame more = {.size = sizeof more, .direction = frame->direction ^ 1, .kind = SOTH_EV_WS_MESSAGE, .payload = soth_span("more\n")};
    (void)out;
    if (soth_span_is(frame->payload, "nowhere"))
        more.direction = 2;
    injected_result = api->inject(self, flow, &more);
    return SOTH_CONTINUE;
}

static void what_is_injected_is_seen(void **state)
{
    static const struct soth_module module = POLICY(.create = keeps_host, .frame = adds_a_message);
    struct testhost_question q = {.hook = SOTH_HOOK_FRAME};
    struct soth_decision d;
    (void)state;
    q.frame.kind = SOTH_EV_WS_MESSAGE;
    q.frame.payload = soth_span("hello");
    struct testhost *host = testhost_new(&module, NULL, NULL);
    assert_int_equal(testhost_ask(host, &q, &d, NULL), SOTH_CONTINUE);
    assert_int_equal(injected_result, SOTH_OK);
    assert_string_equal(testhost_injected(host), "server_to_client ws_message more\\n\n");
    assert_int_equal(testhost_faults(host), 0);
    q.frame.payload = soth_span("nowhere");
    hush(true);
    testhost_ask(host, &q, &d, NULL);
    assert_int_equal(testhost_free(host), 1);
    hush(false);
    assert_int_equal(injected_result, -SOTH_EINVALID);
}

static void frames_are_judged(void **state)
{
    static const struct soth_module module = POLICY(.frame = judges_frames);
    struct testhost_question q = {.hook = SOTH_HOOK_FRAME};
    (void)state;
    q.frame.kind = SOTH_EV_RESPONSE_BODY_CHUNK;
    q.frame.payload = soth_span("X!");
    struct testhost *host = testhost_new(&module, NULL, NULL);
    assert_int_equal(testhost_policy(host, &q, SOTH_BLOCK), 0);
    q.frame.payload = soth_span("ok");
    assert_int_equal(testhost_policy(host, &q, SOTH_ALLOW), 0);
    assert_int_equal(testhost_free(host), 0);
}

static int decides_oddly(void *self, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out)
{
    (void)self;
    (void)flow;
    (void)request;
    out->action = SOTH_TUNNEL;
    return SOTH_DECIDED;
}

static int peeks_for_nothing(void *self, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out)
{
    (void)self;
    (void)flow;
    (void)request;
    (void)out;
    return SOTH_PEEK;
}

static int says_drop(void *self, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out)
{
    (void)self;
    (void)flow;
    (void)request;
    (void)out;
    return SOTH_DROP;
}

static int always_busy(void *self, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out)
{
    (void)self;
    (void)flow;
    (void)request;
    (void)out;
    return SOTH_BUSY;
}

static void wrong_policies_are_found(void **state)
{
    static const struct soth_module modules[] = {POLICY(.request = decides_oddly), POLICY(.request = peeks_for_nothing), POLICY(.request = says_drop),
                                                 POLICY(.request = always_busy)};
    struct testhost_question q = {.hook = SOTH_HOOK_REQUEST, .body = TESTHOST_TEXT("body")};
    (void)state;
    hush(true);
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        struct testhost *host = testhost_new(&modules[i], NULL, NULL);
        testhost_ask(host, &q, NULL, NULL);
        if (testhost_free(host) == 0)
            fail_msg("policy %zu", i);
    }
    hush(false);
}

static void signals_go_both_ways(void **state)
{
    struct soth_signal signal = {.size = sizeof signal, .peer = "downstream", .reason = "unknown_ca", .source = "native_authoritative",
                                 .host = soth_span("a.test")};
    (void)state;
    struct testhost *host = testhost_new(&(const struct soth_module)POLICY(.create = keeps_host, .request = decides_oddly), NULL, NULL);
    testhost_signal(host, &signal); /* nobody listens */
    assert_int_equal(api->signal(testhost_self(host), &signal), SOTH_OK);
    assert_string_equal(testhost_signals(host), "downstream unknown_ca native_authoritative a.test\n");
    testhost_expect(host, 1, "nothing");
    assert_int_equal(testhost_faults(host), 0);
    hush(true);
    testhost_expect(host, 0, "something");
    hush(false);
    assert_int_equal(testhost_free(host), 1);
}

/* ---- sinks ---- */

static char written[1 << 16];
static int sink_result;
static unsigned flushes, wakes, retries;

static int writes_down(void *self, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    (void)self;
    wakes += batch->count == 0;
    for (*done = 0; *done < batch->count; ++*done) {
        const struct soth_event *e = batch->events[*done];
        if (++retries % 3 == 0) {
            *retry_ms = 1;
            return SOTH_RETRY;
        }
        size_t n = strlen(written);
        n += (size_t)snprintf(written + n, sizeof written - n, "%llu %s", (unsigned long long)e->sequence_id, e->kind_name);
        for (uint32_t i = 0; i < e->attr_count; i++)
            n += (size_t)snprintf(written + n, sizeof written - n, " %s=%.*s", e->attrs[i].name, SOTH_SPAN(e->attrs[i].text));
        snprintf(written + n, sizeof written - n, ";");
    }
    return SOTH_OK;
}

static int flushes_well(void *self, uint32_t deadline_ms)
{
    (void)self;
    (void)deadline_ms;
    flushes++;
    return SOTH_OK;
}

#define SINK(...) {SOTH_PREFIX(SOTH_KIND_SINK), .name = "sink", .version = "1", .license = "MIT", __VA_ARGS__}

static const char lines[] = "request_headers method=GET target=/a\\x20b version=HTTP/1.1\nresponse_headers status_code=200\nstream_closed reason_detail=two words reason_code=x\n";

static void a_right_sink_passes(void **state)
{
    static const struct soth_module module = SINK(.write = writes_down, .flush = flushes_well);
    (void)state;
    struct testhost *host = testhost_new(&module, NULL, NULL);
    assert_int_equal(testhost_sink(host, lines, 0), 0);
    assert_int_equal(testhost_free(host), 0);
    assert_ptr_equal(strstr(written, "1 request_headers method=GET target=/a b version=HTTP/1.1;2 response_headers status_code=200;"
                                     "3 stream_closed reason_detail=two words reason_code=x;4 request_headers"),
                     written);
    assert_non_null(strstr(written, ";12 stream_closed"));
    assert_null(strstr(written, ";13 "));
    assert_int_equal(flushes, 4);
    assert_int_equal(wakes, 4);
}

static int answers(void *self, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    (void)self;
    (void)retry_ms;
    *done = sink_result == 100 ? batch->count + 1 : 0;
    return batch->count == 0 ? SOTH_OK : sink_result == 100 ? SOTH_OK : sink_result;
}

static void wrong_sinks_are_found(void **state)
{
    static const struct soth_module module = SINK(.write = answers);
    static const int wrong[] = {SOTH_OK, SOTH_RETRY, SOTH_DROP, SOTH_DEAD, -SOTH_EIO, 99, 100};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct testhost *host = testhost_new(&module, NULL, NULL);
        sink_result = wrong[i];
        hush(true);
        unsigned faults = testhost_sink(host, "budget_denied what=flow", 0);
        unsigned lossy = testhost_sink(host, "budget_denied what=flow", 1);
        testhost_free(host);
        hush(false);
        if (faults == 0 || (wrong[i] == SOTH_DROP && lossy != 0))
            fail_msg("result %d", wrong[i]);
    }
}

static const struct soth_event *kept_event;

static int keeps_an_event(void *self, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    volatile uint16_t kind = kept_event ? kept_event->kind : 0;
    (void)self;
    (void)retry_ms;
    (void)kind;
    kept_event = batch->count ? batch->events[0] : kept_event;
    *done = batch->count;
    return SOTH_OK;
}

static void a_sink_that_keeps_events_crashes(void **state)
{
    static const struct soth_module module = SINK(.write = keeps_an_event);
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_DFL);
        hush(true);
        testhost_sink(testhost_new(&module, NULL, NULL), lines, 0);
        _exit(0);
    }
    int status = 0;
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    assert_true(WIFSIGNALED(status));
}

static int acks(void *self, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    (void)retry_ms;
    *done = batch->count;
    if (batch->count && sink_result == 0)
        api->ack(self, batch->events[batch->count - 1]->sequence_id);
    if (batch->count && sink_result == 2)
        api->ack(self, batch->events[batch->count - 1]->sequence_id + 5);
    return SOTH_OK;
}

static void what_is_taken_must_be_acknowledged(void **state)
{
    static const struct soth_module module = SINK(.create = keeps_host, .write = acks, .flags = SOTH_SINK_ASYNC_ACK);
    (void)state;
    for (sink_result = 0; sink_result < 3; sink_result++) {
        struct testhost *host = testhost_new(&module, NULL, NULL);
        hush(true);
        unsigned faults = testhost_sink(host, sink_result == 1 ? "budget_denied what=flow" : lines, 0);
        hush(false);
        assert_int_equal(faults > 0, sink_result > 0);
        testhost_free(host);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_right_decoder_passes),
        cmocka_unit_test(a_failure_is_a_line),
        cmocka_unit_test(a_right_transform_passes),
        cmocka_unit_test(pauses_are_waited_for),
        cmocka_unit_test(events_that_depend_on_pieces),
        cmocka_unit_test(borrowed_memory_is_gone),
        cmocka_unit_test(state_that_is_shared),
        cmocka_unit_test(each_mistake_is_found),
        cmocka_unit_test(last_words_are_looked_at),
        cmocka_unit_test(a_decoder_gets_everything),
        cmocka_unit_test(after_a_101),
        cmocka_unit_test(options_are_filled),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(a_policy_that_asks_elsewhere),
        cmocka_unit_test(a_deadline_passes),
        cmocka_unit_test(peeks_are_answered),
        cmocka_unit_test(heads_are_changed),
        cmocka_unit_test(frames_are_judged),
        cmocka_unit_test(what_is_injected_is_seen),
        cmocka_unit_test(wrong_policies_are_found),
        cmocka_unit_test(signals_go_both_ways),
        cmocka_unit_test(a_right_sink_passes),
        cmocka_unit_test(wrong_sinks_are_found),
        cmocka_unit_test(a_sink_that_keeps_events_crashes),
        cmocka_unit_test(what_is_taken_must_be_acknowledged),
    };
    return cmocka_run_group_tests(tests, build, drop);
}
