/* SPDX-License-Identifier: MPL-2.0 */
/* A hundred instances one after another: each stays inside its block, and the last leaves as little behind as the first. */
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "host/module/check.h"

#define ROUNDS 100
#define WARM 20 /* rounds in which caches may fill */
#define MIDDLE 60

/* Steady growth over both halves is a leak; a cache that fills is not. */
static bool grows(uint64_t warm, uint64_t middle, uint64_t last, uint64_t a_round)
{
    return middle >= warm + (MIDDLE - WARM) * a_round && last >= middle + (ROUNDS - MIDDLE) * a_round;
}

static unsigned long long more(uint64_t last, uint64_t warm)
{
    return (unsigned long long)(last - warm);
}

static int check_usage(struct shared *s, const struct usage *warm, const struct usage *middle, const struct usage *last)
{
    const int rounds = ROUNDS - WARM;
    if (last->threads > warm->threads)
        return check_tell(s, -SOTH_EABI, "%d rounds of create and destroy left %llu threads running: destroy must end and join what create "
                          "started", rounds, more(last->threads, warm->threads));
    if (last->descriptors > warm->descriptors)
        return check_tell(s, -SOTH_EABI, "%d rounds of create and destroy left %llu descriptors open: destroy must close what create opened",
                          rounds, more(last->descriptors, warm->descriptors));
    if (grows(warm->bytes, middle->bytes, last->bytes, 16))
        return check_tell(s, -SOTH_EABI, "each create and destroy loses %llu bytes: destroy must free what check and create allocated",
                          more(last->bytes, warm->bytes) / (unsigned)rounds);
    if (grows(warm->pages, middle->pages, last->pages, 1))
        return check_tell(s, -SOTH_EABI, "each create and destroy leaves %llu pages mapped: destroy must unmap what create mapped",
                          more(last->pages, warm->pages) / (unsigned)rounds);
    return SOTH_OK;
}

static int check_block(struct shared *s)
{
    const char *where = trial_damage(&s->trial);
    if (!where)
        return SOTH_OK;
    return check_tell(s, -SOTH_EABI, "%s wrote %s its block of %zu bytes: self_size must be the size of the struct that self points to",
                      s->trial.step, where, s->trial.module.self_size);
}

static int live_once(struct shared *s, bool *can_be)
{
    int begun = trial_begin(&s->trial), r = check_block(s);
    *can_be = begun == SOTH_OK;
    if (r == SOTH_OK && *can_be) {
        *can_be = trial_live(&s->trial) == SOTH_OK;
        r = check_block(s);
    }
    if (r == SOTH_OK)
        trial_end(&s->trial);
    return r;
}

/* The pages of blocks that are gone are not the module's. */
static void sample(const struct shared *s, struct usage *usage)
{
    usage_now(usage);
    usage->pages -= s->trial.block.map_size / (size_t)sysconf(_SC_PAGESIZE) * s->round;
}

/* A joined thread may be listed for a moment. */
static void sample_last(const struct shared *s, struct usage *usage, uint64_t threads)
{
    sample(s, usage);
    for (int i = 0; i < 100 && usage->threads > threads; i++) {
        poll(NULL, 0, 10);
        sample(s, usage);
    }
}

/* Some rounds. A thread of their own has them: what the allocator keeps for a thread is given back when it ends, and does not look lost. */
struct stretch {
    struct shared *s;
    unsigned until;
    bool can_be;
    int result;
};

static void *run_stretch(void *arg)
{
    struct stretch *stretch = arg;
    struct shared *s = stretch->s;
    while (s->round < stretch->until && stretch->result == SOTH_OK && stretch->can_be) {
        s->round++;
        s->trial.logs = s->round == 1;
        stretch->result = live_once(s, &stretch->can_be);
    }
    if (stretch->result == SOTH_OK && !stretch->can_be && s->round > 1)
        stretch->result = check_tell(s, -SOTH_EABI, "%s failed in round %u with the configuration that it took before: something is left of "
                                     "the instance before it", s->trial.step, s->round);
    return NULL;
}

/* false: it ends here. */
static bool go_on(struct stretch *stretch, unsigned until)
{
    pthread_t thread;
    stretch->until = until;
    if (pthread_create(&thread, NULL, run_stretch, stretch) != 0)
        stretch->result = check_tell(stretch->s, -SOTH_ENOMEM, "cannot start a thread");
    else
        pthread_join(thread, NULL);
    stretch->s->trial.step = "a thread of it";
    return stretch->result == SOTH_OK && stretch->can_be;
}

int check_lives(struct shared *s, bool *can_be)
{
    struct usage warm, middle, last;
    struct stretch stretch = {.s = s, .can_be = true};
    s->round = 0;
    if (go_on(&stretch, WARM)) {
        sample(s, &warm);
        if (go_on(&stretch, MIDDLE)) {
            sample(s, &middle);
            if (go_on(&stretch, ROUNDS)) {
                sample_last(s, &last, warm.threads);
                stretch.result = check_usage(s, &warm, &middle, &last);
            }
        }
    }
    *can_be = stretch.can_be;
    return stretch.result;
}
