/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What sink_console remembers of flows (memory.c: the request until its response ends; bounded, of two flows that want one place the later has
 * it) and the lines that it writes on standard output (line.c). One thread.
 */
#ifndef SINK_CONSOLE_CONSOLE_H
#define SINK_CONSOLE_CONSOLE_H

#include <soth/sdk.h>

#define RED "\033[31m"
#define GREEN "\033[32m"
#define YELLOW "\033[33m"
#define CYAN "\033[36m"
#define BOLD "\033[1m"

enum color_mode { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };
enum flow_mode { FLOW_ALL, FLOW_ERRORS };
enum refused { NOT_REFUSED, REFUSED_ONCE, REFUSED_FOR_GOOD }; /* one request; the connection */

struct reply {
    uint64_t bytes, length;
    unsigned status;
    uint8_t streamed;
    char type[64];
};

/* Of one flow. Many may wait for their reply at once: no more is kept of each than there is. */
struct exchange {
    uint64_t flow_id, started_ns;
    struct reply *reply; /* NULL: none has begun */
    char *blocked;       /* why; NULL = it is not */
    uint16_t port, host_at, target_at;
    uint8_t secure, open, refused;
    char words[];        /* method, host, target */
};

/* Where something goes to. */
struct place {
    const char *host, *target;
    unsigned port;
    uint8_t secure;
};

struct console {
    uint32_t color, flow;
    uint8_t streams;
    const struct soth_host *host;
    struct exchange **slots;
    uint8_t colored, failing;
    char peer[256]; /* the host of the event at hand */
};

int memory_init(struct console *self);
void memory_fini(struct console *self);
/* The flow's exchange, with room for its words, which are the caller's to write. NULL: no memory. */
struct exchange *memory_put(struct console *self, uint64_t flow_id, size_t words);
struct exchange *memory_get(struct console *self, uint64_t flow_id); /* NULL: none, or another flow took its place */
void memory_drop(struct console *self, uint64_t flow_id);
void memory_drop_reply(struct exchange *exchange);

struct place place_of_event(struct console *self, const struct soth_event *e); /* of a flow without an exchange; until the next event */
struct place place_of_exchange(const struct exchange *exchange);

const char *line_paint(const struct console *self, const char *code); /* "" where there are no colours */
const char *line_plain(const struct console *self);
void line_url(char *out, size_t size, const struct place *at);
/* The line of an exchange that is over, or as good as. `fault`: why it ended before its time, "" when it did not. */
void line_exchange(const struct console *self, const struct soth_event *e, struct exchange *exchange, const char *fault);
void line_flow(const struct console *self, const char *color, const char *what, const struct place *at, const char *why);

#endif
