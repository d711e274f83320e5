/* SPDX-License-Identifier: MPL-2.0 */
/*
 * sink_file: the event log v2. Events become lines in a buffer; the buffer goes to the segment when it is full, when flush_every events
 * are in it or after flush_interval. While the disk takes nothing, nothing is taken from the queue: what that loses is counted there.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "line.h"
#include "segment.h"

#define BUFFER_BYTES 131072
#define RETRY_MS 500

enum fsync_mode { FSYNC_NEVER, FSYNC_INTERVAL, FSYNC_ALWAYS };

struct sink {
    const char *path;
    uint8_t index, with_timestamps, audit_required;
    uint64_t rotate_bytes, rotate_age, keep_bytes, flush_interval, fsync_interval;
    int64_t keep_segments, flush_every;
    uint32_t fsync;

    const struct soth_host *host;
    struct segment segment;
    struct text lines, rows;
    uint32_t buffered;
    uint64_t opened_ns, flushed_ns, synced_ns;
    uint8_t failing;
    int count_errors;
};

static const struct soth_opt options[] = {
    SOTH_OPT_PATH(struct sink, path, SOTH_REQUIRED, "the log file; further segments are PATH.part00001 and so on"),
    SOTH_OPT_BOOL(struct sink, index, "true", "write PATH.index.tsv with the place of every event"),
    SOTH_OPT_BOOL(struct sink, with_timestamps, "false", "add monotonic_ns, unix_ms, run_id and durations; equal runs then differ"),
    SOTH_OPT_SIZE(struct sink, rotate_bytes, "0", 0, INT64_C(1) << 50, "begin a new segment at this size, 0 = never"),
    SOTH_OPT_DURATION(struct sink, rotate_age, "0", 0, INT64_C(31536000000), "begin a new segment after this time, 0 = never"),
    SOTH_OPT_INT(struct sink, keep_segments, "0", 0, 1000000, "how many segments stay, 0 = all"),
    SOTH_OPT_SIZE(struct sink, keep_bytes, "0", 0, INT64_C(1) << 50, "bound of all segments together, 0 = none"),
    SOTH_OPT_INT(struct sink, flush_every, "256", 1, 1000000, "write to the file after so many events"),
    SOTH_OPT_DURATION(struct sink, flush_interval, "200ms", 1, 86400000, "and after this time at the latest"),
    SOTH_OPT_ENUM(struct sink, fsync, "never|interval|always", "never", "when the disk is told to keep what was written"),
    SOTH_OPT_DURATION(struct sink, fsync_interval, "1s", 10, 3600000, "with fsync: interval"),
    SOTH_OPT_BOOL(struct sink, audit_required, "false", "answer new flows with 503 while the log cannot be written"),
    SOTH_OPT_END,
};

static int create(const struct soth_host *host, void *arg)
{
    struct sink *self = arg;
    const char *what;
    self->host = host;
    self->count_errors = host->counter(self, "write_errors", NULL, "failed attempts to write the event log");
    if (segment_open(&self->segment, self->path, self->index, &what) < 0)
        return host->cfg_err(self, "path", "cannot write %s: %s", what, strerror(errno));
    if (self->segment.torn)
        host->log(self, SOTH_LOG_WARN, "the last line of the previous log was torn: %llu bytes were moved to %s.torn",
                  (unsigned long long)self->segment.torn, self->path);
    self->opened_ns = self->flushed_ns = self->synced_ns = host->monotonic_ns();
    segment_prune(&self->segment, (uint64_t)self->keep_segments, self->keep_bytes);
    return SOTH_OK;
}

static void destroy(void *arg)
{
    struct sink *self = arg;
    segment_close(&self->segment);
    free(self->lines.p);
    free(self->rows.p);
}

/* ---- the disk ---- */

static int trouble(struct sink *self)
{
    self->host->count(self, self->count_errors, 1);
    if (!self->failing) {
        self->failing = 1;
        self->host->log(self, SOTH_LOG_ERROR, "cannot write %s: %s; events wait in the queue and are lost when it is full%s",
                        self->segment.name, strerror(errno), self->audit_required ? "; new flows are answered 503 until it works" : "");
        if (self->audit_required)
            self->host->hold_flows(self, 1);
    }
    return -SOTH_EIO;
}

static void recovered(struct sink *self)
{
    if (!self->failing)
        return;
    self->failing = 0;
    self->host->log(self, SOTH_LOG_WARN, "%s can be written again", self->segment.name);
    if (self->audit_required)
        self->host->hold_flows(self, 0);
}

static int sync_when_due(struct sink *self, uint64_t now)
{
    if (self->fsync == FSYNC_NEVER || (self->fsync == FSYNC_INTERVAL && now - self->synced_ns < self->fsync_interval * 1000000u))
        return SOTH_OK;
    self->synced_ns = now;
    return segment_sync(&self->segment);
}

static int write_out(struct sink *self)
{
    uint64_t now = self->host->monotonic_ns();
    if (self->lines.n > 0) {
        if (segment_append(&self->segment, self->lines.p, self->lines.n) < 0)
            return trouble(self);
        self->lines.n = 0;
    }
    if (self->rows.n > 0) {
        if (segment_append_index(&self->segment, self->rows.p, self->rows.n) < 0)
            return trouble(self);
        self->rows.n = 0;
    }
    self->buffered = 0;
    self->flushed_ns = now;
    if (sync_when_due(self, now) < 0)
        return trouble(self);
    recovered(self);
    return SOTH_OK;
}

static int rotate_when_due(struct sink *self, size_t next_line)
{
    uint64_t size = self->segment.size + self->lines.n;
    if (size == 0)
        return SOTH_OK;
    int full = self->rotate_bytes && size + next_line > self->rotate_bytes;
    int old = self->rotate_age && self->host->monotonic_ns() - self->opened_ns > self->rotate_age * 1000000u;
    if (!full && !old)
        return SOTH_OK;
    if (write_out(self) < 0 || segment_next(&self->segment) < 0)
        return trouble(self);
    self->opened_ns = self->host->monotonic_ns();
    segment_prune(&self->segment, (uint64_t)self->keep_segments, self->keep_bytes);
    return SOTH_OK;
}

/* ---- events ---- */

static int take(struct sink *self, const struct soth_event *event)
{
    char key[SOTH_STREAM_KEY_MAX];
    size_t key_size = self->host->stream_key(event, key), before = self->lines.n;
    line_event(&self->lines, event, key, key_size, self->with_timestamps);
    size_t bytes = self->lines.n - before;
    if (self->rotate_bytes || self->rotate_age) {
        /* the line belongs to the next segment when it does not fit into this one */
        char *line = malloc(bytes);
        if (!line)
            return -SOTH_ENOMEM;
        memcpy(line, self->lines.p + before, bytes);
        self->lines.n = before;
        int r = rotate_when_due(self, bytes);
        if (r == SOTH_OK)
            text_add(&self->lines, line, bytes);
        free(line);
        if (r < 0)
            return r;
    }
    if (self->index)
        line_index(&self->rows, event, key, key_size, self->segment.number, self->segment.size + self->lines.n - bytes, bytes);
    self->buffered++;
    return self->lines.failed || self->rows.failed ? -SOTH_ENOMEM : SOTH_OK;
}

static int sink_write(void *arg, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    struct sink *self = arg;
    *retry_ms = RETRY_MS;
    if (self->failing && write_out(self) < 0)
        return SOTH_RETRY;
    for (*done = 0; *done < batch->count; ++*done) {
        if (take(self, batch->events[*done]) < 0)
            return SOTH_RETRY;
        if ((self->lines.n >= BUFFER_BYTES || self->buffered >= (uint64_t)self->flush_every) && self->lines.n >= 1 &&
            (self->lines.n >= BUFFER_BYTES || *done + 1 == batch->count) && write_out(self) < 0) {
            ++*done; /* it is in the buffer */
            return SOTH_RETRY;
        }
    }
    uint64_t since = (self->host->monotonic_ns() - self->flushed_ns) / 1000000u;
    if (self->buffered > 0 && since >= self->flush_interval && write_out(self) < 0)
        return SOTH_RETRY;
    *retry_ms = self->buffered > 0 ? (uint32_t)(self->flush_interval - (since < self->flush_interval ? since : 0)) : 0;
    if (*retry_ms == 0 && self->fsync == FSYNC_INTERVAL)
        *retry_ms = (uint32_t)self->fsync_interval;
    return SOTH_OK;
}

static int flush(void *arg, uint32_t deadline_ms)
{
    struct sink *self = arg;
    uint64_t until = self->host->monotonic_ns() + deadline_ms * UINT64_C(1000000);
    while (write_out(self) < 0) {
        if (self->host->monotonic_ns() >= until)
            return -SOTH_EIO;
        usleep(50000);
    }
    return self->fsync == FSYNC_NEVER ? SOTH_OK : segment_sync(&self->segment);
}

static int reopen(void *arg)
{
    struct sink *self = arg;
    write_out(self);
    return segment_reopen(&self->segment) < 0 ? trouble(self) : SOTH_OK;
}

SOTH_SINK_MODULE(sink_file, "0.1.0", "MPL-2.0",
    .doc = "event log v2: JSON Lines in segments, with an index",
    .options = options, .self_size = sizeof(struct sink),
    .create = create, .destroy = destroy, .write = sink_write, .flush = flush, .reopen = reopen);
