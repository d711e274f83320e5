/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Where a thread is: which hook of which module it runs right now. Whoever calls into a module says so before and after. That writes a few
 * words of the thread's own memory - no clock, no lock, no read-modify-write -, which the watchdog samples from outside and the crash
 * report reads on the spot. Hooks may nest (a decoder's data, and in it a policy's frame).
 */
#ifndef HOST_MODULE_SITE_H
#define HOST_MODULE_SITE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SITE_DEPTH 4u /* deeper ones are counted, not told apart */

struct site_frame {
    _Atomic(const char *) module; /* the instance's name, which is never freed */
    _Atomic(const char *) hook;
    atomic_uint_fast64_t entry;   /* of the thread's calls at this depth it is the how manieth; 0: being written */
};

struct site {
    atomic_uint depth;
    struct site_frame frames[SITE_DEPTH];
};

/* It is in the program itself: reached without a call, which compilers expect of thread-local memory in position-independent code. */
extern _Thread_local struct site site_here __attribute__((tls_model("initial-exec")));

/* The check of UBSan whether a thread-local address is NULL tests flags that the linker's TLS relaxation (add becomes lea) does not set. */
#define SITE_UNCHECKED __attribute__((no_sanitize("undefined")))

/* module: the instance's name out of site_name; hook: a literal. See site_enter in instance.h. */
SITE_UNCHECKED static inline void site_enter_module(const char *module, const char *hook)
{
    unsigned depth = atomic_load_explicit(&site_here.depth, memory_order_relaxed);
    if (depth < SITE_DEPTH) {
        struct site_frame *f = &site_here.frames[depth];
        uint64_t last = atomic_load_explicit(&f->entry, memory_order_relaxed);
        atomic_store_explicit(&f->entry, 0, memory_order_relaxed);
        atomic_store_explicit(&f->module, module, memory_order_release);
        atomic_store_explicit(&f->hook, hook, memory_order_release);
        atomic_store_explicit(&f->entry, last + 1, memory_order_release);
    }
    atomic_store_explicit(&site_here.depth, depth + 1, memory_order_release);
}

SITE_UNCHECKED static inline void site_leave(void)
{
    atomic_store_explicit(&site_here.depth, atomic_load_explicit(&site_here.depth, memory_order_relaxed) - 1, memory_order_release);
}

/* The same text for as long as the process lives: names outlive their instances here. "?" without memory. Any thread. */
const char *site_name(const char *instance_name);

/* A hook that somebody else's thread is in. */
struct site_call {
    const char *module, *hook;
    uint64_t entry;
};
/* Reads the call at a depth, 0 = outermost. False: there is none, or it changes just now. Any thread. */
bool site_read(const struct site *site, unsigned depth, struct site_call *out);
/* The number of the thread's last outermost call, over or not. Any thread. */
static inline uint64_t site_last(const struct site *site)
{
    return atomic_load_explicit(&site->frames[0].entry, memory_order_relaxed);
}

#endif
