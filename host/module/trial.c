/* SPDX-License-Identifier: MPL-2.0 */
/* One instance's life (trial.h), and the block that it lives in. */
#include "host/module/trial.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CANARY 0xa5
#define FRONT 256          /* bytes of canaries in front of self, at least */
#define GUARD (64 * 1024) /* bytes without access on either side */

static size_t up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static bool block_open(struct block *block, size_t self_size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), inside = up(up(self_size, 16) + FRONT, page);
    char *map = mmap(NULL, inside + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || mprotect(map + GUARD, inside, PROT_READ | PROT_WRITE) < 0)
        return false;
    memset(map + GUARD, CANARY, inside);
    *block = (struct block){map, inside + 2 * GUARD, (unsigned char *)map + GUARD + inside - up(self_size, 16), self_size};
    memset(block->self, 0, self_size);
    return true;
}

/* Blocks of instances that are gone: their memory is given back, their addresses stay taken. */
static struct block gone[TRIAL_MOST];
static size_t gone_count;

static void block_close(struct block *block, bool stays)
{
    if (block->map && stays && gone_count < TRIAL_MOST) {
        madvise(block->map, block->map_size, MADV_DONTNEED);
        mprotect(block->map, block->map_size, PROT_NONE);
        gone[gone_count++] = *block;
    } else if (block->map) {
        munmap(block->map, block->map_size);
    }
    block->map = NULL;
}

static bool is_canary(const unsigned char *p, const unsigned char *end)
{
    for (; p < end; p++)
        if (*p != CANARY)
            return false;
    return true;
}

const char *trial_damage(const struct trial *trial)
{
    const struct block *b = &trial->block;
    if (!b->map)
        return NULL;
    if (!is_canary((unsigned char *)b->map + GUARD, b->self))
        return "in front of";
    return is_canary(b->self + b->self_size, b->self + up(b->self_size, 16)) ? NULL : "behind";
}

static bool is_inside(const struct block *block, const char *address)
{
    return block->map && address >= block->map && address < block->map + block->map_size;
}

enum trial_place trial_place(const void *address, ptrdiff_t *offset)
{
    const struct block *b = trial_current ? &trial_current->block : NULL;
    if (b && is_inside(b, address)) {
        *offset = (const char *)address - (char *)b->self;
        return *offset < 0 ? TRIAL_FRONT : TRIAL_BEHIND;
    }
    for (size_t i = 0; i < gone_count; i++)
        if (is_inside(&gone[i], address))
            return TRIAL_GONE;
    return TRIAL_ELSEWHERE;
}

static void say(struct trial *trial, const char *key, const char *text)
{
    options_error(trial->conf->document, key, trial->errors, text);
}

int trial_begin(struct trial *trial)
{
    static const struct soth_opt nothing[] = {SOTH_OPT_END};
    const struct soth_module *m = &trial->module;
    trial->owned = NULL;
    trial->block.map = NULL;
    trial->told = 0;
    atomic_store(&trial->metrics, 0);
    trial_current = trial;
    if (!block_open(&trial->block, m->self_size)) {
        say(trial, "module", "there is no memory for an instance");
        return -SOTH_ENOMEM;
    }
    if (options_fill(m->options ? m->options : nothing, trial->conf->config, trial->block.self, &trial->owned, trial->errors, "config.") != 0)
        return -SOTH_ECONFIG;
    trial->step = "check";
    int r = m->check ? m->check(&trial_host, trial->block.self) : SOTH_OK;
    if (r < 0 && trial->told == 0)
        say(trial, "config", "the module does not accept this configuration");
    return r < 0 ? -SOTH_ECONFIG : SOTH_OK;
}

static void live_as_policy(struct trial *trial)
{
    const struct soth_module *m = &trial->module;
    trial->step = "hooks";
    if (m->hooks)
        m->hooks(trial->block.self);
    trial->step = "worker_init";
    int r = m->worker_init ? m->worker_init(trial->block.self, 0) : SOTH_OK;
    trial->step = "worker_fini";
    if (r >= 0 && m->worker_fini)
        m->worker_fini(trial->block.self, 0);
}

static void live_as_sink(struct trial *trial)
{
    trial->step = "flush";
    if (trial->module.flush)
        trial->module.flush(trial->block.self, 1000);
}

static void live_as_source(struct trial *trial)
{
    trial->step = "start";
    int r = trial->module.start ? trial->module.start(trial->block.self) : SOTH_OK;
    trial->step = "stop";
    if (r >= 0 && trial->module.stop)
        trial->module.stop(trial->block.self);
}

int trial_live(struct trial *trial)
{
    const struct soth_module *m = &trial->module;
    trial->step = "create";
    int r = m->create ? m->create(&trial_host, trial->block.self) : SOTH_OK;
    if (r < 0) {
        if (trial->told == 0)
            say(trial, "module", "the module could not be started");
        return r;
    }
    if (trial_damage(trial))
        return SOTH_OK;
    if (m->kind == SOTH_KIND_SINK)
        live_as_sink(trial);
    else if (m->kind == SOTH_KIND_SOURCE)
        live_as_source(trial);
    else
        live_as_policy(trial);
    if (trial_damage(trial))
        return SOTH_OK;
    trial->step = "destroy";
    if (m->destroy)
        m->destroy(trial->block.self);
    return SOTH_OK;
}

void trial_end(struct trial *trial)
{
    block_close(&trial->block, trial->keeps_blocks);
    options_fini(trial->owned);
    trial->owned = NULL;
}
