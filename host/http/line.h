/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The lines of a head (RFC 9112 2 to 5): start lines into words, and the class of what is wrong with a line. Everything here is certain
 * from the bytes seen so far, so that the answer is the same however a head was cut into reads. Inside this room only.
 */
#ifndef HOST_HTTP_LINE_H
#define HOST_HTTP_LINE_H

#include <string.h>

#include "host/http/head.h"

/* Start lines without their CRLF. NULL and the message's words, or the class of what is wrong. */
const char *line_request(const char *p, size_t n, struct message *msg);
const char *line_status(const char *p, size_t n, struct message *msg);

/*
 * p[0..n) begins a head whose lines before `from` were looked at: the first fault in what is there, or NULL. Without an empty line at its
 * end it may be all right so far. bare_lf_allowed: only what is certain whatever the repairs.
 */
const char *line_first_fault(enum head_kind kind, const char *p, size_t n, size_t from, bool bare_lf_allowed);

/* The class of a complete head that llhttp refused. */
const char *line_explain(enum head_kind kind, const char *p, size_t n);

/* The words of a request, from whatever protocol they come: characters of a request target (visible ASCII without #), a token. */
bool line_is_target(struct soth_span text);
bool line_is_method(struct soth_span text);
/* The class of the first byte that a field value may not have ("nul", "bare_cr", "control_character"), or NULL. */
const char *line_bad_byte(const char *p, size_t n);

static inline bool line_is_token(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && memchr("!#$%&'*+-.^_`|~", c, 15));
}

#endif
