/* SPDX-License-Identifier: MPL-2.0 */
/* See crash.h. */
#include "host/module/crash.h"

#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "host/module/site.h"

#define STACK_BYTES (64u * 1024u)
#define FRAMES 64
#define PATIENCE_S 5 /* the stack may be out of order, or a lock of the loader held */

static const struct {
    int number;
    const char *text;
} signals[] = {
    {SIGSEGV, "SIGSEGV, an access to memory that is not there"},
    {SIGBUS, "SIGBUS, an access to memory that cannot be had"},
    {SIGILL, "SIGILL, an illegal instruction"},
    {SIGFPE, "SIGFPE, an impossible calculation"},
    {SIGABRT, "SIGABRT, the program found itself in a state that cannot be"},
};
#define SIGNALS (sizeof signals / sizeof *signals)

static struct sigaction before[SIGNALS];
static const char *program = "";
static char because[256];
static atomic_flag reporting = ATOMIC_FLAG_INIT;
static _Thread_local void *handler_stack;

/* ---- text ---- */

struct line {
    size_t n;
    char text[512];
};

static void put(struct line *line, const char *text)
{
    while (*text && line->n < sizeof line->text - 1)
        line->text[line->n++] = *text++;
}

static void put_address(struct line *line, uintptr_t value)
{
    char digits[2 * sizeof value + 1];
    size_t at = sizeof digits - 1;
    digits[at] = 0;
    do
        digits[--at] = "0123456789abcdef"[value & 15];
    while (value >>= 4);
    put(line, "0x");
    put(line, digits + at);
}

static void say(struct line *line)
{
    line->text[line->n++] = '\n';
    if (write(STDERR_FILENO, line->text, line->n) < 0)
        (void)0; /* there is nobody to tell */
    line->n = 0;
}

static void begin(struct line *line)
{
    put(line, "soth-mitm: crash: ");
}

/* ---- the report ---- */

static void say_what(struct line *line, const siginfo_t *info)
{
    char name[17] = "";
    begin(line);
    for (size_t i = 0; i < SIGNALS; i++)
        if (signals[i].number == info->si_signo)
            put(line, signals[i].text);
    if (info->si_signo != SIGABRT && info->si_code > 0) {
        put(line, ", at ");
        put_address(line, (uintptr_t)info->si_addr);
    }
    prctl(PR_GET_NAME, name);
    put(line, "; thread ");
    put(line, name);
    say(line);
}

static void say_where(struct line *line)
{
    struct site_call call;
    bool any = false;
    for (unsigned depth = SITE_DEPTH; depth-- > 0;) {
        if (!site_read(&site_here, depth, &call))
            continue;
        begin(line);
        put(line, any ? "called from module " : "module ");
        put(line, call.module);
        put(line, ", hook ");
        put(line, call.hook);
        say(line);
        any = true;
    }
    if (any)
        return;
    begin(line);
    put(line, "no module's hook is on this thread's stack");
    say(line);
}

static void say_stack(struct line *line)
{
    void *frames[FRAMES];
    begin(line);
    put(line, "stack:");
    say(line);
    int n = backtrace(frames, FRAMES);
    backtrace_symbols_fd(frames, n, STDERR_FILENO);
}

static void report(const siginfo_t *info)
{
    struct line line = {0};
    say_what(&line, info);
    if (*because) {
        begin(&line);
        put(&line, because);
        say(&line);
    }
    say_where(&line);
    begin(&line);
    put(&line, program);
    say(&line);
    say_stack(&line);
}

/* As it was before us: the default, or a sanitizer's report. */
static void restore(int number)
{
    for (size_t i = 0; i < SIGNALS; i++)
        if (signals[i].number == number)
            sigaction(number, &before[i], NULL);
}

static void handle(int number, siginfo_t *info, void *unused)
{
    int saved = errno;
    (void)unused;
    if (atomic_flag_test_and_set(&reporting)) {
        sleep(PATIENCE_S); /* another thread is about to end the process */
    } else {
        signal(SIGALRM, SIG_DFL);
        alarm(PATIENCE_S);
        report(info);
        alarm(0);
    }
    restore(number);
    if (info->si_code <= 0) /* sent, not met: returning would go on as if nothing had happened */
        raise(number);
    errno = saved;
}

void crash_install(const char *about)
{
    void *frames[1];
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    program = about;
    backtrace(frames, 1); /* loads what it needs, which a handler could not */
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < SIGNALS; i++)
        sigaction(signals[i].number, &action, &before[i]);
}

void crash_because(const char *text)
{
    strncpy(because, text, sizeof because - 1);
}

void crash_thread_begin(void)
{
    stack_t now;
    if (sigaltstack(NULL, &now) < 0 || !(now.ss_flags & SS_DISABLE)) /* a sanitizer has given it one */
        return;
    handler_stack = malloc(STACK_BYTES);
    stack_t ours = {.ss_sp = handler_stack, .ss_size = STACK_BYTES};
    if (handler_stack)
        sigaltstack(&ours, NULL);
}

void crash_thread_end(void)
{
    stack_t none = {.ss_flags = SS_DISABLE};
    if (!handler_stack)
        return;
    sigaltstack(&none, NULL);
    free(handler_stack);
    handler_stack = NULL;
}
