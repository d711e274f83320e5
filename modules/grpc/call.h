/* SPDX-License-Identifier: MPL-2.0 */
/* Which exchanges are gRPC calls. Pure. */
#ifndef GRPC_CALL_H
#define GRPC_CALL_H

#include <soth/sdk.h>

enum call_kind { CALL_NONE, CALL_GRPC, CALL_WEB, CALL_WEB_TEXT };

/* application/grpc, application/grpc-web, application/grpc-web-text, each alone or with "+proto" and its like (a media type without parameters). */
enum call_kind call_kind(struct soth_span media_type);

#endif
