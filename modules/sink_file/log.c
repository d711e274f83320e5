/* SPDX-License-Identifier: MPL-2.0 */
/* See log.h. */
#include "log.h"

#include <errno.h>
#include <string.h>

#define ROWS_MOST 262144u /* bytes: rows wait until all lines are written */
#define ROTATE_AGAIN_NS UINT64_C(5000000000) /* when a new segment could not be opened */

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

/* What a file has must be on the disk before the file is closed, and when it is all over. */
int log_sync(struct sink *self)
{
    if (!self->dirty || self->fsync == FSYNC_NEVER || self->segment.is_stream)
        return SOTH_OK;
    self->synced_ns = self->host->monotonic_ns();
    if (segment_sync(&self->segment) < 0)
        return trouble(self);
    self->dirty = 0;
    return SOTH_OK;
}

int log_sync_when_due(struct sink *self, uint64_t now)
{
    int waits = self->fsync == FSYNC_INTERVAL && !self->failing && now - self->synced_ns < self->fsync_interval * 1000000u;
    return waits ? SOTH_OK : log_sync(self);
}

void log_prune(struct sink *self, size_t coming)
{
    if (segment_prune(&self->segment, (uint64_t)self->keep_segments, self->keep_bytes, coming) == SOTH_OK) {
        self->index_long = 0;
        return;
    }
    self->host->count(self, self->count_errors, 1);
    if (!self->index_long)
        self->host->log(self, SOTH_LOG_WARN, "cannot shorten %s" INDEX_ENDING ": %s; rows of removed segments stay until the next removal",
                        self->path, strerror(errno));
    self->index_long = 1;
}

/* The oldest segments make room for what comes. */
static void keep_bound(struct sink *self, size_t coming)
{
    const struct segment *s = &self->segment;
    if (self->keep_bytes && s->older > 0 && s->older + s->file.size + coming > self->keep_bytes)
        log_prune(self, coming);
}

static void written(struct sink *self, size_t n)
{
    self->lines.n -= n;
    memmove(self->lines.p, self->lines.p + n, self->lines.n);
    self->dirty = 1;
}

/* The first n bytes of the lines, and all rows: every row belongs to one of those. */
static int write_until(struct sink *self, size_t n)
{
    uint64_t now = self->host->monotonic_ns();
    if (n > 0) {
        keep_bound(self, n);
        if (segment_append(&self->segment, self->lines.p, n) < 0)
            return trouble(self);
        written(self, n);
    }
    if (self->rows.n > 0) {
        if (segment_append_index(&self->segment, self->rows.p, self->rows.n) < 0)
            return trouble(self);
        self->rows.n = 0;
    }
    self->buffered = 0;
    self->flushed_ns = now;
    if (log_sync_when_due(self, now) < 0)
        return -SOTH_EIO;
    recovered(self);
    return SOTH_OK;
}

int log_write(struct sink *self)
{
    return write_until(self, self->lines.n);
}

int log_write_blocks(struct sink *self)
{
    const size_t until = segment_blocks(&self->segment, self->lines.n);
    size_t n;
    if (self->segment.is_stream || self->rows.n >= ROWS_MOST)
        return log_write(self);
    keep_bound(self, until);
    if (segment_append_blocks(&self->segment, self->lines.p, until, &n) < 0)
        return trouble(self);
    written(self, n);
    return log_sync_when_due(self, self->host->monotonic_ns());
}

/* Is it time for a new segment? */
static int is_due(const struct sink *self, uint64_t size, size_t line)
{
    if (self->segment.is_stream)
        return 0;
    if (self->rotate_bytes && size + line > self->rotate_bytes)
        return !self->rotate_from_ns || self->host->monotonic_ns() >= self->rotate_from_ns;
    const uint64_t now = self->rotate_age ? self->host->monotonic_ns() : 0;
    return self->rotate_age && now - self->begun_ns > self->rotate_age * 1000000u && now >= self->rotate_from_ns;
}

/* The line at the end of the buffer begins a new segment. When none can be opened the old one goes on. */
static int rotate(struct sink *self, size_t before)
{
    if (write_until(self, before) < 0 || log_sync(self) < 0)
        return -SOTH_EIO;
    uint64_t now = self->host->monotonic_ns();
    if (segment_next(&self->segment) < 0) {
        if (!self->rotate_from_ns)
            self->host->log(self, SOTH_LOG_ERROR, "cannot open a new segment of %s: %s; %s goes on", self->path, strerror(errno),
                            self->segment.name);
        self->host->count(self, self->count_errors, 1);
        self->rotate_from_ns = now + ROTATE_AGAIN_NS;
        return SOTH_OK;
    }
    self->rotate_from_ns = 0;
    self->begun_ns = now;
    log_prune(self, 0);
    return SOTH_OK;
}

int log_rotate_when_due(struct sink *self, size_t before, size_t line)
{
    const uint64_t size = self->segment.file.size + before;
    if (size == 0)
        self->begun_ns = self->host->monotonic_ns();
    return size > 0 && is_due(self, size, line) ? rotate(self, before) : SOTH_OK;
}
