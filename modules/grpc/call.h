/* SPDX-License-Identifier: MPL-2.0 */
/* Which exchanges are gRPC calls, and whose. Pure. */
#ifndef GRPC_CALL_H
#define GRPC_CALL_H

#include <soth/sdk.h>

enum call_kind { CALL_NONE, CALL_GRPC, CALL_WEB, CALL_WEB_TEXT };

/* application/grpc, application/grpc-web, application/grpc-web-text, each alone or with "+proto" and its like (a media type without parameters). */
enum call_kind call_kind(struct soth_span media_type);

/* The last two segments of a path "/pkg.Svc/Method" without its query; p == NULL where there are none. */
void call_names(struct soth_span target, struct soth_span *service, struct soth_span *method);

#endif
