/* SPDX-License-Identifier: MPL-2.0 */
/*
 * An allocator of which one call fails, for programs that call failing_arm: malloc, calloc and realloc are its own then, for what is linked
 * statically. Sanitizers have theirs; there FAILING_SKIPPED is defined and nothing fails.
 */
#ifndef TESTS_UNIT_FAILING_ALLOC_H
#define TESTS_UNIT_FAILING_ALLOC_H

#include <stdbool.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FAILING_SKIPPED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FAILING_SKIPPED 1
#endif
#endif

void failing_arm(long which);     /* that one from here on fails, the first is 1 */
bool failing_disarm(void);        /* true: there were so many that it has failed */
void failing_counts(bool counts); /* only what is allocated between true and false; without a call all is. driver.inside, for one */

#endif
