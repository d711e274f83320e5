/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The crash report: when the process dies of SIGSEGV, SIGBUS, SIGILL, SIGFPE or SIGABRT it says on stderr what happened, in which thread,
 * which hook of which module was on the stack (site.h), which version this is, and the stack. Then the signal takes its usual course: the
 * process ends by it, with a core where those are on. Uses nothing that a handler may not use, and does not wait for ever for what it uses.
 */
#ifndef HOST_MODULE_CRASH_H
#define HOST_MODULE_CRASH_H

/* Once, before threads are made. about: what is said of this program (versions), kept. */
void crash_install(const char *about);
/* A thread of ours begins and ends: it gets a stack for handlers, so that running out of stack can be reported too. */
void crash_thread_begin(void);
void crash_thread_end(void);
/* What the abort that follows is about; copied. */
void crash_because(const char *text);

#endif
