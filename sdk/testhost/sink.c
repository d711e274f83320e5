/* SPDX-License-Identifier: MPL-2.0 */
/* Sinks: events in batches of all sizes, from a thread that is the sink's own, offered again as long as it asks for that. */
#include "parts.h"

#include <stdlib.h>
#include <time.h>

#define RETRIES_MOST 1000
#define ATTRS_MOST 64

/* Events as they are kept between writes. */
struct record {
    uint32_t kind;
    char *text; /* names and values, each ended by NUL */
    struct soth_attr attrs[ATTRS_MOST];
    uint32_t count;
};

struct show {
    struct testhost *host;
    struct record *records;
    size_t count;
    uint64_t sequence;
    bool lossy, dead;
};

/* ---- lines ---- */

static char unescaped(const char **at)
{
    const char *p = *at;
    if (*p != '\\') {
        *at = p + 1;
        return *p;
    }
    unsigned byte = 0;
    bool hex = p[1] == 'x' && sscanf(p + 2, "%2x", &byte) == 1;
    *at = p + (hex ? 4 : p[1] ? 2 : 1);
    return hex ? (char)byte : p[1] == 'n' ? '\n' : p[1];
}

static void read_value(struct soth_attr *attr, const char *p, const char *end, char **to)
{
    char *value = *to;
    bool digits = p < end;
    while (p < end) {
        digits = digits && *p >= '0' && *p <= '9';
        *(*to)++ = unescaped(&p);
    }
    attr->text = (struct soth_span){value, (size_t)(*to - value)};
    *(*to)++ = 0;
    attr->type = digits ? SOTH_ATTR_U64 : SOTH_ATTR_TEXT;
    attr->number = digits ? strtoull(value, NULL, 10) : 0;
}

/* Where the value that begins at p ends: before " name=" with an attribute of the kind, or at the end of the line. */
static const char *value_end(uint32_t kind, const char *p, const char *end)
{
    for (; p < end; p++) {
        size_t name = *p == ' ' ? strcspn(p + 1, " =\n") : 0;
        if (name && p[1 + name] == '=' && th_event_allowed(kind, p + 1, name))
            return p;
    }
    return end;
}

static bool read_record(struct testhost *host, struct record *r, const char *line, size_t n)
{
    const char *end = line + n, *p = line + strcspn(line, " \n");
    r->kind = th_event_number((struct soth_span){line, (size_t)(p - line)});
    r->text = calloc(2, n + ATTRS_MOST * 2);
    if (!r->text)
        abort();
    char *to = r->text;
    if (!r->kind)
        th_fault(host, "testhost_sink: no event kind in '%.*s'", (int)n, line);
    while (r->kind && p < end && r->count < ATTRS_MOST) {
        size_t name = strcspn(p + 1, "=\n");
        struct soth_attr *attr = &r->attrs[r->count++];
        attr->name = to;
        attr->name_len = (uint32_t)name;
        memcpy(to, p + 1, name);
        to += name + 1;
        const char *value = p + 1 + name + 1;
        if (value > end || !th_event_allowed(r->kind, attr->name, name)) {
            th_fault(host, "testhost_sink: %s has no attribute '%s'", th_event_name(r->kind), attr->name);
            return false;
        }
        p = value_end(r->kind, value, end);
        read_value(attr, value, p, &to);
    }
    return r->kind != 0;
}

static bool read_lines(struct show *show, const char *lines)
{
    bool right = true;
    for (size_t n; *lines && right; lines += n + (lines[n] == '\n')) {
        n = strcspn(lines, "\n");
        show->records = realloc(show->records, (show->count + 1) * sizeof *show->records);
        if (!show->records)
            abort();
        memset(&show->records[show->count], 0, sizeof *show->records);
        right = read_record(show->host, &show->records[show->count++], lines, n);
    }
    return right;
}

/* ---- batches ---- */

static struct soth_event *event_lend(const struct record *r, uint64_t sequence)
{
    struct soth_attr attrs[ATTRS_MOST];
    size_t size = 0;
    for (uint32_t i = 0; i < r->count; i++)
        size += r->attrs[i].text.n;
    char *text = th_guard_lend(NULL, size);
    for (uint32_t i = 0; i < r->count; i++) {
        attrs[i] = r->attrs[i];
        memcpy(text, attrs[i].text.p, attrs[i].text.n);
        attrs[i].text.p = text;
        text += attrs[i].text.n;
    }
    struct soth_event e = {
        .size = sizeof e,
        .kind = (uint16_t)r->kind,
        .protocol = SOTH_PROTO_HTTP1,
        .sequence_id = sequence,
        .flow_id = 1,
        .flow_sequence_id = sequence,
        .monotonic_ns = th_api.monotonic_ns(),
        .unix_ms = 1700000000000u + sequence,
        .kind_name = th_event_name(r->kind),
        .protocol_name = "http1",
        .run_id = th_guard_span(soth_span("00000000000000000000000000000000")),
        .client_addr = th_guard_span(soth_span("192.0.2.1:4711")),
        .server_host = th_guard_span(soth_span("a.test")),
        .server_port = 443,
        .attr_count = r->count,
        .attrs = th_guard_lend_aligned(attrs, r->count * sizeof *attrs),
    };
    return th_guard_lend_aligned(&e, sizeof e);
}

#define BATCH_MOST 8u /* what is lent at once has bounds */

/* One write of `count` events from `first` on. Returns its verdict, *done how many it took. */
static int write_some(struct show *show, size_t first, uint32_t count, uint32_t *done, uint32_t *retry_ms)
{
    struct testhost *host = show->host;
    const struct soth_event *events[BATCH_MOST];
    unsigned mark = th_guard_mark();
    for (uint32_t i = 0; i < count; i++)
        events[i] = event_lend(&show->records[first + i], show->sequence + i + 1);
    struct soth_batch batch = {.size = sizeof batch, .count = count};
    batch.events = th_guard_lend_aligned(events, count * sizeof *events);
    pthread_mutex_lock(&host->lock);
    host->delivered = show->sequence + count;
    pthread_mutex_unlock(&host->lock);
    *done = *retry_ms = 0;
    int r = host->module.write(host->self, th_guard_lend_aligned(&batch, sizeof batch), done, retry_ms);
    th_guard_return(mark);
    if (*done > count) {
        th_fault(host, "write took %u events of %u", (unsigned)*done, (unsigned)count);
        *done = count;
    }
    if (r == SOTH_OK && *done != count)
        th_fault(host, "write returned OK, but took %u events of %u", (unsigned)*done, (unsigned)count);
    return r;
}

static void nap(uint32_t ms)
{
    struct timespec t = {0, (long)(ms < 20 ? ms : 20) * 1000000};
    nanosleep(&t, NULL);
}

/* The events from `first` on until all are taken or given up. Returns how many that are. */
static size_t write_batch(struct show *show, size_t first, uint32_t count)
{
    struct testhost *host = show->host;
    uint32_t taken = 0, done, retry_ms;
    for (unsigned tries = 0; taken < count; tries++) {
        int r = write_some(show, first + taken, count - taken, &done, &retry_ms);
        taken += done;
        show->sequence += done;
        if (r == SOTH_RETRY && tries < RETRIES_MOST) {
            nap(retry_ms);
            continue;
        }
        if (r == SOTH_RETRY)
            th_fault(host, "write asks for one more try again and again");
        else if (r != SOTH_OK && (r != SOTH_DROP || !show->lossy) && (r != SOTH_DEAD || !show->lossy))
            th_fault(host, "write returned %d after %u of %u events", r, (unsigned)taken, (unsigned)count);
        show->dead = r == SOTH_DEAD || r < 0;
        show->sequence += count - taken;
        break;
    }
    return count;
}

static void wake_up(struct show *show)
{
    uint32_t done, retry_ms;
    int r = write_some(show, 0, 0, &done, &retry_ms);
    if (r < 0 || (r != SOTH_OK && r != SOTH_RETRY && !show->lossy))
        th_fault(show->host, "write returned %d when it was only woken", r);
}

static void flush(struct show *show)
{
    struct testhost *host = show->host;
    int r = host->module.flush ? host->module.flush(host->self, 2000) : SOTH_OK;
    if (r < 0 && !show->lossy)
        th_fault(host, "flush returned %d (%s)", r, th_error_name(r));
    if (!(host->module.flags & SOTH_SINK_ASYNC_ACK) || show->lossy)
        return;
    for (unsigned i = 0; i < 100; i++) {
        pthread_mutex_lock(&host->lock);
        bool acked = host->acked >= show->sequence;
        pthread_mutex_unlock(&host->lock);
        if (acked)
            return;
        nap(10);
    }
    th_fault(host, "after flush not every event is acknowledged");
    show->dead = true;
}

static void *shows(void *arg)
{
    static const uint32_t sizes[] = {1, 2, 7, BATCH_MOST};
    struct show *show = arg;
    struct testhost *host = show->host;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes && !show->dead; s++) {
        wake_up(show);
        for (size_t at = 0; at < show->count && !show->dead;) {
            size_t left = show->count - at;
            at += write_batch(show, at, (uint32_t)(left < sizes[s] ? left : sizes[s]));
        }
        if (show->dead)
            break;
        flush(show);
        if (host->module.reopen && host->module.reopen(host->self) < 0 && !show->lossy)
            th_fault(host, "reopen failed");
    }
    th_guard_end();
    return NULL;
}

unsigned testhost_sink(struct testhost *host, const char *lines, int lossy)
{
    unsigned before = testhost_faults(host);
    struct show show = {.host = host, .lossy = lossy != 0, .sequence = host->delivered};
    pthread_t thread;
    if (host->module.kind != SOTH_KIND_SINK || !host->module.write)
        th_fault(host, "testhost_sink: this is no sink");
    else if (read_lines(&show, lines) && pthread_create(&thread, NULL, shows, &show) == 0)
        pthread_join(thread, NULL);
    for (size_t i = 0; i < show.count; i++)
        free(show.records[i].text);
    free(show.records);
    return testhost_faults(host) - before;
}
