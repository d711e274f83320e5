/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The HTTP/2 codec in golden documents. The block `frames` has what the peer sends, in the lines of h2_wire.h, and between them what the owner
 * does, in lines that begin with `!`:
 *
 *   !request [end] [reframe] [protocol=P]     a head as HTTP/1 has it follows, indented; https, its Host is the authority
 *   !response 1 [end] [reframe]               the same
 *   !reply 1 403 [head_only]                  the proxy's own
 *   !body 1 [end] text, !body 1 bytes=N [end], !trailers 1 (fields follow)
 *   !reset 1 cancel, !consume 1 N, !goaway soon|last|now code, !ping N, !priority 1 u=2, !windows 100 1000
 *   !lost, !wait N (milliseconds), !check
 *
 * The block `with`: "client", "lenient", "connect_protocol", "max_header_list N", "max_streams N", "window N", "zero_window N". Out comes what
 * h2_take told, and at the end, after "> ", the frames that were sent. Bodies of one stream that follow each other are told as one.
 */
#ifndef TESTS_UNIT_H2_PLAY_H
#define TESTS_UNIT_H2_PLAY_H

#include "golden.h"
#include "host/http/h2.h"

/* All cases of a document. */
void h2_play_all(const char *path);

/* One event as text, without bodies' merging. */
void h2_play_say(struct buffer *out, const struct h2_event *event);

#endif
