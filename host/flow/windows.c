/* SPDX-License-Identifier: MPL-2.0 */
/*
 * How much a peer of HTTP/2 may send ahead. Large windows make one stream fast over a long way; all of them full at once would be more memory than
 * there is for bodies. So what is promised depends on what is held: bytes that came and that the other side has not taken yet, of all connections of
 * the worker. A connection learns of a change in its next step: before that it gets nothing anyway.
 */
#include "host/flow/stream.h"

static const struct window_size sizes[] = {
    {1u << 20, 16u << 20},  /* as long as there is room */
    {256u << 10, 4u << 20}, /* half of it is held */
    {64u << 10, 1u << 20},  /* three quarters */
};
#define TIGHTEST (sizeof sizes / sizeof *sizes - 1)

/* From here on a level is due. */
static uint64_t threshold(const struct flow_env *env, unsigned level)
{
    return env->body_bytes_most / 4 * (level + 1);
}

/* It comes at its threshold and goes at half of it, so that windows do not follow every read. */
static unsigned level_now(struct flow_env *env)
{
    const uint64_t held = env->counters->h2_body_bytes;
    if (env->body_bytes_most == 0)
        return 0;
    while (env->window_level < TIGHTEST && held >= threshold(env, env->window_level + 1u))
        env->window_level++;
    while (env->window_level > 0 && held < threshold(env, env->window_level) / 2)
        env->window_level--;
    return env->window_level;
}

const struct window_size *windows_begin(struct flow *flow, enum side side)
{
    return &sizes[leg_of(flow, side)->window_level = (uint8_t)level_now(flow->env)];
}

void windows_fit(struct flow *flow, enum side side)
{
    struct leg *leg = leg_of(flow, side);
    const unsigned level = level_now(flow->env);
    if (level == leg->window_level || h2_set_windows(leg->h2, sizes[level].stream, sizes[level].connection) < 0)
        return; /* without memory the next step tries again */
    leg->window_level = (uint8_t)level;
    flow->env->counters->h2_window_changes++;
}
