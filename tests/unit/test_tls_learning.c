/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/policy_tls_learning/ modules/match/pattern.c modules/match/pattern_set.c */
/* needs: IDN2 */
/* policy_tls_learning: what it learns from, what it never learns from, whom it then lets through and for how long. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "modules/policy_tls_learning/store.h"
#include "policy_host.h"

#define MINUTE (UINT64_C(60) * 1000000000u)

static struct fake_instance policy, next;
static char folder[64], state_path[128];

static void use(uint64_t mode, const char *config)
{
    fake_close(&policy);
    fake_setting("tls_learning", mode);
    if (policy_open(&policy, config) != SOTH_OK)
        fail_msg("%s%s", fake.wrong, fake.log);
}

static int begin(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/test_tls_learning.XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(state_path, sizeof state_path, "%s/state", folder);
    policy_clock_skew_ns = 0;
    fake_setting("tls_bypass_ttl", 600000);
    return 0;
}

static void empty_folder(void)
{
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        unlink(path);
    }
    closedir(d);
}

static int end(void **state)
{
    (void)state;
    fake_close(&policy);
    fake_close(&next);
    empty_folder();
    return rmdir(folder);
}

/* ---- signals ---- */

struct told {
    const char *host, *client, *peer, *rejected, *source;
    uint64_t flow;
    uint32_t inferred;
};

/* "applied counted" */
static const char *tell(const struct told *t)
{
    static char text[64];
    struct soth_lesson lesson = {.size = sizeof lesson};
    const struct soth_signal signal = {
        .size = sizeof signal,
        .authoritative = !t->inferred,
        .flow_id = t->flow,
        .peer = t->peer ? t->peer : "downstream",
        .reason = "unknown_ca",
        .source = t->source ? t->source : "native_authoritative",
        .provider = "soth-mitm",
        .rejected_ca = t->rejected ? t->rejected : "certain",
        .host = soth_span(t->host),
        .client = soth_span(t->client ? t->client : "10.0.0.1:4711"),
        .alert = 48,
        .port = 443,
        .lesson = &lesson,
    };
    policy.module->signal(policy.self, &signal);
    snprintf(text, sizeof text, "%s %s", lesson.applied ? "applied" : "ignored", lesson.reason_code);
    return text;
}
#define TELL(...) tell(&(const struct told){.host = __VA_ARGS__})

/* ---- connections ---- */

struct asked {
    const char *host, *client, *sni;
    uint32_t identity, hello;
};

static const char *ask_about(const struct asked *a)
{
    static char text[64];
    struct soth_flow *flow = policy_flow_new();
    struct soth_decision d;
    struct soth_connect c = {.size = sizeof c, .identity = a->identity, .host = soth_span(a->host), .port = 443, .has_hello = a->hello || a->sni,
                             .client = soth_span(a->client ? a->client : "10.0.0.1:4712"), .sni = soth_span(a->sni)};
    int number[4];
    if (sscanf(a->host, "%d.%d.%d.%d", &number[0], &number[1], &number[2], &number[3]) == 4) {
        c.host_addr.family = 4;
        for (size_t i = 0; i < 4; i++)
            c.host_addr.bytes[i] = (uint8_t)number[i];
    }
    int r = ask_connect(&policy, flow, &c, &d);
    policy_flow_free(flow);
    if (r != SOTH_DECIDED)
        return r == SOTH_CONTINUE ? "no opinion" : r == SOTH_PEEK ? "peek" : "?";
    snprintf(text, sizeof text, "%s %s", d.action == SOTH_TUNNEL ? "tunnel" : "?", d.reason);
    return d.is_default ? "default" : text;
}
#define CONNECT(...) ask_about(&(const struct asked){.host = __VA_ARGS__})

static void learn_it(const char *host)
{
    for (int i = 0; i < 2; i++)
        assert_string_equal(TELL(host), "applied counted");
    assert_string_equal(TELL(host), "applied threshold_reached");
}

/* ---- tests ---- */

static void learns_from_certain_refusals_alone(void **state)
{
    (void)state;
    use(2, "hosts: [.bank.test, 10.0.0.0/8]\n");
    assert_string_equal(TELL("a.bank.test", .inferred = 1), "ignored inferred_source");
    assert_string_equal(TELL("a.bank.test", .source = "hudsucker_inferred"), "ignored inferred_source"); /* whatever it claims */
    assert_string_equal(TELL("a.bank.test", .source = "hudsucker_inferred", .inferred = 1), "ignored inferred_source");
    assert_string_equal(TELL("a.bank.test", .source = "somebody"), "ignored unknown_source");
    assert_string_equal(TELL("a.bank.test", .peer = "upstream"), "ignored upstream_failure");
    assert_string_equal(TELL("a.bank.test", .rejected = "likely"), "ignored rejection_likely");
    assert_string_equal(TELL("a.bank.test", .rejected = "no"), "ignored no_rejection");
    assert_string_equal(TELL("a.bank.test", .rejected = ""), "ignored no_rejection");
    assert_string_equal(TELL(""), "ignored no_host");
    assert_string_equal(TELL("other.test"), "ignored host_not_listed");
    assert_int_equal(fake_count("entries"), 0);
    learn_it("a.bank.test");
    assert_string_equal(TELL("a.bank.test"), "ignored bypass_active");
    assert_string_equal(TELL("10.1.2.3", .source = "mitmproxy_authoritative"), "applied counted");
    assert_string_equal(fake.events, "tls_bypass_activated client=10.0.0.1 host=a.bank.test reason=peer_rejected_ca ttl_s=600\n");
    assert_int_equal(fake_count("lessons{counted}"), 3);
    assert_int_equal(fake_count("lessons{inferred_source}"), 3);
    assert_int_equal(fake_count("entries"), 2);
    assert_int_equal(fake_count("active"), 1);
}

static void bypasses_that_host_for_that_client(void **state)
{
    (void)state;
    use(2, "hosts: [.bank.test]\n");
    assert_string_equal(CONNECT("a.bank.test"), "no opinion");
    learn_it("a.bank.test");
    assert_string_equal(CONNECT("a.bank.test"), "tunnel tls_bypass");
    assert_string_equal(CONNECT("b.bank.test"), "no opinion");
    assert_string_equal(CONNECT("a.bank.test", .client = "10.0.0.2:4711"), "no opinion");
    assert_string_equal(CONNECT("a.bank.test", .client = "[::ffff:10.0.0.1]:4711"), "no opinion");
    assert_int_equal(fake_count("bypasses"), 1);
    use(2, "hosts: [.bank.test]\nper_client: false\nthreshold: 1\n");
    assert_string_equal(TELL("a.bank.test", .client = "10.0.0.9:1"), "applied threshold_reached");
    assert_string_equal(CONNECT("a.bank.test", .client = "10.0.0.2:4711"), "tunnel tls_bypass");
    assert_string_equal(fake.events, "tls_bypass_activated host=a.bank.test reason=peer_rejected_ca ttl_s=600\n");
}

static void addresses_of_clients(void **state)
{
    static const char *const same[][2] = {{"10.0.0.1:1", "10.0.0.1:65535"}, {"[2001:db8::1]:1", "[2001:db8::1]:22"}, {"unix:/run/a b", "unix:/run/a b"}};
    static const char *const others[][2] = {{"10.0.0.1:1", "10.0.0.11:1"}, {"[2001:db8::1]:1", "[2001:db8::11]:1"}, {"unix:/a:1", "unix:/a:2"}};
    (void)state;
    use(2, "hosts: a.test\nthreshold: 1\n");
    for (size_t i = 0; i < 3; i++) {
        use(2, "hosts: a.test\nthreshold: 1\n");
        TELL("a.test", .client = same[i][0]);
        assert_string_equal(CONNECT("a.test", .client = same[i][1]), "tunnel tls_bypass");
        use(2, "hosts: a.test\nthreshold: 1\n");
        TELL("a.test", .client = others[i][0]);
        assert_string_equal(CONNECT("a.test", .client = others[i][1]), "no opinion");
    }
}

/* A target that is an address has its name in the hello; further names of a tunnelled connection must be bypassed too. */
static void names_in_the_hello(void **state)
{
    (void)state;
    use(2, "hosts: [a.test, 10.0.0.7]\nthreshold: 1\n");
    assert_string_equal(CONNECT("10.0.0.7"), "no opinion"); /* nothing is bypassed: nobody waits */
    TELL("a.test");
    assert_string_equal(CONNECT("10.0.0.7"), "peek");
    assert_string_equal(CONNECT("10.0.0.7", .sni = "a.test"), "tunnel tls_bypass");
    assert_string_equal(CONNECT("10.0.0.7", .sni = "b.test"), "no opinion");
    assert_string_equal(CONNECT("10.0.0.7", .hello = 1), "no opinion");
    assert_string_equal(CONNECT("b.test", .sni = "a.test"), "no opinion"); /* a client that names two gets what the target gets */
    assert_string_equal(CONNECT("a.test", .identity = SOTH_ID_SNI, .hello = 1), "tunnel tls_bypass");
    assert_string_equal(CONNECT("b.test", .identity = SOTH_ID_SNI, .hello = 1), "no opinion");
    TELL("10.0.0.7");
    assert_string_equal(CONNECT("10.0.0.7", .hello = 1), "tunnel tls_bypass");
}

static void connections_at_the_same_time_are_one_attempt(void **state)
{
    (void)state;
    struct soth_flow *flow = policy_flow_new();
    uint64_t last = flow->id;
    policy_flow_free(flow);
    use(2, "hosts: a.test\nthreshold: 2\n");
    CONNECT("a.test"); /* flows last + 1 to last + 3 are open */
    CONNECT("a.test");
    CONNECT("a.test");
    assert_string_equal(TELL("a.test", .flow = last + 2), "applied counted");
    assert_string_equal(TELL("a.test", .flow = last + 1), "ignored overlapping");
    assert_string_equal(TELL("a.test", .flow = last + 3), "ignored overlapping");
    CONNECT("a.test"); /* it came back: that is another one */
    assert_string_equal(TELL("a.test", .flow = last + 4), "applied threshold_reached");
}

static void an_hour_without_one_ends_the_count(void **state)
{
    (void)state;
    use(2, "hosts: a.test\n");
    TELL("a.test");
    TELL("a.test");
    policy_clock_skew_ns += 61 * MINUTE;
    assert_string_equal(TELL("a.test"), "applied counted");
    policy_clock_skew_ns += 59 * MINUTE;
    assert_string_equal(TELL("a.test"), "applied counted");
    policy_clock_skew_ns += 59 * MINUTE;
    assert_string_equal(TELL("a.test"), "applied threshold_reached");
}

static void ends_in_time(void **state)
{
    (void)state;
    use(2, "hosts: a.test\n");
    learn_it("a.test");
    policy_clock_skew_ns += 10 * MINUTE - MINUTE / 2; /* time passes meanwhile, too */
    assert_string_equal(CONNECT("a.test"), "tunnel tls_bypass");
    policy_clock_skew_ns += MINUTE;
    assert_string_equal(CONNECT("a.test"), "no opinion");
    assert_string_equal(TELL("a.test"), "applied counted"); /* and begins anew */
    assert_string_equal(fake.events, "tls_bypass_activated client=10.0.0.1 host=a.test reason=peer_rejected_ca ttl_s=600\n"
                                     "tls_bypass_expired client=10.0.0.1 host=a.test reason=ttl ttl_s=600\n");
    assert_int_equal(fake_count("active"), 0);
}

static int wait_for(const char *text)
{
    const struct timespec step = {0, 2000000};
    for (int i = 0; i < 10000; i++, nanosleep(&step, NULL))
        if (fake_emitted(text))
            return 1;
    return 0;
}

/* Nobody connects and nothing fails any more: its end is told all the same. */
static void the_end_is_told_by_itself(void **state)
{
    (void)state;
    fake_setting("tls_bypass_ttl", 30);
    use(2, "hosts: [a.test, b.test]\n");
    learn_it("a.test");
    assert_true(wait_for("tls_bypass_expired client=10.0.0.1 host=a.test reason=ttl ttl_s=0\n"));
    learn_it("b.test");
    assert_true(wait_for("tls_bypass_expired client=10.0.0.1 host=b.test"));
}

static void observe_changes_nothing(void **state)
{
    (void)state;
    use(1, "threshold: 2\n"); /* without a list it counts all */
    assert_string_equal(TELL("a.test"), "applied counted");
    assert_string_equal(TELL("a.test"), "applied would_bypass");
    assert_string_equal(TELL("a.test"), "applied counted");
    assert_string_equal(CONNECT("a.test"), "no opinion");
    assert_string_equal(fake.events, "");
    use(1, "hosts: b.test\n");
    assert_string_equal(TELL("a.test"), "ignored host_not_listed");
}

static void off_takes_part_in_nothing(void **state)
{
    (void)state;
    use(0, "hosts: a.test\n");
    assert_int_equal(policy.module->hooks(policy.self), 0);
    use(1, "hosts: a.test\n");
    assert_int_equal(policy.module->hooks(policy.self), SOTH_HOOK_CONNECT | SOTH_HOOK_SIGNAL);
}

static void the_table_is_bounded(void **state)
{
    char host[32];
    (void)state;
    use(2, "hosts: .a.test\nmax_hosts: 3\nthreshold: 1\n");
    TELL("1.a.test");
    TELL("2.a.test");
    TELL("3.a.test");
    CONNECT("1.a.test"); /* in use */
    TELL("4.a.test");    /* 2 was not heard of for the longest time */
    assert_non_null(strstr(fake.events, "tls_bypass_expired client=10.0.0.1 host=2.a.test reason=evicted ttl_s=600\n"));
    assert_string_equal(CONNECT("1.a.test"), "tunnel tls_bypass");
    assert_string_equal(CONNECT("2.a.test"), "no opinion");
    assert_int_equal(fake_count("entries"), 3);
    use(2, "hosts: .a.test\nmax_hosts: 3\nthreshold: 2\n");
    TELL("1.a.test");
    TELL("1.a.test");
    for (int i = 0; i < 2000; i++) { /* who only counts makes room before who is tunnelled */
        snprintf(host, sizeof host, "%d.a.test", i + 10);
        TELL(host);
    }
    assert_int_equal(fake_count("entries"), 3);
    assert_string_equal(CONNECT("1.a.test"), "tunnel tls_bypass");
}

static uint64_t ms(uint64_t n)
{
    return n * 1000000;
}

/* Whatever order they began and were used in. */
static void the_store_ends_them_in_time(void **state)
{
    static const uint64_t ttl[] = {30, 10, 20, 40, 10};
    struct store store;
    struct store_entry *evicted;
    size_t over = 0;
    (void)state;
    assert_int_equal(store_init(&store), SOTH_OK);
    assert_int_equal(store_next_expiry(&store), 0);
    for (size_t i = 0; i < 5; i++) {
        const char host[] = {(char)('a' + i), 0};
        store_activate(&store, store_get(&store, soth_span(host), soth_span(""), 10, &evicted), ms(1000), ttl[i]);
    }
    assert_true(store_is_active(&store, store_find(&store, soth_span("b"), soth_span("")), ms(1005)));
    assert_null(store_expired(&store, ms(1009)));
    assert_int_equal(store_next_expiry(&store), ms(1010));
    static const size_t wanted[] = {2, 3, 4, 5};
    for (uint64_t k = 1; k <= 4; k++) {
        for (struct store_entry *e; (e = store_expired(&store, ms(1000 + 10 * k))); over++)
            free(e);
        assert_int_equal(over, wanted[k - 1]);
        assert_int_equal(store_next_expiry(&store), k < 4 ? ms(1000 + 10 * (k + 1)) : 0);
    }
    store_fini(&store);
}

/* ---- reloads and restarts ---- */

static int open_next(uint64_t mode, const char *config)
{
    fake_setting("tls_learning", mode);
    return fake_open_on(&next, policy.module, &policy_host, config);
}

static void a_reload_forgets_nothing(void **state)
{
    (void)state;
    use(2, "hosts: [a.test, b.test]\n");
    learn_it("a.test");
    TELL("b.test");
    assert_int_equal(open_next(2, "hosts: b.test\nthreshold: 2\n"), SOTH_OK); /* flows of before are still there */
    fake_close(&policy);
    policy = next;
    next = (struct fake_instance){0};
    assert_string_equal(CONNECT("a.test"), "no opinion"); /* it is not listed any more */
    assert_string_equal(TELL("b.test"), "applied threshold_reached");
    assert_string_equal(CONNECT("b.test"), "tunnel tls_bypass");
}

static void configure(char *config, size_t size, const char *more)
{
    snprintf(config, size, "hosts: [a.test, b.test, \"10.0.0.0/8\"]\nstate_path: %s\n%s", state_path, more);
}

static void a_restart_forgets_nothing_with_a_state_file(void **state)
{
    struct stat st;
    char config[256];
    (void)state;
    configure(config, sizeof config, "");
    use(2, config);
    learn_it("a.test");
    TELL("b.test", .client = "unix:/tmp/a %b");
    use(2, config); /* the process ends and starts */
    assert_int_equal(stat(state_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_string_equal(fake.events, "");
    assert_string_equal(CONNECT("a.test"), "tunnel tls_bypass");
    assert_string_equal(fake.events, "tls_bypass_activated client=10.0.0.1 host=a.test reason=restored ttl_s=600\n");
    TELL("b.test", .client = "unix:/tmp/a %b");
    assert_string_equal(TELL("b.test", .client = "unix:/tmp/a %b"), "applied threshold_reached");
    policy_clock_skew_ns += 9 * MINUTE;
    assert_string_equal(CONNECT("a.test"), "tunnel tls_bypass"); /* what was left of its time goes on */
}

/* Within twenty seconds. */
static bool is_written(const char *text)
{
    const struct timespec step = {0, 2000000};
    char kept[4096];
    for (int i = 0; i < 10000; i++, nanosleep(&step, NULL)) {
        FILE *f = fopen(state_path, "r");
        assert_non_null(f);
        kept[fread(kept, 1, sizeof kept - 1, f)] = '\0';
        fclose(f);
        if (strstr(kept, text))
            return true;
    }
    return false;
}

/* Before the thread that writes has come to wait for something. */
static void what_is_learnt_at_once_is_written_too(void **state)
{
    char config[256];
    (void)state;
    configure(config, sizeof config, "");
    for (int i = 0; i < 5; i++) {
        fake_close(&policy);
        empty_folder();
        use(2, config);
        learn_it("a.test");
        assert_true(is_written("a.test 10.0.0.1"));
    }
}

static void write_state(const char *text)
{
    FILE *f = fopen(state_path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    chmod(state_path, 0600);
}

static unsigned kept_aside(void)
{
    unsigned n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d));)
        n += strstr(e->d_name, "state.bad-") != NULL;
    closedir(d);
    return n;
}

static void garbage_is_kept_aside(void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"", "it is empty"}, {"\x7f""ELF", "it is no text, or was cut off"}, {"hello\n", "line 1 is not \"soth-mitm tls learning 1\""},
        {"soth-mitm tls learning 2\nend 0\n", "line 1 is not"}, {"soth-mitm tls learning 1\n", "line 1 is the last one, and is not its end"},
        {"soth-mitm tls learning 1\nend 1\n", "line 2 is not HOST CLIENT"}, {"soth-mitm tls learning 1\nend 0\nx\n", "line 2 is its end, and there is more"},
        {"soth-mitm tls learning 1\na.test - 1 5 0\nend 1\n", "line 2 is not HOST"}, {"soth-mitm tls learning 1\na.test - -1 5 0 1\nend 1\n", "line 2 is not HOST"},
        {"soth-mitm tls learning 1\na.test - 1 9999999999999999999 0 1\nend 1\n", "line 2 is not HOST"}, {"soth-mitm tls learning 1\na%2 - 1 5 0 1\nend 1\n", "line 2 is not HOST"},
        {"soth-mitm tls learning 1\na.test - 1 5 0 1 7\nend 1\n", "line 2 is not HOST"}, {"soth-mitm tls learning 1\n - 1 5 0 1\nend 1\n", "line 2 is not HOST"},
        {"soth-mitm tls learning 1\na - 1 99999999999999 0 1\na - 1 5 0 1\nend 2\n", "line 3 is there twice"},
    };
    char config[256];
    (void)state;
    configure(config, sizeof config, "");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fake_close(&policy);
        empty_folder();
        write_state(rows[i].text);
        use(2, config);
        if (!strstr(fake.log, rows[i].why) || !strstr(fake.log, "is no state of this module: "))
            fail_msg("row %zu: %s", i, fake.log);
        assert_int_equal(kept_aside(), 1);
        learn_it("a.test"); /* and it works, from nothing */
    }
}

static void a_state_that_others_may_write_is_not_believed(void **state)
{
    char config[256];
    (void)state;
    configure(config, sizeof config, "");
    use(2, config);
    learn_it("a.test");
    fake_close(&policy);
    chmod(state_path, 0620);
    use(2, config);
    assert_non_null(strstr(fake.log, "group or others may write it"));
    assert_string_equal(CONNECT("a.test"), "no opinion");
    assert_int_equal(kept_aside(), 1);
}

static void a_bypass_of_the_past_is_over(void **state)
{
    char config[256], text[256];
    time_t now = time(NULL);
    (void)state;
    configure(config, sizeof config, "");
    snprintf(text, sizeof text, "soth-mitm tls learning 1\na.test 10.0.0.1 0 1000 %lld000 600000\nb.test 10.0.0.1 0 1000 %lld000 9000000\nend 2\n",
             (long long)now - 1, (long long)now + 9000);
    write_state(text);
    use(2, config);
    assert_non_null(strstr(fake.log, "1 hosts were tunnelled until some time when nobody was here"));
    assert_string_equal(CONNECT("a.test"), "no opinion");
    assert_string_equal(CONNECT("b.test"), "tunnel tls_bypass");
    policy_clock_skew_ns += 11 * MINUTE; /* tls_bypass_ttl is 10 minutes now */
    assert_string_equal(CONNECT("b.test"), "no opinion");
}

static void mistakes_are_named(void **state)
{
    char config[256];
    (void)state;
    fake_setting("tls_learning", 2);
    assert_int_equal(policy_open(&policy, "threshold: 3\n"), -SOTH_ECONFIG);
    assert_non_null(strstr(fake.wrong, "tls_learning: bypass needs to know which hosts may be bypassed: a client can forge its alerts"));
    fake_close(&policy);
    assert_int_equal(policy_open(&policy, "hosts: [a.test, \"a b\"]\n"), -SOTH_ECONFIG);
    assert_non_null(strstr(fake.wrong, "config:1:17: hosts[1]: 'a b' has a character that host names do not have"));
    fake_close(&policy);
    snprintf(config, sizeof config, "hosts: a.test\nstate_path: %s/no/such/folder\n", folder);
    assert_int_equal(policy_open(&policy, config), -SOTH_ECONFIG);
    assert_non_null(strstr(fake.wrong, "state_path: '"));
    assert_non_null(strstr(fake.wrong, "cannot write it: No such file or directory"));
    fake_close(&policy);
    assert_int_equal(policy_open(&policy, "hosts: a.test\nthreshold: 0\n"), -SOTH_ECONFIG);
}

/* docs/tls-learning.md has every code with its meaning. */
static void the_codes_are_documented(void **state)
{
    static const struct {
        const char *text, *meaning;
        int applied;
    } codes[] = {
#define LESSON(NAME, text, applied, meaning) {text, meaning, applied},
#include "modules/policy_tls_learning/reason.def"
#undef LESSON
    };
    char path[512], doc[16384], row[512];
    (void)state;
    snprintf(path, sizeof path, "%s/docs/tls-learning.md", getenv("srcdir") ? getenv("srcdir") : ".");
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(doc, 1, sizeof doc - 1, f);
    fclose(f);
    doc[n] = 0;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        snprintf(row, sizeof row, "| `%s` | %s | %s |\n", codes[i].text, codes[i].applied ? "applied" : "ignored", codes[i].meaning);
        if (!strstr(doc, row))
            fail_msg("%s lacks %s", path, row);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(learns_from_certain_refusals_alone), TEST(bypasses_that_host_for_that_client), TEST(addresses_of_clients), TEST(names_in_the_hello),
        TEST(connections_at_the_same_time_are_one_attempt), TEST(an_hour_without_one_ends_the_count), TEST(ends_in_time), TEST(the_end_is_told_by_itself),
        TEST(observe_changes_nothing), TEST(off_takes_part_in_nothing), TEST(the_table_is_bounded), TEST(the_store_ends_them_in_time), TEST(a_reload_forgets_nothing),
        TEST(a_restart_forgets_nothing_with_a_state_file), TEST(what_is_learnt_at_once_is_written_too), TEST(garbage_is_kept_aside), TEST(a_state_that_others_may_write_is_not_believed),
        TEST(a_bypass_of_the_past_is_over), TEST(mistakes_are_named), cmocka_unit_test(the_codes_are_documented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
