/* SPDX-License-Identifier: MPL-2.0 */
/* The parts of inspect_check: what the child process that runs the module shares with the one that waits for it. Inside this room only. */
#ifndef HOST_MODULE_CHECK_H
#define HOST_MODULE_CHECK_H

#include <signal.h>

#include "host/module/trial.h"

struct shared {
    const char *file, *config;
    char directory[512], name[128]; /* of the file, without .so */
    struct trial trial;
    volatile unsigned round;
    volatile sig_atomic_t signal; /* that the child died of ... */
    enum trial_place place;       /* ... and what was touched, offset bytes from self */
    ptrdiff_t offset;
    volatile sig_atomic_t finished;
    int result;
    char text[1024]; /* one sentence */
};

/* Sets the sentence, behind the file's name, and the result, which it returns. */
int check_tell(struct shared *s, int result, const char *format, ...) SOTH_PRINTF(3, 4);
/* Nothing but soth_mitm_module is exported. Reads the file only. */
int check_exports(struct shared *s);
/* What the loaded module takes from others is in the libraries that it is linked with. */
int check_wants(struct shared *s);
/* A hundred lives with the trial's configuration. *can_be is false when it was not accepted or create failed: the trial's `errors` say why. */
int check_lives(struct shared *s, bool *can_be);

#endif
