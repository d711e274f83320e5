/* SPDX-License-Identifier: MPL-2.0 */
/*
 * `soth-mitm module check` (inspect.h). A child process loads the module and makes and unmakes instances; whatever the module does to that
 * child becomes one sentence here.
 */
#include <errno.h>
#include <libgen.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/module/check.h"
#include "host/module/inspect.h"
#include "host/module/instance.h"

int check_tell(struct shared *s, int result, const char *format, ...)
{
    va_list args;
    int n = snprintf(s->text, sizeof s->text, "%s: ", s->file);
    va_start(args, format);
    if (n > 0 && (size_t)n < sizeof s->text)
        vsnprintf(s->text + n, sizeof s->text - (size_t)n, format, args);
    va_end(args);
    return s->result = result;
}

/* The first of the messages, which have a place of their own. */
static int repeat(struct shared *s, int result, const char *messages)
{
    snprintf(s->text, sizeof s->text, "%.*s", messages ? (int)strcspn(messages, "\n") : 0, messages ? messages : "");
    return s->result = result;
}

/* ---- the child ---- */

static struct shared *in_child;

static void dies(int signal, siginfo_t *info, void *unused)
{
    (void)unused;
    in_child->place = signal == SIGSEGV || signal == SIGBUS ? trial_place(info->si_addr, &in_child->offset) : TRIAL_ELSEWHERE;
    in_child->signal = signal;
    _exit(1);
}

static void catch_signals(struct shared *s)
{
    static char stack[65536];
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    const stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_sigaction = dies, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    in_child = s;
    sigaltstack(&other, NULL);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
}

static int try_document(struct shared *s, const struct conf_module *conf)
{
    char *said = NULL;
    size_t size = 0;
    bool can_be = false;
    s->trial.conf = conf;
    s->trial.errors = open_memstream(&said, &size);
    if (!s->trial.errors)
        return check_tell(s, -SOTH_ENOMEM, "out of memory");
    int r = check_lives(s, &can_be);
    fclose(s->trial.errors);
    if (r == SOTH_OK && !can_be && s->config)
        r = repeat(s, -SOTH_ECONFIG, said);
    else if (r == SOTH_OK && !can_be)
        check_tell(s, SOTH_OK, "symbols, operations, options and their defaults are fine; no instance was made, since %.*s; try it with "
                   "--config FILE", said ? (int)strcspn(said, "\n") : 0, said ? said : "");
    free(said);
    return r;
}

static int read_documents(struct shared *s, struct conf_modules *modules)
{
    char *said = NULL, text[160];
    size_t size = 0;
    FILE *errors = open_memstream(&said, &size);
    if (!errors)
        return check_tell(s, -SOTH_ENOMEM, "out of memory");
    snprintf(text, sizeof text, "module: %s\n", s->name);
    struct conf_file *file = s->config ? conf_file_open(s->config, true, errors) : conf_file_from_text("its defaults", text, errors);
    int r = conf_modules_read(file, modules, errors);
    fclose(errors);
    if (r < 0)
        repeat(s, r, said);
    free(said);
    return r;
}

static int try_documents(struct shared *s)
{
    struct conf_modules modules = {0};
    size_t tried = 0;
    int r = read_documents(s, &modules);
    if (r == SOTH_OK)
        check_tell(s, r, "symbols, operations, options, their defaults and 100 rounds of create and destroy are fine");
    for (size_t i = 0; r == SOTH_OK && i < modules.n; i++) {
        if (strcmp(modules.v[i].module, s->name) != 0)
            continue;
        r = try_document(s, &modules.v[i]);
        tried++;
    }
    if (r == SOTH_OK && tried == 0) {
        snprintf(s->text, sizeof s->text, "%s: none of its documents has module: %s", s->config, s->name);
        r = s->result = -SOTH_ECONFIG;
    }
    conf_modules_fini(&modules);
    return r;
}

static void child(struct shared *s)
{
    const char *directory = s->directory;
    catch_signals(s);
    s->trial.step = "loading it";
    const struct soth_module *module = loader_get(&(struct soth_strings){&directory, 1}, s->name, &s->result, s->text, sizeof s->text);
    if (module) {
        memcpy(&s->trial.module, module, module->size < sizeof s->trial.module ? module->size : sizeof s->trial.module);
        if (check_exports(s) == SOTH_OK && check_wants(s) == SOTH_OK)
            try_documents(s);
    }
    fflush(NULL);
    s->finished = 1;
    _exit(0);
}

/* ---- the parent ---- */

static int tell_death(struct shared *s)
{
    const char *step = s->trial.step;
    size_t size = s->trial.module.self_size;
    switch (s->place) {
    case TRIAL_FRONT:
        return check_tell(s, -SOTH_EABI, "%s touched memory %td bytes in front of its block", step, -s->offset);
    case TRIAL_BEHIND:
        return check_tell(s, -SOTH_EABI, "%s touched byte %td of its block, which has %zu: self_size must be the size of the struct that self "
                          "points to", step, s->offset, size);
    case TRIAL_GONE:
        return check_tell(s, -SOTH_EABI, "%s used self after destroy: destroy must end what create started before it returns", step);
    default:
        return check_tell(s, -SOTH_EABI, "%s crashed in round %u (%s): find it with `gdb --args soth-mitm module check %s`", step, s->round,
                          sigabbrev_np(s->signal) ? sigabbrev_np(s->signal) : "signal", s->file);
    }
}

/* The child's end, or none within step_ms for one step of the module. */
static int wait_for(struct shared *s, pid_t pid, unsigned step_ms)
{
    unsigned waited = 0, round = 0;
    const char *step = NULL;
    int status = 0;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        poll(NULL, 0, 5);
        waited = step == s->trial.step && round == s->round ? waited + 5 : 0;
        step = s->trial.step;
        round = s->round;
        if (waited < step_ms)
            continue;
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        return check_tell(s, -SOTH_EABI, "%s did not return within %u ms", s->trial.step, step_ms);
    }
    if (s->finished)
        return s->result;
    if (s->signal)
        return tell_death(s);
    if (WIFSIGNALED(status)) {
        s->signal = WTERMSIG(status);
        return tell_death(s);
    }
    return check_tell(s, -SOTH_EABI, "%s ended the process with status %d: a module must not", s->trial.step, WEXITSTATUS(status));
}

static int run_child(struct shared *s, unsigned step_ms)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        return check_tell(s, -SOTH_ENOMEM, "cannot start a process: %s", strerror(errno));
    if (pid == 0)
        child(s);
    return wait_for(s, pid, step_ms);
}

/* Sorts out FILE: DIRECTORY/NAME.so. */
static int set_file(struct shared *s, const char *file, const char *config)
{
    char copy[sizeof s->directory];
    size_t n = strlen(file);
    s->file = file;
    s->config = config;
    const char *base = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
    if (n >= sizeof copy || strlen(base) < 4 || strcmp(file + n - 3, ".so") != 0 || strlen(base) >= sizeof s->name)
        return check_tell(s, -SOTH_ENOENT, "a module's file is NAME.so");
    strcpy(copy, file);
    strcpy(s->directory, dirname(copy));
    memcpy(s->name, base, strlen(base) - 3);
    return SOTH_OK;
}

int inspect_check(const char *file, const char *config, unsigned step_ms, char *text, size_t size)
{
    struct shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED) {
        snprintf(text, size, "%s: out of memory", file);
        return -SOTH_ENOMEM;
    }
    s->trial.keeps_blocks = true;
    int r = set_file(s, file, config);
    if (r == SOTH_OK)
        r = run_child(s, step_ms);
    snprintf(text, size, "%s", s->text);
    munmap(s, sizeof *s);
    return r;
}
