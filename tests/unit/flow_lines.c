/* SPDX-License-Identifier: MPL-2.0 */
/* See flow_lines.h. */
#include "flow_lines.h"

#include <string.h>

struct record {
    char text[256];
    size_t n;
};

static struct lines *now;

/* ---- the decoders ---- */

static int match(void *self, struct soth_flow *flow, const struct soth_message *message)
{
    (void)self;
    (void)flow;
    (void)message;
    return SOTH_WATCH_BODY;
}

static int found(struct soth_flow *flow, struct record *record, unsigned direction)
{
    struct soth_span text = {record->text, record->n};
    struct soth_attr data = {"data", text, 0, SOTH_ATTR_BYTES, 4};
    struct soth_frame frame = {.size = sizeof frame, .kind = SOTH_EV_STREAM_RECORD, .direction = direction, .payload = text};
    flow->emit(flow, SOTH_EV_STREAM_RECORD, &data, 1);
    int r = chain_frame(NULL, flow, &frame);
    record->n = 0;
    return r;
}

static int data(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct record *record = (struct record *)flow->state + cur->direction;
    int r = SOTH_CONTINUE;
    (void)self;
    while (cur->in.n > 0 && r == SOTH_CONTINUE) {
        char byte = *cur->in.p;
        if (byte == '!' && now->closed)
            return -SOTH_EINVALID;
        cursor_pass(cur, 1);
        if (byte == ';')
            r = found(flow, record, cur->direction);
        else if (record->n < sizeof record->text)
            record->text[record->n++] = byte;
    }
    bool ends = r == SOTH_CONTINUE && cur->in.n == 0 && (cur->flags & SOTH_CUR_END) && record->n > 0;
    return ends ? found(flow, record, cur->direction) : r;
}

static int trailers(void *self, struct soth_flow *flow, const struct soth_message *message)
{
    struct soth_attr count = {"trailer_count", {"", 0}, message->field_count, SOTH_ATTR_U64, 13};
    (void)self;
    flow->emit(flow, SOTH_EV_GRPC_RESPONSE_TRAILERS, &count, 1);
    return SOTH_CONTINUE;
}

static int twice(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)self;
    (void)flow;
    while (cur->in.n > 0 && cur->room >= 2) {
        char two[2] = {*cur->in.p, *cur->in.p};
        cursor_put(cur, (struct soth_span){two, 2});
        cursor_drop(cur, 1);
    }
    return SOTH_CONTINUE;
}

/* ---- the policy ---- */

static enum ask_result judge(void *policy, struct soth_flow *flow, struct ask *ask, const struct question *q)
{
    struct lines *lines = policy;
    if (ask->hook == 0)
        *ask = (struct ask){.hook = q->hook, .verdict = {.action = SOTH_ALLOW, .policy_module = ""}};
    if (ask->next == 0 && memchr(q->frame->payload.p, 'P', q->frame->payload.n)) {
        ask->next = 1;
        ask->pause = (struct pause){.state = PAUSE_WAITING, .token.pause = ++flow->pauses, .deadline_ns = flow->bus->monotonic_ns + 1000000000};
        lines->driver->pause = flow->pauses;
        return ASK_WAIT;
    }
    if (memchr(q->frame->payload.p, 'X', q->frame->payload.n))
        ask->verdict = (struct verdict){.action = SOTH_BLOCK, .reason = "rule", .policy_module = "judge"};
    ask->hook = 0;
    return ASK_DONE;
}

static void forget(void *policy, struct soth_flow *flow, struct ask *ask)
{
    (void)policy;
    (void)flow;
    ask->hook = 0;
}

static enum ask_result peek(void *policy, struct soth_flow *flow, struct ask *ask, const struct question *q)
{
    if (!(q->hook & now->peeks) || q->message->body_complete)
        return now->ask(policy, flow, ask, q);
    *ask = (struct ask){.hook = q->hook, .need_bytes = 1000};
    return ASK_BODY;
}

/* ---- the module room ---- */

static bool is_out(const struct decoder *decoder)
{
    (void)decoder;
    return false;
}

static void failed(struct decoder *decoder, const char *hook, const char *code)
{
    (void)decoder;
    (void)hook;
    (void)code;
}

static void went_well(struct decoder *decoder)
{
    (void)decoder;
}

static void add(struct lines *lines, const char *name, uint32_t mode, uint32_t stage,
                int (*on_data)(void *self, struct soth_flow *flow, struct soth_cursor *cur))
{
    const size_t i = lines->chains.count++;
    struct soth_module *module = &lines->modules[i];
    *module = (struct soth_module){.mode = mode, .stage = stage, .state_size = 2 * sizeof(struct record), .match = match, .data = on_data};
    lines->decoders[i] = (struct decoder){.module = module, .name = name, .site = name, .position = (unsigned)i, .closed = lines->closed};
}

void lines_begin(struct lines *lines, struct driver *driver)
{
    now = lines;
    lines->driver = driver;
    lines->chains = (struct chain_env){.decoders = lines->decoders, .gated = lines->judged, .policy = lines, .ask = judge, .forget = forget,
                                       .is_out = is_out, .failed = failed, .went_well = went_well, .fault = failed};
    if (lines->doubles)
        add(lines, "double", SOTH_TRANSFORM, SOTH_STAGE_CONTENT, twice);
    add(lines, "lines", SOTH_TAP, SOTH_STAGE_FRAME, data);
    if (lines->reads_trailers)
        lines->modules[lines->chains.count - 1].trailers = trailers;
    driver->env.chains = &lines->chains;
    lines->ask = driver->env.ask;
    driver->env.ask = peek;
}

void lines_fini(struct lines *lines)
{
    buffer_fini(&lines->told);
}

/* ---- what was told ---- */

/* In the order of the attributes. */
static const char *const shown[] = {" action=", " bytes=", " data=", " last=", " offset=", " payload=", " reason_code="};
static const char *const kinds[] = {"stream_record ", "frame_decision ", "request_body_chunk ", "response_body_chunk ", "request_trailers ",
                                    "response_trailers ", "grpc_response_trailers ", "stream_closed "};

static bool is_about_bodies(const char *line)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strncmp(line, kinds[i], strlen(kinds[i])) == 0)
            return true;
    return false;
}

static void note(struct buffer *told, const char *line, size_t n)
{
    buffer_append(told, line, strcspn(line, " "));
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
        const char *at = memmem(line, n, shown[i], strlen(shown[i]));
        if (at)
            buffer_append(told, at, 1 + strcspn(at + 1, " \n"));
    }
    buffer_append(told, "\n", 1);
}

const char *lines_told(struct lines *lines)
{
    buffer_clear(&lines->told);
    for (const char *line = driver_log(lines->driver), *end; (end = strchr(line, '\n')); line = end + 1)
        if (is_about_bodies(line))
            note(&lines->told, line, (size_t)(end - line));
    buffer_append(&lines->told, "", 1);
    buffer_clear(&lines->driver->log);
    return (const char *)buffer_data(&lines->told);
}
