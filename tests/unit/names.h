/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The system's resolver (getaddrinfo) for tests: addresses are themselves, two.test is 127.0.0.2 and 127.0.0.1, none.test does not exist,
 * late.test is 127.0.0.1 and not answered before names_release.
 */
#ifndef TESTS_UNIT_NAMES_H
#define TESTS_UNIT_NAMES_H

void names_release(void);

#endif
