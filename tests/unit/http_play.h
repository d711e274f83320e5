/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Bytes through the HTTP/1 codec into text, a line an event, for golden documents and other tests: what a head says, how it is relayed
 * ("> " lines), the body as a whole, trailers, ends, and why something was refused. Pieces are fed from allocations of their exact size.
 */
#ifndef TESTS_UNIT_HTTP_PLAY_H
#define TESTS_UNIT_HTTP_PLAY_H

#include "golden.h"
#include "host/http/h1.h"

struct http_setting {
    bool response, lenient, answers_head, answers_connect, client_10, eof;
    uint32_t limit; /* max_head_bytes */
};

/* Lines "response", "lenient", "answers HEAD", "answers CONNECT", "client HTTP/1.0", "limit N" of a block `with`; text may be NULL. */
void http_play_setting(const char *text, struct http_setting *out);
void http_play(const struct http_setting *setting, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out);
/* The same as a golden_play; its settings are those of the case. */
void http_play_case(const struct golden_case *c, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out);

/* connect_parse on ever longer beginnings, until it is no longer content with a beginning. Blocks `with`: "lenient", "limit N", "eof". */
void http_play_connect(const struct golden_case *c, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out);

/* Appends formatted text; wire bytes are printed with http_say_bytes, which escapes what is not printable. */
void http_say(struct buffer *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
void http_say_bytes(struct buffer *out, const char *p, size_t n);

#endif
