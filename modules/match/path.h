/* SPDX-License-Identifier: MPL-2.0 */
/* Request paths as rules see them: percent-encoded unreserved characters decoded, repeated slashes folded, dot segments removed
 * (RFC 3986 6.2.2, 5.2.4), the query left out; what stays percent-encoded has upper-case digits. What is relayed is never changed. Pure. */
#ifndef MATCH_PATH_H
#define MATCH_PATH_H

#include <soth/sdk.h>

/* Writes at most target.n bytes; returns the length. */
size_t path_normalize(struct soth_span target, char *out);
/* `*` matches any run of characters. */
int path_match(const char *pattern, const char *path, size_t n);

/* The last two segments of "/pkg.Svc/Method", without its query: whom a gRPC call is for. p == NULL where there are none. */
void path_call(struct soth_span target, struct soth_span *service, struct soth_span *method);

#endif
