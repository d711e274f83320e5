/* SPDX-License-Identifier: MPL-2.0 */
/*
 * testhost.h - drives a module without the proxy, in the ways in which a host drives it and in the ways that hurt. Compile all of this folder's
 * .c files together with your test and your module; they need libc and threads only. Where they are: pkg-config --variable=testhost soth-mitm-sdk
 *
 * What is borrowed in the real host is borrowed here: bytes lie at the end of a page that is filled with rubbish and made inaccessible when the hook
 * returns. A module that reads too far or keeps a pointer crashes in its own test, not in somebody's proxy.
 *
 * Every mistake is one line on standard error, and is counted. A test is good when testhost_free returns 0:
 *
 *     struct testhost *host = testhost_new(&soth_mitm_module, (const char *[]){"max_line=4k", NULL}, NULL);
 *     testhost_decoder(host, &(struct testhost_case){
 *         .response = "HTTP/1.1 200 OK\nContent-Type: text/plain",
 *         .steps = (struct testhost_step[]){{SOTH_TO_CLIENT, TESTHOST_TEXT("one\ntwo\n")}}, .step_count = 1,
 *         .events = "stream_record record_len=3 sequence_no=1\nstream_record record_len=3 sequence_no=2\n"});
 *     return testhost_free(host) ? 1 : 0;
 */
#ifndef SOTH_TESTHOST_H
#define SOTH_TESTHOST_H

#include <soth/sdk.h>

struct testhost; /* one instance of a module */

/* Fills the module's struct by its option table: presets, then config, a list of "key=value" ended by NULL (or NULL). Values are as in YAML: "64k",
 * "5s", "[a, b]", "{key: value, key: [a, b]}", a word of those two also in "quotes"; keys in a mapping are "map.key". What cannot be said like that (lists of mappings) `fill` writes; it may be NULL.
 * Then check, create, worker_init and start are called. NULL, after saying why, when that fails. */
struct testhost *testhost_new(const struct soth_module *module, const char *const *config, void (*fill)(void *self));
/* Calls stop, worker_fini and destroy. Returns the number of mistakes found, what was left behind included. NULL is legal: 1. */
unsigned testhost_free(struct testhost *host);

/* What soth_host.setting answers, in all hosts from here on; key is a literal. Without: -SOTH_ENOENT. */
void testhost_setting(const char *key, uint64_t value);

/* Who listens, from here on: kinds of events (bit n: SOTH_EV_... n), and how many bytes of each message with its content (soth_host.payload_most).
 * Without it everybody listens to everything. Events that nobody listens to are not in testhost_events, content is cut as sinks see it. */
void testhost_wanted(struct testhost *host, uint64_t kinds, uint64_t payload_most);

void *testhost_self(struct testhost *host);
unsigned testhost_faults(const struct testhost *host);          /* so far */
uint64_t testhost_count(struct testhost *host, const char *name); /* of a counter or gauge, all labels together */
/* For tests of your own: one more mistake unless the condition holds. */
void testhost_expect(struct testhost *host, int condition, const char *what);

/* ---- decoders ---- */

struct testhost_bytes {
    const void *p;
    size_t n;
};
#define TESTHOST_TEXT(literal) {(literal), sizeof(literal) - 1}

struct testhost_step {
    uint32_t direction; /* SOTH_TO_SERVER, SOTH_TO_CLIENT; TESTHOST_LATER: bytes.n milliseconds pass */
    struct testhost_bytes bytes;
};
#define TESTHOST_LATER 2u

/* One exchange. Heads are lines of text. The request's head comes first, the response's before the first step of its direction; after a 101 all
 * steps follow it. Each direction ends after its last step. */
struct testhost_case {
    const char *name;
    const char *request;  /* "POST /a HTTP/1.1\nHost: a.test"; NULL: a GET of http://a.test/ */
    const char *response; /* "HTTP/1.1 200 OK\nContent-Type: text/plain"; NULL: there is none */
    const struct testhost_step *steps;
    size_t step_count;
    const char *trailers[2]; /* "Name: value" lines by direction; NULL: none */
    /* Lines: "kind name=value name=value", sorted by name; "failed CODE" (the name of an error, "timeout", "window", what
     * `fail` was told, with " close" behind it), "detached" or "done" where it left, "ended well" or "ended WHY" (`ended`).
     * NULL: any, but always the same. */
    const char *events;
    struct testhost_bytes out[2]; /* what must be relayed (TRANSFORM), what later stages must see (TAP); p NULL: any, but always the same */
    unsigned leave_out;   /* TESTHOST_... below */
};

#define TESTHOST_SPLITS 1u     /* byte by byte, and cut in two at every place */
#define TESTHOST_ROOM 2u       /* room for one byte, and for seven */
#define TESTHOST_FRAMES 4u     /* a policy that judges frames: at once, after a pause, after being busy */
#define TESTHOST_BLOCK 8u      /* a policy that blocks a frame, each in turn */
#define TESTHOST_CLOSE 16u     /* the exchange ends early, after every byte */
#define TESTHOST_RESUME 32u    /* pauses end by their deadline at once, or with their exchange: a resume that comes later is stale */
#define TESTHOST_TWO 64u       /* two exchanges at once */
#define TESTHOST_LEAKS 128u    /* memory that a closed exchange leaves behind */

/* Runs the exchange whole, and then in every way above: events and output must be the same each time. Returns the mistakes it found. */
unsigned testhost_decoder(struct testhost *host, const struct testhost_case *c);
/* The events, and the output of a direction, of the last exchange that was run whole. Until the next call. */
const char *testhost_events(const struct testhost *host);
struct testhost_bytes testhost_out(const struct testhost *host, unsigned direction);

/* ---- policies ---- */

struct testhost_question {
    uint32_t hook; /* SOTH_HOOK_CONNECT, _REQUEST, _RESPONSE, _FRAME, _REWRITE */
    /* the connection; host NULL: "a.test", port 0: 443, client NULL: "192.0.2.1:4711" */
    const char *host, *client, *sni, *alpn, *ja4;
    uint32_t port, identity;
    uint32_t no_hello;      /* connect: asked before the hello is known; when the policy peeks, again with it */
    const char *request, *response; /* heads, as above */
    struct testhost_bytes body;     /* for a policy that peeks */
    struct soth_frame frame;
};

/* Asks as a host does: a policy that peeks gets what it wants, one that pauses is waited for (at most until its deadline), one that is busy is asked
 * again. Returns its last verdict: SOTH_CONTINUE, SOTH_DECIDED with *out (whose spans are the module's), SOTH_DETACH or a failure; -SOTH_ESTALE when
 * a deadline passed without resume (*late then tells on_timeout; may be NULL). */
int testhost_ask(struct testhost *host, const struct testhost_question *q, struct soth_decision *out, uint32_t *late);
/* Asks again and again: plainly, too early, with resumes that are doubled, stale and of another thread, with flows that go away while it
 * waits, and from several threads. Whatever happens, the answer is `action` (SOTH_CONTINUE's is SOTH_ALLOW). Returns the mistakes it found. */
unsigned testhost_policy(struct testhost *host, const struct testhost_question *q, uint32_t action);
/* The head after the last testhost_ask, a field a line as "Name: value", and "host:port path" of the target that was wished for ("" = none). */
const char *testhost_head(const struct testhost *host);
const char *testhost_target(const struct testhost *host);
/* Gives a policy a signal. */
void testhost_signal(struct testhost *host, const struct soth_signal *signal);
/* What a source has handed in so far, a line each: "peer reason source host". */
const char *testhost_signals(const struct testhost *host);
/* What has been injected so far, a line each: "client_to_server ws_message payload". */
const char *testhost_injected(const struct testhost *host);

/* ---- sinks ---- */

/* Writes events, given as lines like those of testhost_case, one by one, in pairs, in sevens and all at once, again and again when it says
 * RETRY, with wake-ups between them, then flush and reopen. Returns the mistakes it found: wrong results, or fewer taken than given
 * (`lossy` says that DROP and DEAD are expected). */
unsigned testhost_sink(struct testhost *host, const char *lines, int lossy);

#endif
