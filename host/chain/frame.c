/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Frames before a policy: a decoder of the frame stage says what it found, the policies with a frame hook are asked, and until they have
 * answered nothing of the frame is relayed. A frame whose answer takes time is copied; when the answer is there, the decoder goes on behind it.
 */
#include <stdlib.h>
#include <string.h>

#include "host/chain/parts.h"

/* ---- a copy ---- */

static bool has_text(const struct soth_attr *attr)
{
    uint32_t type = attr->type & ~(uint32_t)(SOTH_ATTR_PAYLOAD | SOTH_ATTR_FULL);
    return attr->text.p && (type == SOTH_ATTR_TEXT || type == SOTH_ATTR_BYTES);
}

static struct soth_span copy_text(char **at, struct soth_span text)
{
    struct soth_span out = {*at, text.n};
    if (!text.p)
        return text;
    memcpy(*at, text.p, text.n);
    *at += text.n;
    return out;
}

/* NULL: it is too big or there is no memory. */
static struct frame_copy *frame_copy(const struct soth_frame *frame)
{
    size_t bytes = frame->payload.n;
    for (uint32_t i = 0; i < frame->attr_count; i++)
        bytes += has_text(&frame->attrs[i]) ? frame->attrs[i].text.n : 0;
    if (bytes > CHAIN_FRAME_COPY || frame->attr_count > CHAIN_FRAME_COPY / sizeof *frame->attrs)
        return NULL;
    struct frame_copy *copy = malloc(sizeof *copy + frame->attr_count * sizeof *copy->attrs + bytes);
    if (!copy)
        return NULL;
    char *at = (char *)(copy->attrs + frame->attr_count);
    copy->frame = *frame;
    copy->frame.attrs = copy->attrs;
    for (uint32_t i = 0; i < frame->attr_count; i++) {
        copy->attrs[i] = frame->attrs[i];
        if (has_text(&frame->attrs[i]))
            copy->attrs[i].text = copy_text(&at, frame->attrs[i].text);
    }
    copy->frame.payload = copy_text(&at, frame->payload);
    return copy;
}

/* ---- the verdict ---- */

static void tell(struct soth_flow *flow, unsigned direction, const struct verdict *v)
{
    struct soth_span absent = {NULL, 0};
    struct soth_attr attrs[] = {
        ATTR_WORD("action", v->action == SOTH_BLOCK ? "block" : "allow"),
        ATTR_WORD("direction", direction_name(direction)),
        ATTR_WORD("policy_module", v->policy_module),
        ATTR_WORD("reason", v->reason),
        ATTR_TEXT("rule_id", v->rule_id.n ? v->rule_id : absent),
    };
    chain_emit(flow, SOTH_EV_FRAME_DECISION, attrs, sizeof attrs / sizeof *attrs);
}

static enum chain_result judged(struct chain *chain, struct place *place, unsigned direction, uint64_t end)
{
    struct lane *lane = &place->lane[direction];
    const struct verdict *v = &lane->ask.verdict;
    if (*v->policy_module)
        tell(chain->flow, direction, v);
    if (v->action != SOTH_BLOCK) {
        lane->judged = end;
        return CHAIN_GO;
    }
    chain->broken = true;
    chain->why = (struct chain_end){.blocked = true, .verdict = *v, .module = place->decoder->name, .code = "blocked"};
    return CHAIN_BROKEN;
}

/* The decoder's view of the flow is not the policy's. */
static enum ask_result ask(struct chain *chain, struct lane *lane, const struct soth_frame *frame)
{
    struct soth_flow *flow = chain->flow;
    void *state = flow->state, *call = flow->chain;
    struct pause *pause = flow->pause;
    struct question q = {.hook = SOTH_HOOK_FRAME, .frame = frame};
    flow->state = flow->chain = NULL;
    flow->judged = chain;
    enum ask_result result = chain->env->ask(chain->env->policy, flow, &lane->ask, &q);
    flow->state = state;
    flow->chain = call;
    flow->judged = NULL;
    flow->pause = pause;
    return result;
}

bool frame_too_long(const struct lane *lane, uint64_t end)
{
    return end - lane->judged > CHAIN_WINDOW;
}

void frame_forget(struct chain *chain, struct lane *lane)
{
    if (lane->ask.hook)
        chain->env->forget(chain->env->policy, chain->flow, &lane->ask);
    lane->ask.hook = 0;
    free(lane->frame);
    lane->frame = NULL;
}

/* It cannot be judged: `data` fails when it returns. */
static int give_up(struct chain *chain, struct lane *lane, struct cursor *cursor, const char *fault)
{
    frame_forget(chain, lane);
    lane->fault = fault;
    return cursor->stopped = -SOTH_ELIMIT;
}

static int hold(struct chain *chain, struct lane *lane, struct cursor *cursor, const struct soth_frame *frame, uint64_t end)
{
    lane->frame = frame_copy(frame);
    if (!lane->frame)
        return give_up(chain, lane, cursor, "frame_too_big");
    lane->asked = end;
    return cursor->stopped = lane->ask.pause.state == PAUSE_BUSY ? SOTH_BUSY : SOTH_PAUSE;
}

/* What a module compiled against an older header does not have is zero. */
static struct soth_frame known_part(const struct soth_frame *frame)
{
    struct soth_frame known = {0};
    size_t n = frame->size ? frame->size : offsetof(struct soth_frame, flags);
    memcpy(&known, frame, n < sizeof known ? n : sizeof known);
    known.size = sizeof known;
    return known;
}

int chain_frame(void *self, struct soth_flow *flow, const struct soth_frame *frame)
{
    (void)self;
    struct call *call = flow->chain;
    if (!call || !call->cursor)
        return -SOTH_EUNSUPPORTED;
    if (frame->kind == 0 || frame->kind >= SOTH_EV_COUNT)
        return -SOTH_EINVALID;
    struct chain *chain = call->chain;
    struct place *place = call->place;
    struct lane *lane = call->cursor->lane;
    struct cursor *cursor = call->cursor;
    bool transforms = place->decoder->module->mode == SOTH_TRANSFORM;
    uint64_t end = transforms ? lane->out + cursor->made : lane->in + cursor->taken;
    if (!call->judged || cursor->stopped)
        return cursor->stopped;
    struct soth_frame known = known_part(frame);
    known.direction = call->direction;
    if (known.flags & SOTH_FRAME_PASS) {
        lane->judged = end;
        return SOTH_CONTINUE;
    }
    if (frame_too_long(lane, end))
        return give_up(chain, lane, cursor, "window");
    if (known.flags & SOTH_FRAME_HOLD)
        end = lane->judged;
    if (ask(chain, lane, &known) != ASK_DONE)
        return hold(chain, lane, cursor, &known, end);
    if (judged(chain, place, call->direction, end) != CHAIN_GO)
        return cursor->stopped = -SOTH_EPERM;
    return SOTH_CONTINUE;
}

bool chain_is_judged(const struct soth_flow *flow)
{
    const struct call *call = flow->chain;
    return call && call->judged;
}

void chain_tell_protocol(struct soth_flow *flow, uint16_t protocol)
{
    const struct call *call = flow->chain;
    flow->protocol = protocol;
    if (call && call->place)
        call->place->protocol = protocol;
}

uint16_t chain_protocol(const struct soth_flow *flow)
{
    const struct call *call = flow->chain;
    return call && call->place && call->place->protocol ? call->place->protocol : flow->protocol;
}

enum chain_result frame_settle(struct run *run, struct place *place)
{
    struct lane *lane = &place->lane[run->direction];
    enum pause_state state = lane->ask.pause.state;
    if (lane->ask.hook == 0)
        return CHAIN_GO;
    if (state == PAUSE_WAITING || state == PAUSE_BUSY || ask(run->chain, lane, &lane->frame->frame) != ASK_DONE)
        return CHAIN_WAIT;
    free(lane->frame);
    lane->frame = NULL;
    lane->resumed = true;
    return judged(run->chain, place, run->direction, lane->asked);
}
