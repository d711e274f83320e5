/* SPDX-License-Identifier: MPL-2.0 */
/* What gRPC-Web adds: bodies in base64, and trailers as the text of a last frame. Pure. */
#ifndef GRPC_WEB_H
#define GRPC_WEB_H

#include <soth/sdk.h>

/* base64 in pieces of any size; padded ends may come inside (each message may be encoded by itself). */
struct web_base64 {
    uint8_t have, padding; /* characters of the quantum that is being read */
    uint8_t bits[4];
};
/* Reads until a quantum is complete or p[0..n) is used up; *used says how much. Returns the bytes put into out (0 to 3), or -SOTH_EINVALID. */
int web_base64_take(struct web_base64 *b, const char *p, size_t n, size_t *used, char out[3]);

/* The nth line of "name: value\r\n..."; 0 when there is none. Names in any case. */
int web_trailer(struct soth_span text, uint32_t nth, struct soth_field *out);

#endif
