/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The module ws as a host drives it, by document (tests/golden/ws): each case whole, cut at every place, before policies that judge its frames,
 * cut off, twice at once.
 * build: modules/ws/ws.c modules/ws/judge.c modules/ws/report.c modules/ws/talk.c modules/ws/turns.c modules/ws/framing.c modules/ws/mask.c modules/ws/utf8.c modules/ws/closing.c modules/ws/extension.c modules/ws/inflater.c sdk/testhost/config.c sdk/testhost/cursor.c sdk/testhost/decode.c sdk/testhost/decoder.c sdk/testhost/event.c sdk/testhost/exchange.c sdk/testhost/fields.c sdk/testhost/guard.c sdk/testhost/head.c sdk/testhost/host.c sdk/testhost/policy.c sdk/testhost/sink.c sdk/testhost/text.c sdk/testhost/tokens.c
 * needs: ZLIB
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "golden.h"
#include "sdk/testhost/testhost.h"

extern const struct soth_module soth_mitm_module;

#define STEPS_MOST 64
#define CONFIG_MOST 8

/* A conversation, read from a document. */
struct script {
    struct buffer bytes[STEPS_MOST];
    struct testhost_step steps[STEPS_MOST];
    size_t count;
};

/* "> bytes" is said by the client, "< bytes" by the server; "later 30000" milliseconds pass. */
static void read_line(const struct golden_case *c, struct script *s, const char *line, size_t n)
{
    struct testhost_step *step = &s->steps[s->count];
    struct buffer *bytes = &s->bytes[s->count++];
    assert_true(s->count < STEPS_MOST);
    if (n > 6 && strncmp(line, "later ", 6) == 0) {
        *step = (struct testhost_step){TESTHOST_LATER, {"", (size_t)atoi(line + 6)}};
        return;
    }
    if (n < 2 || (line[0] != '>' && line[0] != '<') || line[1] != ' ')
        fail_msg("%s: what is \"%.*s\"?", c->title, (int)n, line);
    golden_unescape(c, line + 2, n - 2, bytes);
    *step = (struct testhost_step){line[0] == '>' ? SOTH_TO_SERVER : SOTH_TO_CLIENT, {buffer_data(bytes), buffer_size(bytes)}};
}

static void script_read(const struct golden_case *c, struct script *s)
{
    const char *text = golden_text(c, "script");
    *s = (struct script){.count = 0};
    if (!text)
        fail_msg("%s: has no script", c->title);
    for (const char *line = text; line && *line;) {
        size_t n = strcspn(line, "\n");
        if (n > 0)
            read_line(c, s, line, n);
        line += n + (line[n] == '\n');
    }
}

/* The events of a document. A byte that is not ASCII stands there as \xHH, and as itself in what the host for tests says. */
static char *read_events(const struct golden_case *c)
{
    const char *text = golden_text(c, "events");
    assert_non_null(text);
    char *events = malloc(strlen(text) + 2), *at = events;
    assert_non_null(events);
    while (*text) {
        unsigned byte;
        bool high = text[0] == '\\' && text[1] == 'x' && sscanf(text + 2, "%2x", &byte) == 1 && byte >= 0x80;
        *at++ = high ? (char)byte : *text;
        text += high ? 4 : 1;
    }
    if (at > events)
        *at++ = '\n';
    *at = 0;
    return events;
}

/* "key=value" lines of the block `config`. */
static struct testhost *host_of(const struct golden_case *c, char *text)
{
    const char *config[CONFIG_MOST] = {NULL};
    size_t n = 0;
    for (char *line = strtok(text, "\n"); line && n < CONFIG_MOST - 1; line = strtok(NULL, "\n"))
        config[n++] = line;
    struct testhost *host = testhost_new(&soth_mitm_module, config, NULL);
    if (!host)
        fail_msg("%s: its configuration is wrong", c->title);
    return host;
}

static void play(const struct golden_case *c)
{
    struct script s;
    char config[512], head[1024], *events = read_events(c);
    snprintf(config, sizeof config, "%s", golden_text(c, "config") ? golden_text(c, "config") : "");
    const char *response = golden_text(c, "response") ? golden_text(c, "response") : "";
    snprintf(head, sizeof head, "%s%s", *response == '!' ? "" : "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: Upgrade\n",
             response + (*response == '!'));
    script_read(c, &s);
    struct testhost *host = host_of(c, config);
    struct testhost_case how = {
        .name = c->title,
        .request = "GET /chat HTTP/1.1\nHost: a.test\nUpgrade: websocket\nConnection: Upgrade",
        .response = head,
        .steps = s.steps,
        .step_count = s.count,
        .events = events,
    };
    if (testhost_decoder(host, &how) > 0)
        fprintf(stderr, "%s: its events are\n%s", c->title, testhost_events(host));
    if (testhost_free(host) > 0)
        fail_msg("%s (see above)", c->title);
    for (size_t i = 0; i < s.count; i++)
        buffer_fini(&s.bytes[i]);
    free(events);
}

static void by_document(const char *path)
{
    struct golden golden;
    golden_open(&golden, path);
    for (size_t i = 0; i < golden.count; i++)
        play(&golden.cases[i]);
    golden_close(&golden);
}

static void frames_and_messages(void **state)
{
    (void)state;
    by_document("tests/golden/ws/frames.md");
}

static void rules_that_are_broken(void **state)
{
    (void)state;
    by_document("tests/golden/ws/violations.md");
}

static void compressed_messages(void **state)
{
    (void)state;
    by_document("tests/golden/ws/deflate.md");
}

static void turns(void **state)
{
    (void)state;
    by_document("tests/golden/ws/turns.md");
}

static void limits(void **state)
{
    (void)state;
    by_document("tests/golden/ws/limits.md");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_and_messages),
        cmocka_unit_test(rules_that_are_broken),
        cmocka_unit_test(compressed_messages),
        cmocka_unit_test(turns),
        cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
