/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Answers of our own to gRPC calls: a status in the trailers, which stand in the head when there is no body (the protocol's "Trailers-Only").
 * Pure: what a request is, and fields as text.
 */
#ifndef HOST_HTTP_GRPC_H
#define HOST_HTTP_GRPC_H

#include "host/http/message.h"
#include "host/mem/buffer.h"

/* Does a request with this head want a gRPC status? The Content-Type that its answer has, or NULL. gRPC itself is HTTP/2's; over HTTP/1 there is
 * gRPC-Web alone. */
const char *grpc_answer_type(const struct message *request);

/* The status that stands for an HTTP status of ours (contract section 4): refused 7, too late 4, no way to the origin 14, ... */
unsigned grpc_status(int http_status);

/* "grpc-status: N\r\ngrpc-message: ...\r\n", the message percent-encoded, without its line ends, at most 1 KiB of it. */
int grpc_fields(struct buffer *out, unsigned status, struct soth_span message);

#endif
