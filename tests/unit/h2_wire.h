/* SPDX-License-Identifier: MPL-2.0 */
/*
 * HTTP/2 frames as text, for golden documents and tests: written from lines and read back into lines. It is the other end of the codec under
 * test and shares nothing with it but the library's header compression.
 *
 *   PREFACE                                   the 24 bytes of a client
 *   SETTINGS initial_window_size=10 7=1       names of RFC 9113 6.5.2 or numbers; SETTINGS ACK
 *   HEADERS 1 END_STREAM END_HEADERS          fields follow, indented, "name: value" (escapes of golden.h)
 *   DATA 1 END_STREAM PADDED=3                its bytes follow, indented, or bytes=N
 *   RAW type=9 stream=1 flags=4               payload follows, indented; length=N says another length
 *   WINDOW_UPDATE 1 100, RST_STREAM 1 cancel, GOAWAY 3 no_error, PING 12345678, PING ACK 12345678, PRIORITY 3 on=0, PRIORITY_UPDATE 1 u=1
 * HEADERS has END_HEADERS unless SPLIT=N is given: then N bytes of its block are in HEADERS and the rest in CONTINUATION frames of N bytes.
 */
#ifndef TESTS_UNIT_H2_WIRE_H
#define TESTS_UNIT_H2_WIRE_H

#include <nghttp2/nghttp2.h>

#include "host/mem/buffer.h"

struct h2_wire {
    nghttp2_hd_deflater *deflater;
    nghttp2_hd_inflater *inflater;
};
void h2_wire_init(struct h2_wire *wire);
void h2_wire_fini(struct h2_wire *wire);

/* Appends the frame that the line at *text begins, moves *text behind it and its indented lines. */
void h2_wire_write(struct h2_wire *wire, const char **text, struct buffer *out);
/* All frames of lines. */
void h2_wire_write_all(struct h2_wire *wire, const char *text, struct buffer *out);

/* Frames into lines, each begun with `prefix`; a preface is PREFACE. Fails the test when bytes are left over. */
void h2_wire_say(struct h2_wire *wire, const uint8_t *p, size_t n, const char *prefix, struct buffer *out);

/* A frame by itself. */
void h2_wire_frame(struct buffer *out, uint8_t type, uint8_t flags, uint32_t stream, const void *payload, size_t n);

/* A line without its indent and end, *text moved behind it; NULL at the end of the text. */
const char *h2_wire_line(const char **text, size_t *n);

#endif
