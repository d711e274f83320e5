/* SPDX-License-Identifier: MPL-2.0 */
/*
 * sink_file: the event log v2. Events become lines in a buffer; the buffer goes to the segment when it fills a block, when flush_every events
 * are in it or after flush_interval. While the disk takes nothing, nothing is taken from the queue: what that loses is counted there. With
 * bodies_dir the bodies that its payload setting gives it go to files of their own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "log.h"

#define BUFFER_KEPT 4096 /* of each, when little comes */
#define RETRY_MS 500
#define ATTRS_MOST 64 /* of an event */
#define BODIES_AGAIN_NS UINT64_C(60000000000) /* what is wrong with bodies is said once in that time */

static const struct soth_opt options[] = {
    SOTH_OPT_PATH(struct sink, path, SOTH_REQUIRED | SOTH_EXCLUSIVE, "the log file; further segments are PATH.part00001 and so on"),
    SOTH_OPT_BOOL(struct sink, index, "true", "write PATH.index.tsv with the place of every event"),
    SOTH_OPT_BOOL(struct sink, with_timestamps, "false", "add monotonic_ns, unix_ms, run_id and durations; equal runs then differ"),
    SOTH_OPT_SIZE(struct sink, rotate_bytes, "0", 0, INT64_C(1) << 50, "begin a new segment at this size, 0 = never"),
    SOTH_OPT_DURATION(struct sink, rotate_age, "0", 0, INT64_C(31536000000), "begin a new segment after this time, 0 = never"),
    SOTH_OPT_INT(struct sink, keep_segments, "0", 0, 1000000, "how many segments stay, 0 = all"),
    SOTH_OPT_SIZE(struct sink, keep_bytes, "0", 0, INT64_C(1) << 50, "bound of all segments together, 0 = none; the one that is written to stays"),
    SOTH_OPT_INT(struct sink, flush_every, "256", 1, 1000000, "write to the file after so many events, and what comes with them"),
    SOTH_OPT_DURATION(struct sink, flush_interval, "200ms", 1, 86400000, "and after this time at the latest"),
    SOTH_OPT_ENUM(struct sink, fsync, "never|interval|always", "never", "when the disk is told to keep what was written"),
    SOTH_OPT_DURATION(struct sink, fsync_interval, "1s", 10, 3600000, "with fsync: interval"),
    {"bodies_dir", SOTH_OPT_T_PATH, SOTH_EXCLUSIVE, offsetof(struct sink, body_options.dir), "", 0, 0, NULL, NULL, 0,
     "a folder for the bodies that `payload` of this sink captures, one file a message; they are then left out of the log"},
    {"bodies_max_bytes", SOTH_OPT_T_SIZE, 0, offsetof(struct sink, body_options.max_bytes), "1G", 65536, INT64_C(1) << 50, NULL, NULL, 0,
     "bound of that folder: the oldest bodies go"},
    {"bodies", SOTH_OPT_T_ENUM, 0, offsetof(struct sink, decoded), "raw", 0, 0, "raw|decoded", NULL, 0,
     "raw: as they are relayed; decoded: without their content coding"},
    SOTH_OPT_BOOL(struct sink, audit_required, "false", "answer new flows with 503 while the log cannot be written"),
    SOTH_OPT_END,
};

static int cannot(struct sink *self, const char *key, const char *path, const char *ending)
{
    return self->host->cfg_err(self, key, "cannot write %s%s: %s", path, ending, strerror(errno));
}

static int create(const struct soth_host *host, void *arg)
{
    struct sink *self = arg;
    const char *what;
    self->host = host;
    self->count_errors = host->counter(self, "write_errors", NULL, "failed attempts to write the event log, or bodies");
    self->count_bodies = host->counter(self, "bodies", NULL, "bodies in files of their own");
    self->count_bodies_cut = host->counter(self, "bodies_cut", NULL, "of those: not complete");
    self->count_bodies_evicted = host->counter(self, "bodies_evicted", NULL, "of those: removed to stay within bodies_max_bytes");
    self->count_bodies_left_out = host->counter(self, "bodies_left_out", NULL, "bodies without a file: there was no room, or none could be made");
    self->forms.with_timestamps = self->with_timestamps;
    self->body_options.decoded = (int)self->decoded;
    self->body_options.sample = host->payload(self);
    self->body_options.host = host;
    self->body_options.sink = self;
    if (*self->body_options.dir && !(self->bodies = bodies_new(&self->body_options)))
        return cannot(self, "bodies_dir", self->body_options.dir, "");
    if (log_prepare(self, &what) < 0) {
        int error = errno;
        bodies_free(self->bodies);
        errno = error;
        return cannot(self, "path", self->path, what);
    }
    self->flushed_ns = self->synced_ns = host->monotonic_ns();
    return SOTH_OK;
}

static void destroy(void *arg)
{
    struct sink *self = arg;
    if (!self->used)
        segment_abandon(&self->segment);
    segment_close(&self->segment);
    bodies_free(self->bodies);
    forms_fini(&self->forms);
    free(self->lines.p);
    free(self->rows.p);
}

/* ---- events ---- */

static int is_piece(const struct soth_event *event)
{
    return event->kind == SOTH_EV_REQUEST_BODY_CHUNK || event->kind == SOTH_EV_RESPONSE_BODY_CHUNK;
}

/* The same without the piece of a body, which has a file of its own. */
static struct soth_event without_payload(const struct soth_event *event, struct soth_attr attrs[ATTRS_MOST])
{
    struct soth_event bare = *event;
    bare.shape = NULL; /* it has other attributes */
    bare.attrs = attrs;
    bare.attr_count = 0;
    for (uint32_t i = 0; i < event->attr_count && bare.attr_count < ATTRS_MOST; i++)
        if (!soth_span_is((struct soth_span){event->attrs[i].name, event->attrs[i].name_len}, "payload"))
            attrs[bare.attr_count++] = event->attrs[i];
    return bare;
}

static void tell(struct sink *self, int metric, uint64_t now, uint64_t *told)
{
    if (now > *told)
        self->host->count(self, metric, now - *told);
    *told = now;
}

static void tell_bodies(struct sink *self)
{
    const struct bodies_counts *now = bodies_counts(self->bodies);
    uint64_t ns = now->errors > self->bodies_told.errors ? self->host->monotonic_ns() : 0;
    if (ns && (!self->bodies_told.errors || ns - self->bodies_ns >= BODIES_AGAIN_NS)) {
        self->host->log(self, SOTH_LOG_ERROR, "cannot write a body to %s: %s; those at fault are cut", self->body_options.dir, strerror(now->error));
        self->bodies_ns = ns;
    }
    tell(self, self->count_errors, now->errors, &self->bodies_told.errors);
    tell(self, self->count_bodies, now->written, &self->bodies_told.written);
    tell(self, self->count_bodies_cut, now->cut, &self->bodies_told.cut);
    tell(self, self->count_bodies_left_out, now->left_out, &self->bodies_told.left_out);
    tell(self, self->count_bodies_evicted, now->evicted, &self->bodies_told.evicted);
}

static void keep_body(struct sink *self, const struct soth_event *event)
{
    bodies_event(self->bodies, event);
    tell_bodies(self);
}

static int take_line(struct sink *self, const struct soth_event *event)
{
    char buf[SOTH_STREAM_KEY_MAX];
    struct soth_span key = {buf, self->host->stream_key(event, buf)};
    struct line line;
    size_t before = self->lines.n;
    int r = line_event(&self->lines, &self->forms, event, key, &line);
    if (r < 0)
        return r;
    if (self->rotate_bytes || self->rotate_age)
        r = log_rotate_when_due(self, before, line.n);
    if (r == SOTH_OK && self->segment.index.file.fd >= 0) {
        const size_t at = self->lines.n - line.n;
        const struct line_place place = {self->lines.p + at, self->segment.number, self->segment.file.size + at};
        r = line_index(&self->rows, event, key, &line, &place);
    }
    if (r < 0)
        self->lines.n -= line.n;
    else
        self->buffered++;
    return r;
}

static __attribute__((noinline)) int take_with_body(struct sink *self, const struct soth_event *event)
{
    struct soth_attr attrs[ATTRS_MOST];
    struct soth_event bare = is_piece(event) ? without_payload(event, attrs) : *event;
    int r = take_line(self, &bare);
    if (r == SOTH_OK)
        keep_body(self, event);
    return r;
}

/* Not taken means: as if it had never come. */
static inline int take(struct sink *self, const struct soth_event *event)
{
    return self->bodies ? take_with_body(self, event) : take_line(self, event);
}

/* What comes at once goes with it; then no line is left half written. */
static int is_full(const struct sink *self)
{
    return self->buffered >= (uint64_t)self->flush_every || self->segment.file.begun > 0 || log_has_block(self);
}

/* What a burst has filled is not needed for what trickles: behind its first pages the system has the memory back, until it is written to again. */
static void shrink(struct text *text)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE) - 1, from = ((uintptr_t)text->p + text->n + BUFFER_KEPT + page) & ~page;
    const uintptr_t to = ((uintptr_t)text->p + text->room) & ~page;
    if (text->p && from < to)
        madvise((void *)from, to - from, MADV_DONTNEED);
}

/* When to come again although nothing arrives, in ms: for the buffer, else for the disk; 0 = no need. */
static uint32_t next_wake(const struct sink *self, uint64_t now)
{
    uint64_t from = self->flushed_ns, interval = self->flush_interval;
    if (self->buffered == 0) {
        if (!self->dirty || self->fsync != FSYNC_INTERVAL)
            return 0;
        from = self->synced_ns;
        interval = self->fsync_interval;
    }
    uint64_t since = (now - from) / 1000000u;
    return (uint32_t)(since < interval ? interval - since : 1);
}

static int sink_write(void *arg, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    struct sink *self = arg;
    *done = 0;
    *retry_ms = RETRY_MS;
    if (!self->used && batch->count > 0) { /* not in create: the instance before this one may have been writing still */
        if (log_start(self) < 0)
            return SOTH_RETRY;
        self->used = 1;
    }
    if (self->failing && log_write(self) < 0)
        return SOTH_RETRY;
    for (; *done < batch->count; ++*done) {
        if (log_has_block(self) && log_write_blocks(self) < 0)
            return SOTH_RETRY;
        if (*done + 1 < batch->count)
            line_fetch(batch->events[*done + 1]);
        if (take(self, batch->events[*done]) < 0)
            return SOTH_RETRY;
    }
    uint64_t now = self->host->monotonic_ns();
    int full = batch->waiting == 0 && is_full(self), late = self->buffered > 0 && (now - self->flushed_ns) / 1000000u >= self->flush_interval;
    if ((full || late) && log_write(self) < 0)
        return SOTH_RETRY;
    if (late && !full) {
        shrink(&self->lines);
        shrink(&self->rows);
    }
    if (log_sync_when_due(self, now) < 0)
        return SOTH_RETRY;
    *retry_ms = next_wake(self, now);
    return SOTH_OK;
}

static int flush(void *arg, uint32_t deadline_ms)
{
    struct sink *self = arg;
    uint64_t until = self->host->monotonic_ns() + deadline_ms * UINT64_C(1000000);
    if (self->bodies) { /* now: whoever comes next looks at the folder */
        bodies_end(self->bodies);
        tell_bodies(self);
    }
    if (!self->used) { /* whoever comes next does not count it among those that are kept */
        segment_abandon(&self->segment);
        return SOTH_OK;
    }
    while (log_write(self) < 0) {
        if (self->host->monotonic_ns() >= until) {
            if (self->buffered)
                self->host->log(self, SOTH_LOG_ERROR, "%u events could not be written to %s", self->buffered, self->segment.name);
            return -SOTH_EIO;
        }
        usleep(50000);
    }
    int r = log_sync(self);
    if (r == SOTH_OK)
        segment_release(&self->segment); /* the instance that comes next need not wait for destroy */
    return r;
}

static int reopen(void *arg)
{
    struct sink *self = arg;
    if (!segment_is_open(&self->segment))
        return SOTH_OK;
    int written = log_write(self) == SOTH_OK && log_sync(self) == SOTH_OK; /* to the file that was moved away */
    uint64_t size = self->segment.file.size;
    int moved = segment_reopen(&self->segment);
    if (moved > 0)
        log_move_rows(self, size, self->segment.file.size);
    if (moved < 0) {
        self->host->count(self, self->count_errors, 1);
        self->host->log(self, SOTH_LOG_ERROR, "cannot open %s anew: %s; what is open goes on", self->segment.name, strerror(errno));
        return -SOTH_EIO;
    }
    if (!written)
        log_write(self); /* perhaps there is room where the new file is */
    return SOTH_OK;
}

SOTH_SINK_MODULE(sink_file, "0.1.0", "MPL-2.0",
    .doc = "event log v2: JSON Lines in segments, with an index",
    .options = options, .self_size = sizeof(struct sink),
    .create = create, .destroy = destroy, .write = sink_write, .flush = flush, .reopen = reopen);
