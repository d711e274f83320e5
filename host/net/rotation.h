/* SPDX-License-Identifier: MPL-2.0 */
/* The CA of a running proxy is looked after: its successor is prepared and takes its place by age; who runs it hears of its end in time. Control
 * thread. */
#ifndef HOST_NET_ROTATION_H
#define HOST_NET_ROTATION_H

#include <stddef.h>
#include <stdint.h>

struct generation;

enum rotation { ROTATION_NONE, ROTATION_DONE, ROTATION_FAILED };
/* Says in the log what it did. ROTATION_DONE: another CA signs from now on, text says which. */
enum rotation rotation_tend(struct generation *generation, char *text, size_t size);
/* Seconds until the next time, after `last`. */
int64_t rotation_next(const struct generation *generation, enum rotation last);

#endif
