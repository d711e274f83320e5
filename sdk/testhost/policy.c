/* SPDX-License-Identifier: MPL-2.0 */
/* Policies, asked as a host asks them: peeks are answered, pauses waited for, busy moments waited out, flows go away in between. */
#include "parts.h"

#include <time.h>

#define BUSY_MOST 200
#define PEEK_MOST 65536u
#define THREADS 4
#define ASKS 25

enum { ASK_PATIENTLY, ASK_LATE, ASK_AND_GO };

struct asking {
    const struct testhost_question *q;
    struct flow flow;
    struct head request, response;
    bool hello;
    size_t body; /* bytes of it that are shown */
    uint32_t late;
    int how;
};

static void pause_ms(unsigned ms)
{
    struct timespec t = {0, (long)ms * 1000000};
    nanosleep(&t, NULL);
}

static bool is_response(const struct asking *a)
{
    return a->q->hook == SOTH_HOOK_RESPONSE || (a->q->hook == SOTH_HOOK_REWRITE && a->q->response);
}

static struct soth_message *message(struct asking *a)
{
    struct head *head = is_response(a) ? &a->response : &a->request;
    a->flow.head = head;
    struct soth_message *m = th_head_lend(head, &a->request, is_response(a) ? SOTH_TO_CLIENT : SOTH_TO_SERVER, a->q);
    m->body = th_guard_span((struct soth_span){a->body ? a->q->body.p : NULL, a->body});
    m->body_complete = a->body == a->q->body.n;
    return m;
}

static const struct soth_frame *frame(const struct asking *a)
{
    struct soth_frame f = a->q->frame;
    struct soth_attr *attrs = th_guard_lend_aligned(f.attrs, f.attr_count * sizeof *attrs);
    f.size = sizeof f;
    for (uint32_t i = 0; i < f.attr_count; i++)
        if (attrs[i].text.n > 0)
            attrs[i].text = th_guard_span(attrs[i].text);
    f.attrs = attrs;
    f.payload = th_guard_span(f.payload);
    return th_guard_lend_aligned(&f, sizeof f);
}

static int call(struct asking *a, struct soth_decision *out)
{
    struct testhost *host = a->flow.host;
    struct soth_module *m = &host->module;
    struct soth_decision blank = {.size = sizeof blank};
    *out = blank;
    unsigned mark = th_guard_mark();
    struct soth_flow *view = th_flow_lend(&a->flow);
    a->flow.may_pause = a->q->hook != SOTH_HOOK_REWRITE;
    int r;
    switch (a->q->hook) {
    case SOTH_HOOK_CONNECT:
        r = m->connect ? m->connect(host->self, view, th_connect_lend(a->q, a->hello), out) : SOTH_CONTINUE;
        break;
    case SOTH_HOOK_REQUEST:
        r = m->request ? m->request(host->self, view, message(a), out) : SOTH_CONTINUE;
        break;
    case SOTH_HOOK_RESPONSE:
        r = m->response ? m->response(host->self, view, message(a), out) : SOTH_CONTINUE;
        break;
    case SOTH_HOOK_FRAME:
        r = m->frame ? m->frame(host->self, view, frame(a), out) : SOTH_CONTINUE;
        break;
    default:
        r = m->rewrite ? m->rewrite(host->self, view, message(a)) : SOTH_CONTINUE;
        break;
    }
    th_guard_return(mark);
    a->flow.may_pause = a->flow.was_resumed = false;
    return r;
}

/* Is it well-formed? Reads what it points to: borrowed bytes are gone by now. */
static void check(struct testhost *host, uint32_t hook, const struct soth_decision *d)
{
    bool connect = hook == SOTH_HOOK_CONNECT;
    bool known = connect ? d->action <= SOTH_BLOCK || (d->action == SOTH_ALLOW && d->overrides) : d->action == SOTH_ALLOW || d->action == SOTH_BLOCK;
    volatile size_t sum = 0;
    if (!known)
        th_fault(host, "decided with action %u, which this hook does not have", (unsigned)d->action);
    for (size_t i = 0; i < d->rule_id.n; i++)
        sum += (unsigned char)d->rule_id.p[i];
    for (size_t i = 0; i < d->override_pattern.n; i++)
        sum += (unsigned char)d->override_pattern.p[i];
    for (const char *c = d->reason; c && *c; c++)
        sum += (unsigned char)*c;
    (void)sum;
}

/* More of what the policy has not seen yet. false: it has seen everything. */
static bool show_more(struct asking *a, const struct soth_decision *d)
{
    if (a->q->hook == SOTH_HOOK_CONNECT) {
        bool news = !a->hello;
        a->hello = true;
        return news;
    }
    if (d->need_bytes == 0 || d->need_bytes > PEEK_MOST) {
        th_fault(a->flow.host, "PEEK with need_bytes %u", (unsigned)d->need_bytes);
        return false;
    }
    size_t n = d->need_bytes < a->q->body.n ? d->need_bytes : a->q->body.n;
    bool news = n > a->body;
    a->body = n;
    return news;
}

/* false: the answer is final, in *r. */
static bool once_more(struct asking *a, int *r, const struct soth_decision *d, unsigned *busy)
{
    struct testhost *host = a->flow.host;
    if (*r != SOTH_PAUSE)
        th_token_unused(&a->flow);
    switch (*r) {
    case SOTH_PEEK:
        if (a->q->hook != SOTH_HOOK_FRAME && a->q->hook != SOTH_HOOK_REWRITE && show_more(a, d))
            return true;
        *r = SOTH_CONTINUE; /* there is no more: as if it had no opinion */
        return false;
    case SOTH_BUSY:
        pause_ms(1);
        if (++*busy < BUSY_MOST)
            return true;
        th_fault(host, "it is busy for ever");
        *r = -SOTH_EAGAIN;
        return false;
    case SOTH_PAUSE:
        if (!a->flow.token.pause) {
            th_fault(host, "PAUSE without a token");
            *r = SOTH_FAIL;
            return false;
        }
        if (a->how == ASK_AND_GO) {
            th_token_cancel(&a->flow);
            *r = -SOTH_EEOF;
            return false;
        }
        a->flow.was_resumed = th_token_wait(&a->flow, a->how == ASK_LATE, &a->late);
        if (a->flow.was_resumed)
            return true;
        *r = -SOTH_ESTALE;
        return false;
    default:
        return false;
    }
}

static void begin(struct asking *a, struct testhost *host, const struct testhost_question *q, int how)
{
    static atomic_uint_fast64_t ids;
    *a = (struct asking){.q = q, .how = how, .hello = !q->no_hello};
    a->flow.host = host;
    a->flow.id = atomic_fetch_add(&ids, 1) + 1;
    a->flow.edits = q->hook == SOTH_HOOK_REQUEST || q->hook == SOTH_HOOK_RESPONSE || q->hook == SOTH_HOOK_REWRITE;
    th_head_read(&a->request, q->request ? q->request : "GET / HTTP/1.1\nHost: a.test");
    th_head_read(&a->response, q->response ? q->response : "HTTP/1.1 200 OK");
    a->flow.wishes = q->hook == SOTH_HOOK_REWRITE && !is_response(a);
    a->flow.has_path = !a->request.start[0] || strcmp(a->request.start[0], "CONNECT") != 0;
}

static int ask(struct asking *a, struct soth_decision *out)
{
    unsigned busy = 0;
    int r;
    do
        r = call(a, out);
    while (once_more(a, &r, out, &busy));
    if (r == SOTH_DECIDED)
        check(a->flow.host, a->q->hook, out);
    else if (r > 0 && r != SOTH_DETACH)
        th_fault(a->flow.host, "verdict %d is none of this hook's", r);
    return r;
}

static void end(struct asking *a)
{
    th_head_free(&a->request);
    th_head_free(&a->response);
    th_flow_free(&a->flow);
}

int testhost_ask(struct testhost *host, const struct testhost_question *q, struct soth_decision *out, uint32_t *late)
{
    struct asking a;
    struct soth_decision unused;
    host->nobody_resumes = false;
    begin(&a, host, q, ASK_PATIENTLY);
    th_text_clear(&host->target);
    a.flow.target = &host->target;
    int r = ask(&a, out ? out : &unused);
    if (late)
        *late = a.late;
    th_text_clear(&host->head);
    th_head_say(is_response(&a) ? &a.response : &a.request, &host->head);
    end(&a);
    return r;
}

const char *testhost_head(const struct testhost *host)
{
    return th_text_of(&host->head);
}

const char *testhost_target(const struct testhost *host)
{
    return th_text_of(&host->target);
}

void testhost_signal(struct testhost *host, const struct soth_signal *signal)
{
    struct soth_signal s = *signal;
    unsigned mark = th_guard_mark();
    s.size = sizeof s;
    s.host = th_guard_span(s.host);
    s.client = th_guard_span(s.client);
    s.raw_error = th_guard_span(s.raw_error);
    s.identity = th_guard_span(s.identity);
    s.detail = th_guard_span(s.detail);
    if (host->module.signal)
        host->module.signal(host->self, th_guard_lend_aligned(&s, sizeof s));
    th_guard_return(mark);
}

/* ---- again and again ---- */

struct job {
    struct testhost *host;
    const struct testhost_question *q;
    uint32_t action;
    int how;
    const char *name;
};

static void ask_once(const struct job *job)
{
    struct asking a;
    struct soth_decision d;
    struct text target = {NULL, 0, 0};
    begin(&a, job->host, job->q, job->how);
    a.flow.target = &target;
    int r = ask(&a, &d);
    uint32_t action = r == SOTH_DECIDED ? d.action : SOTH_ALLOW;
    if (job->how == ASK_PATIENTLY && (r < 0 || action != job->action))
        th_fault(job->host, "%s: the answer is %d with action %u, wanted is action %u", job->name, r, (unsigned)action, (unsigned)job->action);
    th_text_free(&target);
    end(&a);
}

static void *asks(void *arg)
{
    for (unsigned i = 0; i < ASKS; i++)
        ask_once(arg);
    th_guard_end();
    return NULL;
}

static void from_threads(struct job *job)
{
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, asks, job) != 0)
            th_fault(job->host, "testhost: no thread");
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

unsigned testhost_policy(struct testhost *host, const struct testhost_question *q, uint32_t action)
{
    unsigned before = testhost_faults(host);
    struct job job = {host, q, action, ASK_PATIENTLY, "plainly asked"};
    host->nobody_resumes = false;
    ask_once(&job);
    job.name = "asked again";
    ask_once(&job);
    for (unsigned i = 0; i < ASKS; i++) {
        job.how = i % 2 ? ASK_LATE : ASK_AND_GO;
        ask_once(&job);
    }
    job.how = ASK_PATIENTLY;
    job.name = "asked after flows that did not wait";
    ask_once(&job);
    job.name = "asked by several threads";
    from_threads(&job);
    return testhost_faults(host) - before;
}
