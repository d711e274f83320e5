/*
 * @NAME@: a sink of soth-mitm. It appends one line to a file for every event: its kind, the server, and the method of a request.
 *
 * The host hands over events in batches, on a thread of this sink's own: blocking here slows nobody down, until the sink's queue is full.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <soth/sdk.h>

/* One instance. The host makes it, zeroed, and fills in what the option table names before it calls anything. */
struct @NAME@ {
    const char *path;
    int fd;
};

static const struct soth_opt options[] = {
    SOTH_OPT_PATH(struct @NAME@, path, SOTH_REQUIRED | SOTH_EXCLUSIVE, "file that gets one line an event"),
    SOTH_OPT_END,
};

/* Opens what the instance needs. A mistake of the configuration is named at its key. */
static int @NAME@_create(const struct soth_host *host, void *self)
{
    struct @NAME@ *sink = self;
    sink->fd = open(sink->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return sink->fd < 0 ? host->cfg_err(self, "path", "cannot open it: %s", strerror(errno)) : SOTH_OK;
}

static void @NAME@_destroy(void *self)
{
    close(((struct @NAME@ *)self)->fd);
}

/* The value of an attribute, empty when the event does not have it. */
static struct soth_span attribute(const struct soth_event *event, const char *name)
{
    for (uint32_t i = 0; i < event->attr_count; i++)
        if (strcmp(event->attrs[i].name, name) == 0)
            return event->attrs[i].text;
    return soth_span(NULL);
}

/* Takes the events in their order. What could not be written is offered again a second later: *done says how many were. */
static int @NAME@_write(void *self, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    struct @NAME@ *sink = self;
    for (*done = 0; *done < batch->count; ++*done) {
        const struct soth_event *event = batch->events[*done];
        if (dprintf(sink->fd, "%s %.*s %.*s\n", event->kind_name, SOTH_SPAN(event->server_host), SOTH_SPAN(attribute(event, "method"))) < 0) {
            *retry_ms = 1000;
            return SOTH_RETRY;
        }
    }
    return SOTH_OK;
}

SOTH_SINK_MODULE(@NAME@, "1.0", "MIT",
    .doc = "one line an event in a file",
    .options = options, .self_size = sizeof(struct @NAME@), .events = SOTH_GROUP_HTTP,
    .create = @NAME@_create, .destroy = @NAME@_destroy, .write = @NAME@_write);
