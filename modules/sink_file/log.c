/* SPDX-License-Identifier: MPL-2.0 */
/* See log.h. */
#include "log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "put.h"

#define ROWS_MOST 262144u /* bytes: rows wait until all lines are written */
#define ROTATE_AGAIN_NS UINT64_C(5000000000) /* when a new segment could not be opened */

static int trouble_with(struct sink *self, const char *name, const char *ending)
{
    self->host->count(self, self->count_errors, 1);
    if (!self->failing) {
        self->failing = 1;
        self->host->log(self, SOTH_LOG_ERROR, "cannot write %s%s: %s; events wait in the queue and are lost when it is full%s",
                        name, ending, strerror(errno), self->audit_required ? "; new flows are answered 503 until it works" : "");
        if (self->audit_required)
            self->host->hold_flows(self, 1);
    }
    return -SOTH_EIO;
}

static int trouble(struct sink *self)
{
    return trouble_with(self, self->segment.name, "");
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

static void tell_torn(struct sink *self)
{
    int64_t torn = self->segment.torn;
    if (torn > 0)
        self->host->log(self, SOTH_LOG_WARN, "the last line of the previous log was torn: %lld bytes were moved to %s.torn", (long long)torn,
                        self->path);
    else if (torn < 0)
        self->host->log(self, SOTH_LOG_WARN, "the last line of the previous log is torn: its %lld bytes could not be moved to %s.torn",
                        (long long)-torn, self->path);
}

int log_prepare(struct sink *self, const char **what)
{
    int r = segment_open(&self->segment, self->path, self->index, what);
    if (r == SOTH_OK)
        tell_torn(self);
    return r;
}

int log_start(struct sink *self)
{
    const char *what;
    if (!segment_is_open(&self->segment)) {
        int r = segment_begin(&self->segment, &what), error = errno;
        tell_torn(self);
        errno = error;
        if (r < 0)
            return trouble_with(self, self->path, what);
    }
    log_prune(self, 0);
    return SOTH_OK;
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

static char *copy_row(char *to, const char *row, const char *end, uint64_t from, uint64_t place)
{
    const char *bytes = memrchr(row, '\t', (size_t)(end - row)), *offset = (const char *)memrchr(row, '\t', (size_t)(bytes - row)) + 1;
    const uint64_t at = strtoull(offset, NULL, 10);
    if (at < from)
        return to;
    to = put(to, row, (size_t)(offset - row));
    to = put_number(to, at - from + place);
    return put(to, bytes, (size_t)(end - bytes));
}

void log_move_rows(struct sink *self, uint64_t from, uint64_t to)
{
    const char *at = self->rows.p, *end = at + self->rows.n;
    if (self->rows.n == 0 || self->segment.index.file.begun > 0)
        return;
    const size_t room = 2 * self->rows.n + PUT_SLACK; /* a row is longer than the number in it */
    char *moved = malloc(room), *out = moved;
    self->rows.n = 0;
    if (!moved)
        return;
    for (const char *row_end; at < end; at = row_end) {
        row_end = (const char *)memchr(at, '\n', (size_t)(end - at)) + 1;
        out = copy_row(out, at, row_end, from, to);
    }
    free(self->rows.p);
    self->rows = (struct text){moved, (size_t)(out - moved), room};
}
