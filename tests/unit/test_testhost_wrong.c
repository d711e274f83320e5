/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Each thing that a decoder may do wrong is found by the host for tests of modules.
 * build: sdk/testhost/
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "testhost_rig.h"

static unsigned found(const struct soth_module *module, const char *text, unsigned leave_out)
{
    struct testhost_step step = {SOTH_TO_CLIENT, {text, strlen(text)}};
    rig_hush(true);
    struct testhost *host = testhost_new(module, NULL, NULL);
    assert_non_null(host);
    struct testhost_case c = {.response = PLAIN, .steps = &step, .step_count = 1, .leave_out = leave_out};
    unsigned faults = testhost_decoder(host, &c);
    assert_int_equal(testhost_free(host), faults);
    rig_hush(false);
    return faults;
}

struct piece {
    const struct soth_module *module;
    const char *text;
    unsigned leave_out;
};

static void run_piece(void *arg)
{
    const struct piece *p = arg;
    found(p->module, p->text, p->leave_out);
}

static bool crashes(const struct soth_module *module, const char *text, unsigned leave_out)
{
    return rig_crashes(run_piece, &(struct piece){module, text, leave_out});
}

static int by_piece(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)self;
    if (cur->in.n == 0)
        return SOTH_CONTINUE;
    return rig_api->emit(self, flow, SOTH_EV_RESPONSE_BODY_CHUNK, SOTH_ATTRS({"bytes", SOTH_U64(cur->in.n)}));
}

static void events_that_depend_on_pieces(void **state)
{
    static const struct soth_module module = DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = rig_keeps_host, .data = by_piece);
    (void)state;
    assert_int_not_equal(found(&module, "abc", ~TESTHOST_SPLITS), 0);
    assert_int_equal(found(&module, "abc", TESTHOST_SPLITS | TESTHOST_ROOM | TESTHOST_TWO | TESTHOST_FRAMES), 0);
}

/* ---- forms ---- */

#define FORM(...) (const struct soth_attr[]){__VA_ARGS__}, sizeof((const struct soth_attr[]){__VA_ARGS__}) / sizeof(struct soth_attr)

static int form_in_data(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)flow, (void)cur;
    rig_api->form(self, SOTH_EV_RESPONSE_BODY_CHUNK, FORM({"bytes", SOTH_U64(0)}));
    return SOTH_CONTINUE;
}

static int emits_no_form(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)cur;
    return rig_api->emit_form(self, flow, 0, NULL, 0) == -SOTH_EINVALID ? SOTH_CONTINUE : SOTH_FAIL;
}

static int good_form(const struct soth_host *host, void *self)
{
    rig_keeps_host(host, self);
    return host->form(self, SOTH_EV_RESPONSE_BODY_CHUNK, FORM({"offset", SOTH_U64(0)}, {"bytes", SOTH_U64(0)}));
}

/* What has no value today is not read. */
static int emits_form(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    const union soth_value values[] = {{.text = (const struct soth_span *)8}, {.number = 7}};
    return cur->flags & SOTH_CUR_END ? rig_api->emit_form(self, flow, 0, values, 2) : SOTH_CONTINUE;
}

static int word_form(const struct soth_host *host, void *self)
{
    rig_keeps_host(host, self);
    return host->form(self, SOTH_EV_SSE_EVENT, FORM({"event", {NULL, 0}, 0, SOTH_ATTR_TEXT | SOTH_ATTR_WORD, 0}));
}

static int emits_word(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    static const struct soth_span word = {"open", 4};
    const union soth_value value = {.text = &word};
    return cur->flags & SOTH_CUR_END ? rig_api->emit_form(self, flow, 0, &value, 1) : SOTH_CONTINUE;
}

static int emits_word_of_a_moment(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    const char text[] = "open";
    const struct soth_span word = {text, 4};
    const union soth_value value = {.text = &word};
    return cur->flags & SOTH_CUR_END ? rig_api->emit_form(self, flow, 0, &value, 1) : SOTH_CONTINUE;
}

static int unknown_attribute(const struct soth_host *host, void *self)
{
    return host->form(self, SOTH_EV_RESPONSE_BODY_CHUNK, FORM({"bytes", SOTH_U64(0)}, {"bites", SOTH_U64(0)})) == -SOTH_EINVALID ? SOTH_OK : SOTH_FAIL;
}

static int attribute_twice(const struct soth_host *host, void *self)
{
    return host->form(self, SOTH_EV_RESPONSE_BODY_CHUNK, FORM({"bytes", SOTH_U64(0)}, {"bytes", SOTH_U64(0)})) == -SOTH_EINVALID ? SOTH_OK : SOTH_FAIL;
}

static int unknown_kind(const struct soth_host *host, void *self)
{
    return host->form(self, SOTH_EV_COUNT, FORM({"bytes", SOTH_U64(0)})) == -SOTH_EINVALID ? SOTH_OK : SOTH_FAIL;
}

static unsigned found_in_create(const struct soth_module *module)
{
    rig_hush(true);
    struct testhost *host = testhost_new(module, NULL, NULL);
    unsigned faults = testhost_free(host);
    rig_hush(false);
    assert_non_null(host);
    return faults;
}

static void forms_that_are_none(void **state)
{
    static const struct soth_module good = DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = good_form, .data = emits_form);
    static const struct soth_module words = DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = word_form, .data = emits_word);
    static const struct soth_module bad[] = {
        DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = word_form, .data = emits_word_of_a_moment),
        DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = rig_keeps_host, .data = form_in_data),
        DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = rig_keeps_host, .data = emits_no_form),
    };
    static const struct soth_module never[] = {
        DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = unknown_attribute),
        DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = attribute_twice),
        DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = unknown_kind),
    };
    (void)state;
    assert_int_equal(found(&good, "abc", 0), 0);
    assert_int_equal(found(&words, "abc", 0), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (found(&bad[i], "abc", 0) == 0)
            fail_msg("module %zu is fine", i);
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        assert_int_equal(found_in_create(&never[i]), 1);
}

/* ---- memory ---- */

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
        rig_api->flow_id(kept_flow);
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
        DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = rig_keeps_host, .data = keeps_its_flow),
        DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .match = keeps_a_field, .data = reads_a_field),
    };
    (void)state;
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++)
        if (!crashes(&modules[i], "abcdef", 0))
            fail_msg("module %zu goes on", i);
}

/* State in the instance where it should be in the flow. */
static int shared_count;

static int counts_for_all(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    for (size_t i = 0; i < cur->in.n; i++)
        if (cur->in.p[i] == '\n')
            rig_api->emit(self, flow, SOTH_EV_RESPONSE_BODY_CHUNK, SOTH_ATTRS({"offset", SOTH_U64(shared_count++)}));
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
    static const struct soth_module module = DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = rig_keeps_host, .open = begins_at_zero, .data = counts_for_all);
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

static int makes_for_ever(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)self;
    (void)flow;
    rig_api->put(cur, soth_span("x"));
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
    rig_api->pass(cur, 1);
    rig_api->frame(self, flow, &frame);
    return SOTH_CONTINUE;
}

static int frames_of_nothing(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct soth_frame frame = {.size = sizeof frame, .kind = SOTH_EV_RESPONSE_BODY_CHUNK};
    int r = rig_api->frame(self, flow, &frame);
    return cur->in.n ? r : SOTH_CONTINUE;
}

static int emits_what_is_not_there(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)cur;
    return rig_api->emit(self, flow, SOTH_EV_RESPONSE_BODY_CHUNK, SOTH_ATTRS({"colour", SOTH_U64(1)}));
}

static int emits_an_unknown_kind(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)cur;
    rig_api->emit(self, flow, SOTH_EV_COUNT, NULL, 0);
    return SOTH_CONTINUE;
}

static int counts_what_is_not_there(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)flow;
    (void)cur;
    rig_api->count(self, 5, 1);
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
        rig_api->put(cur, (struct soth_span){two, 2});
        rig_api->drop(cur, 1);
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
    return cur->in.n > 0 && rig_api->pass(cur, cur->in.n) > 0 ? rig_api->frame(self, flow, &frame) : SOTH_CONTINUE;
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
        DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = rig_keeps_host, .data = frames_all, .compose = composes_well);
    static const struct soth_module beyond =
        DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = rig_keeps_host, .data = frames_all, .compose = composes_beyond);
    static const struct soth_module much =
        DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = rig_keeps_host, .data = frames_all, .compose = composes_too_much);
    (void)state;
    assert_int_equal(found(&well, "abc", ~TESTHOST_BLOCK), 0);
    assert_true(found(&much, "abc", ~TESTHOST_BLOCK) > 0);
    assert_true(crashes(&beyond, "abc", ~TESTHOST_BLOCK));
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
        {"a TRANSFORM that takes nothing", DECODER(SOTH_TRANSFORM, SOTH_STAGE_FRAME, .data = rig_takes_nothing), 0},
        {"output without end", DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = rig_keeps_host, .data = makes_for_ever), 0},
        {"output without end of a TRANSFORM", DECODER(SOTH_TRANSFORM, SOTH_STAGE_FRAME, .create = rig_keeps_host, .data = makes_for_ever), 0},
        {"busy for ever", DECODER(SOTH_TRANSFORM, SOTH_STAGE_FRAME, .data = busy_for_ever), 0},
        {"frame is ignored", DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = rig_keeps_host, .data = ignores_frame), TESTHOST_FRAMES},
        {"a blocked frame is ignored", DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = rig_keeps_host, .data = frames_of_nothing), TESTHOST_FRAMES},
        {"an unknown attribute", DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = rig_keeps_host, .data = emits_what_is_not_there), 0},
        {"an unknown kind", DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = rig_keeps_host, .data = emits_an_unknown_kind), 0},
        {"an unknown metric", DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .create = rig_keeps_host, .data = counts_what_is_not_there), 0},
        {"match says something odd", DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .match = matches_oddly, .data = rig_takes_nothing), 0},
        {"room is not looked at", DECODER(SOTH_TRANSFORM, SOTH_STAGE_FRAME, .create = rig_keeps_host, .data = does_not_look), TESTHOST_ROOM},
#ifndef __SANITIZE_ADDRESS__
        {"memory is left behind", DECODER(SOTH_TAP, SOTH_STAGE_FRAME, .open = leaks, .data = rig_takes_nothing), TESTHOST_LEAKS},
#endif
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (found(&wrong[i].module, "abc\ndef\n", ~wrong[i].only) == 0)
            fail_msg("not found: %s", wrong[i].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_that_depend_on_pieces),
        cmocka_unit_test(forms_that_are_none),
        cmocka_unit_test(borrowed_memory_is_gone),
        cmocka_unit_test(state_that_is_shared),
        cmocka_unit_test(each_mistake_is_found),
        cmocka_unit_test(last_words_are_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
