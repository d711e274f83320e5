/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Random chains of decoders, random bytes in random pieces, random room, random waits: what is relayed, what the last one sees and which frames are
 * judged must be what plain functions over the whole text say. PROP_CASES (default 3000) and PROP_SEED are read from the environment; the seed of a
 * failing case is printed, and the shortest text that still fails.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "chain_play.h"
#include "draw.h"

#define MOST 300

/* ---- the model: functions over a whole text ---- */

struct text {
    char p[MOST * 40];
    size_t n;
};

static void add(struct text *t, const char *p, size_t n)
{
    assert_true(t->n + n < sizeof t->p);
    memcpy(t->p + t->n, p, n);
    t->n += n;
    t->p[t->n] = 0;
}

static void replaced(struct text *t)
{
    static struct text old;
    old = *t;
    t->n = 0;
    for (size_t i = 0; i < old.n;) {
        bool cat = old.n - i >= 3 && memcmp(old.p + i, "cat", 3) == 0;
        add(t, cat ? "tiger" : old.p + i, cat ? 5 : 1);
        i += cat ? 3 : 1;
    }
}

static void doubled(struct text *t)
{
    static struct text old;
    old = *t;
    t->n = 0;
    for (size_t i = 0; i < old.n; i++) {
        add(t, old.p + i, 1);
        add(t, old.p + i, 1);
    }
}

static void without_spaces(struct text *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++)
        if (t->p[i] != ' ')
            t->p[n++] = t->p[i];
    t->n = n;
    t->p[n] = 0;
}

/* The decoder of frames shows the next one frames alone. */
static void without_notes(struct text *t)
{
    size_t n = 0;
    for (size_t at = 0; at < t->n;) {
        const char *over = memchr(t->p + at, '\n', t->n - at);
        size_t line = over ? (size_t)(over - t->p) + 1 - at : t->n - at;
        if (t->p[at] != '#') {
            memmove(t->p + n, t->p + at, line);
            n += line;
        }
        at += line;
    }
    t->n = n;
    t->p[n] = 0;
}

/* The text as frames; *block is where one begins that is blocked, or its length; *allowed where the last one before it ends. */
static void frames_of(const struct text *t, struct text *events, size_t *block, size_t *allowed)
{
    *block = t->n;
    *allowed = 0;
    for (size_t at = 0; at < t->n;) {
        const char *line = t->p + at, *over = memchr(line, '\n', t->n - at);
        if (!over)
            return;
        size_t n = (size_t)(over - line);
        if (*line != '#') {
            add(events, "frame ", 6);
            add(events, line, n < 64 ? n : 64);
            add(events, "\n", 1);
            if (memchr(line, 'X', n)) {
                *block = at;
                return;
            }
            *allowed = at + n + 1;
        }
        at += n + 1;
    }
}

/* ---- a case ---- */

struct stage {
    const char *name;
    uint32_t mode, at;
    int (*data)(void *self, struct soth_flow *flow, struct soth_cursor *cur);
    void (*model)(struct text *t); /* NULL: changes nothing */
};

static const struct stage transforms[] = {
    {"replace", SOTH_TRANSFORM, 0, transform_replace, replaced}, {"double", SOTH_TRANSFORM, 0, transform_double, doubled},
    {"pass", SOTH_TRANSFORM, 0, transform_pass, NULL},           {"collect", SOTH_TRANSFORM, 0, transform_collect, NULL},
    {"pause", SOTH_TRANSFORM, 0, transform_pause, NULL},         {"busy", SOTH_TRANSFORM, 0, transform_busy, NULL},
};
static const struct stage views[] = {
    {"odd", SOTH_TAP, SOTH_STAGE_CONTENT, tap_odd, without_spaces},
    {"twice", SOTH_TAP, SOTH_STAGE_CONTENT, tap_double, doubled},
    {"pass", SOTH_TAP, SOTH_STAGE_CONTENT, tap_pass, NULL},
};

struct scene {
    struct stage stages[PLAY_MOST];
    size_t count;
    unsigned direction;
    bool gated, frames_transform, frames_tap, view_changes, held_behind, fails;
    char body[MOST];
    size_t size;
};

static void add_stage(struct scene *s, const struct stage *stage, uint32_t at)
{
    s->stages[s->count] = *stage;
    s->stages[s->count++].at = at;
}

static void add_transforms(struct scene *s, unsigned most, uint32_t at)
{
    unsigned doubles = 0;
    for (unsigned n = draw_below(most + 1); n > 0; n--) {
        const struct stage *stage = &transforms[draw_below(sizeof transforms / sizeof *transforms)];
        doubles += stage->data == transform_double;
        if (doubles < 2)
            add_stage(s, stage, at);
    }
}

static void think(struct scene *s, size_t most)
{
    static const char letters[] = "cat cat\n\n#PB  xyz";
    static const struct stage watch = {"watch", SOTH_TAP, 0, tap_watch, NULL}, tap = {"frames", SOTH_TAP, 0, tap_frames, NULL},
                              transform = {"frames", SOTH_TRANSFORM, 0, transform_frames, NULL};
    *s = (struct scene){.direction = draw_below(2), .gated = draw_below(4) > 0};
    add_transforms(s, 2, SOTH_STAGE_CONTENT);
    if (draw_below(2)) {
        const struct stage *view = &views[draw_below(sizeof views / sizeof *views)];
        add_stage(s, view, SOTH_STAGE_CONTENT);
        s->view_changes = view->model != NULL;
    }
    unsigned frames = draw_below(4);
    s->frames_tap = frames == 1 || frames == 2;
    s->frames_transform = frames == 3;
    if (frames > 0)
        add_stage(s, s->frames_tap ? &tap : &transform, SOTH_STAGE_FRAME);
    size_t before = s->count;
    add_transforms(s, 2, SOTH_STAGE_SANITIZE);
    s->held_behind = s->count > before;
    add_stage(s, &watch, SOTH_STAGE_SANITIZE);
    s->fails = draw_below(8) == 0;
    s->size = draw_below(MOST);
    for (size_t i = 0; i < s->size; i++)
        s->body[i] = letters[draw_below(sizeof letters - 1)];
    if (draw_below(6) == 0 && s->size > 0 && !s->fails)
        s->body[draw_below((unsigned)s->size)] = 'X';
    s->size = s->size < most ? s->size : most;
}

/* What must come out: relayed, seen by the last, frames, and how much is relayed when one is blocked. */
struct outcome {
    struct text relayed, seen, events;
    size_t block, allowed;
    bool blocked;
};

static void run_model(const struct scene *s, uint32_t mode, uint32_t at, struct text *t)
{
    for (size_t k = 0; k < s->count; k++) {
        const struct stage *stage = &s->stages[s->direction == SOTH_TO_SERVER ? k : s->count - 1 - k];
        if (stage->mode == mode && stage->at == at && stage->model)
            stage->model(t);
    }
}

static void predict(const struct scene *s, struct outcome *o)
{
    o->relayed.n = o->seen.n = o->events.n = 0;
    o->events.p[0] = 0;
    add(&o->relayed, s->body, s->size);
    run_model(s, SOTH_TRANSFORM, SOTH_STAGE_CONTENT, &o->relayed);
    if (s->gated && s->frames_transform)
        frames_of(&o->relayed, &o->events, &o->block, &o->allowed);
    o->blocked = s->gated && s->frames_transform && o->block < o->relayed.n;
    run_model(s, SOTH_TRANSFORM, SOTH_STAGE_SANITIZE, &o->relayed);
    o->seen = o->relayed;
    run_model(s, SOTH_TAP, SOTH_STAGE_CONTENT, &o->seen);
    if (s->gated && s->frames_tap) {
        frames_of(&o->seen, &o->events, &o->block, &o->allowed);
        o->blocked = o->block < o->seen.n;
    }
    if (s->frames_tap)
        without_notes(&o->seen);
}

/* ---- it is played ---- */

static struct actor *set_stage(struct play *play, const struct scene *s)
{
    struct actor *last = NULL;
    play->env.gated = s->gated;
    for (size_t i = 0; i < s->count; i++) {
        const struct stage *stage = &s->stages[i];
        last = play_add(play, stage->name, stage->mode, stage->at, stage->data);
        last->number = 1 + draw_below(20);
        if (s->fails && draw_below(2) && stage->model == NULL && stage->data != transform_collect && i + 1 < s->count) {
            last->fail_at = 1 + draw_below(5);
            last->data_result = draw_below(2) ? SOTH_DETACH : -SOTH_EINVALID;
        }
    }
    return last;
}

static enum chain_result feed(struct play *play, const struct scene *s, size_t from, size_t n, bool end)
{
    if (draw_below(3) == 0)
        play->relay[s->direction].room = 1 + draw_below(40);
    enum chain_result r = play_bytes(play, s->direction, s->body + from, n, end);
    for (unsigned idle = draw_below(3); idle > 0 && r != CHAIN_BROKEN; idle--) { /* calls that change nothing, or something too early */
        play_later(play, draw_below(30));
        if (chain_timer(play->chain) == CHAIN_BROKEN)
            return CHAIN_BROKEN;
        r = play_resume(play, s->direction);
    }
    return r == CHAIN_BROKEN ? r : play_settle(play, s->direction, r == CHAIN_GO ? play_resume(play, s->direction) : r);
}

static enum chain_result feed_all(struct play *play, const struct scene *s)
{
    unsigned most = 1u << draw_below(9);
    bool together = draw_below(2);
    enum chain_result r = CHAIN_GO;
    for (size_t at = 0; at < s->size && r == CHAIN_GO;) {
        size_t n = 1 + draw_below(most);
        n = n < s->size - at ? n : s->size - at;
        bool last = together && at + n == s->size;
        r = feed(play, s, at, n, last);
        at += n;
    }
    return r == CHAIN_GO && !(together && s->size > 0) ? feed(play, s, 0, 0, true) : r;
}

static bool begins(const struct text *whole, const char *p)
{
    size_t n = strlen(p);
    return n <= whole->n && memcmp(whole->p, p, n) == 0;
}

static const char *compare(struct play *play, const struct scene *s, const struct outcome *o, struct actor *last, enum chain_result r)
{
    const char *out = play_out(play, s->direction), *events = play_events(play);
    bool stopped = o->blocked && !s->fails;
    if (r != (stopped ? CHAIN_BROKEN : CHAIN_GO))
        return "the result";
    if (!begins(&o->relayed, out))
        return "what is relayed";
    if (!stopped && strlen(out) != o->relayed.n)
        return "less is relayed than there is";
    if (stopped && s->frames_tap && !s->view_changes && strlen(out) != o->block)
        return "what is relayed before a blocked frame";
    if (stopped && s->frames_transform && !s->held_behind && strlen(out) != o->allowed)
        return "what is relayed before a blocked frame of a TRANSFORM";
    if (s->fails)
        return NULL;
    if (!stopped && strcmp(play_seen(last), o->seen.p) != 0)
        return "what the last one sees";
    size_t told = strcspn(events, "_"); /* frame_decision of a block comes last */
    if (stopped ? strncmp(events, o->events.p, o->events.n) != 0 : strcmp(events, o->events.p) != 0)
        return "the frames";
    return stopped && told < o->events.n ? "a frame too many" : NULL;
}

static const char *play_case(uint64_t seed, size_t most)
{
    static struct play play;
    static struct scene scene;
    static struct outcome outcome;
    draw_begin(seed);
    think(&scene, most);
    predict(&scene, &outcome);
    play_init(&play);
    struct actor *last = set_stage(&play, &scene);
    assert_int_equal(play_match(&play, scene.direction, 0), CHAIN_GO);
    enum chain_result r = feed_all(&play, &scene);
    if (getenv("PROP_SEED"))
        print_message("events:\n%.*s\n", (int)buffer_size(&play.events), (const char *)buffer_data(&play.events));
    const char *wrong = compare(&play, &scene, &outcome, last, r);
    if (!wrong && r == CHAIN_GO && chain_waits(play.chain, scene.direction))
        wrong = "it waits for nothing";
    if (getenv("PROP_SEED")) {
        for (size_t i = 0; i < scene.count; i++)
            print_message("%s(%u) ", scene.stages[i].name, (unsigned)play.actors[i].number);
        print_message("gated %d direction %u fails %d\nbody: %.*s\nwanted: %s\nout: %s\n", scene.gated, scene.direction, scene.fails, (int)scene.size,
                      scene.body, outcome.relayed.p, play_out(&play, scene.direction));
        print_message("events wanted:\n%s", outcome.events.p);
    }
    play_fini(&play);
    return wrong;
}

static void chains_do_what_their_decoders_say(void **state)
{
    unsigned long count = 3000;
    const uint64_t seed = draw_seed(&count);
    (void)state;
    for (unsigned long i = 0; i < count; i++) {
        size_t most = MOST;
        const char *wrong = play_case(seed + i, most);
        while (wrong && most > 1 && play_case(seed + i, most - 1))
            most--;
        if (wrong)
            fail_msg("PROP_SEED=%llu, %zu bytes: %s", (unsigned long long)(seed + i), most, play_case(seed + i, most));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(chains_do_what_their_decoders_say)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
