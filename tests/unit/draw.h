/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Chance that can be had again, for the tests named prop_*: a case is drawn from its seed alone. PROP_SEED and PROP_CASES of the environment
 * say where to begin and how many cases to try. Without either the cases are always the same, with PROP_CASES alone they are new ones.
 */
#ifndef TESTS_UNIT_DRAW_H
#define TESTS_UNIT_DRAW_H

#include <stdint.h>

/* The first seed, which is printed; the next case has the next one. *cases: as many as there are by default, then as many as there are to be
 * (a seed that was given by itself: that one). */
uint64_t draw_seed(unsigned long *cases);

void draw_begin(uint64_t seed); /* of a case */
uint64_t draw(void);
unsigned draw_below(unsigned n);

#endif
