/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A module tried out without a proxy: its instances are configured, made and unmade as a run would do it, in a block between pages that
 * nobody may touch, with services that lead nowhere. One at a time in a process. Inside this room only.
 */
#ifndef HOST_MODULE_TRIAL_H
#define HOST_MODULE_TRIAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#include <soth/sdk.h>

#include "host/conf/load.h"

/* The memory behind `self`: canaries up to the nearest 16 bytes and in front of it, pages without access around them. */
struct block {
    char *map;
    size_t map_size;
    unsigned char *self;
    size_t self_size;
};

struct trial {
    struct soth_module module; /* the operations, an absent slot is NULL */
    const struct conf_module *conf;
    FILE *errors;       /* gets what the module says about its configuration */
    unsigned told;      /* how many such messages there were */
    bool logs;          /* whether its log lines are printed */
    atomic_int metrics; /* that it has made */
    struct block block;
    struct options_owned *owned;
    const char *volatile step; /* the operation that runs: "create" */
    bool keeps_blocks; /* who uses self after destroy crashes; at most TRIAL_MOST times in a process */
};
#define TRIAL_MOST 1024

/* A new instance: the block, its configuration, check. 0; or negative with messages in `errors`, and trial_end is still needed. */
int trial_begin(struct trial *trial);
/* create, what stands between create and destroy in every life of this kind, and destroy. 0, or negative when create failed. */
int trial_live(struct trial *trial);
/* Takes back what trial_begin made. */
void trial_end(struct trial *trial);

/* "in front of" or "behind" when the module wrote there, else NULL. */
const char *trial_damage(const struct trial *trial);

/* What an address that could not be accessed was. */
enum trial_place { TRIAL_ELSEWHERE, TRIAL_FRONT, TRIAL_BEHIND, TRIAL_GONE };
/* Async-signal-safe. *offset is the distance from self. */
enum trial_place trial_place(const void *address, ptrdiff_t *offset);

/* The services as a trial has them. */
extern const struct soth_host trial_host;
/* The trial that runs; NULL = none. */
extern struct trial *trial_current;

/* What a process holds at the moment. */
struct usage {
    uint64_t bytes, pages, descriptors, threads;
};
void usage_now(struct usage *usage);

#endif
