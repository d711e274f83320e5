/* SPDX-License-Identifier: MPL-2.0 */
/* Connections and requests, as policies get them to judge. */
#ifndef TESTS_UNIT_JUDGED_H
#define TESTS_UNIT_JUDGED_H

#include <soth/sdk.h>

struct soth_connect connect_to(const char *host, uint32_t port);
/* A request on a connection; `connect` must outlive it. */
struct soth_message request_on(const struct soth_connect *connect, const char *method, const char *target);

#endif
