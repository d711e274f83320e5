/* SPDX-License-Identifier: MPL-2.0 */
#include "testhost_rig.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

const struct soth_host *rig_api;

int rig_keeps_host(const struct soth_host *host, void *self)
{
    (void)self;
    rig_api = host;
    return SOTH_OK;
}

int rig_takes_nothing(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)self;
    (void)flow;
    (void)cur;
    return SOTH_CONTINUE;
}

void rig_hush(bool on)
{
    static int quiet = -1, loud = -1;
    if (quiet < 0) {
        quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
        loud = dup(STDERR_FILENO);
    }
    dup2(on ? quiet : loud, STDERR_FILENO);
}

bool rig_crashes(void (*run)(void *arg), void *arg)
{
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        run(arg);
        _exit(0);
    }
    int status = 0;
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status);
}
